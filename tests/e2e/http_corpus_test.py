"""Every request of a corpus of odd HTTP is refused, or reaches the upstream as the one request that was logged.

The corpus lies beside the project (../shared/suites/http1/corpus.jsonl). Each case is sent three times: as it
is; with its request line made one that the router forwards; and so changed inside a connection that is kept.
"""

import asyncio
import base64
import json
import re
import sys

from fleet import SHARED, Fleet, check, skip

CORPUS = SHARED / "suites" / "http1" / "corpus.jsonl"
PATIENCE = 8.0  # seconds until a connection that is neither answered nor closed counts as hanging
AT_ONCE = 64
# "X: X<byte>Transfer-Encoding: chunked": by RFC 9110 section 5.5 one field, whose value holds these words.
ONE_FIELD = re.compile(r"xprespace-(09|20|a0|ff)/")


class Upstream:
    """Reads requests as strictly as can be, and keeps what it read. Anything odd is kept as `faults`."""

    def __init__(self):
        self.requests = []  # (request id, method, target, body bytes)
        self.faults = []

    async def start(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=1 << 20)
        return server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self.serve_one(head, reader, writer)
        except asyncio.IncompleteReadError as left:
            if left.partial:
                self.faults.append(("cut short", left.partial[:200]))
        except asyncio.LimitOverrunError:
            self.faults.append(("endless head", b""))
        except (ConnectionError, asyncio.CancelledError):
            pass  # the router closed, or the test is over
        finally:
            writer.close()

    async def serve_one(self, head, reader, writer):
        lines = head[:-4].split(b"\r\n")
        line = re.fullmatch(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1", lines[0])
        fields = [re.fullmatch(rb"([!#-'*+\-.0-9A-Z^-z|~]+): ([\t -~\x80-\xff]*)", f) for f in lines[1:]]
        if not line or not all(fields) or b"\n" in head.replace(b"\r\n", b"") or b"\r" in head.replace(b"\r\n", b""):
            self.faults.append(("malformed head", head[:300]))
            raise ConnectionError
        named = {}
        for field in fields:
            named.setdefault(field[1].lower(), []).append(field[2])
        length, coding = named.get(b"content-length", []), named.get(b"transfer-encoding", [])
        if len(length) + len(coding) > 1 or len(named.get(b"host", [])) != 1:
            self.faults.append(("two ways to read it", head[:300]))
        for name in (b"connection", b"te", b"trailer", b"upgrade", b"keep-alive", b"expect"):
            if name in named and named[name] != [b"keep-alive"]:
                self.faults.append(("a field of another hop", head[:300]))
        size = int(length[0]) if length else 0
        if length:
            await reader.readexactly(size)
        elif coding:
            size = await self.read_chunks(reader)
        if line[2] != b"/health":
            self.requests.append((named[b"x-request-id"][0].decode("latin-1"), line[1].decode(),
                                  line[2].decode("latin-1"), size))
        if reader._buffer:  # the router never sends ahead of an answer
            self.faults.append(("more than one request", bytes(reader._buffer[:200])))
        body = b'{"object":"chat.completion"}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                     + (b"" if line[1] == b"HEAD" else body))
        await writer.drain()

    async def read_chunks(self, reader):
        total = 0
        while True:
            size = await reader.readuntil(b"\r\n")
            if not re.fullmatch(rb"[0-9a-f]+\r\n", size):
                self.faults.append(("odd chunk size", size))
                raise ConnectionError
            await reader.readexactly(int(size, 16))
            end = await reader.readexactly(2)
            if end != b"\r\n":
                self.faults.append(("odd chunk end", end))
            total += int(size, 16)
            if int(size, 16) == 0:
                return total


def retargeted(raw):
    """The case with a request line that the router forwards, and a session header; None if it has no line."""
    line, newline, rest = raw.partition(b"\n")
    version = re.search(rb"HTTP/\d\.\d\r?$", line)
    if not version or not newline:
        return None
    return (b"POST /v1/chat/completions " + version[0].rstrip(b"\r") + (b"\r\n" if line.endswith(b"\r") else b"\n")
            + b"x-session-id: s\r\n" + rest)


async def send(port, raw, before=b""):
    """All that the router says to these bytes; None when it neither answers nor closes in time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    try:
        writer.write(before + raw)
        await writer.drain()
        while True:
            piece = await asyncio.wait_for(reader.read(65536), PATIENCE)
            if not piece:
                return said
            said += piece
    except ConnectionError:
        return said
    except asyncio.TimeoutError:
        return None
    finally:
        writer.close()


async def run_all(port, cases):
    """Sends every case, some at once; the answers in order."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(raw, before):
        async with gate:
            return await send(port, raw, before)

    return await asyncio.gather(*(one(raw, before) for raw, before in cases))


def statuses(said):
    return [int(s) for s in re.findall(rb"(?:^|\n|(?<=[}\n]))HTTP/1\.[01] (\d{3}) ", said or b"")]


def logged(path):
    """The access log's lines as maps."""
    with open(path, encoding="utf-8") as log:
        lines = [json.loads(line) for line in log]
    return [line for line in lines if line.get("event") == "request"]


def check_forwards(upstream, lines):
    """One line for each forwarded request, and the same meaning in both."""
    check(not upstream.faults, f"the upstream saw {len(upstream.faults)} faults: {upstream.faults[:3]}")
    sent = {}
    for line in lines:
        if line["attempts"]:
            check(line["request_id"] not in sent, f"one id, two lines: {line}")
            sent[line["request_id"]] = line
    whole = {}
    for request_id, method, target, size in upstream.requests:
        check(request_id not in whole, f"request {request_id} came twice")
        whole[request_id] = (method, target, size)
        line = sent.get(request_id)
        check(line is not None, f"request {request_id} was forwarded without a line")
        check((line["method"], line["path"], line["body_bytes"]) == (method, target.partition("?")[0], size),
              f"logged {line}, forwarded {(method, target, size)}")
    for request_id, line in sent.items():
        check(request_id in whole or line["status"] != 200, f"answered but never received: {line}")
    return len(whole)


def main():
    if not CORPUS.exists():
        skip(f"the corpus is absent: {CORPUS}")
    with open(CORPUS, encoding="utf-8") as text:
        corpus = [json.loads(line) for line in text]
    keep = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: k\r\nx-session-id: k\r\nContent-Length: 2\r\n\r\n{}")
    cases, names = [], []
    for case in corpus:
        raw = base64.b64decode(case["raw"])
        cases.append((raw, b""))
        names.append((case["id"], case["expect"], "as is"))
        # Of these the fault is not in the request line that is replaced.
        strict = case["suite"] == "smuggler-default" and not ONE_FIELD.match(case["id"])
        expect = case["expect"] if strict else "unknown"
        if (changed := retargeted(raw)) is not None:
            cases += [(changed, b""), (changed, keep)]
            names += [(case["id"], expect, "retargeted"), (case["id"], "unknown", "kept")]
    asyncio.run(check_all(cases, names))


async def check_all(cases, names):
    upstream = Upstream()
    port = await upstream.start()
    with Fleet() as fleet:
        config = fleet.path("router.yaml")
        with open(config, "w", encoding="utf-8") as out:
            out.write(f"nodes:\n  - {{id: up, address: '127.0.0.1:{port}'}}\nhead_timeout_ms: 500\n"
                      "idle_timeout_ms: 500\nbody_timeout_ms: 500\n")
        address = await asyncio.to_thread(fleet.start_router, "router", "--config", config, "--log-json")
        answers = await run_all(int(address.rsplit(":", 1)[1]), cases)
        check(fleet.alive("router"), "the router died")
        hangs = [name for name, said in zip(names, answers) if said is None]
        check(not hangs, f"{len(hangs)} hangs: {hangs[:5]}")
        bad = [(name, said[:200]) for name, said in zip(names, answers)
               if name[1] == "reject" and (statuses(said) or [400])[0] < 400]
        check(not bad, f"{len(bad)} accepted that must be refused: {bad[:5]}")
        late = [name for name, said in zip(names, answers) if name[2] == "kept" and statuses(said)[:1] != [200]]
        check(not late, f"a good request before a bad one got no answer: {late[:5]}")
        await asyncio.to_thread(fleet.kill, "router", 15)
        count = check_forwards(upstream, logged(fleet.path("router.log")))
        check(count > len(names) // 3, f"only {count} requests were forwarded at all")
        print(f"{len(names)} sent, {count} forwarded, each once and as logged; the others refused")


if __name__ == "__main__":
    sys.exit(main())
