"""Support for the end-to-end tests: real processes on free loopback ports, ended by pid at the end."""

import http.client
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
SKIPPED = 77  # ctest's SKIP_RETURN_CODE for these tests
BIN = pathlib.Path(os.environ.get("HEARTH_BIN_DIR", ROOT / "build" / "release" / "bin"))
START_SECONDS = 60


def skip(why):
    """Ends the test as skipped, with a line that says why."""
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def wait_until(condition, what, seconds=20.0):
    """Polls a condition with a deadline; returns its first true value."""
    pause = threading.Event()
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, f"not so after {seconds} s: {what}")
        pause.wait(0.02)


def request(address, method, path, body=None, headers=None, timeout=60):
    """One request; (status, headers, body bytes)."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def redis_command(address, *words):
    """One command; its answer, if that is one line of text or a number, or a list of such texts."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 5) as link:
        link.sendall(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words))
        lines = link.recv(1 << 20).decode().split("\r\n")
    if lines[0].startswith("*"):
        return lines[2::2]
    return lines[1] if lines[0].startswith("$") else lines[0][1:]


def chat(address, messages, session=None, **fields):
    """One chat turn that must succeed; (response object, headers)."""
    headers = {"content-type": "application/json"}
    if session:
        headers["x-session-id"] = session
    body = json.dumps({"model": "tiny", "messages": messages, "temperature": 0, **fields})
    status, answer_headers, answer = request(address, "POST", "/v1/chat/completions", body, headers)
    check(status == 200, f"HTTP {status}: {answer[:300]!r}")
    return json.loads(answer), {k.lower(): v for k, v in answer_headers.items()}


def route(headers):
    """The parts of a hearth-route header."""
    return dict(part.split("=", 1) for part in headers["hearth-route"].split(";"))


def metric(address, name, *labels):
    """Sum of a metric's samples whose labels contain every given text."""
    text = request(address, "GET", "/metrics")[2].decode()
    total = 0.0
    for line in text.splitlines():
        if line.startswith(name) and line[len(name)] in "{ " and all(l in line for l in labels):
            total += float(line.rsplit(" ", 1)[1])
    return total


def quick_disk():
    """Memory that looks like a disk, where there is enough; None = where other files are.

    A tiny model fills its memory within the time that a busy disk stands still, and then loses what
    is not written: by design, but not what a test of hit rates is about.
    """
    shm = "/dev/shm"
    has_room = os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 1 << 30
    return shm if has_room else None


class Fleet:
    """Redis, cache nodes and routers. Use as a context manager."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="hearth-e2e.")
        self.quick_folder = tempfile.TemporaryDirectory(prefix="hearth-e2e.", dir=quick_disk())
        self.processes = {}
        self.address = {}
        self.redis = None
        self.model = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and not issubclass(kind, SystemExit):
            self.print_logs()
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.folder.cleanup()
        self.quick_folder.cleanup()

    def print_logs(self):
        for log in sorted(pathlib.Path(self.folder.name).glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            print(f"--- {log.name}", *lines, sep="\n")

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def disk(self, n):
        """The folder of a node's disk tier."""
        return os.path.join(self.quick_folder.name, f"disk-{n}")

    def tiny_model(self, **shape):
        """A small random model; made once."""
        if self.model is None:
            flags = [f"--{key.replace('_', '-')}={value}" for key, value in shape.items()]
            self.model = self.path("tiny.gguf")
            subprocess.run([BIN / "hearth", "model", "make-tiny", *flags, self.model], check=True,
                           stdout=subprocess.DEVNULL)
        return self.model

    def start(self, name, command):
        """Starts a program that prints `ready http[s]://ADDR:PORT`, and waits for that line."""
        log = open(self.path(name + ".log"), "ab")
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=log)
        self.processes[name] = process
        end = time.monotonic() + START_SECONDS
        line = b""
        while not line.endswith(b"\n"):
            left = end - time.monotonic()
            check(left > 0, f"{name} was not ready after {START_SECONDS} s")
            if select.select([process.stdout], [], [], left)[0]:
                byte = os.read(process.stdout.fileno(), 1)
                if not byte:
                    raise AssertionError(f"{name} ended with {process.wait()} before it was ready")
                line += byte
        text = line.decode().strip()
        check(text.startswith(("ready http://", "ready https://")), f"{name} printed {text!r}")
        self.address[name] = text.split("://", 1)[1]
        return self.address[name]

    def start_redis(self, port=0):
        """A Redis server without persistence; port 0 = one that the kernel finds free."""
        import socket

        if port == 0:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
        log = open(self.path("redis.log"), "ab")
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "no", "--dir", self.folder.name]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        self.processes["redis"] = process
        self.redis = f"127.0.0.1:{port}"

        def answers():
            check(process.poll() is None, "redis-server ended")
            try:
                with socket.create_connection(("127.0.0.1", port), 1) as s:
                    s.sendall(b"PING\r\n")
                    return s.recv(16).startswith(b"+PONG")
            except OSError:
                return False

        wait_until(answers, "redis-server answers PING")
        return self.redis

    def start_node(self, name, *flags):
        command = [BIN / "hearth-cachenode", "--node-id", name, "--listen", "127.0.0.1:0",
                   "--model-path", self.tiny_model(), "--served-model-name", "tiny", "--threads", "1",
                   "--kv-memory", "64MiB", *flags]
        if self.redis:
            command += ["--redis", self.redis]
        return self.start(name, command)

    def start_router(self, name="router", *flags):
        # All nodes share this machine's cores, so leaving one for another gains nothing, and whether
        # it seems to would be a matter of timing.
        command = [BIN / "hearth-router", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
                   "--spill-margin-ms", "1h", *flags]
        if self.redis:
            command += ["--redis", self.redis]
        address = self.start(name, command)
        wait_until(lambda: request(address, "GET", "/ready")[0] == 200, f"{name} is ready")
        return address

    def hearth(self, router, *words):
        """What a hearth command says to a router's admin listener; it must end with 0."""
        with open(self.path(router + ".log"), encoding="utf-8") as log:
            admin = log.read().split(" admin=")[1].split()[0]
        done = subprocess.run([BIN / "hearth", *words, "--admin", admin], capture_output=True,
                              text=True, timeout=60)
        check(done.returncode == 0, f"hearth {words}: {done.returncode} {done.stderr}")
        return done.stdout

    def wait_members(self, router, count):
        wait_until(lambda: metric(router, "hearth_router_node_health") >= count,
                   f"the router sees {count} healthy nodes")

    def kill(self, name, how=signal.SIGKILL):
        process = self.processes[name]
        process.send_signal(how)
        process.wait(30)

    def alive(self, name):
        return self.processes[name].poll() is None
