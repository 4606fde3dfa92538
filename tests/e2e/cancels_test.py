"""Clients that leave at random points, by the thousand, leave no gauge of the router above 0.

cancels_test.py [--cancels N] [--seed S]: default 10000 departures.
"""

import argparse
import asyncio
import json
import random
import re
import socket
import struct
import sys
import time

from fleet import Fleet, check, request, wait_until

AT_ONCE = 48
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\ncontent-type: application/json\r\n"
EVENT = b"data: {\"choices\":[{\"delta\":{\"content\":\"word\"}}]}\n\n"
AT_REST = re.compile(r"hearth_router_\w*(in_flight|queue_depth)\w*")


async def upstream(reader, writer):
    """Streams some events, after a while and with pauses; or answers a short text at once."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = [line[15:] for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(size[0]) if size else 0)
            if b"stream" not in body:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                continue
            await asyncio.sleep(0.005)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                         b"transfer-encoding: chunked\r\n\r\n")
            for _ in range(6):
                writer.write(b"%x\r\n" % len(EVENT) + EVENT + b"\r\n")
                await asyncio.sleep(0.002)
            writer.write(b"0\r\n\r\n")
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


async def serve_upstream():
    server = await asyncio.start_server(upstream, "127.0.0.1", 0, backlog=4096)
    print(f"ready http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def leave(port, rng):
    """One client that goes at a random point; which point it was."""
    loop = asyncio.get_running_loop()
    body = json.dumps({"stream": True, "messages": [{"role": "user", "content": "x" * rng.randrange(4000)}]})
    body = body.encode()
    fields = b"x-session-id: s%d\r\n" % rng.randrange(500) if rng.random() < 0.7 else b""
    whole = HEAD + fields + b"content-length: %d\r\n\r\n" % len(body) + body
    point = rng.choice(("head", "body", "wait", "wait", "stream", "stream", "end"))
    head_size = whole.index(b"\r\n\r\n") + 4
    sock = socket.socket()
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
        if point == "head":
            await loop.sock_sendall(sock, whole[:rng.randrange(head_size)])
        elif point == "body":
            await loop.sock_sendall(sock, whole[:rng.randrange(head_size, len(whole))])
        else:
            await loop.sock_sendall(sock, whole)
        if point in ("head", "body", "wait"):  # in the queue, at the node, or before either
            await asyncio.sleep(rng.random() * 0.02)
        elif point == "stream":
            await loop.sock_recv(sock, rng.randrange(1, 400))
        else:
            answer = b""
            while not answer.endswith(b"0\r\n\r\n") and (piece := await loop.sock_recv(sock, 4096)):
                answer += piece
                if not answer.startswith(b"HTTP/1.1 200"):
                    break
            check(re.match(rb"HTTP/1\.1 (200|429|503) ", answer), f"odd answer: {answer[:100]!r}")
            point = f"end {answer[9:12].decode()}"
        if rng.random() < 0.5:  # a reset in place of a FIN
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except ConnectionError:
        pass
    finally:
        sock.close()
    return point


async def leave_many(port, count, seed):
    """That many departures, some at once; how often each point was met."""
    points = {}
    todo = iter(range(count))

    async def client():
        for number in todo:
            point = await leave(port, random.Random(seed * 1_000_003 + number))
            points[point] = points.get(point, 0) + 1

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return points


def busy(address):
    """The gauges that should be at 0 and are not."""
    text = request(address, "GET", "/metrics")[2].decode()
    samples = [line.rsplit(" ", 1) for line in text.splitlines() if AT_REST.match(line)]
    check(len(samples) >= 4, f"gauges are missing: {samples}")
    return [(name, value) for name, value in samples if float(value) != 0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cancels", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--upstream", action="store_true", help="internal: be the upstream")
    arguments = parser.parse_args()
    if arguments.upstream:
        asyncio.run(serve_upstream())
    print(f"seed {arguments.seed}", flush=True)
    with Fleet() as fleet:
        node = fleet.start("upstream", [sys.executable, __file__, "--upstream"])
        config = fleet.path("router.yaml")
        with open(config, "w", encoding="utf-8") as out:
            out.write(f"nodes:\n  - {{id: up, address: '{node}'}}\nin_flight_max: 12\nqueue_max: 20\n"
                      "queue_timeout_ms: 2s\nlog_level: warn\n")
        address = fleet.start_router("router", "--config", config)
        points = asyncio.run(leave_many(int(address.rsplit(":", 1)[1]), arguments.cancels, arguments.seed))
        for point in ("head", "body", "wait", "stream", "end 200"):
            check(points.get(point, 0) > 0, f"nobody left at {point}: {points}")
        wait_until(lambda: not busy(address), "all gauges are at 0")
        text = request(address, "GET", "/metrics")[2].decode()
        waited = re.search(r"hearth_router_queue_duration_seconds_bucket{le=\"0.001\"} (\d+)", text)
        total = re.search(r"hearth_router_queue_duration_seconds_count (\d+)", text)
        check(int(total[1]) > int(waited[1]), "nobody waited in the queue")
        check(fleet.alive("router"), "the router died")
        print(f"{arguments.cancels} clients left ({points}); all gauges are at 0")


if __name__ == "__main__":
    main()
