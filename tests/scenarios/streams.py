"""Streams for the scenarios: many at once, what each got and when, and what two runs must share."""

import json
import pathlib
import re
import socket
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE.parent / "support")]

from fleet import check, metric, wait_until  # noqa: E402


class Stream(threading.Thread):
    """One streamed turn over a socket of its own; reads until the answer ends or breaks."""

    def __init__(self, address, body, session, path="/v1/chat/completions", headers=None, timeout=60):
        super().__init__(daemon=True)
        self.address, self.path, self.session = address, path, session
        self.body = json.dumps({"model": "tiny", "stream": True, **body}).encode()
        self.headers = headers or {}
        self.timeout = timeout
        self.status = 0
        self.head = b""
        self.text = b""  # The event stream, without HTTP's framing.
        self.whole = False  # The answer had its proper end.
        self.failure = None
        self.times = []  # When bytes came.
        self.leave = threading.Event()

    def run(self):
        try:
            self.talk()
        except (OSError, ValueError) as error:
            self.failure = repr(error)

    def talk(self):
        host, port = self.address.rsplit(":", 1)
        lines = [f"POST {self.path} HTTP/1.1", "host: x", "content-type: application/json",
                 f"content-length: {len(self.body)}", f"x-session-id: {self.session}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        with socket.create_connection((host, int(port)), self.timeout) as s:
            s.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + self.body)
            raw = b""
            while not self.leave.is_set():
                piece = s.recv(65536)
                self.times.append(time.monotonic())
                raw += piece
                if not self.head and b"\r\n\r\n" in raw:
                    self.head, raw = raw.split(b"\r\n\r\n", 1)
                    self.status = int(self.head.split()[1])
                if self.head and b"transfer-encoding: chunked" not in self.head.lower():
                    length = re.search(rb"content-length: (\d+)", self.head.lower())
                    self.text = raw
                    self.whole = length is not None and len(raw) >= int(length[1])
                elif self.head:
                    raw = self.unchunk(raw)
                if self.whole or not piece:
                    return

    def unchunk(self, raw):
        while not self.whole:
            line, found, rest = raw.partition(b"\r\n")
            if not found:
                break
            size = int(line, 16)
            if len(rest) < size + 2:
                break
            self.text += rest[:size]
            raw = rest[size + 2:]
            self.whole = size == 0
        return raw

    def events(self):
        """The data of each event, as text."""
        return [event[len("data: "):] for event in self.text.decode().split("\n\n")
                if event.startswith("data: ")]

    def longest_gap(self, since):
        """Longest wait for bytes after a moment."""
        moments = [since] + [t for t in self.times if t > since]
        return max((b - a for a, b in zip(moments, moments[1:])), default=0.0)

    def error_code(self):
        """Of the last event, if that is an error."""
        events = self.events()
        if not events or not events[-1].startswith('{"error"'):
            return None
        return json.loads(events[-1])["error"]["code"]

    def node(self):
        found = re.search(rb"hearth-route: node=([^;\r]*)", self.head)
        return found[1].decode() if found else ""


def comparable(text):
    """A stream without what differs between any two runs of the same request."""
    text = re.sub(rb'"id":"[^"]*"', b'"id":"*"', text)
    text = re.sub(rb'"created":\d+', b'"created":*', text)
    return re.sub(rb'"(cached|cache_write)_tokens":\d+', rb'"\1_tokens":*', text)


def one_answer(text):
    """All chunks of a stream bear one id and one time."""
    ids = set(re.findall(rb'"id":"([^"]*)"', text))
    created = set(re.findall(rb'"created":(\d+)', text))
    return len(ids) == 1 and len(created) == 1


def run_all(streams):
    for stream in streams:
        stream.start()
    for stream in streams:
        stream.join(120)
        check(not stream.is_alive(), f"{stream.session} never ended")


def wait_flowing(streams, events=3, seconds=60):
    """Until each stream has got some events."""
    wait_until(lambda: all(s.text.count(b"\n\n") > events for s in streams),
               "all streams flow", seconds)


# Requests whose replies depend on all that an heir must take over.
VARIETY = [
    {"temperature": 0},
    {"temperature": 0.9, "seed": 7},
    {"temperature": 1.0, "seed": 8, "top_p": 0.9, "top_k": 40},
    {"temperature": 0.8, "seed": 9, "frequency_penalty": 0.7, "presence_penalty": 0.3},
    {"temperature": 0.7, "seed": 10, "repetition_penalty": 1.2},
    {"temperature": 1.0, "seed": 11, "logprobs": True, "top_logprobs": 2},
    {"temperature": 1.0, "seed": 12, "stop": ["zq", "\u00e9\u00e9"]},
    {"temperature": 1.2, "seed": 13, "stream_options": {"include_usage": True}},
]


def request(n, max_tokens):
    """The n-th request of a scenario."""
    return {"messages": [{"role": "user", "content": f"Story number {n}, please."}],
            "max_tokens": max_tokens, "ignore_eos": True, **VARIETY[n % len(VARIETY)]}


def start_router_to(fleet, addresses, *flags, name="router"):
    """A router with a static list of nodes, named node-0 and on, and no Redis."""
    config = fleet.path(name + ".yaml")
    with open(config, "w", encoding="utf-8") as out:
        out.write("nodes:\n")
        for n, address in enumerate(addresses):
            out.write(f"  - {{id: node-{n}, address: '{address}'}}\n")
    return fleet.start_router(name, "--config", config, *flags)


def quiet(router):
    """Whether a router has nothing under way: its gauges are back at 0."""
    return all(metric(router, name) == 0
               for name in ("hearth_router_requests_in_flight", "hearth_router_node_in_flight"))
