"""redis-server killed by pid in mid-replay, and back empty before the end: no error, and every
session stays on its node."""

from fleet import Fleet, chat, check, route, wait_until, metric


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(3):
            fleet.start_node(f"node-{n}")
        router = fleet.start_router()
        fleet.wait_members(router, 3)
        dialogues = {f"s{c}": [] for c in range(12)}
        home = {}
        for turn in range(8):
            if turn == 3:
                fleet.kill("redis")
            if turn == 6:
                wait_until(lambda: metric(router, "hearth_directory_up") == 0,
                           "the router says Redis is down")
                check("metadata store down" in fleet.hearth("router", "status"), "status says so too")
                fleet.start_redis(int(fleet.redis.rsplit(":", 1)[1]))  # With an empty memory.
            if turn == 7:
                wait_until(lambda: metric(router, "hearth_directory_up") == 1,
                           "the router says Redis is back")
                check("metadata store up" in fleet.hearth("router", "status"), "status says so too")
            for session, messages in dialogues.items():
                messages.append({"role": "user", "content": f"Turn {turn} of {session}: hello there."})
                answer, headers = chat(router, messages, session, max_tokens=8)
                messages.append(answer["choices"][0]["message"])
                node = route(headers)["node"]
                check(home.setdefault(session, node) == node,
                      f"{session} moved from {home[session]} to {node} in turn {turn}")
                cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
                check(turn == 0 or cached > 0, f"{session} turn {turn} reused nothing")
        check(len(set(home.values())) == 3, f"12 sessions on {len(set(home.values()))} nodes")
        for name in ("node-0", "node-1", "node-2", "router"):
            check(fleet.alive(name), f"{name} ended")


main()
