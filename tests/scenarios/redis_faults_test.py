"""Redis stopped, flushed, full, slow, failed over and killed: no turn fails, and sessions stay put."""

import contextlib
import signal
import socket

from streams import quiet
from chaos_proxy import ChaosProxy
from fleet import Fleet, chat, check, metric, route, wait_until

SESSIONS = 10


def command(address, *words):
    """One command to a Redis server; the first line of its answer."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 5) as s:
        s.sendall(f"*{len(words)}\r\n".encode()
                  + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
        return s.recv(4096).split(b"\r\n")[0].decode()


class Chats:
    """Some sessions and where they are."""

    def __init__(self, routers):
        self.routers = routers
        self.dialogues = {f"s{n}": [] for n in range(SESSIONS)}
        self.home = {}
        self.turn = 0

    def turn_each(self, what):
        """One turn of each session, by turns over the routers: no error, no move, no cold cache."""
        self.turn += 1
        for n, (session, messages) in enumerate(self.dialogues.items()):
            messages.append({"role": "user", "content": f"{self.turn}: is {what} bad, {session}?"})
            router = self.routers[(n + self.turn) % len(self.routers)]
            answer, headers = chat(router, messages, session, max_tokens=6)
            messages.append(answer["choices"][0]["message"])
            node = route(headers)["node"]
            check(self.home.setdefault(session, node) == node,
                  f"{what}: {session} went from {self.home[session]} to {node}")
            cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
            check(self.turn == 1 or cached > 0, f"{what}: {session} reused nothing")


def up(router):
    return metric(router, "hearth_directory_up") == 1


def wait_up(routers, wanted, what):
    wait_until(lambda: all(up(r) == wanted for r in routers), f"Redis is {what}", 30)


def main():
    with Fleet() as fleet, contextlib.ExitStack() as stack:
        first = fleet.start_redis()
        first_process = fleet.processes["redis"]
        proxy = stack.enter_context(ChaosProxy(first))
        fleet.redis = proxy.address
        for n in range(3):
            fleet.start_node(f"node-{n}")
        routers = [fleet.start_router(f"router-{r}") for r in range(2)]
        for router in routers:
            fleet.wait_members(router, 3)
        chats = Chats(routers)
        chats.turn_each("nothing")

        proxy.delay(0.2)
        chats.turn_each("a slow Redis")
        proxy.clear()

        first_process.send_signal(signal.SIGSTOP)
        chats.turn_each("a stopped Redis")
        wait_up(routers, False, "seen to be stopped")
        chats.turn_each("a Redis that is seen to be stopped")
        first_process.send_signal(signal.SIGCONT)
        wait_up(routers, True, "back")
        chats.turn_each("a Redis that goes on")

        check(command(first, "FLUSHALL") == "+OK", "FLUSHALL")
        chats.turn_each("a flushed Redis")
        for router in routers:
            fleet.wait_members(router, 3)

        check(command(first, "CONFIG", "SET", "maxmemory", "1") == "+OK", "CONFIG SET")
        chats.turn_each("a full Redis")
        check(command(first, "CONFIG", "SET", "maxmemory", "0") == "+OK", "CONFIG SET")

        # Fail-over: the name leads to the promoted replica, and old connections end.
        second = fleet.start_redis()
        host, port = first.rsplit(":", 1)
        check(command(second, "REPLICAOF", host, port) == "+OK", "REPLICAOF")
        wait_until(lambda: command(second, "DBSIZE") == command(first, "DBSIZE"), "the replica caught up")
        second_process = fleet.processes["redis"]
        fleet.processes["first redis"] = first_process
        first_process.kill()
        check(command(second, "REPLICAOF", "NO", "ONE") == "+OK", "REPLICAOF NO ONE")
        proxy.upstream = (second.rsplit(":", 1)[0], int(second.rsplit(":", 1)[1]))
        proxy.cut()
        chats.turn_each("a fail-over of Redis")
        wait_up(routers, True, "failed over")
        chats.turn_each("a Redis that failed over")

        proxy.down()
        second_process.kill()
        proxy.cut()
        chats.turn_each("a killed Redis")
        wait_up(routers, False, "seen to be dead")
        chats.turn_each("a Redis that is seen to be dead")
        check(len(set(chats.home.values())) > 1, "all sessions are on one node")
        for router in routers:
            wait_until(lambda r=router: quiet(r), "all gauges are back at 0")


main()
