"""hearth top, plan, diff-prompt and support-bundle against a real fleet and real files."""

import json
import os
import pathlib
import pty
import subprocess
import tarfile

from fleet import BIN, Fleet, chat, check, wait_until

ENVIRONMENT = {**os.environ, "HEARTH_ADMIN_TOKEN": ""}


def hearth(*words, code=0, **options):
    done = subprocess.run([BIN / "hearth", *map(str, words)], capture_output=True, text=True, timeout=60,
                          env=ENVIRONMENT, **options)
    check(done.returncode == code, f"hearth {words}: {done.returncode} {done.stdout}{done.stderr}")
    return done.stdout if code == 0 else done.stderr


def talk(router):
    """Three chats of three turns, whose second and third turns are full hits."""
    for session in ("a", "b", "c"):
        messages = []
        for text in ("Tell me of the sea.", "And of the shore.", "Good night."):
            messages.append({"role": "user", "content": f"{session}: {text}"})
            answer, _ = chat(router, messages, session, max_tokens=8)
            messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})


def on_a_terminal(*words):
    """What a command writes to a terminal of 80 columns."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.pop("NO_COLOR", None)
        os.execv(BIN / "hearth", ["hearth", *words])
    import fcntl
    import struct
    import termios
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    said = b""
    try:
        while piece := os.read(terminal, 4096):
            said += piece
    except OSError:
        pass
    os.close(terminal)
    check(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, f"{words} on a terminal: {said}")
    return said.decode()


def check_top(admin):
    def seen():
        told = json.loads(hearth("top", "--once", "--json", "--admin", admin))
        return told if (told["hour"]["reusable_tokens"] or 0) > 100 else None

    told = wait_until(seen, "the router's history has the turns", seconds=30)
    hour = told["hour"]
    missed = sum(hour["missed_tokens"].values())
    check(hour["reused_tokens"] + missed == hour["reusable_tokens"], f"{hour}")
    check(hour["ceiling"] >= hour["hit_rate"] > 0.9, f"{hour}")
    check({n["id"] for n in told["nodes"]} == {"node-0", "node-1"}, f"{told}")
    text = hearth("top", "--once", "--admin", admin)
    check("\x1b" not in text and "node-1" in text and "hit rate, 1 hour" in text, text)
    drawn = on_a_terminal("top", "--once", "--admin", admin)
    check("\x1b[1mnode" in drawn and "node-1" in drawn, drawn)
    check("tokens/s" in drawn, f"it does not fit into 80 columns: {drawn}")
    two = subprocess.Popen([BIN / "hearth", "top", "--json", "--interval", "0.2", "--admin", admin],
                           stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    first, second = (json.loads(two.stdout.readline()) for _ in range(2))
    two.kill()
    two.wait()
    check(first["nodes"][0]["prompt_tokens_per_s"] is None, f"{first}")
    check(second["nodes"][0]["prompt_tokens_per_s"] == 0, f"{second}")
    hearth("top", "--once", "--admin", "127.0.0.1:1", code=1)


def check_bundle(fleet, router, admin):
    """Secrets are planted in settings, in a file that these name, and in a log: none is in the tar."""
    secrets = ["hunter2-session-secret", "s3cr3t-of-the-fleet!", "tenants-own-hash-0123", "pa55word"]
    pathlib.Path(fleet.path("fleet-secret")).write_text(secrets[1] + "\n")
    config = pathlib.Path(fleet.path("router.yaml"))
    config.write_text(f"listen: 0.0.0.0:8080\nsession_secret: {secrets[0]}\n"
                      f"fleet_secret_file: {fleet.path('fleet-secret')}\n"
                      f"tenants:\n  - {{name: acme, keys: ['{secrets[2]}']}}\n"
                      f"otlp_endpoint: http://user:{secrets[3]}@collector:4318\n")
    log = pathlib.Path(fleet.path("mine.txt"))
    log.write_text("".join(f"level=info n={n} said={secrets[n % 3]}\n" for n in range(50)))
    out = fleet.path("bundle.tar")
    told = json.loads(hearth("support-bundle", "--out", out, "--router", router, "--admin", admin, "--config",
                             config, "--log", log, "--log-lines", "10", "--log", "/no/such", "--json"))
    check(any("/no/such" in line for line in told["left_out"]), f"{told['left_out']}")
    with tarfile.open(out) as tar:
        files = {m.name: tar.extractfile(m).read().decode() for m in tar.getmembers()}
        check(all(m.mode == 0o600 for m in tar.getmembers()), "modes")
    wanted = {"versions.txt", "admin/nodes.json", "admin/history.json", "admin/config.json", "metrics/router.txt",
              "metrics/node-node-0.txt", "metrics/node-node-1.txt", "config/router.yaml", "logs/mine.txt"}
    check(wanted <= set(files), f"lacks {wanted - set(files)}")
    for name, text in files.items():
        for secret in secrets:
            check(secret not in text, f"{name} holds a secret: {secret}")
    for name in ("nodes", "history", "config"):
        json.loads(files[f"admin/{name}.json"])
    check(len(files["logs/mine.txt"].splitlines()) == 10, files["logs/mine.txt"])
    check("acme" in files["config/router.yaml"], files["config/router.yaml"])
    check("hearth_router_requests_total" in files["metrics/router.txt"], "the router's metrics")
    check({n["id"] for n in json.loads(files["admin/nodes.json"])["nodes"]} == {"node-0", "node-1"}, "nodes")
    check(os.stat(out).st_mode & 0o777 == 0o600, "others can read it")
    hearth("support-bundle", "--out", out, "--admin", admin, code=2)  # It is there already.
    lonely = hearth("support-bundle", "--out", fleet.path("2.tar"), "--router", "127.0.0.1:1", "--admin",
                    "127.0.0.1:1", "--config", config)
    check("versions.txt" in lonely, lonely)


def check_diff(fleet):
    base = [{"role": "system", "content": "You are Nova. It is 10:03."}, {"role": "user", "content": "Hello!"}]
    later = base + [{"role": "assistant", "content": "Hi."}, {"role": "user", "content": "More."}]
    other = [{"role": "system", "content": "You are Nova. It is 10:04."}, *later[1:]]
    paths = {}
    for name, messages in (("a", base), ("b", later), ("c", other)):
        paths[name] = fleet.path(f"{name}.json")
        pathlib.Path(paths[name]).write_text(json.dumps({"model": "tiny", "messages": messages}))
    model = ("--model", fleet.tiny_model(), "--json")
    went_on = json.loads(hearth("diff-prompt", paths["a"], paths["b"], *model))
    check(went_on["relation"] == "goes_on" and went_on["messages"] == [2, 4], f"{went_on}")
    # What A ends with beyond B's start is the mark that opens the reply.
    check(went_on["tokens"]["a"] - went_on["tokens"]["common"] <= 12 < went_on["tokens"]["common"], f"{went_on}")
    split = json.loads(hearth("diff-prompt", paths["b"], paths["c"], *model))
    check((split["relation"], split["field"], split["byte"]) == ("diverges", "messages[0].content", 24), f"{split}")
    check(split["tokens"]["common"] < went_on["tokens"]["common"], f"{split}")
    check(split["tokens"]["a_text"] == "3" and split["tokens"]["b_text"] == "4", f"{split}")
    said = hearth("diff-prompt", "-", paths["c"], stdin=open(paths["b"]))
    check("they diverge in messages[0].content, byte 24" in said and '"3."' in said, said)
    pathlib.Path(fleet.path("bad.json")).write_text('{"model":"x","messages":[{"role":"nobody","content":"x"}]}')
    check("messages[0].role" in hearth("diff-prompt", fleet.path("bad.json"), paths["b"], code=2), "the field")
    hearth("diff-prompt", "/no/such", paths["b"], code=1)


def check_plan(fleet):
    model = ("--model", fleet.tiny_model())
    per_token = json.loads(hearth("model", "info", fleet.tiny_model(), "--json"))["kv_bytes_per_token"]
    check(f"{per_token:.0f} (int8)" in hearth("model", "info", fleet.tiny_model()), "info as a table")
    key = json.loads(hearth("key", "new", "--json"))
    check(json.loads(hearth("key", "hash", key["key"], "--json"))["hash"] == key["hash"], "a key's hash")
    check({m["name"] for m in json.loads(hearth("model", "list", "--json"))} >= {"tiny"}, "known models")
    told = json.loads(hearth("plan", *model, "--nodes", "2", "--kv-memory", "1MiB", "--kv-disk", "3MiB",
                             "--session-tokens", "100", "--json"))
    check(told["kv_bytes_per_token"] == per_token, f"{told}")
    check(told["sessions_in_memory"] == 2 * 2**20 // (per_token * 100), f"{told}")
    check(told["sessions"] == 8 * 2**20 // (per_token * 100), f"{told}")
    trace = fleet.path("trace.jsonl")
    with open(trace, "w", encoding="utf-8") as out:
        for turn in range(20):
            for session in range(50):
                out.write(json.dumps({"timestamp": 60_000 * turn + 1000 * session, "session": str(session),
                                      "input_length": 100 * turn + 60, "output_length": 40}) + "\n")
    # At their end 50 sessions of 2,000 tokens: all of it fits, or a part of the rounds.
    fits = int(50 * 2000 * per_token)
    rates = {}
    for size in (fits, fits // 3):
        told = json.loads(hearth("plan", *model, "--kv-memory", size, "--trace", trace, "--json"))
        rates[size] = next(f["hit_rate"] for f in told["forecasts"] if f["kv_bytes"] == size)
        check(told["reply_gap_s"] == {"p50": 60.0, "p95": 60.0}, f"{told}")
        ordered = [f["hit_rate"] for f in told["forecasts"]]
        check(ordered == sorted(ordered), f"a larger cache hits less: {ordered}")
    check(rates[fits] == 1.0 and 0 < rates[fits // 3] < 0.5, f"{rates}")
    said = hearth("plan", *model, "--kv-memory", fits, "--trace", trace)
    check("95 % within 60 s" in said and "100.0 %" in said and "this fleet" in said, said)
    chats = hearth("plan", *model, "--chats", pathlib.Path(__file__).parents[2] / "deploy/demo/chats.jsonl",
                   "--users", "1000", "--gap", "2m")
    check("half within 120 s" in chats or "half within 2 min" in chats, chats)
    check("--kv-memory: 'x'" in hearth("plan", *model, "--kv-memory", "x", code=2), "the flag")


def main():
    with Fleet() as fleet:
        check_diff(fleet)
        check_plan(fleet)
        fleet.start_redis()
        for n in range(2):
            fleet.start_node(f"node-{n}")
        router = fleet.start_router()
        fleet.wait_members(router, 2)
        talk(router)
        with open(fleet.path("router.log"), encoding="utf-8") as log:
            admin = log.read().split(" admin=")[1].split()[0]
        check_top(admin)
        check_bundle(fleet, router, admin)


main()
