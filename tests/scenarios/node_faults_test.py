"""A node that hangs (SIGSTOP), is half open, answers 5xx, or is slow: what its clients see."""

import contextlib
import signal
import time

from streams import Stream, comparable, quiet, request, run_all, start_router_to, wait_flowing
from chaos_proxy import ChaosProxy
from fleet import Fleet, check, metric, wait_until

IDLE_MS = 1500


def calm_text(router, n, tokens):
    stream = Stream(router, request(n, tokens), f"calm-{n}-{tokens}")
    run_all([stream])
    check(stream.whole and stream.status == 200, f"calm stream: {stream.status} {stream.failure}")
    return comparable(stream.text)


def first_difference(stream, expected):
    got = comparable(stream.text)
    at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), min(len(got), len(expected)))
    return (f"{stream.session} on {stream.node()} differs at byte {at} of {len(expected)}: "
            f"{got[max(at - 200, 0):at + 300]!r} instead of {expected[max(at - 200, 0):at + 300]!r}")


def stopped(fleet, router):
    """SIGSTOP: streams go on elsewhere once the node was silent for idle_stream_timeout_ms."""
    expected = {n: calm_text(router, n, 400) for n in range(6)}
    streams = [Stream(router, request(n, 400), f"stopped-{n}") for n in range(6)]
    for stream in streams:
        stream.start()
    wait_flowing(streams)
    victim = streams[0].node()
    fleet.processes[victim].send_signal(signal.SIGSTOP)
    since = time.monotonic()
    for n, stream in enumerate(streams):
        stream.join(60)
        check(stream.whole, f"{stream.session}: {stream.failure} {stream.text[-200:]!r}")
        check(comparable(stream.text) == expected[n], first_difference(stream, expected[n]))
    gap = max(stream.longest_gap(since) for stream in streams)
    check(gap < IDLE_MS / 1000 + 3, f"a stream stood still for {gap:.1f} s")
    # New turns of its sessions are tried elsewhere once its probes fail, and come home later.
    wait_until(lambda: metric(router, "hearth_router_node_health", f'"{victim}"') == 0,
               "the stopped node is down", 30)
    late = Stream(router, request(0, 20), streams[0].session)
    run_all([late])
    check(late.whole and late.node() != victim, f"sent to the stopped node {victim}")
    fleet.processes[victim].send_signal(signal.SIGCONT)
    wait_until(lambda: metric(router, "hearth_router_node_health", f'"{victim}"') == 1,
               "the node is up again", 30)
    print(f"stopped: longest silence {gap:.2f} s")


def half_open(router, proxies):
    """Packets vanish and no FIN comes: like a stopped node, without a verdict of its probes."""
    expected = calm_text(router, 3, 40)
    faults = [proxy.fault("stall", 900, b"text/event-stream") for proxy in proxies[:2]]
    stream = Stream(router, request(3, 40), "half-open")
    since = time.monotonic()
    run_all([stream])
    check(stream.whole, f"half open: {stream.failure} {stream.text[-200:]!r}")
    check(comparable(stream.text) == expected, "half open: differs")
    done = sum(fault.done for fault in faults)
    gap = stream.longest_gap(since)
    check(gap < IDLE_MS / 1000 * max(done, 1) + 2, f"half open: stood still for {gap:.1f} s")
    print(f"half open: {done} stalls, longest silence {gap:.2f} s")


def corrupt(router, proxies):
    """A byte of the framing changes: the stream is broken, so an heir goes on."""
    expected = calm_text(router, 1, 40)
    for proxy in proxies[:2]:
        proxy.fault("corrupt", 0, b"\r\n\r\n")  # The head's end: the answer is nonsense.
    stream = Stream(router, request(1, 40), "corrupt")
    run_all([stream])
    check(stream.whole and comparable(stream.text) == expected,
          f"corrupt: {stream.status} {stream.failure} {stream.text[-200:]!r}")


def slow(router, proxies):
    """Slow and throttled, but alive: nobody is given up."""
    before = metric(router, "hearth_router_streams_continued_total")
    for proxy in proxies:
        proxy.delay(0.05)
        proxy.throttle(20_000)
    streams = [Stream(router, request(n, 20), f"slow-{n}") for n in range(4)]
    run_all(streams)
    for stream in streams:
        check(stream.whole and stream.status == 200, f"{stream.session}: {stream.failure}")
    after = metric(router, "hearth_router_streams_continued_total")
    check(before == after, "a slow node's stream was taken away")


def main():
    with Fleet() as fleet, contextlib.ExitStack() as stack:
        nodes = [fleet.start_node(f"node-{n}") for n in range(3)]
        proxies = [stack.enter_context(ChaosProxy(address)) for address in nodes]
        router = start_router_to(fleet, [p.address for p in proxies],
                                 f"--idle-stream-timeout-ms={IDLE_MS}")
        for scenario in (half_open, corrupt, slow):
            scenario(router, proxies)
            for proxy in proxies:
                proxy.clear()
        stopped(fleet, router)
        wait_until(lambda: quiet(router), "all gauges are back at 0")


main()
