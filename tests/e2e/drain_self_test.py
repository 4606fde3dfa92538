"""hearth drain --self --wait, a container's preStop hook: the sessions go, no mark stays, SIGTERM is quick."""

import signal
import subprocess
import time

from fleet import BIN, Fleet, chat, check, metric, request, route, wait_until


def drain(*words):
    return subprocess.run([BIN / "hearth", "drain", *map(str, words)], capture_output=True, text=True,
                          timeout=60)


def dialogue(router, session, turns):
    messages = [{"role": "system", "content": "You keep a lighthouse. " * 20}]
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Tell me of ship {turn}."})
        answer, headers = chat(router, messages, session, max_tokens=6)
        messages.append(answer["choices"][0]["message"])
    return messages, route(headers)["node"]


def wrong_words(node_pid):
    """What is not there, or not a node, is said; a process that is no node is not sent a signal."""
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        for words, code in ((("--self", "node-1"), 2), ((), 2), (("--pid", node_pid), 2),
                            (("--self", "--pid", sleeper.pid), 2)):
            done = drain(*words)
            check(done.returncode == code and done.stderr, f"{words}: {done.returncode} {done.stderr}")
        check(sleeper.poll() is None, "a process that is no node was ended")
    finally:
        sleeper.kill()
        sleeper.wait()


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(3):
            fleet.start_node(f"node-{n}")
        router = fleet.start_router("router", "--expose-route", "true")
        fleet.wait_members(router, 3)
        chats = {f"s-{n}": dialogue(router, f"s-{n}", 2) for n in range(18)}
        leaver = chats["s-0"][1]
        here = [s for s, (_, node) in chats.items() if node == leaver]
        process, address = fleet.processes[leaver], fleet.address[leaver]
        wrong_words(process.pid)
        check(request(address, "GET", "/ready")[0] == 200, "wrong words drained the node")

        done = drain("--self", "--wait", "--pid", process.pid, "--node-url", address)
        check(done.returncode == 0 and done.stdout == "the node is drained\n", f"{done.stdout}{done.stderr}")
        check(fleet.alive(leaver), "the node ended before its supervisor said so")
        check(request(address, "GET", "/ready")[0] == 503, "a drained node is ready")
        check(request(address, "GET", "/health")[0] == 200, "a drained node is not healthy")
        check(metric(address, "hearth_transfer_sessions_total", 'kind="hand_off"', 'result="ok"') >= len(here),
              "not all sessions were handed over")
        wait_until(lambda: metric(router, "hearth_router_ring_members", 'state="draining"') == 1,
                   "the router hears of it")
        for session in here:
            messages = chats[session][0] + [{"role": "user", "content": "And then?"}]
            answer, headers = chat(router, messages, session, max_tokens=4)
            cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
            check(route(headers)["node"] != leaver, f"{session} still goes to {leaver}")
            check(cached > 100, f"{session}: {cached} tokens were found on its heir")

        begin = time.monotonic()
        fleet.kill(leaver, signal.SIGTERM)
        check(process.returncode == 0, f"it ended with {process.returncode}")
        check(time.monotonic() - begin < 5, "SIGTERM after a drain took long")
        fleet.start_node(leaver)  # As a pod that comes back under its name: no mark keeps it empty.
        wait_until(lambda: metric(router, "hearth_router_ring_members", 'state="active"') == 3,
                   f"{leaver} is in service again")
        print(f"{len(here)} sessions left {leaver}; it came back without an undrain")


main()
