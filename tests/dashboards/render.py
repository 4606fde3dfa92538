#!/usr/bin/env python3
"""Draws the dashboards as they look after six eventful hours: docs/img/dashboard-*.png.

    tests/dashboards/render.py [--out FOLDER] [--board NAME]... [--scheme light|dark]...

A small fleet says what is exported, incident.py gives those series six hours, Prometheus back-fills
them and the recording rules, and the JSON is drawn with @grafana/ui in headless Chromium. Wants a
build (HEARTH_BIN_DIR), prometheus and promtool, Node 20, npm and chromium. 1 if a panel is empty.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import incident
import live

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RULES = ROOT / "dashboards" / "rules"
MODULES = ROOT / "build" / "pictures"
START = 1770139200  # 2026-02-03 17:20 UTC
WIDTH = 1600
# Nothing in the story raises these; 0 or nothing is what they should show.
QUIET = {"Two nodes under one id", "Corrupt blocks and failed tiers"}


def program(name):
    """Its path: $PROMETHEUS_FOLDER, the PATH, or where `./dev test` unpacks promtool."""
    folders = [
        os.environ.get("PROMETHEUS_FOLDER"),
        *os.environ["PATH"].split(":"),
        ROOT / "build/promtool/usr/bin",
    ]
    for folder in filter(None, folders):
        if os.access(pathlib.Path(folder) / name, os.X_OK):
            return str(pathlib.Path(folder) / name)
    sys.exit(f"render: {name} is not there: apt install {name}, or set PROMETHEUS_FOLDER")


def run(*command, **more):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"render: {command[0]}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout


def modules():
    """node_modules of package.json, installed once a version of it."""
    wanted = (HERE / "package.json").read_text()
    have = MODULES / "package.json"
    if not (MODULES / "node_modules").exists() or have.read_text() != wanted:
        MODULES.mkdir(parents=True, exist_ok=True)
        have.write_text(wanted)
        print("installing @grafana/ui", flush=True)
        run(
            "npm",
            "install",
            "--no-package-lock",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            cwd=MODULES,
        )
    return MODULES / "node_modules"


@contextlib.contextmanager
def prometheus(folder):
    """A server over the blocks in folder/data; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % probe.getsockname()[1]
    config = folder / "prometheus.yaml"
    config.write_text(
        json.dumps(
            {"global": {"evaluation_interval": "1d"}, "rule_files": [str(RULES / "alerts.yaml")]}
        )
    )
    log = open(folder / "prometheus.log", "ab")
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--storage.tsdb.retention.time=100y",
        "--log.level=warn",
    ]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(f"http://{address}/-/ready", timeout=2).status == 200:
                    break
            if time.monotonic() > end or process.poll() is not None:
                sys.exit(
                    "render: Prometheus does not start:\n"
                    + (folder / "prometheus.log").read_text()[-2000:]
                )
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def back_fill(folder, text):
    run(
        program("promtool"),
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "--max-block-duration=24h",
        text,
        folder / "data",
    )


def back_fill_rules(folder):
    """The recording rules over the incident; twice, as some read what others record."""
    for _ in range(2):
        with prometheus(folder) as address:
            run(
                program("promtool"),
                "tsdb",
                "create-blocks-from",
                "rules",
                f"--url=http://{address}",
                f"--start={START - incident.HOUR}",
                f"--end={START + incident.SECONDS}",
                "--eval-interval=30s",
                f"--output-dir={folder / 'data'}",
                RULES / "recording.yaml",
            )


def asked(address, path, **words):
    with urllib.request.urlopen(
        f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(words)}", timeout=60
    ) as answer:
        return json.load(answer)["data"]


def firing(address, rule, step=30):
    """{labels as JSON: times} while which an alerting rule fires."""
    data = asked(
        address,
        "query_range",
        query=rule["query"],
        start=START - incident.HOUR,
        end=START + incident.SECONDS,
        step=step,
    )
    out = {}
    for series in data["result"]:
        times = [int(at) for at, _ in series["values"]]
        since = None
        for last, at in zip([None, *times], times):
            since = at if last is None or at - last > step else since
            if at - since >= rule["duration"]:
                labels = {
                    **series["metric"],
                    **rule["labels"],
                    "alertname": rule["name"],
                    "alertstate": "firing",
                }
                labels.pop("__name__", None)
                out.setdefault(json.dumps(labels, sort_keys=True), []).append(at)
    return out


def back_fill_alerts(folder):
    """ALERTS, as Prometheus would have written it; the names of the alerts that fired."""
    fired = {}
    with prometheus(folder) as address:
        for group in asked(address, "rules", type="alert")["groups"]:
            for rule in group["rules"]:
                fired.update(firing(address, rule))
    text = folder / "alerts.txt"
    with open(text, "w", encoding="utf-8") as out:
        for labels, times in fired.items():
            inside = ",".join(f"{k}={json.dumps(v)}" for k, v in json.loads(labels).items())
            out.write("".join(f"ALERTS{{{inside}}} 1 {at}\n" for at in times))
        out.write("# EOF\n")
    back_fill(folder, text)
    return sorted({json.loads(labels)["alertname"] for labels in fired})


def judged(drawn):
    """Prints what is on each picture; the faults."""
    faults = []
    for picture, found in drawn.items():
        print(
            f"dashboard-{picture}.png: {found['bytes'] // 1024} KiB, "
            f"{len(found['reports'])} panels, marks: "
            f"{', '.join(sorted(set(found['marks']))) or 'none'}"
        )
        faults += [f"{picture}: {error}" for error in found["errors"]]
        if found["bytes"] > 300 * 1024:
            faults.append(f"{picture}: larger than 300 KiB")
        for title, panel in found["reports"].items():
            if panel.get("error") or not panel["points"] and title not in QUIET:
                faults.append(f"{picture}: {title}: {panel.get('error', 'no data')}")
            elif panel["points"] and panel["all_zero"] and title not in QUIET:
                faults.append(f"{picture}: {title}: only zeros")
    return faults


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", default=ROOT / "docs" / "img", type=pathlib.Path, help="folder of the pictures"
    )
    parser.add_argument("--board", action="append", choices=("fleet", "node", "router", "gpu"))
    parser.add_argument("--scheme", action="append", choices=("light", "dark"))
    words = parser.parse_args()
    chromium = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or sys.exit("render: no chromium")
    )
    words.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hearth-pictures-") as name:
        folder = pathlib.Path(name)
        (folder / "data").mkdir()
        incident.write(folder / "incident.txt", live.scraped(), START)
        back_fill(folder, folder / "incident.txt")
        back_fill_rules(folder)
        print("alerts that fired:", ", ".join(back_fill_alerts(folder)))
        with prometheus(folder) as address:
            order = {
                "modules": str(modules()),
                "chromium": chromium,
                "base": f"http://{address}",
                "from": START * 1000,
                "to": (START + incident.SECONDS) * 1000,
                "width": WIDTH,
                "boards": {
                    b: str(ROOT / "dashboards" / f"{b}.json")
                    for b in words.board or ("fleet", "node", "router", "gpu")
                },
                "schemes": words.scheme or ["light", "dark"],
                "out": str(words.out.resolve()),
            }
            drawn = json.loads(run("node", HERE / "shoot.mjs", json.dumps(order)))
    faults = judged(drawn)
    print(*faults, sep="\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
