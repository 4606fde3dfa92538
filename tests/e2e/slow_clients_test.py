"""Slow heads, slow bodies and slow readers, many at once, do not keep others from being served, and are cut.

slow_clients_test.py [--connections N]: N of each kind (default 200; 1000 is slowhttptest's usual figure).
"""

import argparse
import asyncio
import json
import resource
import select
import socket
import subprocess
import sys
import time

from fleet import Fleet, check, metric, wait_until

LATE = 5.0  # seconds; a good request that takes longer was harmed
PATIENCE = 25.0  # seconds within which every attacker must have been cut
RETURN_SECONDS = 5.0
DRIP = 1.0  # seconds between two bytes of an attacker
EVENT = b"data: " + b"x" * 4000 + b"\n\n"
EVENTS = 150
ANSWER = b'{"object":"chat.completion"}'


async def upstream(reader, writer):
    """Answers a short JSON text; to session `endless` more events than buffers take."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = [line[15:] for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(size[0]) if size else 0)
            if b"x-session-id: endless" not in head:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
                continue
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                         b"transfer-encoding: chunked\r\n\r\n")
            for _ in range(EVENTS):
                writer.write(b"%x\r\n" % len(EVENT) + EVENT + b"\r\n")
                await writer.drain()
            await reader.read(1)  # until the router leaves
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


def request_bytes(session, body=b"{}"):
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nx-session-id: %s\r\ncontent-length: %d\r\n\r\n"
            % (session, len(body)) + body)


async def connected(port, receive_bytes=None):
    """A connection to the router, with a small receive buffer if asked."""
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def dripper(port, opening, drop):
    """Sends an opening and then a drop now and then until it is cut."""
    loop = asyncio.get_running_loop()
    sock = await connected(port)
    try:
        await loop.sock_sendall(sock, opening)
        while True:
            try:  # an answer or the end of the connection: both mean that the router had enough
                return await asyncio.wait_for(loop.sock_recv(sock, 4096), DRIP)
            except asyncio.TimeoutError:
                await loop.sock_sendall(sock, drop)
    except ConnectionError:
        return b""
    finally:
        sock.close()


async def comes_back(port, opening, drop):
    """A dripper that connects again when it was cut, for a while."""
    end = time.monotonic() + RETURN_SECONDS
    while time.monotonic() < end:
        await dripper(port, opening, drop)
        await asyncio.sleep(DRIP / 5)


async def serve_upstream():
    """A process of its own, so that it answers at once while this one plays hundreds of attackers."""
    server = await asyncio.start_server(upstream, "127.0.0.1", 0, backlog=4096)
    print(f"ready http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def sipper(port, over):
    """Asks for an endless answer and reads next to nothing until `over`.

    It cannot see that it was cut: what is in the kernel's buffers would take it days to read.
    """
    loop = asyncio.get_running_loop()
    sock = await connected(port, 2048)
    try:
        await loop.sock_sendall(sock, request_bytes(b"endless"))
        while not over.is_set() and await loop.sock_recv(sock, 16):
            await asyncio.sleep(DRIP)
    except ConnectionError:
        pass
    finally:
        sock.close()


def good_clients(port, keep):
    """A process of its own: asks on fresh connections, and with `keep` on a kept one too, until its stdin ends.

    Prints how many requests were answered, and how long the slowest took.
    """
    slowest, count, lost = 0.0, 0, 0
    kept = [socket.create_connection(("127.0.0.1", port), 30)] if keep else []
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        fresh = socket.create_connection(("127.0.0.1", port), 30)
        for sock in (*kept, fresh):
            begin = time.monotonic()
            sock.sendall(request_bytes(b"good"))
            answer = b""
            while not answer.endswith(ANSWER) and (piece := sock.recv(4096)):
                answer += piece
            if not answer:  # closed to make room before its request came: it may be sent again
                lost += 1
                continue
            check(answer.startswith(b"HTTP/1.1 200"), f"a good request got {answer[:60]!r}")
            slowest, count = max(slowest, time.monotonic() - begin), count + 1
        fresh.close()
    print(json.dumps([slowest, count, lost]))


async def attack(port, attackers, keep):
    """Runs attackers until each was cut, and good clients beside them."""
    begin = time.monotonic()
    tasks = [asyncio.create_task(a) for a in attackers]
    good = [subprocess.Popen([sys.executable, __file__, "--good", f"{port} {keep}"], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    _, left = await asyncio.wait(tasks, timeout=PATIENCE)
    seconds = time.monotonic() - begin
    said = [await asyncio.to_thread(process.communicate) for process in good]
    for task in left:
        task.cancel()
    check(all(out for out, _ in said), "a good client failed")
    results = [json.loads(out) for out, _ in said]
    check(not left, f"{len(left)} of {len(tasks)} attackers were still there after {PATIENCE} s")
    slowest, count = max(r[0] for r in results), sum(r[1] for r in results)
    check(slowest < LATE, f"a good request took {slowest:.2f} s")
    lost = sum(r[2] for r in results)
    check(lost <= (0 if keep else count // 20), f"{lost} of {count} good requests were lost")
    return seconds, slowest, count


async def run(fleet, connections):
    node = await asyncio.to_thread(fleet.start, "upstream", [sys.executable, __file__, "--upstream"])
    config = fleet.path("router.yaml")
    with open(config, "w", encoding="utf-8") as out:
        # Less room than there are slow heads: newcomers must still get in.
        out.write(f"nodes:\n  - {{id: up, address: '{node}'}}\nhead_timeout_ms: 4s\n"
                  f"body_timeout_ms: 20s\nbody_rate_min: 500\nwrite_timeout_ms: 4s\nlog_level: warn\n")
    address = await asyncio.to_thread(fleet.start_router, "router", "--config", config)
    tight = await asyncio.to_thread(fleet.start_router, "tight", "--config", config,
                                    "--connections-max", str(max(16, connections // 2)))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
    body = head + b"x-session-id: s\r\nContent-Length: 100000\r\n\r\n"
    given_up = asyncio.Event()  # All slow readers, by the router.
    rounds = {
        "heads": (address, lambda p: dripper(p, head, b"x-a: b\r\n")),
        "heads, more than there is room for": (tight, lambda p: comes_back(p, head, b"x-a: b\r\n")),
        "bodies": (address, lambda p: dripper(p, body, b"x")),
        "readers": (address, lambda p: sipper(p, given_up)),
    }

    async def one(name):
        where, make = rounds[name]
        number = int(where.rsplit(":", 1)[1])
        # A full router closes idle connections, so there every good request comes on a fresh one.
        done = await attack(number, [make(number) for _ in range(connections)], where == address)
        print(f"slow {name}: {connections} cut after {done[0]:.1f} s; {done[2]} good requests, "
              f"the slowest {done[1] * 1e3:.0f} ms")

    def readers_cut():
        return metric(address, "hearth_router_aborted_requests_total", 'reason="slow_client"') >= connections

    async def watch_readers():
        await asyncio.to_thread(wait_until, readers_cut, "slow readers are cut", PATIENCE)
        given_up.set()

    await asyncio.gather(watch_readers(), *(one(name) for name in rounds))
    for router in (address, tight):
        check(fleet.alive("router") and fleet.alive("tight"), "a router died")
        for gauge in ("hearth_router_requests_in_flight", "hearth_router_node_in_flight"):
            await asyncio.to_thread(wait_until, lambda g=gauge, r=router: metric(r, g) == 0, gauge)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--good", help="internal: be a good client")
    parser.add_argument("--upstream", action="store_true", help="internal: be the upstream")
    arguments = parser.parse_args()
    if arguments.upstream:
        asyncio.run(serve_upstream())
    if arguments.good:
        good_clients(int(arguments.good.split()[0]), arguments.good.endswith("True"))
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Fleet() as fleet:
        asyncio.run(run(fleet, arguments.connections))


if __name__ == "__main__":
    main()
