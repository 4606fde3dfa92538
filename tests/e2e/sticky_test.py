"""A fleet of real processes: every follow-up turn lands on its node and computes only what is new."""

import json
import subprocess

from fleet import BIN, Fleet, check


def write_chats(path, chats, turns):
    """Chats with a persona each, some shared, and user turns that differ."""
    with open(path, "w", encoding="utf-8") as out:
        for c in range(chats):
            persona = f"You are keeper number {c % 5} of a lighthouse. " * 12
            turns_list = [{"role": "user", "text": f"Question {t} of visitor {c}: what do you see?"}
                          for t in range(turns)]
            out.write(json.dumps({"id": f"chat-{c}", "system": persona, "turns": turns_list}) + "\n")


def replay(fleet, chats, *flags, code=0):
    nodes = [a for n, a in fleet.address.items() if n.startswith("node")]
    command = [str(BIN / "hearth"), "replay", "--router", fleet.address["router"], "--chats", chats,
               "--json", "--max-tokens", "12"]
    for node in nodes:
        command += ["--node", node]
    run = subprocess.run(command + list(flags), capture_output=True, text=True, timeout=300)
    check(run.returncode == code, f"replay ended with {run.returncode}:\n{run.stdout}\n{run.stderr}")
    return json.loads(run.stdout.strip().splitlines()[-1]), run.stdout + run.stderr


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(3):
            fleet.start_node(f"node-{n}")
        fleet.start_router()
        fleet.wait_members(fleet.address["router"], 3)
        chats = fleet.path("chats.jsonl")
        write_chats(chats, chats=14, turns=6)
        expect = ["--expect-hit-rate", "0.95", "--expect-moved", "0"]
        # First turns alone show nothing, and that is no success.
        _, output = replay(fleet, chats, "--chat-limit", "2", "--turn-limit", "1", *expect, code=1)
        check("hearth replay: failed: no turn followed another" in output, output)
        used = set()  # A first turn goes to the less loaded of two: which, is a matter of time.
        for flags in (["--concurrency", "6"] + expect, ["--no-session-header", "--temperature", "0.8"]):
            summary, output = replay(fleet, chats, *flags)
            check(summary["sessions"] == 14 and summary["turns"] == 84, summary)
            check(summary["errors"] == 0 and summary["moved_sessions"] == 0, output)
            check(summary["inter_turn_hit_rate"] >= 0.99, output)
            check(summary["ceiling"] >= summary["inter_turn_hit_rate"], output)
            used |= {line.split()[2] for line in output.splitlines() if line.startswith("chat-")}
        check(len(used) == 3, f"28 sessions on {len(used)} of 3 nodes")
        for node in ("node-0", "node-1", "node-2"):
            check_sums(fleet.address[node])


def check_sums(node):
    """Design §11: every prompt token has one source, every reusable token one fate."""
    from fleet import metric

    prompt = metric(node, "hearth_engine_prompt_tokens_total")
    device = metric(node, "hearth_engine_prompt_tokens_total", 'source="device"')
    computed = metric(node, "hearth_engine_prompt_tokens_total", 'source="computed"')
    check(prompt > 0 and device + computed == prompt, f"{device} + {computed} != {prompt}")
    reusable = metric(node, "hearth_engine_reusable_tokens_total")
    reused = metric(node, "hearth_engine_reused_tokens_total")
    missed = metric(node, "hearth_engine_missed_tokens_total")
    check(reused + missed == reusable, f"{reused} + {missed} != {reusable}")


main()
