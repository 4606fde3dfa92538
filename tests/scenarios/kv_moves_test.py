"""KV follows its sessions: nodes restarted one after another, one that comes and goes, one that an
operator drains, one killed.

The size of a longer run: kv_moves_test.py 200
"""

import json
import signal
import sys
import threading

from chats import Chats
from fleet import Fleet, check, metric, redis_command, wait_until

NODES = 4
SESSIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 16
HEARTBEAT = ("--heartbeat-ms", "100ms")
# Pages of 68 KiB: large enough to be received where they are to stay.
SHAPE = {"layers": 4, "heads": 2, "kv_heads": 2, "head_dim": 64}


def ample(sessions):
    """Memory that holds all of them, wherever they go."""
    return f"{max(64, 4 * sessions)}MiB"


def reference(turns, sessions=SESSIONS):
    """What one node that never fails replies and finds again."""
    with Fleet() as fleet:
        fleet.tiny_model(**SHAPE)
        chats = Chats(fleet.start_node("alone", "--kv-memory", ample(sessions)), sessions)
        for turn in range(turns):
            chats.round(turn)
            if turn == 1:
                chats.bytes = metric(fleet.address["alone"], "hearth_cache_tier_bytes")
        return chats


class Moves(Fleet):
    """Nodes with peers, a router, and chats in play."""

    def begin(self, *flags, sessions=SESSIONS, memory=None, disk=False):
        self.flags = (*HEARTBEAT, "--kv-memory", memory or ample(sessions), *flags)
        self.tiny_model(**SHAPE)
        self.start_redis()
        for n in range(NODES):
            own = ("--kv-disk", self.disk(n), "--kv-disk-bytes", "1GiB") if disk else ()
            self.start_node(f"node-{n}", *self.flags, *own)
        self.start_router()
        self.wait_members(self.address["router"], NODES)
        self.chats = Chats(self.address["router"], sessions)
        self.turn = 0

    def rounds(self, count):
        for _ in range(count):
            self.chats.round(self.turn)
            self.turn += 1

    def stop(self, name):
        """SIGTERM while chats go on: the node hands its sessions over and ends."""
        process = self.processes[name]
        ended = threading.Thread(target=lambda: process.wait(60))
        process.send_signal(signal.SIGTERM)
        ended.start()
        self.rounds(1)
        ended.join(60)
        check(process.poll() == 0, f"{name} ended with {process.poll()}")

    def rejoin(self, name):
        self.start_node(name, *self.flags)
        self.wait_members(self.address["router"], NODES)

    def rate(self, ideal, turns=None):
        """Found again, of what the reference found; replies must be the same."""
        for at, reply in self.chats.replies.items():
            check(ideal.replies[at] == reply, f"the reply of session and turn {at} changed")
        at = [k for k in self.chats.cached if k[1] > 0 and (turns is None or k[1] in turns)]
        return sum(self.chats.cached[k] for k in at) / sum(ideal.cached[k] for k in at)

    def accepted(self):
        return self.total("hearth_transfer_sessions_total", 'kind="accepted"', 'result="ok"')

    def settle(self):
        """Until no more copies arrive: several turns of a session may share one."""
        seen = [-1.0, 0]

        def is_still():
            now = self.accepted()
            seen[1] = seen[1] + 1 if now == seen[0] else 0
            seen[0] = now
            return now >= SESSIONS and seen[1] >= 15

        wait_until(is_still, "every session has its copy")

    def published(self, node):
        """Tokens of each session that the store says the node holds, once no more is published."""
        seen = [None, 0]

        def read():
            keys = redis_command(self.redis, "KEYS", "hearth:{default}:session:*")
            now = sorted(int(redis_command(self.redis, "HGET", key, "tokens")) for key in keys
                         if redis_command(self.redis, "HGET", key, "node_id") == node)
            seen[1] = seen[1] + 1 if now == seen[0] else 0
            seen[0] = now
            return seen[1] >= 15

        wait_until(read, "records stay as they are")
        return seen[0]

    def total(self, name, *labels):
        return sum(metric(self.address[n], name, *labels) for n in self.processes
                   if n.startswith("node") and self.alive(n))


def rolling_restart(ideal):
    with Moves() as fleet:
        fleet.begin()
        fleet.rounds(2)
        for n in range(NODES):
            fleet.stop(f"node-{n}")
            fleet.rejoin(f"node-{n}")
        fleet.rounds(1)
        rate = fleet.rate(ideal)
        print(f"rolling restart of {NODES} nodes: {rate:.4f}")
        check(rate >= 0.95, f"inter-turn hit rate {rate:.4f}")
        check(fleet.accepted() > 0, "no session was handed over")


