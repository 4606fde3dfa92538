"""A router is replaced again and again under load, and no connection is refused, reset or left alone.

HEARTH_RESTARTS sets how often (default 10).
"""

import http.server
import os
import signal
import socket
import threading

from fleet import BIN, Fleet, check, request, wait_until

RESTARTS = int(os.environ.get("HEARTH_RESTARTS", "10"))
CLIENTS = 4


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers a chat; the slow path holds an event stream open until it is let go."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    released = threading.Event()

    def do_GET(self):
        self.answer(b'{"object":"list","data":[]}')

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if b"slow" not in body:
            self.answer(b'{"choices":[]}')
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.event(b"data: first\n\n")
        self.released.wait(60)
        self.event(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, text):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, *_):
        """A router that ends leaves its kept connections; that is no fault."""


def post(text):
    body = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}' % text
    return (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-session-id: s\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))


def read_to(connection, marker):
    seen = b""
    while marker not in seen:
        piece = connection.recv(65536)
        check(piece, f"the connection ended after {seen!r}")
        seen += piece
    return seen


class Load:
    """Clients that make a connection for every request, all the time."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.over = threading.Event()
        self.served = 0
        self.faults = []
        self.threads = [threading.Thread(target=self.run) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.over.is_set():
            try:
                with socket.create_connection(self.address, 20) as connection:
                    connection.sendall(post(b"hi"))
                    answer = read_to(connection, b'{"choices":[]}')
                check(answer.startswith(b"HTTP/1.1 200 "), answer[:200])
                self.served += 1
            except (OSError, AssertionError) as fault:
                self.faults.append(repr(fault))

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(30)


def start(fleet, name, listen, *flags):
    command = [BIN / "hearth-router", "--config", fleet.path("router.yaml"), "--listen", listen,
               "--admin-listen", "127.0.0.1:0", *flags]
    return fleet.start(name, command)


def replace_under_load(fleet, address, path):
    load = Load(address)
    wait_until(lambda: load.served > 20, "the load runs")
    for n in range(1, RESTARTS + 1):
        before = load.served
        again = start(fleet, f"router-{n}", address, "--takeover", path)
        check(again == address, f"{again} took over from {address}")
        wait_until(lambda: load.served > before + 20, f"requests are served after restart {n}")
        if n > 1:  # The first one still has a stream open.
            code = fleet.processes[f"router-{n - 1}"].wait(30)
            check(code == 0, f"router-{n - 1} ended with {code}")
    load.end()
    check(not load.faults, f"{len(load.faults)} faults, {load.served} served: {load.faults[:5]}")
    print(f"{RESTARTS} restarts under load: {load.served} connections served, 0 lost")


def main():
    upstream = Server(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    with Fleet() as fleet:
        with open(fleet.path("router.yaml"), "w", encoding="utf-8") as out:
            out.write(f"nodes: [{{id: up, address: '127.0.0.1:{upstream.server_port}'}}]\n"
                      "health_interval_ms: 100ms\n")
        path = fleet.path("takeover.sock")
        address = start(fleet, "router-0", "127.0.0.1:0", "--takeover", path)
        wait_until(lambda: request(address, "GET", "/ready")[0] == 200, "the first router is ready")
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), 30) as slow:
            slow.sendall(post(b"slow"))
            read_to(slow, b"first")
            replace_under_load(fleet, address, path)
            check(fleet.alive("router-0"), "a router left its stream")
            Upstream.released.set()
            read_to(slow, b"[DONE]")
        check(fleet.processes["router-0"].wait(30) == 0, "the first router ended badly")

        # A successor that never serves changes nothing.
        last = f"router-{RESTARTS}"
        link = socket.socket(socket.AF_UNIX)
        link.connect(path)
        handed = socket.recv_fds(link, 1, 4)[1]
        check(len(handed) == 2, f"{len(handed)} sockets were handed over")
        for descriptor in handed:
            os.close(descriptor)
        link.close()
        check(request(address, "GET", "/ready")[0] == 200, "the router gave up too early")
        check(fleet.alive(last), "the router ended without a successor")
        fleet.kill(last, signal.SIGTERM)
        # Its door stands for nobody now; the next start binds anew.
        check(start(fleet, "anew", address, "--takeover", path) == address, "no new start")


main()
