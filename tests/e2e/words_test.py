"""What the command lines say to wrong words: one line that names the flag, and the right exit code."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile

from fleet import BIN, ROOT, check

WRONG = [  # Program, arguments, exit code, a part of what it says.
    ("hearth-router", ["--listen", "foo", "--check"], 2, "hearth-router: --listen: 'foo'"),
    ("hearth-router", ["--otlp-endpoint", "foo", "--check"], 2, "--otlp-endpoint: must begin"),
    ("hearth-router", ["--session-cookie", "a b", "--check"], 2, "--session-cookie: 'a b'"),
    ("hearth-cachenode", ["--check"], 2, "model_path: is required"),
    ("hearth-router", ["--head-timeout-ms", "foo", "--check"], 2, "--head-timeout-ms: 'foo' is not"),
    ("hearth-cachenode", ["--check", "--model-path", "smollm2"], 2, "hearth model get smollm2"),
    ("hearth-cachenode", ["--listen", "127.0.0.1:0", "--model-path", "{text}"], 1, "not a GGUF file"),
    ("hearth-cachenode", ["--listen", "127.0.0.1:0", "--model-path", "{wide}", "--kv-memory", "1MiB"], 2,
     "kv_memory: holds"),
    ("hearth-cachenode", ["--check", "--model-path", "{tiny}", "--advertise", "0.0.0.0:8"], 2,
     "--advertise: must name one address"),
    ("hearth", ["staus"], 2, "did you mean status?"),
    ("hearth", ["xyzzy"], 2, "unknown command 'xyzzy'"),
    ("hearth", [], 2, "subcommand is required"),
    ("hearth", ["model"], 2, "hearth model: a subcommand is required: get, list"),
    ("hearth", ["model", "gett", "x"], 2, "hearth model: unknown command 'gett', did you mean get?"),
    ("hearth", ["up", "--modle", "tiny"], 2, "hearth up: unknown flag --modle, did you mean --model?"),
    ("hearth", ["up", "--nodes", "0"], 2, "hearth up: --nodes"),
    ("hearth", ["--json", "status"], 2, "hearth: unknown flag --json"),
    ("hearth", ["drain", "a", "b"], 2, "hearth drain: unexpected argument 'b'"),
    ("hearth", ["chat", "--router", "http://127.0.0.1:1/v1"], 2, "--router: leave out '/v1'"),
    ("hearth", ["chat", "--router", "127.0.0.1:1"], 1, "`hearth up` starts a fleet"),
    ("hearth", ["replay", "--router", "ftp://x:1", "--chats", "{chats}"], 2, "--router: 'ftp' is neither"),
    ("hearth", ["replay", "--node", "x", "--chats", "{chats}"], 2, "--node: 'x'"),
    ("hearth", ["replay", "--router", "http://127.0.0.1:1", "--chats", "{chats}"], 1, "127.0.0.1:1"),
    ("hearth", ["bench", "router", "--bogus"], 2, "usage: hearth bench router"),
    ("hearth", ["bench", "engine", "--bogus"], 2, "usage: hearth bench engine"),
    ("hearth", ["up", "--listen", "foo"], 2, "--listen: 'foo'"),
    ("hearth", ["up", "--listen", "127.0.0.1:0", "--model", "nope"], 2, "model 'nope'"),
    ("hearth", ["status", "--admin", "ftp://x:1"], 2, "'ftp' is neither http nor https"),
    ("hearth", ["status", "--admin", "127.0.0.1:1"], 1, "127.0.0.1:1"),
    ("hearth", ["top", "--once", "--admin", "127.0.0.1:1"], 1, "127.0.0.1:1"),
    ("hearth", ["plan", "--kv-memory", "x"], 2, "hearth plan: --kv-memory: 'x'"),
    ("hearth", ["plan", "--model", "{tiny}", "--trace", "{text}"], 2, "README.md:1: no JSON object"),
    ("hearth", ["plan", "--model", "nope"], 2, "hearth plan: --model: model 'nope' is neither"),
    ("hearth", ["explain", "chat-42"], 2, "hearth explain: 'chat-42' is a key as clients send it"),
    ("hearth", ["what-if"], 2, "--add, --remove or --reweigh"),
    ("hearth", ["diff-prompt", "{text}", "{text}"], 2, "README.md: "),
    ("hearth", ["completion", "tcsh"], 2, "hearth completion: "),
    ("hearth", ["docs", "man", "ls"], 2, "hearth docs man: "),
    ("hearth", ["support-bundle", "--admin", "127.0.0.1:1", "--router", "x:1", "--out", "{folder}"], 2, "File exists"),
    ("hearth", ["bench", "foo"], 2, "foo"),
    ("hearth", ["model", "make-tiny", "{folder}"], 2, "is no regular file"),
    ("hearth", ["model", "make-tiny", "--force", "/dev/null"], 2, "is no regular file"),
    ("hearth", ["model", "make-tiny", "{tiny}"], 2, "--force writes over it"),
    ("hearth", ["model", "make-tiny", "--layers", "0", "{folder}/x"], 2, "--layers"),
    ("hearth", ["model", "make-tiny", "--head-dim", "3", "{folder}/x"], 2, "--head-dim is 3"),
    ("hearth", ["model", "get", "nope"], 2, "model 'nope'"),
    ("hearth", ["model", "info", "{text}"], 1, "not a GGUF file"),
]


def run(program, *arguments, **options):
    return subprocess.run([BIN / program, *map(str, arguments)], capture_output=True, text=True,
                          timeout=60, **options)


def up_on_a_taken_port(folder):
    """A second `hearth up` says which port is taken and how to choose another, and 1."""
    first = subprocess.Popen([BIN / "hearth", "up", "--model", "tiny", "--nodes", "1", "--threads", "1",
                              "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env={**os.environ, "XDG_CACHE_HOME": folder})
    try:
        ready = first.stdout.readline()
        check(ready.startswith("ready http://127.0.0.1:"), ready)
        address = ready.split("//")[1].strip()
        second = run("hearth", "up", "--model", "tiny", "--listen", address)
        check(second.returncode == 1, f"exit code {second.returncode}")
        check(address in second.stderr and "with --listen" in second.stderr, second.stderr)
        third = run("hearth", "up", "--listen", "127.0.0.1:0", "--admin-listen", address)
        check(third.returncode == 1 and "with --admin-listen" in third.stderr, third.stderr)
        chat = subprocess.run([BIN / "hearth", "chat", "--router", f"http://{address}", "--max-tokens", "3"],
                              input=b"/help\nhello\n\xff\xfe\n/quit\n", capture_output=True, timeout=60)
        said = chat.stdout.decode(errors="replace")
        check(chat.returncode == 0, f"{chat.returncode} {said} {chat.stderr}")
        check("[turn 1: node node-1" in said and "not UTF-8" in said and "/quit" in said, said)
    finally:
        first.send_signal(signal.SIGTERM)
        first.wait(30)
    check(first.returncode == 0, f"hearth up ended with {first.returncode}")
    check("admin  http://127.0.0.1:" in first.stderr.read(), "the admin address is told")


def up_beside_another(folder):
    """The default admin port is taken, by us or by anybody: any free one serves, and is told."""
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", 8081))
            other.listen()
        except OSError:
            pass
        up = subprocess.Popen([BIN / "hearth", "up", "--model", "tiny", "--nodes", "1", "--threads", "1",
                               "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "XDG_CACHE_HOME": folder})
        ready = up.stdout.readline()
        up.send_signal(signal.SIGTERM)
        said = up.communicate(timeout=30)[1]
    check(up.returncode == 0 and ready.startswith("ready http://"), f"{up.returncode} {ready} {said}")
    check("admin  http://127.0.0.1:" in said and ":8081/" not in said, said)


def main():
    with tempfile.TemporaryDirectory(prefix="hearth-words.") as folder:
        tiny = pathlib.Path(folder) / "tiny.gguf"
        check(run("hearth", "model", "make-tiny", tiny).returncode == 0, "make-tiny")
        check(run("hearth", "model", "make-tiny", "--force", tiny).returncode == 0, "make-tiny --force")
        wide = pathlib.Path(folder) / "wide.gguf"
        check(run("hearth", "model", "make-tiny", "--layers", "64", "--kv-heads", "4", "--head-dim", "64",
                  wide).returncode == 0, "make-tiny of many layers")
        places = {"tiny": tiny, "wide": wide, "folder": folder, "text": ROOT / "README.md",
                  "chats": ROOT / "deploy" / "demo" / "chats.jsonl"}
        for program, arguments, code, part in WRONG:
            words = [a.format(**places) for a in arguments]
            done = run(program, *words)
            where = f"{program} {' '.join(words)}: {done.returncode} {done.stderr}"
            check(done.returncode == code, where)
            check(part in done.stderr + done.stdout, f"{where} lacks: {part}")
            lines = [line for line in done.stderr.splitlines() if "level=info" not in line]
            check(len(lines) <= (5 if "usage:" in part else 1), f"more than a line: {where}")
        check(not (pathlib.Path(folder) / "x").exists(), "a refused model was written")
        for words in (["hearth", "model", "list"], ["hearth", "--help"], ["hearth-router", "--print-config"],
                      ["hearth-router", "--help"], ["hearth-router", "--check"]):
            with open("/dev/full", "w") as full:
                done = subprocess.run([BIN / words[0], *words[1:]], stdout=full,
                                      stderr=subprocess.PIPE, text=True)
            check(done.returncode == 1 and "could not be written" in done.stderr, f"{done}")
        up_on_a_taken_port(folder)
        up_beside_another(folder)
    for words, code in ((["bench", "foo"], 2), (["demo", "--bogus"], 2), (["demo", "--help"], 0),
                        (["build", "--bogus"], 2), (["build", "--target"], 2), (["fuzz", "--bogus"], 2),
                        (["demo", "--chats"], 2), (["demo", "--turn-limit", "x"], 2),
                        (["demo", "--chats", "/no/such"], 2), (["fuzz", "--seconds", "x"], 2),
                        (["bogus"], 2), (["help"], 0)):
        done = subprocess.run([ROOT / "dev", *words], capture_output=True, text=True, timeout=60)
        check(done.returncode == code, f"./dev {words}: {done.returncode} {done.stderr}")


main()
