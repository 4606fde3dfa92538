"""The scenarios that every official OpenAI client must pass, and the fleet that they are played against."""

import hashlib
import subprocess

from fleet import Fleet, check

SCENARIOS = ["models", "whole", "stream", "usage", "errors", "retries", "abort", "tools", "json_mode",
             "logprobs", "responses"]


def play(command, environment=None):
    """Runs a client's script with URL, a key of few requests, and the scenarios; each must say ok."""
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(2):
            fleet.start_node(f"node-{n}", "--chat-template", "qwen")
        config = fleet.path("router.yaml")
        with open(config, "w", encoding="utf-8") as out:
            out.write("tenants:\n")
            for name, limit in (("free", ""), ("few", ", requests_per_second: 1")):
                digest = hashlib.sha256(f"hk-{name}".encode()).hexdigest()
                out.write(f"  - {{name: {name}, keys: [\"sha256:{digest}\"]{limit}}}\n")
        router = fleet.start_router("router", "--config", config)
        fleet.wait_members(router, 2)
        run = subprocess.run([*command, f"http://{router}/v1", "hk-few", *SCENARIOS], capture_output=True,
                             text=True, timeout=120, env=environment)
        print(run.stdout, run.stderr)
        check(run.returncode == 0, "the client failed")
        passed = [line.split()[1] for line in run.stdout.splitlines() if line.startswith("ok ")]
        check(passed == SCENARIOS, f"only {passed} were played")
