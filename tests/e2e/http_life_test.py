"""HTTP/1.1 as clients use it at its edges: HEAD, pipelining, Expect, limits, chunks, trailers, hops, HTTP/1.0."""

import json
import re
import socket
import socketserver
import threading

from fleet import Fleet, check

LIMIT = 1 << 20
PATH = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"


class Upstream(socketserver.StreamRequestHandler):
    """Tells in its answer what it received: head as text, and the body's size."""

    def handle(self):
        try:
            self.serve()
        except ConnectionError:
            pass  # the router gave the request up

    def serve(self):
        while head := self.read_head():
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            size = int(fields.get("content-length", 0))
            while size > 0:
                size -= len(self.rfile.read(min(size, 65536)))
            total = int(fields.get("content-length", 0))
            if fields.get("transfer-encoding") == "chunked":
                total = self.read_chunks()
            self.answer(json.dumps({"head": head, "body": total}).encode(), "x-stream: 1" in head)

    def read_head(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return None
            head += line
        return head[:-2].decode("latin-1")

    def read_chunks(self):
        total = 0
        while line := self.rfile.readline():
            size = int(line, 16)
            total += len(self.rfile.read(size))
            self.rfile.read(2)  # behind the last chunk this is the end
            if size == 0:
                return total
        raise ConnectionError

    def answer(self, body, stream):
        if not stream:
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            return
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nTrailer: x-late\r\n"
                         b"transfer-encoding: chunked\r\n\r\n")
        for piece in (b"data: ", body, b"\n\n"):
            self.wfile.write(b"%x;ext=1\r\n" % len(piece) + piece + b"\r\n")
        self.wfile.write(b"0\r\nx-late: 1\r\n\r\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class Client:
    """A raw connection to the router."""

    def __init__(self, address):
        self.socket = socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), 20)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def head(self):
        """Status and fields of the next answer."""
        line = self.file.readline()
        status = re.match(rb"HTTP/1\.1 (\d{3}) ", line)
        check(status, f"no status line: {line!r}")
        fields = {}
        while (line := self.file.readline()) != b"\r\n":
            name, _, value = line.decode("latin-1").strip().partition(": ")
            fields[name.lower()] = value
        return int(status[1]), fields

    def answer(self):
        status, fields = self.head()
        return status, fields, self.file.read(int(fields["content-length"]))

    def closed(self):
        return self.file.read() == b""


def chunked(data, step):
    pieces = [data[i:i + step] for i in range(0, len(data), step)]
    return b"".join(b"%x;a=b\r\n" % len(p) + p + b"\r\n" for p in pieces) + b"0\r\n"


