"""A node that dies between turns: its sessions go on at their heirs, the others stay where they are."""

from fleet import Fleet, chat, check, metric, route


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(3):
            fleet.start_node(f"node-{n}")
        router = fleet.start_router()
        fleet.wait_members(router, 3)
        dialogues = {f"s{c}": [] for c in range(15)}
        before, after = {}, {}
        for where in (before, after):
            for session, messages in dialogues.items():
                messages.append({"role": "user", "content": f"Hello from {session}, again."})
                answer, headers = chat(router, messages, session, max_tokens=8)
                messages.append(answer["choices"][0]["message"])
                where[session] = route(headers)["node"]
            if where is before:
                fleet.kill("node-1")
        for session in dialogues:
            check(after[session] != "node-1", f"{session} was sent to the dead node")
            check(before[session] == "node-1" or before[session] == after[session],
                  f"{session} moved from {before[session]} to {after[session]} for no reason")
        orphans = {after[s] for s in dialogues if before[s] == "node-1"}
        check(orphans, "no session was on the node that was killed")
        missed = sum(metric(fleet.address[n], "hearth_engine_missed_tokens_total",
                            f'reason="{reason}"')
                     for n in ("node-0", "node-2") for reason in ("node_lost", "rerouted"))
        check(missed > 0, "the sessions of the dead node left no miss reason")


main()
