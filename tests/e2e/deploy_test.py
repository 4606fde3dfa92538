"""deploy/: programs accept the command lines of the manifests, and the tools that read them do too."""

import os
import re
import shlex
import shutil
import subprocess

from fleet import BIN, ROOT, Fleet, check, skip

COMPOSE = ROOT / "deploy" / "compose"


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120)
    check(done.returncode == 0, f"{command}: {done.returncode} {done.stdout[-500:]}{done.stderr[-500:]}")


def check_commands(fleet):
    """The flags of compose.yaml, with secrets and model of this test."""
    text = (COMPOSE / "compose.yaml").read_text()
    secret = fleet.path("secret")
    with open(secret, "w", encoding="utf-8") as out:
        out.write("0123456789abcdef0123456789abcdef\n")
    router = re.search(r"command: \[(--listen.*)\]", text)[1]
    words = [w.strip().strip('"') for w in router.split(",")]
    run(BIN / "hearth-router", *(secret if w.startswith("/run/secrets/") else w for w in words), "--check")
    node = re.search(r"exec hearth-cachenode (.*)'\]", text)[1]
    node = node.replace('"$$(hearth model get smollm2)"', str(fleet.tiny_model())).replace("$$NODE", "node-1")
    words = shlex.split(re.sub(r"/run/secrets/\w+", secret, node))
    run(BIN / "hearth-cachenode", *words, "--check")


def main():
    with Fleet() as fleet:
        check_commands(fleet)
    promtool = os.environ.get("PROMTOOL", shutil.which("promtool") or "")
    if not os.access(promtool, os.X_OK):
        skip("promtool is not installed: the scrape configuration was not checked")
    run(promtool, "check", "config", "--syntax-only", COMPOSE / "prometheus.yaml")
    if not shutil.which("docker-compose"):
        skip("docker-compose is not installed: compose.yaml was not validated")
    run("docker-compose", "-f", COMPOSE / "compose.yaml", "config", "--quiet")


main()
