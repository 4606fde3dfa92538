"""SIGTERM to a router under load: what runs is finished, nothing is cut, and it exits with 0."""

import http.client
import signal
import time

from streams import Stream, comparable, request, run_all, wait_flowing
from fleet import Fleet, check, request as http_request


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(2):
            fleet.start_node(f"node-{n}")
        routers = [fleet.start_router(f"router-{r}") for r in range(2)]
        for router in routers:
            fleet.wait_members(router, 2)
        calm = [Stream(routers[0], request(n, 200), f"calm-{n}") for n in range(8)]
        run_all(calm)
        streams = [Stream(routers[0], request(n, 200), f"s-{n}") for n in range(8)]
        for stream in streams:
            stream.start()
        wait_flowing(streams)
        begin = time.monotonic()
        fleet.processes["router-0"].send_signal(signal.SIGTERM)
        for a, b in zip(calm, streams):
            b.join(60)
            check(b.whole, f"{b.session} was cut: {b.failure}")
            check(comparable(a.text) == comparable(b.text), f"{b.session} differs")
        code = fleet.processes["router-0"].wait(40)
        check(code == 0, f"the router ended with {code}")
        check(time.monotonic() - begin < 35, "it took longer than its grace")
        # The other router serves the same sessions on the same nodes, and the ended one nobody.
        late = [Stream(routers[1], request(n, 20), f"s-{n}") for n in range(8)]
        run_all(late)
        for before, after in zip(streams, late):
            check(after.status == 200 and after.whole, f"{after.session}: {after.status}")
            check(before.node() == after.node(), f"{after.session} moved for no reason")
        try:
            http_request(routers[0], "GET", "/health", timeout=5)
            check(False, "the router that ended still answers")
        except (OSError, http.client.HTTPException):
            pass


main()
