"""KV events: a subscriber made as vLLM's are, which knows nothing but them, tells what each turn finds cached."""

import json
import os
import re
import signal
import subprocess
import sys

from fleet import Fleet, chat, check, metric, request, skip, wait_until

if __name__ == "__main__":
    PYTHON = os.environ.get("HEARTH_TEST_PYTHON", sys.executable)
    if subprocess.run([PYTHON, "-c", "import zmq, msgspec"], capture_output=True).returncode:
        skip("pyzmq and msgspec are not installed (./dev test installs them)")
    if PYTHON != sys.executable and "--inner" not in sys.argv:  # A venv's is a link to the same file.
        sys.exit(subprocess.run([PYTHON, __file__, "--inner"]).returncode)

import msgspec
import zmq

PAGE = 64
END = (2**64 - 1).to_bytes(8, "big")


def decoder(is_array):
    """vLLM's structs: since 0.24 events are maps (is_array False), before that arrays."""

    class Event(msgspec.Struct, array_like=is_array, omit_defaults=True, tag=True):
        pass

    class BlockStored(Event):
        block_hashes: list[int]
        parent_block_hash: int | None
        token_ids: list[int]
        block_size: int
        lora_id: int | None
        medium: str | None
        lora_name: str | None
        extra_keys: list[tuple | None] | None = None

    class BlockRemoved(Event):
        block_hashes: list[int]
        medium: str | None

    class AllBlocksCleared(Event):
        pass

    class Batch(msgspec.Struct, array_like=True, omit_defaults=True):
        ts: float
        events: list[BlockStored | BlockRemoved | AllBlocksCleared]
        data_parallel_rank: int | None = None

    return msgspec.msgpack.Decoder(type=Batch)


class Index:
    """What a router would know of one node: a tree of blocks by their hashes."""

    def __init__(self, is_array=False):
        self.decoder = decoder(is_array)
        self.blocks = {}  # Hash -> (parent, tokens, salt)
        self.children = {}  # (parent, tokens, salt) -> hash
        self.removed = self.cleared = 0

    def apply(self, payload):
        batch = self.decoder.decode(payload)
        check(batch.data_parallel_rank == 0 and batch.ts > 1.6e9, f"{batch.ts} {batch.data_parallel_rank}")
        for event in batch.events:
            kind = type(event).__name__
            if kind == "AllBlocksCleared":
                self.blocks, self.children = {}, {}
                self.cleared += 1
                continue
            check(event.medium == "GPU", event)
            for i, block in enumerate(event.block_hashes):
                if kind == "BlockRemoved":
                    self.removed += 1
                    check(block in self.blocks, f"{block} is removed, but was not stored")
                    del self.children[self.blocks.pop(block)]
                    continue
                check(event.block_size == PAGE and event.lora_id is None, event)
                parent = event.block_hashes[i - 1] if i else event.parent_block_hash
                check(parent is None or parent in self.blocks, f"{parent} is not known")
                salt = event.extra_keys[0][0] if i == 0 and event.extra_keys else ""
                tokens = tuple(event.token_ids[i * PAGE:(i + 1) * PAGE])
                check(len(tokens) == PAGE and block not in self.blocks, f"{block}: {len(tokens)} tokens")
                self.blocks[block] = (parent, tokens, salt)
                self.children[parent, tokens, salt] = block

    def cached(self, tokens, salt=""):
        """Tokens in whole blocks that this node has of a prompt."""
        parent, at = None, 0
        while at + PAGE <= len(tokens):
            block = self.children.get((parent, tuple(tokens[at:at + PAGE]), "" if at else salt))
            if block is None:
                break
            parent, at = block, at + PAGE
        return at


