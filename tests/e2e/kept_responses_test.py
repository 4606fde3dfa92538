"""Kept responses through routers: shown, forgotten everywhere, and along with their session to another node."""

import hashlib
import json
import signal

from fleet import Fleet, check, metric, request, route, wait_until

HEARTBEAT = ("--heartbeat-ms", "100ms")
TURN = {"model": "tiny", "temperature": 0, "max_output_tokens": 6}


def respond(address, text, previous=None, **fields):
    """Status, answer and, if the turn was served, its node."""
    body = {**TURN, "input": text, **fields}
    if previous:
        body["previous_response_id"] = previous
    status, headers, answer = request(address, "POST", "/v1/responses", json.dumps(body),
                                      {"content-type": "application/json"})
    headers = {k.lower(): v for k, v in headers.items()}
    return status, json.loads(answer), route(headers)["node"] if "hearth-route" in headers else None


def ask(address, method, response, status):
    got, _, body = request(address, method, f"/v1/responses/{response}")
    check(got == status, f"{method} {response}: {got} {body[:200]}")
    return json.loads(body)


def code(answer):
    return answer["error"]["code"]


def shown_and_forgotten(fleet, routers):
    status, first, node = respond(routers[0], "Good evening!")
    check(status == 200, first)
    for router in routers:
        check(ask(router, "GET", first["id"], 200) == first, "another response was shown")
    other = next(name for name in ("node-0", "node-1", "node-2") if name != node)
    check(code(ask(fleet.address[other], "GET", first["id"], 404)) == "response_not_found", "on every node")
    # A node that gets the next turn asks the one that has what is missing.
    status, answer, _ = respond(fleet.address[other], "And now?", first["id"])
    check(status == 200 and answer["previous_response_id"] == first["id"], f"{status} {answer}")
    check(ask(fleet.address[other], "GET", first["id"], 200) == first, "it came along changed")
    gone = ask(routers[1], "DELETE", first["id"], 200)
    check(gone == {"id": first["id"], "object": "response", "deleted": True}, f"{gone}")
    for router in routers:
        check(code(ask(router, "GET", first["id"], 404)) == "response_not_found", "still there")
    ask(routers[0], "DELETE", first["id"], 404)
    status, answer, _ = respond(routers[0], "And now?", first["id"])
    check(status == 404 and code(answer) == "previous_response_not_found", f"{status} {answer}")
    unknown = "resp_" + 48 * "0"
    for bad in (unknown, "resp_x", "x%2f", "nothing"):
        check(code(ask(routers[0], "GET", bad, 404)) == "response_not_found", bad)
    status, headers, _ = request(routers[0], "PUT", f"/v1/responses/{unknown}")
    check(status == 405 and dict(headers)["allow"] == "GET, DELETE", f"{status} {headers}")
    check(request(routers[0], "GET", f"/v1/responses/{unknown}/cancel")[0] == 404, "a path of a path")


def stays_with_its_tenant():
    """Shown to nobody else, whatever tenant or salt a client claims to be of."""
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(2):
            fleet.start_node(f"node-{n}", *HEARTBEAT)
        config = fleet.path("router.yaml")
        with open(config, "w", encoding="utf-8") as out:
            out.write("tenants:\n")
            for name in ("anna", "otto"):
                digest = hashlib.sha256(f"hk-{name}".encode()).hexdigest()
                out.write(f"  - {{name: {name}, keys: [\"sha256:{digest}\"]}}\n")
        router = fleet.start_router("router", "--config", config)
        fleet.wait_members(router, 2)

        def of(name, method, path, body=None, **more):
            headers = {"authorization": f"Bearer hk-{name}", "content-type": "application/json", **more}
            status, _, answer = request(router, method, path, body and json.dumps(body), headers)
            return status, json.loads(answer)

        status, kept = of("anna", "POST", "/v1/responses", {**TURN, "input": "Between us."})
        check(status == 200, kept)
        path = f"/v1/responses/{kept['id']}"
        for salt in ({}, {"hearth-tenant": ""}, {"hearth-tenant": "aa"}):
            check(of("otto", "GET", path, **salt)[0] == 404, "another tenant was shown it")
            check(of("otto", "DELETE", path, **salt)[0] == 404, "another tenant deleted it")
        status, answer = of("otto", "POST", "/v1/responses", {**TURN, "input": "x", "previous_response_id": kept["id"]})
        check(status == 404 and code(answer) == "previous_response_not_found", f"{status} {answer}")
        check(of("nobody", "GET", path)[0] == 401, "without a key")
        check(of("anna", "GET", path) == (200, kept), "its own tenant was not")
        check(of("anna", "DELETE", path)[0] == 200, "its own tenant could not delete it")


def chains(router, count):
    """Dialogues of two turns: last answer and node of each."""
    out = []
    for n in range(count):
        _, first, _ = respond(router, f"Good evening from {n}!")
        status, second, node = respond(router, "And then?", first["id"])
        check(status == 200, second)
        out.append((first, second, node))
    return out


def follow(router, dialogues, lost=()):
    """Each goes on behind its last response, as it would have where it was."""
    for first, second, node in dialogues:
        status, third, now = respond(router, "Tell on.", second["id"])
        if node in lost:
            check(status == 404 and code(third) == "previous_response_not_found", f"{status} {third}")
            continue
        check(status == 200 and now not in lost, f"{status} {third}")
        # From the whole dialogue, by somebody who keeps nothing: the same reply.
        items = [item for one in (first, second) for item in one["output"]]
        texts = [{"role": "user", "content": text} for text in
                 (f"Good evening from {dialogues.index((first, second, node))}!", "And then?", "Tell on.")]
        whole = [texts[0], items[0], texts[1], items[1], texts[2]]
        status, same, _ = respond(router, whole, store=False)
        check(status == 200 and same["output"][0]["content"] == third["output"][0]["content"], "another reply")
        check(ask(router, "GET", first["id"], 200) == first, "an earlier response changed")


def moves_with_a_drain():
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(3):
            fleet.start_node(f"node-{n}", *HEARTBEAT)
        routers = [fleet.start_router(name) for name in ("router-0", "router-1")]
        for router in routers:
            fleet.wait_members(router, 3)
        shown_and_forgotten(fleet, routers)
        dialogues = chains(routers[0], 8)
        gone = dialogues[0][2]
        fleet.kill(gone, signal.SIGTERM)
        left = [one for one in dialogues if one[2] == gone]
        check(left, "no dialogue was there")
        wait_until(lambda: metric(routers[1], "hearth_router_node_health") == 2, "the node has left")
        follow(routers[1], dialogues)
        return len(left)


def goes_with_a_crash(replicate):
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(3):
            fleet.start_node(f"node-{n}", *HEARTBEAT, "--replicate", str(replicate))
        router = fleet.start_router()
        fleet.wait_members(router, 3)
        dialogues = chains(router, 8)
        if replicate:
            heirs = lambda: sum(1 for one in dialogues for name in ("node-0", "node-1", "node-2")
                                if name != one[2] and request(fleet.address[name], "GET",
                                                              f"/v1/responses/{one[1]['id']}")[0] == 200)
            wait_until(lambda: heirs() == len(dialogues), "each response has a copy")
        gone = dialogues[0][2]
        fleet.kill(gone)
        wait_until(lambda: metric(router, "hearth_router_node_health") == 2, "the node is missed")
        follow(router, dialogues, () if replicate else (gone,))


def main():
    stays_with_its_tenant()
    moved = moves_with_a_drain()
    goes_with_a_crash(0)
    goes_with_a_crash(1)
    print(f"{moved} dialogues went on elsewhere after a drain")


main()
