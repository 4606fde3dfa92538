"""Dashboards, rules and runbooks name what a real fleet exports, all of it, and are well made.

promtool checks and tests the rules where it is installed (Debian's package prometheus).
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import fleet as support
from fleet import Fleet, ROOT, chat, check, request, wait_until

BOARDS = ("fleet", "node", "router", "gpu")
RULES = ROOT / "dashboards" / "rules"
SCALERS = (ROOT / "deploy" / "kubernetes" / "components" / "keda" / "scaledobject.yaml",
           ROOT / "deploy" / "helm" / "hearth" / "templates" / "keda.yaml")
NAME = re.compile(r"(?<![a-z_:])hearth_[a-z_]+")
SUFFIX = re.compile(r"_(bucket|sum|count)$")
KINDS = {"timeseries", "stat", "bargauge", "state-timeline"}


def names_in(text):
    return {SUFFIX.sub("", name) for name in NAME.findall(text)}


def expressions():
    """(where, PromQL) of every panel and rule, and of what the autoscaler asks."""
    for path in SCALERS:
        queries = re.findall(r"query: >-\n((?: {8}\S.*\n)+)", path.read_text())
        check(len(queries) == 2, f"{path.name}: {len(queries)} queries")
        for query in queries:
            yield f"scaler {path.stem}", " ".join(query.replace("{{ $.Values.cluster }}", "main").split())
    for board in BOARDS:
        for panel in json.loads((ROOT / "dashboards" / f"{board}.json").read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{board}: {panel['title']}", target["expr"]
    for name in ("recording.yaml", "alerts.yaml"):
        text = (RULES / name).read_text()
        for rule in re.split(r"\n  - (?=alert:|record:)", text)[1:]:
            title = rule.splitlines()[0]
            body = re.search(r"expr: (.*?)(?=\n    (?:for|labels|annotations):|\Z)", rule, re.S)
            yield f"{name}: {title}", body.group(1)


def lint_board(board):
    data = json.loads((ROOT / "dashboards" / f"{board}.json").read_text())
    check(data["uid"] == f"hearth-{board}" and data["id"] is None, f"{board}: uid")
    check(data["templating"]["list"][0]["type"] == "datasource", f"{board}: the data source first")
    known = {v["name"] for v in data["templating"]["list"]}
    taken, ids = {}, set()
    for panel in data["panels"]:
        where = f"{board}: {panel['title']}"
        check(panel["id"] not in ids, f"{where}: its id is there twice")
        ids.add(panel["id"])
        grid = panel["gridPos"]
        check(grid["x"] + grid["w"] <= 24, f"{where}: too wide")
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                check((x, y) not in taken, f"{where} lies on {taken.get((x, y))}")
                taken[x, y] = panel["title"]
        if panel["type"] == "row":
            continue
        check(panel["type"] in KINDS, f"{where}: type {panel['type']}")
        check(panel["fieldConfig"]["defaults"].get("unit"), f"{where}: no unit")
        check(len(panel["description"]) > 20, f"{where}: no description")
        check(panel["datasource"]["uid"] == "${datasource}", f"{where}: data source")
        check(panel["targets"], f"{where}: no query")
        for target in panel["targets"]:
            used = set(re.findall(r"\$([a-z_]+)", target["expr"])) - {"__rate_interval"}
            check(used <= known, f"{where}: unknown variables {used - known}")
            check("$cluster" in target["expr"], f"{where}: does not heed the cluster")
            check(target["expr"].count("(") == target["expr"].count(")"), f"{where}: parentheses")


def lint_alerts():
    text = (RULES / "alerts.yaml").read_text()
    rules = re.split(r"\n  - (?=alert:)", text)[1:]
    check(len(rules) >= 20, f"{len(rules)} alerts")
    tests = (RULES / "tests.yaml").read_text()
    for rule in rules:
        name = rule.splitlines()[0].split()[1]
        for wanted in (r"severity: (page|ticket)", r"summary: ", r"dashboard: hearth-(fleet|node|router|gpu)"):
            check(re.search(wanted, rule), f"{name}: no {wanted}")
        page = re.search(r"runbook: (docs/runbooks/[a-z-]+\.md)", rule)
        check(page and (ROOT / page.group(1)).exists(), f"{name}: no runbook")
        check(name in (ROOT / page.group(1)).read_text(), f"{page.group(1)} does not name {name}")
        if name not in ("HearthTierFailed", "HearthConfigRefused"):  # As plain as can be.
            check(f"alertname: {name}" in tests, f"{name}: no test")


def promtool(*arguments, text=None):
    """Runs promtool; its output. Nothing where it is not installed."""
    tool = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if not tool or not os.access(tool, os.X_OK):
        return None
    done = subprocess.run([tool, *map(str, arguments)], input=text, capture_output=True, text=True)
    check(done.returncode == 0, f"promtool {arguments}: {done.stdout}{done.stderr}")
    return done.stdout


def exported():
    """Families that a router and a node of a working fleet export, and their /metrics."""
    texts = []
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(2):
            fleet.start_node(f"node-{n}", "--kv-disk", fleet.path(f"disk-{n}"), "--kv-disk-bytes", "64MiB",
                             "--kv-events", "true", "--kv-events-endpoint", "tcp://127.0.0.1:*",
                             "--kv-events-replay-endpoint", "")
        key = "hearth-monitoring-test-key"
        config = fleet.path("router.yaml")
        digest = hashlib.sha256(key.encode()).hexdigest()
        pathlib.Path(config).write_text(f"tenants:\n  - {{name: acme, keys: ['sha256:{digest}']}}\n")
        router = fleet.start_router()
        fleet.wait_members(router, 2)
        locked = fleet.start_router("locked", "--config", config)
        fleet.wait_members(locked, 2)
        messages = [{"role": "user", "content": "Tell me of the sea."}]
        chat(router, messages, "s1", max_tokens=4)
        body = json.dumps({"model": "tiny", "messages": messages, "max_tokens": 2})
        status = request(locked, "POST", "/v1/chat/completions", body,
                         {"content-type": "application/json", "authorization": f"Bearer {key}"})[0]
        check(status == 200, f"HTTP {status}")
        for address in (router, locked, fleet.address["node-0"]):
            wait_until(lambda: b"hearth_directory_up 1" in request(address, "GET", "/metrics")[2],
                       f"{address} reaches Redis")
            texts.append(request(address, "GET", "/metrics")[2].decode())
    families = set()
    for text in texts:
        families |= {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE hearth_")}
    return families, texts


def of_devices():
    """What nodes with a GPU export besides; none is here, so by their code, which a unit test holds."""
    return set(re.findall(r'"(hearth_device_[a-z_]+)"', (ROOT / "cachenode" / "device_metrics.cpp").read_text()))


def main():
    made = subprocess.run([sys.executable, ROOT / "dashboards" / "make.py", "--check"],
                          capture_output=True, text=True)
    check(made.returncode == 0, f"{made.stdout}{made.stderr}: run dashboards/make.py")
    for board in BOARDS:
        lint_board(board)
    lint_alerts()

    families, texts = exported()
    check(not any(name.startswith("hearth_device_") for name in families), "a GPU where there is none")
    families |= of_devices()
    used = set()
    for where, expression in expressions():
        for name in names_in(expression):
            used.add(name)
            check(name in families, f"{where} uses {name}, which nobody exports")
    for board in BOARDS:  # The variables.
        used |= names_in((ROOT / "dashboards" / f"{board}.json").read_text()) & families
    for page in (ROOT / "docs").rglob("*.md"):
        for name in names_in(page.read_text()):
            check(name in families or name.endswith("_"), f"{page.name} names {name}, which nobody exports")
    check(families <= used, f"on no panel, in no rule: {sorted(families - used)}")

    if promtool("check", "rules", RULES / "recording.yaml", RULES / "alerts.yaml") is None:
        support.skip("promtool is not installed: rules were linted and not run")
    promtool("test", "rules", RULES / "tests.yaml")
    for text in texts:
        promtool("check", "metrics", text=text)
    rules = "groups:\n- name: panels\n  rules:\n"
    for number, (where, expression) in enumerate(expressions()):
        if "yaml:" in where:
            continue
        plain = expression.replace("$__rate_interval", "5m")
        rules += f"  - record: panel_{number}\n    expr: {json.dumps(plain)}\n"
    with Fleet() as scratch:
        path = pathlib.Path(scratch.path("panels.yaml"))
        path.write_text(rules)
        promtool("check", "rules", path)
    print(f"{len(families)} metrics, {len(used)} of them on panels or in rules")


main()