def scale(ideal):
    with Moves() as fleet:
        fleet.begin()
        fleet.rounds(2)
        fleet.start_node("node-4", *fleet.flags)
        fleet.wait_members(fleet.address["router"], NODES + 1)
        fleet.rounds(2)
        fleet.stop("node-4")
        fleet.rounds(1)
        rate = fleet.rate(ideal)
        print(f"4 nodes, 5, 4: {rate:.4f}")
        check(rate >= 0.95, f"inter-turn hit rate {rate:.4f}")


def drained(ideal):
    """An operator's drain hands over what memory has and what only the disk has, while chats go on."""
    with Moves() as fleet:
        fleet.begin(sessions=ideal.sessions, memory=str(int(ideal.bytes * 0.6 / NODES)), disk=True)
        fleet.rounds(2)
        node = max((f"node-{n}" for n in range(NODES)),
                   key=lambda n: metric(fleet.address[n], "hearth_cache_sessions"))
        address = fleet.address[node]
        held = metric(address, "hearth_cache_sessions") * ideal.bytes / ideal.sessions
        check(held > metric(address, "hearth_cache_tier_capacity_bytes", 'tier="device"'),
              "all of its sessions fit into its memory")
        fleet.hearth("router", "drain", node)
        fleet.rounds(1)  # Meanwhile.
        told = json.loads(fleet.hearth("router", "drain", node, "--wait", "--json"))
        check(told["drain"]["sessions"] == 0, f"sessions were left behind: {told}")
        check(metric(address, "hearth_cache_sessions") == 0, "the node still has sessions")
        turns = metric(address, "hearth_engine_turns_total")
        fleet.rounds(1)
        check(metric(address, "hearth_engine_turns_total") == turns, "a turn went to a drained node")
        fleet.hearth("router", "undrain", node)
        fleet.rounds(1)
        rate = fleet.rate(ideal)
        missed = {r: fleet.total("hearth_engine_missed_tokens_total", f'reason="{r}"')
                  for r in ("rerouted", "evicted", "diverged", "capacity", "declined")}
        print(f"a node drained by its operator: {rate:.4f}; missed {missed}")
        check(rate >= 0.95, f"inter-turn hit rate {rate:.4f}")


def killed(ideal, replicate):
    with Moves() as fleet:
        fleet.begin("--replicate", "1" if replicate else "0")
        fleet.rounds(3)
        if replicate:
            fleet.settle()
        victim = max((f"node-{n}" for n in range(NODES)),
                     key=lambda n: metric(fleet.address[n], "hearth_cache_sessions"))
        held = metric(fleet.address[victim], "hearth_cache_sessions")
        known = fleet.published(victim)
        fleet.kill(victim)
        wait_until(lambda: metric(fleet.address["router"], "hearth_router_node_health") < NODES,
                   "the router misses the node")
        fleet.rounds(1)
        rate = fleet.rate(ideal, {3})
        lost, unsure = (fleet.total("hearth_engine_missed_tokens_total", f'reason="{r}"')
                        for r in ("node_lost", "rerouted"))
        print(f"a node killed, replicate {int(replicate)}: {rate:.4f}, {lost:.0f} tokens node_lost")
        if replicate:
            check(rate >= 0.90, f"inter-turn hit rate {rate:.4f} after the loss of a node")
            return
        cold = [s for s in range(SESSIONS) if fleet.chats.cached[s, 3] < ideal.cached[s, 3] / 2]
        check(len(cold) == len(known) == held, f"{len(cold)} sessions missed, {held} were held")
        # What the node had published of them, but for what the heirs found (the template's words).
        missed = sum(known) - sum(fleet.chats.cached[s, 3] for s in cold)
        # A node that Redis does not answer in time cannot tell why it lacks a session.
        check(lost + unsure == missed and lost > 0.6 * missed > 0,
              f"the clients lost {missed} tokens; booked: node_lost {lost}, rerouted {unsure}")
        fleet.rounds(1)
        rate = fleet.rate(ideal, {4})
        check(rate >= 0.99, f"sessions missed more than once: {rate:.4f}")


def main():
    ideal = reference(2 + NODES + 1)
    rolling_restart(ideal)
    scale(ideal)
    drained(reference(5, 3 * SESSIONS))
    killed(ideal, True)
    killed(ideal, False)


main()
