"""DELETE of a session erases its KV on every node, copies included, and says how many bytes; others stay."""

import json

from fleet import Fleet, chat, check, metric, request, wait_until


def talk(router, session, turns, messages):
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Question {turn} of {session}: what of the ships?"})
        answer, _ = chat(router, messages, session, max_tokens=8)
        messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def start(name):
    return [{"role": "system", "content": f"You are {name}, keeper of a lighthouse. " * 20}]


def respond(router, previous=None):
    """Status and id of a turn of Anna's that is kept for previous_response_id."""
    body = {"model": "tiny", "input": "And the ships?", "temperature": 0, "max_output_tokens": 4}
    if previous:
        body["previous_response_id"] = previous
    status, _, answer = request(router, "POST", "/v1/responses", json.dumps(body),
                                {"content-type": "application/json", "x-session-id": "anna"})
    return status, json.loads(answer).get("id")


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        secret = fleet.path("secret")
        with open(secret, "w") as file:
            file.write("a secret of this fleet")
        for n in range(3):
            fleet.start_node(f"node-{n}", "--replicate", "1", "--fleet-secret-file", secret,
                             "--kv-disk", fleet.path(f"disk-{n}"), "--kv-disk-bytes", "64MiB")
        router = fleet.start_router("router", "--fleet-secret-file", secret)
        fleet.wait_members(router, 3)
        log = fleet.path("router.log")
        admin = wait_until(lambda: admin_address(log), "the admin address is logged")
        anna, otto = start("Anna"), start("Otto")
        talk(router, "anna", 3, anna)
        talk(router, "otto", 3, otto)
        kept = respond(router)[1]
        check(respond(router, kept)[0] == 200, "a kept response was not found")
        copies = lambda: sum(metric(fleet.address[f"node-{n}"], "hearth_transfer_sessions_total",
                                    'kind="accepted"', 'result="ok"') for n in range(3))
        wait_until(lambda: copies() >= 2, "both sessions are copied")

        def erase(secret_router):
            status, _, body = request(secret_router, "DELETE", "/admin/v1/sessions/anna?source=header")
            return status, json.loads(body)

        before = sum(metric(fleet.address[f"node-{n}"], "hearth_cache_tier_bytes") for n in range(3))
        status, erased = erase(admin)
        check(status == 200 and erased["complete"], f"HTTP {status}: {erased}")
        holders = [n for n in erased["nodes"] if n["bytes"] > 0]
        check(len(holders) == 2, f"owner and copy held it: {erased}")
        check(erased["bytes"] == sum(n["bytes"] for n in erased["nodes"]) > 0, f"{erased}")
        gone = lambda: before - sum(metric(fleet.address[f"node-{n}"], "hearth_cache_tier_bytes")
                                    for n in range(3))
        wait_until(lambda: gone() > 0, "the tiers shrink")
        check(erase(admin)[1]["bytes"] == 0, "it was there twice")
        check(respond(router, kept)[0] == 404, "the text of an erased session was kept")
        check(talk(router, "anna", 1, anna) < 64, "erased KV was found again")
        check(talk(router, "otto", 1, otto) > 200, "another session lost its KV")

        stranger = request(fleet.address["node-0"], "DELETE", "/internal/v1/sessions/" + "0" * 32)
        check(stranger[0] == 403, f"without the secret: HTTP {stranger[0]}")
        wrong = request(fleet.address["node-0"], "GET", "/internal/v1/kv/sessions/" + "0" * 32,
                        headers={"hearth-fleet": "a secret of that fleet"})
        check(wrong[0] == 403, f"with a wrong secret: HTTP {wrong[0]}")
        print(f"erased {erased['bytes']} bytes on {len(holders)} nodes")


def admin_address(log):
    import re

    found = re.search(r"admin=(127\.0\.0\.1:\d+)", open(log).read())
    return found and found[1]


main()
