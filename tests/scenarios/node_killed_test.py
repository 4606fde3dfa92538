"""kill -9 of a node with 20 streams open: all finish on heirs, byte for byte, within 3 s."""

import argparse
import signal
import time
from collections import Counter

from streams import Stream, comparable, one_answer, request, run_all, wait_flowing  # isort: skip
from fleet import Fleet, check, metric


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=150)
    parser.add_argument("--model", help="a GGUF file in place of a tiny random model")
    options = parser.parse_args()
    with Fleet() as fleet:
        fleet.model = options.model
        fleet.tiny_model(hidden=256, ffn_hidden=768, layers=8)  # Slow enough to be killed at work.
        fleet.start_redis()
        for n in range(3):
            fleet.start_node(f"node-{n}")
        router = fleet.start_router()
        fleet.wait_members(router, 3)

        def streams(run):
            return [Stream(router, request(n, options.tokens), f"{run}-{n}")
                    for n in range(options.streams)]

        calm = streams("calm")
        run_all(calm)
        stormy = streams("stormy")
        for stream in stormy:
            stream.start()
        wait_flowing(stormy)
        victim = Counter(s.node() for s in stormy if not s.whole).most_common(1)[0][0]
        killed = time.monotonic()
        fleet.kill(victim, signal.SIGKILL)
        for stream in stormy:
            stream.join(60)
        slowest = 0.0
        for a, b in zip(calm, stormy):
            check(a.status == 200 and a.whole, f"{a.session}: HTTP {a.status} {a.failure}")
            check(b.whole, f"{b.session} on {b.node()} broke: {b.failure} {b.text[-300:]!r}")
            check(one_answer(b.text), f"{b.session} shows that two nodes answered")
            check(comparable(a.text) == comparable(b.text), f"{b.session} differs:\n"
                  f"{comparable(a.text)[-2000:]!r}\n{comparable(b.text)[-2000:]!r}")
            slowest = max(slowest, b.longest_gap(killed))
        continued = metric(router, "hearth_router_streams_continued_total")
        orphans = sum(1 for s in stormy if s.node() == victim)
        check(orphans > 0 and continued > 0, f"{orphans} streams were on the dead node, {continued} continued")
        check(slowest < 3, f"a stream stood still for {slowest:.2f} s")
        print(f"{orphans} of {len(stormy)} streams lost their node, {continued:.0f} were continued; "
              f"longest silence {slowest:.2f} s")


main()
