"""SIGTERM, a second one, and what a supervisor passes and hears: of the router and of the node."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from fleet import BIN, Fleet, check, request, wait_until


def open_stream(address, max_tokens):
    """A running chat; its socket, after the first event."""
    host, port = address.rsplit(":", 1)
    body = json.dumps({"model": "tiny", "stream": True, "max_tokens": max_tokens,
                       "ignore_eos": True, "messages": [{"role": "user", "content": "tell me"}]})
    stream = socket.create_connection((host, int(port)), 60)
    stream.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}"
                    f"\r\ncontent-type: application/json\r\n\r\n{body}").encode())
    seen = b""
    while b"data: " not in seen:
        piece = stream.recv(4096)
        check(piece, f"the stream ended after {seen!r}")
        seen += piece
    check(seen.startswith(b"HTTP/1.1 200 "), seen)
    return stream


def rest_of(stream):
    """The bytes up to the end of the answer, or of the connection, however it ends."""
    seen = b""
    try:
        while not seen.endswith(b"\r\n0\r\n\r\n"):
            piece = stream.recv(65536)
            if not piece:
                break
            seen += piece
    except OSError:
        pass
    stream.close()
    return seen


def stop(process, limit):
    """SIGTERM; the exit code and the seconds that it took."""
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(limit)
    return code, time.monotonic() - begin


def drains(fleet):
    """/ready fails at once, new connections are still served for the delay, the stream ends whole."""
    router = fleet.start_router("router", "--drain-delay-ms", "1500ms")
    answer = open_stream(router, 60)
    fleet.processes["router"].send_signal(signal.SIGTERM)
    wait_until(lambda: request(router, "GET", "/ready")[0] == 503, "not ready after SIGTERM")
    status, headers, _ = request(router, "GET", "/v1/models")
    check(status == 200, f"HTTP {status} while the balancer still sends")
    check({k.lower(): v for k, v in headers.items()}.get("connection") == "close",
          f"an answer of a draining router invites another request: {headers}")
    rest = rest_of(answer)
    check(b"[DONE]" in rest, f"the stream was cut: {rest[-200:]!r}")
    check(fleet.processes["router"].wait(30) == 0, "a drain ended badly")


def grace_ends(fleet):
    """What outlives the grace is cut, visibly; the exit code is 0 all the same."""
    router = fleet.start_router("short", "--drain-grace-ms", "300ms")
    answer = open_stream(router, 6000)
    code, took = stop(fleet.processes["short"], 20)
    check(code == 0 and took < 10, f"code {code} after {took:.1f} s")
    check(b"[DONE]" not in rest_of(answer), "a cut stream looked whole")


def second_signal(fleet, name, address):
    """A second signal does not wait for anybody."""
    answer = open_stream(address, 6000)
    process = fleet.processes[name]
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: "drain" in open(fleet.path(name + ".log"), encoding="utf-8").read(),
               f"{name} says that it drains")
    code, took = stop(process, 20)
    check(code == 1 and took < 5, f"{name}: code {code} after {took:.1f} s")
    check(b"[DONE]" not in rest_of(answer), "a cut stream looked whole")


class Supervisor:
    """Listens as systemd does on $NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(30)
        self.path = path

    def hears(self, word):
        text = self.socket.recv(4096).decode()
        check(word in text.splitlines(), f"the supervisor heard {text!r}, not {word}")


def supervised(fleet, name, *command):
    """READY=1 and STOPPING=1 reach the supervisor."""
    supervisor = Supervisor(fleet.path(name + ".notify"))
    os.environ["NOTIFY_SOCKET"] = supervisor.path
    try:
        fleet.start(name, command)
    finally:
        del os.environ["NOTIFY_SOCKET"]
    supervisor.hears("READY=1")
    fleet.processes[name].send_signal(signal.SIGTERM)
    supervisor.hears("STOPPING=1")
    check(fleet.processes[name].wait(30) == 0, f"{name} ended badly")


# Opens a socket as a socket unit does and becomes the program, whose pid is known only then.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


def socket_activation(fleet):
    """The supervisor's socket keeps the connections that come while nobody runs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        got = []
        waiting = threading.Thread(target=lambda: got.append(request(address, "GET", "/health")[0]))
        waiting.start()
        command = [sys.executable, "-c", ACTIVATE, str(listener.fileno()),
                   str(BIN / "hearth-router"), "--listen", address, "--admin-listen", ""]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        fleet.processes["activated"] = process
        waiting.join(30)
        check(got == [200], f"the connection from before the start got {got}")
        check(process.stdout.readline().decode().strip() == f"ready http://{address}", "address")
        code, _ = stop(process, 20)
        check(code == 0, f"code {code}")
        # The listener lives on: nothing is refused until the next start.
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), 5).close()


def shared_port(fleet):
    """Two routers on one port, with reuse_port; without it the second does not start."""
    first = fleet.start_router("one", "--reuse-port", "true")
    fleet.start("two", [BIN / "hearth-router", "--listen", first, "--admin-listen", "",
                        "--reuse-port", "true", "--redis", fleet.redis])
    code, _ = stop(fleet.processes["one"], 30)
    check(code == 0, f"code {code}")
    check(request(first, "GET", "/health")[0] == 200, "the second router does not serve")
    lone = subprocess.run([BIN / "hearth-router", "--listen", first, "--admin-listen", ""],
                          capture_output=True, text=True, timeout=60)
    check(lone.returncode == 1 and re.search("in use", lone.stderr), lone.stderr)


def main():
    with Fleet() as fleet:
        # Slow enough that a long answer outlives every signal.
        fleet.tiny_model(hidden=512, ffn_hidden=1536, layers=8, context=8192)
        fleet.start_redis()
        node = fleet.start_node("node-1")
        drains(fleet)
        grace_ends(fleet)
        second_signal(fleet, "second", fleet.start_router("second"))
        supervised(fleet, "told", BIN / "hearth-router", "--listen", "127.0.0.1:0",
                   "--admin-listen", "")
        supervised(fleet, "told-node", BIN / "hearth-cachenode", "--listen", "127.0.0.1:0",
                   "--model-path", fleet.tiny_model(), "--threads", "1", "--kv-memory", "8MiB")
        socket_activation(fleet)
        shared_port(fleet)
        second_signal(fleet, "node-1", node)


main()