class Subscriber:
    """Follows a node as vLLM's example does: SUB, and replay where a number is missing."""

    def __init__(self, endpoint, replay, is_array=False):
        self.context = zmq.Context()
        self.sub = self.context.socket(zmq.SUB)
        self.sub.linger = 0
        self.sub.subscribe(b"kv@")
        self.sub.connect(endpoint)
        self.replay_endpoint = replay
        self.index = Index(is_array)
        self.last = -1
        self.replayed = 0

    def replay(self, start):
        """Every batch that is kept from `start` on, as (number, payload)."""
        dealer = self.context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.connect(self.replay_endpoint)
        dealer.send_multipart([b"", start.to_bytes(8, "big")])
        while True:
            check(dealer.poll(10_000), "no answer to a request for a replay")
            empty, number, payload = dealer.recv_multipart()
            check(empty == b"", empty)
            if number == END:
                check(payload == b"", payload)
                break
            yield int.from_bytes(number, "big"), payload
        dealer.close()

    def catch_up(self):
        """Takes what is missing by replay, so that all that the node has told by now is known."""
        for number, payload in self.replay(self.last + 1):
            check(number == self.last + 1, f"{number} follows {self.last}")
            self.index.apply(payload)
            self.last = number
            self.replayed += 1

    def follow(self, timeout_ms=50):
        """Takes messages until none comes for a while."""
        while self.sub.poll(timeout_ms):
            topic, number, payload = self.sub.recv_multipart()
            check(topic == b"kv@node-0@tiny", topic)
            number = int.from_bytes(number, "big")
            if number <= self.last and not self.is_restart(number):
                continue
            if number > self.last + 1:
                self.catch_up()
            if number > self.last:
                self.index.apply(payload)
                self.last = number

    def is_restart(self, number):
        """A number that we have had, with other bytes: the node has begun anew."""
        if number > self.last or any(n > self.last for n, _ in self.replay(self.last)):
            return False
        if max(n for n, _ in self.replay(0)) >= self.last:
            return False
        self.last = -1
        return True


def endpoints(fleet, name):
    log = fleet.path(name + ".log")
    found = re.findall(r"endpoint=(\S+) replay=(\S+)", open(log).read())
    return found[-1]


def tokens_of(address, messages):
    status, _, body = request(address, "POST", "/tokenize", json.dumps({"model": "tiny", "messages": messages}),
                              {"content-type": "application/json"})
    check(status == 200, body)
    return json.loads(body)["tokens"]


def say(address, subscriber, messages, text, predicts=True, tenant=None):
    """One more turn; what it found cached, in whole blocks, is what the events said."""
    messages.append({"role": "user", "content": text})
    subscriber.follow(1)
    subscriber.catch_up()
    prompt = tokens_of(address, messages)
    # The last token of a prompt is always computed.
    expected = subscriber.index.cached(prompt[:-1])
    answer, _ = chat(address, messages, max_tokens=12)
    cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    check(answer["usage"]["prompt_tokens"] == len(prompt), "tokenised otherwise")
    check(not predicts or cached // PAGE * PAGE == expected,
          f"{cached} of {len(prompt)} tokens were cached, the events say {expected}")
    messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
    return cached


def settle(address, subscriber):
    """Canonical passes may run after a turn; when no block changes any more, all is told."""
    def is_quiet():
        before = subscriber.last
        wait_until(lambda: metric(address, "hearth_engine_requests_running") == 0, "the node is idle")
        subscriber.follow(30)
        subscriber.catch_up()
        return subscriber.last == before
    wait_until(is_quiet, "no more events come")


def start_node(fleet, name="node-0", *flags):
    return fleet.start_node(name, "--kv-memory", "1MiB", "--follow-up-bonus-ms", "0", "--kv-events", "true", "--kv-events-endpoint",
                            "tcp://127.0.0.1:*", "--kv-events-replay-endpoint", "tcp://127.0.0.1:*",
                            "--kv-events-topic", "kv@node-0@tiny", *flags)


