"""Streams that are cut anywhere, even within a character or a chunk's length, go on seamlessly."""

import argparse
import contextlib
import random

from streams import Stream, comparable, one_answer, quiet, request, run_all, start_router_to
from chaos_proxy import ChaosProxy
from fleet import Fleet, check, metric, wait_until


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    rng = random.Random(options.seed)
    with Fleet() as fleet, contextlib.ExitStack() as stack:
        nodes = [fleet.start_node(f"node-{n}") for n in range(3)]
        proxies = [stack.enter_context(ChaosProxy(address)) for address in nodes]
        router = start_router_to(fleet, [p.address for p in proxies])
        expected = {}
        broken = 0
        for cut in range(options.cuts):
            n = cut % 8
            if n not in expected:
                calm = Stream(router, request(n, 24), f"calm-{n}")
                run_all([calm])
                check(calm.whole, f"calm stream {n}: {calm.status} {calm.failure}")
                expected[n] = calm
            # The head of the answer and the chunks' framing count too; two of three nodes may fail.
            size = len(expected[n].text) + 600
            faults = [proxy.fault(rng.choice(("reset", "end")), rng.randrange(size), b"text/event-stream")
                      for proxy in rng.sample(proxies, 2)]
            stream = Stream(router, request(n, 24), f"cut-{cut}")
            run_all([stream])
            where = f"cut {cut}, {[(f.kind, f.done) for f in faults]}"
            check(stream.status == 200 and stream.whole,
                  f"{where}: {stream.status} {stream.failure} {stream.text[-300:]!r}")
            check(one_answer(stream.text), f"{where}: two nodes show")
            check(comparable(stream.text) == comparable(expected[n].text),
                  f"{where}: differs\n{expected[n].text!r}\n{stream.text!r}")
            broken += sum(f.done for f in faults)
            for proxy in proxies:
                proxy.clear()
        continued = metric(router, "hearth_router_streams_continued_total")
        check(broken > options.cuts / 4, f"only {broken} cuts came true")
        check(continued > options.cuts / 8, f"only {continued} streams were continued")
        wait_until(lambda: quiet(router), "all gauges are back at 0")
        print(f"{broken} cuts, {continued:.0f} continuations, {options.cuts} whole streams")


main()
