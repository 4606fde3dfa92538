"""KV follows its sessions while chats never pause: every node restarted, one more that comes and goes.

No turn fails. The full size: kv_moves_under_load_test.py 200 8 (sessions, turns after which a chat is over and a new one begins).
"""

import concurrent.futures
import pathlib
import signal
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from fleet import Fleet, chat, check, metric, request, route, wait_until  # noqa: E402

SESSIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 12
TURNS = int(sys.argv[2]) if len(sys.argv) > 2 else 8
WORKERS = 4


class Chat:
    """One visitor's chat; over after TURNS turns, and then the next one of this visitor begins."""

    def __init__(self, visitor):
        self.visitor, self.life = visitor, 0
        self.begin()

    def begin(self):
        self.name = f"visitor-{self.visitor}-{self.life}"
        self.life += 1
        self.turns, self.held, self.node = 0, 0, None
        persona = f"You are keeper number {self.visitor} of lighthouse {self.life}. " * 20
        self.messages = [{"role": "system", "content": persona}]

    def turn(self, router):
        """One turn; (turn, tokens that an earlier turn had computed, tokens that were cached)."""
        if self.turns == TURNS:
            self.begin()
        question = f"Question {self.turns} of {self.name}: " + "what of the ships? " * 5
        self.messages.append({"role": "user", "content": question})
        answer, headers = chat(router, self.messages, self.name, max_tokens=12)
        self.messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
        usage = answer["usage"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        held, before = self.held, self.node
        # The last token of a reply is sampled and not computed.
        self.held = usage["prompt_tokens"] + usage["completion_tokens"] - 1
        self.node = route(headers)["node"]
        self.turns += 1
        return {"turn": self.turns, "held": held, "cached": min(cached, held), "chat": self.name,
                "from": before, "to": self.node}


class Load:
    """All chats, turn by turn, on a few connections, until it is stopped."""

    def __init__(self, router, chats):
        self.router, self.chats = router, chats
        self.records, self.failures = [], []
        self.stopped = threading.Event()
        self.workers = [threading.Thread(target=self.work, args=(n,)) for n in range(WORKERS)]

    def __enter__(self):
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for worker in self.workers:
            worker.join(60)

    def work(self, n):
        while not self.stopped.is_set():
            for each in self.chats[n::WORKERS]:
                if self.stopped.wait(0.01):
                    return
                try:
                    self.records.append(each.turn(self.router))
                except Exception as failure:  # Counted, and shown by the check.
                    self.failures.append(repr(failure))
                    each.begin()


def hit_rate(records):
    later = [r for r in records if r["turn"] > 1]
    check(later, "no later turns were played")
    return sum(r["cached"] for r in later) / sum(r["held"] for r in later)


def everyone(router, chats):
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(lambda each: each.turn(router), chats))


def start(fleet, nodes, *flags):
    fleet.start_redis()
    for n in range(nodes):
        fleet.start_node(f"node-{n}", *flags)
    router = fleet.start_router("router")
    fleet.wait_members(router, nodes)
    return router


def moved(fleet, name, kind):
    labels = (f'kind="{kind}"', 'result="ok"')
    return metric(fleet.address[name], "hearth_transfer_sessions_total", *labels)


def rolling_restart():
    with Fleet() as fleet:
        router = start(fleet, 4)
        chats = [Chat(n) for n in range(SESSIONS)]
        everyone(router, chats)
        with Load(router, chats) as load:
            for n in range(4):
                played = len(load.records)
                wait_until(lambda: len(load.records) > played + SESSIONS, "chats go on")
                fleet.kill(f"node-{n}", signal.SIGTERM)
                fleet.start_node(f"node-{n}")
                fleet.wait_members(router, 4)
        check(not load.failures, f"{len(load.failures)} turns failed: {load.failures[:3]}")
        changes = sum(1 for r in load.records if r["from"] not in (None, r["to"]))
        accepted = sum(moved(fleet, f"node-{n}", "accepted") for n in range(4))
        rate = hit_rate(load.records)
        print(f"rolling restart: {len(load.records)} turns, {changes} on another node than the last, "
              f"{accepted:.0f} sessions accepted since, inter-turn hit rate {rate:.4f}")
        check(changes >= min(4, SESSIONS // 3), "sessions did not move: nothing was tested")
        check(rate >= 0.95, f"inter-turn hit rate {rate:.4f}")


def scale():
    with Fleet() as fleet:
        # Slow enough that to load a session is quicker than to compute it.
        fleet.tiny_model(hidden=256, ffn_hidden=768, layers=6)
        router = start(fleet, 4)
        chats = [Chat(n) for n in range(2 * SESSIONS)]
        everyone(router, chats)
        with Load(router, chats) as load:
            fleet.start_node("node-4")
            # A router that remembers nothing asks the store, and sends rested sessions home.
            load.router = fleet.start_router("new-router", "--scale-up-idle-ms", "1")
            fleet.wait_members(load.router, 5)
            arrived = lambda: sum(1 for r in list(load.records) if r["to"] == "node-4")
            wait_until(lambda: arrived() > SESSIONS // 4, "sessions come to the new node")
            pulled = wait_until(lambda: moved(fleet, "node-4", "pull"), "the new node pulls KV")
            fleet.kill("node-4", signal.SIGTERM)
            played = len(load.records)
            wait_until(lambda: len(load.records) > played + SESSIONS, "chats go on")
        check(not load.failures, f"{len(load.failures)} turns failed: {load.failures[:3]}")
        rate = hit_rate(load.records)
        print(f"scale 4-5-4: {arrived()} turns on the fifth node, {pulled:.0f} sessions pulled by it, "
              f"inter-turn hit rate {rate:.4f}")
        check(rate >= 0.95, f"inter-turn hit rate {rate:.4f}")


def main():
    print(f"{SESSIONS} sessions of {TURNS} turns")
    rolling_restart()
    scale()


main()