def play(fleet, is_array):
    name = "array" if is_array else "map"
    address = start_node(fleet, name, "--kv-events-encoding", name)
    subscriber = Subscriber(*endpoints(fleet, name), is_array)
    chats = [[{"role": "system", "content": "You keep a lighthouse by the sea. " * 6}] for _ in range(4)]
    for turn in range(4):
        for i, messages in enumerate(chats):
            say(address, subscriber, messages, f"Question {turn} of guest {i}: and the ships? " * 3)
            settle(address, subscriber)
    check(subscriber.index.cleared == 1, "the first batch is no AllBlocksCleared")
    hits = [say(address, subscriber, list(m), "Go on.") for m in chats]
    check(max(hits) > 4 * PAGE, f"{hits}: nothing was reused")
    # More chats than memory holds: blocks go, and what is still there is known.
    for i in range(40):
        say(address, subscriber, [{"role": "system", "content": f"Guest {i} is new. " * 30}], "Well?")
        settle(address, subscriber)
    check(subscriber.index.removed > 20, f"{subscriber.index.removed} blocks were evicted")
    found = [say(address, subscriber, list(messages), "And now?") for messages in chats]
    check(min(found) < max(hits), f"{found}: nothing was evicted")
    # A subscriber that comes late knows the same, by replay alone.
    settle(address, subscriber)
    late = Subscriber(*endpoints(fleet, name), is_array)
    late.catch_up()
    check(late.index.blocks == subscriber.index.blocks and late.last == subscriber.last, "replay differs")
    check(metric(address, "hearth_kv_event_replayed_batches_total") > 0, "no replay was counted")
    check(metric(address, "hearth_kv_event_batches_total", 'result="ok"') == late.last + 1, "batches")
    return address, subscriber


def play_tenants(fleet, address, subscriber):
    """The same text of two tenants is two chains, and neither salt is told."""
    messages = [{"role": "user", "content": "The very same words of two tenants. " * 10}]
    body = json.dumps({"model": "tiny", "messages": messages, "max_tokens": 4})
    prompt = tokens_of(address, messages)
    for salt in ("aa11", "bb22"):
        status, _, answer = request(address, "POST", "/v1/chat/completions", body,
                                    {"content-type": "application/json", "hearth-tenant": salt})
        check(status == 200, answer)
    settle(address, subscriber)
    salts = {salt for _, _, salt in subscriber.index.blocks.values() if salt}
    check(len(salts) == 2 and not salts & {"aa11", "bb22"}, f"{salts}")
    for salt in salts:
        check(subscriber.index.cached(prompt, salt) == len(prompt) // PAGE * PAGE, "a tenant's blocks")
    check(subscriber.index.cached(prompt) == 0, "blocks of a tenant were told as everybody's")


def play_restart(fleet):
    """Under one endpoint: a node that ends says so, one that is killed is found out by its numbers."""
    import socket

    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        places = [f"tcp://127.0.0.1:{s.getsockname()[1]}" for s in (one, other)]
    flags = ["--kv-events-endpoint", places[0], "--kv-events-replay-endpoint", places[1]]
    address = start_node(fleet, "one", *flags)
    subscriber = Subscriber(*places)
    for i in range(6):
        say(address, subscriber, [{"role": "system", "content": f"Guest {i} of the first life. " * 20}], "Well?")
    settle(address, subscriber)
    check(len(subscriber.index.blocks) > 6 and subscriber.last > 5, "blocks are known")
    fleet.kill("one", signal.SIGKILL)
    address = start_node(fleet, "two", *flags)
    messages = [{"role": "system", "content": "Guest of the second life. " * 20}]

    asked = []

    def knows():
        asked.append("Well? ")
        chat(address, [{"role": "user", "content": "".join(asked) * 30}], max_tokens=4)
        subscriber.follow(100)
        return subscriber.index.cleared == 2
    wait_until(knows, "the subscriber sees the restart")
    settle(address, subscriber)
    say(address, subscriber, messages, "Well?")
    before = subscriber.index.cleared
    fleet.kill("two", signal.SIGTERM)
    wait_until(lambda: subscriber.follow(20) or subscriber.index.cleared > before, "the node takes its leave")
    check(not subscriber.index.blocks, "blocks of a node that ended are known still")


def main():
    with Fleet() as fleet:
        address, subscriber = play(fleet, is_array=False)
        play_tenants(fleet, address, subscriber)
        play(fleet, is_array=True)
        play_restart(fleet)
        plain = fleet.start_node("plain")
        check("hearth_kv_event" not in request(plain, "GET", "/metrics")[2].decode(), "events are on by default")
        print(f"{subscriber.last + 1} batches, {subscriber.index.removed} blocks evicted")


if __name__ == "__main__":
    main()