def test_head(address):
    with Client(address) as client:
        for path, expected in ((b"/health", 200), (b"/v1/models", 200), (b"/v1/chat/completions", 405),
                               (b"/none", 404)):
            client.send(b"HEAD " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            status, _ = client.head()
            if path != b"/v1/models":  # the fake upstream has no list
                check(status == expected, f"HEAD {path!r}: {status}")
        client.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")  # no body was left in between
        check(client.answer()[0] == 200, "GET after HEADs")


def test_pipelining(address):
    with Client(address) as client:
        count = 30
        requests = b""
        for n in range(count):
            body = b"x" * (n * 100)
            framing = (b"content-length: %d\r\n\r\n" % len(body) + body if n % 2 else
                       b"transfer-encoding: chunked\r\n\r\n" + chunked(body, 700) + b"\r\n")
            requests += PATH + b"x-session-id: s%d\r\nx-request-id: p-%d\r\n" % (n, n) + framing
        client.send(requests)
        for n in range(count):
            status, fields, body = client.answer()
            check((status, fields["x-request-id"]) == (200, f"p-{n}"), f"answer {n}: {status} {fields}")
            check(json.loads(body)["body"] == n * 100, f"answer {n} has another body")


def test_expect(address):
    with Client(address) as client:
        client.send(PATH + b"x-session-id: s\r\nExpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        check(client.head()[0] == 100, "no 100 Continue")
        client.send(b"body")
        status, _, body = client.answer()
        said = json.loads(body)
        check((status, said["body"]) == (200, 4), f"{status} {body!r}")
        check("expect" not in said["head"].lower(), "Expect was forwarded")
    with Client(address) as client:
        client.send(PATH + b"x-session-id: s\r\nExpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % (LIMIT + 1))
        status, fields, _ = client.answer()
        check((status, fields["connection"]) == (413, "close"), f"{status} {fields}")
    with Client(address) as client:
        client.send(PATH + b"Expect: 200-maybe\r\ncontent-length: 4\r\n\r\n")
        check(client.answer()[0] == 417, "another expectation")


def test_limits(address):
    for size, expected in ((LIMIT, 200), (LIMIT + 1, 413)):
        for session in (b"x-session-id: s\r\n", b""):
            body = json.dumps({"prompt": ""}).encode()
            body = body[:-2] + b"x" * (size - len(body)) + body[-2:]
            with Client(address) as client:
                client.send(PATH + session + b"content-length: %d\r\n\r\n" % size)
                if expected == 200:
                    client.send(body)
                status, _, answer = client.answer()
                check(status == expected, f"length {size}, {session!r}: {status} {answer[:200]!r}")
                check(expected != 200 or json.loads(answer)["body"] == size, "part of the body is missing")
            with Client(address) as client:
                client.send(PATH + session + b"transfer-encoding: chunked\r\n\r\n" + chunked(body, 50_000) + b"\r\n")
                status, _, answer = client.answer()
                check(status == expected, f"chunked {size}, {session!r}: {status} {answer[:200]!r}")
                check(expected != 200 or json.loads(answer)["body"] == size, "part of the chunks is missing")


def test_fields(address):
    with Client(address) as client:
        client.send(PATH + b"x-session-id: s\r\nConnection: x-mine, keep-alive\r\nX-Mine: 1\r\nTE: trailers\r\n"
                    b"Upgrade: h2c\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTrailer: hearth-session\r\n"
                    b"x-other: 2\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(b"abc", 2)
                    + b"hearth-session: 00\r\nauthorization: evil\r\n\r\n")
        status, _, body = client.answer()
        head = json.loads(body)["head"].lower()
        check(status == 200 and json.loads(body)["body"] == 3, f"{status} {body!r}")
        for name in ("x-mine", "te", "upgrade", "keep-alive", "proxy-connection", "trailer", "authorization"):
            check(f"\r\n{name}:" not in head, f"{name} was forwarded")
        check("\r\nx-other: 2" in head and "evil" not in head and head.count("hearth-session") == 1, head)


def test_streams(address):
    with Client(address) as client:
        client.send(PATH + b"x-session-id: s\r\nx-stream: 1\r\ncontent-length: 2\r\n\r\n{}")
        status, fields = client.head()
        check(status == 200 and fields["transfer-encoding"] == "chunked", f"{status} {fields}")
        check("trailer" not in fields, "Trailer was passed on")
        body = b""
        while size := int(client.file.readline(), 16):
            body += client.file.read(size)
            client.file.read(2)
        check(client.file.readline() == b"\r\n", "a trailer was passed on")
        check(body.startswith(b"data: {") and body.endswith(b"}\n\n"), body[:100])


def test_http_1_0(address):
    old = PATH.replace(b"1.1", b"1.0").replace(b"Host: a\r\n", b"")
    with Client(address) as client:
        client.send(old + b"x-session-id: s\r\ncontent-length: 2\r\n\r\n{}")
        status, fields, body = client.answer()
        check((status, fields["connection"]) == (200, "close") and client.closed(), f"{status} {fields}")
        check("HTTP/1.1" in json.loads(body)["head"], "the node got HTTP/1.0")
    with Client(address) as client:
        for _ in range(2):
            client.send(old + b"x-session-id: s\r\nConnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}")
            check(client.answer()[1]["connection"] == "keep-alive", "HTTP/1.0 keep-alive")
    with Client(address) as client:
        client.send(old + b"x-session-id: s\r\nx-stream: 1\r\ncontent-length: 2\r\n\r\n{}")
        status, fields = client.head()
        check(status == 200 and "transfer-encoding" not in fields, f"{status} {fields}")
        body = client.file.read()
        check(body.startswith(b"data: {") and body.endswith(b"}\n\n"), body[:100])
    with Client(address) as client:
        client.send(old + b"x-session-id: s\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
        check(client.answer()[0] == 400, "chunks in HTTP/1.0")


def main():
    server = Server(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Fleet() as fleet:
        config = fleet.path("router.yaml")
        with open(config, "w", encoding="utf-8") as out:
            out.write(f"nodes:\n  - {{id: up, address: '127.0.0.1:{server.server_address[1]}'}}\n"
                      f"body_bytes_max: {LIMIT}\nlog_level: warn\n")
        address = fleet.start_router("router", "--config", config)
        for test in (test_head, test_pipelining, test_expect, test_limits, test_fields, test_streams, test_http_1_0):
            test(address)
            print(f"{test.__name__}: ok")


if __name__ == "__main__":
    main()
