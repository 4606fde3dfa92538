"""The programs as a person meets them: help, version, config checks, exit codes, `up`, `chat`, `status`."""

import json
import os
import re
import subprocess

from fleet import BIN, ROOT, Fleet, check, request


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120,
                          **options)


def check_flags(program, folder, *needed):
    for flag in ("--help", "--version", "--print-config", "--check"):
        done = run(BIN / program, *needed, flag)
        check(done.returncode == 0, f"{program} {flag}: {done.returncode} {done.stderr}")
        check(done.stdout or flag == "--check", f"{program} {flag} printed nothing")
    check(run(BIN / program, "--no-such-flag").returncode == 2, f"{program}: unknown flag")
    bad = os.path.join(folder, "bad.yaml")
    with open(bad, "w", encoding="utf-8") as out:
        out.write("listen: 127.0.0.1:0\nlissten: oops\n")
    done = run(BIN / program, "--config", bad, "--check")
    check(done.returncode == 2, f"{program}: a bad config gave {done.returncode}")
    check("bad.yaml:2" in done.stderr and "lissten" in done.stderr, done.stderr)


def replays(address, chats):
    """One turn has nothing to reuse: "-" and null, neither 0 nor nan. An id twice is refused."""
    one = '{"id":"a","turns":[{"role":"user","text":"hi"}]}\n'
    with open(chats, "w", encoding="utf-8") as out:
        out.write(one)
    done = run(BIN / "hearth", "replay", "--router", f"http://{address}/", "--chats", chats,
               "--node", f"http://{address}", "--max-tokens", "4", "--json")
    check(done.returncode == 0, done.stdout + done.stderr)
    rates = {line.split(" (")[0]: line.split()[-2:] for line in done.stdout.splitlines() if " (" in line}
    check(rates["inter-turn"] == rates["turns"] == ["-", "-"], done.stdout)
    summary = json.loads(done.stdout.splitlines()[-1])
    check(summary["inter_turn_hit_rate"] is summary["ceiling"] is None, summary)
    with open(chats, "a", encoding="utf-8") as out:
        out.write(one)
    done = run(BIN / "hearth", "replay", "--router", address, "--chats", chats)
    check(done.returncode == 2 and ":2: the id 'a' is there twice" in done.stderr, done.stderr)


def main():
    with Fleet() as fleet:
        check_flags("hearth-router", fleet.folder.name)
        check_flags("hearth-cachenode", fleet.folder.name, "--model-path", fleet.tiny_model())
        lacking = run(BIN / "hearth-cachenode", "--check")
        check(lacking.returncode == 2 and "model_path" in lacking.stderr, lacking.stderr)
        for config in sorted((ROOT / "deploy" / "config").glob("*.yaml")):
            if config.name.startswith("router"):
                done = run(BIN / "hearth-router", "--config", config, "--check")
            else:  # The node's own machine has the model that the file names; this one has not.
                lacking = run(BIN / "hearth-cachenode", "--config", config, "--check")
                check(lacking.returncode == 2 and re.search(r"\.yaml:\d+:1: model_path: ", lacking.stderr),
                      lacking.stderr)
                done = run(BIN / "hearth-cachenode", "--config", config, "--model-path",
                           fleet.tiny_model(), "--check")
            check(done.returncode == 0, f"{config.name}: {done.stderr}")
        check(run(BIN / "hearth").returncode == 2, "hearth without a subcommand")
        check(run(BIN / "hearth", "--help").returncode == 0, "hearth --help")
        made = dict(line.split() for line in run(BIN / "hearth", "key", "new").stdout.splitlines())
        again = run(BIN / "hearth", "key", "hash", input=made["key:"] + "\n").stdout.strip()
        check(made["key:"].startswith("hk-") and again == made["hash:"], f"{made} {again}")
        missing = run(BIN / "hearth", "up", "--listen", "127.0.0.1:0", "--model", "/no/such.gguf")
        check(missing.returncode == 2 and "/no/such.gguf" in missing.stderr, missing.stderr)

        environment = dict(os.environ, HEARTH_CACHE_FOLDER=fleet.path("cache"))
        os.environ.update(environment)
        address = fleet.start("up", [BIN / "hearth", "up", "--nodes", "3", "--listen", "127.0.0.1:0",
                                     "--admin-listen", "127.0.0.1:0", "--model", "tiny",
                                     "--threads", "1", "--log-level", "info"])
        with open(fleet.path("up.log"), encoding="utf-8") as log:
            admin = re.search(r"admin=(\S+)", log.read()).group(1)
        table = run(BIN / "hearth", "status", "--admin", admin)
        check(table.returncode == 0, table.stderr)
        check([f"node-{n}" in table.stdout for n in (1, 2, 3)] == [True] * 3, table.stdout)
        nodes = json.loads(run(BIN / "hearth", "status", "--admin", admin, "--json").stdout)["nodes"]
        check([n["healthy"] for n in nodes] == [True] * 3, nodes)
        listed = run(BIN / "hearth", "nodes", "--admin", f"http://{admin}").stdout.splitlines()
        for node, line in zip(nodes, listed[1:], strict=True):
            for part in (node["id"], node["address"], node["generation"], " active "):
                check(part in line, f"{part} is not in: {line}")
        wrong = run(BIN / "hearth", "nodes", "--admin", address)
        check(wrong.returncode == 2 and "is no admin listener" in wrong.stderr, wrong.stderr)
        check(request(address, "GET", "/ready")[0] == 200, "up is ready when it says so")
        said = run(BIN / "hearth", "chat", "--router", address, "--max-tokens", "8",
                   input="Hello!\nAnd again?\n")
        check(said.returncode == 0, said.stdout + said.stderr)
        check("turn 1:" in said.stdout and "turn 2:" in said.stdout, said.stdout)
        second = said.stdout.split("turn 2:")[1]
        check(" 0 of " not in second, f"turn 2 reused nothing: {second}")
        chats = fleet.path("c.jsonl")
        with open(chats, "w", encoding="utf-8") as out:
            out.write('{"id":"a","turns":[{"role":"user","text":"hi"}]}\nnot json\n')
        done = run(BIN / "hearth", "replay", "--router", address, "--chats", chats)
        check(done.returncode == 2 and "c.jsonl:2" in done.stderr, done.stderr)
        replays(address, chats)
        fleet.processes["up"].terminate()
        check(fleet.processes["up"].wait(30) == 0, "SIGTERM ends `up` with 0")


main()
