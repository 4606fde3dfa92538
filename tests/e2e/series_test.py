"""However many sessions and models clients name, programs export as many series as before.

The full number of sessions: series_test.py 100000
"""

import concurrent.futures
import http.client
import json
import sys

from fleet import Fleet, check, request

SESSIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_500
CLIENTS = 8


def play(router, first, count):
    """First turns of so many sessions, with ids, users and now and then a model that nobody knows."""
    host, port = router.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    for n in range(first, first + count):
        known = n % 50 != 0
        body = json.dumps({"model": "tiny" if known else f"model-{n}", "prompt": f"{n}", "max_tokens": 1,
                           "user": f"user-{n}"})
        connection.request("POST", "/v1/completions", body,
                           {"content-type": "application/json", "x-session-id": f"session {n}",
                            "x-request-id": f"request-{n}"})
        answer = connection.getresponse()
        answer.read()
        check(answer.status == (200 if known else 404), f"session {n}: {answer.status}")
    connection.close()


def series(address):
    page = request(address, "GET", "/metrics")[2].decode()
    return {line.rsplit(" ", 1)[0] for line in page.splitlines() if line and line[0] != "#"}


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(2):
            fleet.start_node(f"node-{n}", "--vllm-metrics", "true")
        router = fleet.start_router()
        fleet.wait_members(router, 2)
        programs = {"router": router, **{f"node-{n}": fleet.address[f"node-{n}"] for n in range(2)}}

        def rounds(first, sessions):
            share = sessions // CLIENTS
            with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
                list(pool.map(lambda c: play(router, first + c * share, share), range(CLIENTS)))

        rounds(0, 400)
        before = {name: series(address) for name, address in programs.items()}
        rounds(400, SESSIONS)
        for name, address in programs.items():
            new = series(address) - before[name]
            check(not new, f"{name} exports more after {SESSIONS} sessions: {sorted(new)[:5]}")
        print(f"{SESSIONS} sessions; series: " +
              ", ".join(f"{name} {len(found)}" for name, found in before.items()))


main()
