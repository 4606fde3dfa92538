"""A client that leaves in mid-stream frees its sequence and its pages, on the node and the router."""

import json
import socket

from fleet import Fleet, check, metric, wait_until


def start_stream(address):
    host, port = address.rsplit(":", 1)
    body = json.dumps({"model": "tiny", "stream": True, "ignore_eos": True, "max_tokens": 3000,
                       "messages": [{"role": "user", "content": "Count to a million."}]}).encode()
    client = socket.create_connection((host, int(port)), 30)
    client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                   b"Content-Length: %d\r\n\r\n" % len(body) + body)
    received = b""
    while b"data: " not in received:
        piece = client.recv(4096)
        check(piece, f"the stream ended early: {received!r}")
        received += piece
    check(received.startswith(b"HTTP/1.1 200"), received[:80])
    return client


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        node = fleet.start_node("node-0")
        router = fleet.start_router()
        fleet.wait_members(router, 1)
        for address in (router, node):
            clients = [start_stream(address) for _ in range(4)]
            wait_until(lambda: metric(node, "hearth_engine_requests_running") == 4, "4 running")
            for client in clients:
                client.close()
            wait_until(lambda: metric(node, "hearth_engine_requests_running") == 0,
                       "nothing runs after the clients left")
        wait_until(lambda: metric(router, "hearth_router_node_in_flight") == 0, "in-flight is 0")
        active = metric(node, "hearth_cache_tier_blocks", 'state="active"')
        check(active == 0, f"{active} pages are still in use")


main()
