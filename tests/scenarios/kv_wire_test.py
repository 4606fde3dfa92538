"""KV that is changed on its way between two nodes is seen, counted as corrupt, and changes no reply.

A proxy stands before the node that holds the session and flips one bit in a place of each kind.
"""

import json
import pathlib
import re
import socket
import struct
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from fleet import Fleet, check, metric, redis_command, request, wait_until  # noqa: E402

HEAD = 64  # Of a frame, with its proof.


def whole(answer):
    """Whether an answer whose head tells its length has come to its end."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return length is not None and len(body) >= int(length[1])


class FlippingProxy:
    """Passes everything on, but of answers to `GET /internal/` it flips a bit where `place` says."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.target, self.place, self.spoils, self.flips = None, None, False, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        host, port = self.target.rsplit(":", 1)
        with client:
            try:
                server = socket.create_connection((host, int(port)))
            except OSError:
                return  # The node has ended.
            try:
                self.relay(client, server)
            except OSError:
                pass  # Either side has gone.

    def relay(self, client, server):
        with server:
            back = threading.Thread(target=self.answers, args=(server, client), daemon=True)
            self.spoils = False
            back.start()
            while piece := client.recv(1 << 20):
                self.spoils = piece.startswith(b"GET /internal/") and self.place is not None
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)
            back.join(10)

    def answers(self, server, client):
        held = b""
        try:
            while piece := server.recv(1 << 20):
                held += piece
                if self.spoils and not whole(held):
                    continue
                client.sendall(self.spoilt(held) if self.spoils else held)
                held = b""
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def spoilt(self, answer):
        head = answer.split(b"\r\n\r\n", 1)[0]
        if b" 200 " not in head[:20]:
            return answer
        start = len(head) + 4
        frames = bytearray(answer)
        session = HEAD + struct.unpack_from("<I", frames, start + 8)[0]
        at = start + self.place(session)
        frames[at] ^= 0x10
        self.flips += 1
        return bytes(frames)


def ask(address, messages, session):
    body = json.dumps({"model": "tiny", "messages": messages, "temperature": 0, "max_tokens": 12})
    headers = {"content-type": "application/json", "hearth-session": f"{session:032x}"}
    status, _, answer = request(address, "POST", "/v1/chat/completions", body, headers)
    check(status == 200, f"HTTP {status}: {answer[:300]!r}")
    answer = json.loads(answer)
    return answer["choices"][0]["message"]["content"], answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def wait_stored(node):
    beats = lambda: metric(node, "hearth_directory_operations_total", 'op="heartbeat"', 'result="ok"')
    wait_until(lambda: beats() > 0, "the store has the node")


def by_names(fleet, holder):
    """A holder that has forgotten a session still gives the pages of its prompt that it has."""
    messages = [{"role": "system", "content": "You are the keeper of a lighthouse in the south. " * 20},
                {"role": "user", "content": "Who are you?"}]
    reply, _ = ask(holder, messages, 0x7001)
    messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": "And then?"}]
    record = "hearth:{default}:session:" + f"{0x7001:032x}"
    wait_until(lambda: redis_command(fleet.redis, "EXISTS", record) == "1", "the session is published")
    # Another one, of which the store says the same and the holder knows nothing.
    check(redis_command(fleet.redis, "COPY", record, record[:-4] + "7002") == "1", "copied")
    taker = fleet.start_node("taker")
    wait_stored(taker)
    _, cached = ask(taker, messages, 0x7002)
    check(cached > 200 and cached % 64 == 0, f"{cached} tokens came by the names of their pages")
    _, cached = ask(taker, messages, 0x7003)
    check(cached > 200, "they did not stay")
    check(metric(holder, "hearth_transfer_sessions_total", 'kind="served"', 'result="ok"') > 0, "served")
    print(f"{cached} tokens came by name")


def main():
    proxy = FlippingProxy()
    with Fleet() as fleet:
        # Pages of 272 KiB: large enough to be received where they are to stay.
        fleet.tiny_model(layers=8, heads=4, kv_heads=4, head_dim=64)
        fleet.start_redis()
        holder = fleet.start_node("holder", "--advertise", proxy.address)
        proxy.target = holder
        wait_stored(holder)
        alone = fleet.start_node("alone", "--cache", "false", "--cluster", "alone")  # Never reuses KV.
        text = request(holder, "GET", "/metrics")[2].decode()
        page = 64 * int(re.search(r'kv_bytes_per_token="(\d+)"', text)[1])
        ids = HEAD + 64 * 4
        places = {"nothing": None,
                  "session, head": lambda s: 20, "session, proof": lambda s: 60,
                  "session, epoch": lambda s: HEAD + 34, "session, token ids": lambda s: s - 3,
                  "page, magic": lambda s: s, "page, length": lambda s: s + 9,
                  "page, hash": lambda s: s + 40, "page, checksum": lambda s: s + 50,
                  "page, token ids": lambda s: s + HEAD + 17}
        for share in (0.0, 0.2, 0.45, 0.49, 0.55, 0.7, 0.95, 0.9999):
            places[f"page, byte at {share:.0%}"] = lambda s, share=share: s + ids + int(share * page)
        corrupt = missed = 0
        for session, (name, place) in enumerate(places.items(), 1):
            persona = f"You are keeper number {session} of a lighthouse that nobody else keeps. " * 12
            messages = [{"role": "system", "content": persona}, {"role": "user", "content": "Who are you?"}]
            reply, _ = ask(holder, messages, session)
            messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": "And then?"}]
            # The taker is to find the record in the store, which a node writes after its turn.
            published = 'op="publish",result="ok"'
            wait_until(lambda: metric(holder, "hearth_directory_operations_total", 'op="publish"',
                                      'result="ok"') >= session, f"session {session} is {published}")
            # A new one each time: it has measured nothing yet, and so pulls in any case.
            taker = fleet.start_node(f"taker-{session}")
            wait_stored(taker)
            proxy.place, flips = place, proxy.flips
            reply, cached = ask(taker, messages, session)
            expected, _ = ask(alone, messages, session)
            missed += metric(taker, "hearth_engine_missed_tokens_total", 'reason="corrupt"')
            check(reply == expected, f"{name}: {reply!r} in place of {expected!r}")
            seen = metric(taker, "hearth_cache_corrupt_blocks_total", 'tier="peer"')
            fleet.kill(f"taker-{session}")
            if place is None:
                check(cached > 200, f"{cached} tokens came over a sound wire")
                check(seen == 0, "sound bytes were called corrupt")
                continue
            corrupt += 1
            check(proxy.flips == flips + 1, f"{name}: nothing was flipped")
            check(cached < 64, f"{name}: {cached} tokens were taken for good")  # The persona's first words.
            check(seen == 1, f"{name}: {seen} counted as corrupt")
        check(missed > 100 * corrupt, f"{missed} tokens booked as corrupt")
        proxy.place = None
        by_names(fleet, holder)
        print(f"{corrupt} places flipped, all seen; {missed:.0f} tokens booked as corrupt")


main()
