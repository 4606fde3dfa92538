"""Every body of the JSON test suite, none a chat request, gets a 4xx with an error object."""

import json

from fleet import SHARED, Fleet, check, request, skip


def main():
    suite = SHARED / "suites" / "json" / "JSONTestSuite"
    bodies = sorted(suite.glob("*.json"))
    if not bodies:
        skip(f"{suite.name} is not beside the repository")
    with Fleet() as fleet:
        fleet.start_redis()
        node = fleet.start_node("node-0")
        router = fleet.start_router()
        fleet.wait_members(router, 1)
        for address in (router, node):
            for path in ("/v1/chat/completions", "/v1/completions"):
                for body in bodies:
                    status, _, answer = request(address, "POST", path, body.read_bytes(),
                                                {"content-type": "application/json"})
                    check(400 <= status < 500, f"{body.name} at {path}: HTTP {status}")
                    error = json.loads(answer)["error"]
                    check(set(error) == {"message", "type", "param", "code"}, f"{body.name}: {error}")
                    check(error["message"] and error["type"], f"{body.name}: {error}")
        check(fleet.alive("router") and fleet.alive("node-0"), "a program ended")
        print(f"{len(bodies)} bodies x 2 endpoints x router and node: all refused with a 4xx")


main()
