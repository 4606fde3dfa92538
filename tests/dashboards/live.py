"""What a real fleet exports: names, labels and buckets of two small routers and four nodes.

Everything that a dashboard shows during an incident has to happen here once, in small, so that the
series of incident.py are those of the programs: a dead node, a drain, requests that are refused.
"""

import hashlib
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from fleet import ROOT, Fleet, chat, metric, request, wait_until  # noqa: E402

SAMPLE = re.compile(r"^([a-z_:]+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
KEY = "hearth-dashboards-key"


def parsed(text):
    """{(name, labels as a sorted tuple): value} of one /metrics."""
    out = {}
    for line in text.splitlines():
        found = SAMPLE.match(line)
        if found:
            out[found[1], tuple(sorted(LABEL.findall(found[2] or "")))] = float(found[3])
    return out


DEVICE = """
hearth_device_memory_capacity_bytes{chip="H200"} 0
hearth_device_memory_bytes{use="weights"} 0
hearth_device_memory_bytes{use="pages"} 0
hearth_device_memory_bytes{use="activations"} 0
hearth_device_memory_bytes{use="tables"} 0
hearth_device_busy_seconds_total 0
hearth_device_read_bytes_total 0
hearth_device_operations_total 0
hearth_device_passes_total{kind="launched"} 0
hearth_device_passes_total{kind="replayed"} 0
hearth_device_moved_bytes_total{direction="to_device"} 0
hearth_device_moved_bytes_total{direction="to_host"} 0
hearth_device_copies_waiting 0
hearth_device_temperature_celsius 0
hearth_device_utilization_ratio{part="chip"} 0
hearth_device_utilization_ratio{part="memory"} 0
"""


def of_devices():
    """Series of nodes with a GPU. None is here, so by the code; labels as device_metrics_test has them."""
    code = (ROOT / "cachenode" / "device_metrics.cpp").read_text()
    series = parsed(DEVICE)
    names = set(re.findall(r'"(hearth_device_[a-z_]+)"', code))
    if names != {name for name, _ in series}:
        sys.exit(f"live: the series of GPUs are {sorted(names)}")
    return series


def ask(address, body, **headers):
    headers = {
        "content-type": "application/json",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return request(address, "POST", "/v1/chat/completions", json.dumps(body), headers)[0]


def visit(router, sessions, turns=2):
    for session in sessions:
        messages = [{"role": "user", "content": "Tell me of the sea."}]
        for _ in range(turns):
            answer, _ = chat(router, messages, session, max_tokens=4, model="smollm2")
            messages += [
                answer["choices"][0]["message"],
                {"role": "user", "content": "And of ships?"},
            ]


def provoke(fleet, router):
    """One of each thing that gets a label of its own only when it happens."""
    hello = [{"role": "user", "content": "Hello."}]
    body = {"model": "smollm2", "messages": hello, "max_tokens": 2}
    ask(router, body)  # no key: the chat's opening is one
    ask(router, {**body, "prompt_cache_key": "p-1"})
    ask(router, {**body, "stream": True}, x_session_id="s-1")
    ask(router, {**body, "max_tokens": -1}, x_session_id="s-1")
    ask(router, {**body, "model": "absent"}, x_session_id="s-1")
    fleet.hearth("router-1", "drain", "node-2", "--wait")
    visit(router, [f"s-{n}" for n in range(24)])
    fleet.hearth("router-1", "undrain", "node-2")
    fleet.kill("node-3")
    visit(router, [f"s-{n}" for n in range(24)])


def scraped():
    """{"router": ..., "cachenode": ...}: the samples of all routers, and of all nodes."""
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(1, 5):
            command = [
                "--kv-disk",
                fleet.disk(n),
                "--kv-disk-bytes",
                "64MiB",
                "--served-model-name",
                "smollm2",
                "--kv-events",
                "true",
                "--kv-events-endpoint",
                "tcp://127.0.0.1:*",
                "--kv-events-replay-endpoint",
                "",
            ]
            fleet.start_node(f"node-{n}", *command)
        config = pathlib.Path(fleet.path("router.yaml"))
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        config.write_text(f"tenants:\n  - {{name: nova, keys: ['sha256:{digest}']}}\n")
        open_router = fleet.start_router("router-1", "--health-interval-ms", "500ms")
        locked = fleet.start_router("router-2", "--config", config)
        for router in (open_router, locked):
            fleet.wait_members(router, 4)
        nodes = [fleet.address[f"node-{n}"] for n in range(1, 5)]
        visit(open_router, [f"s-{n}" for n in range(24)])
        before = [parsed(request(node, "GET", "/metrics")[2].decode()) for node in nodes]
        body = {
            "model": "smollm2",
            "messages": [{"role": "user", "content": "Hi."}],
            "max_tokens": 2,
        }
        ask(locked, body, authorization=f"Bearer {KEY}")
        ask(locked, body, authorization="Bearer wrong")
        provoke(fleet, open_router)
        wait_until(
            lambda: metric(open_router, "hearth_router_node_health", 'node="node-3"') == 0,
            "the dead node is seen",
        )
        out = {"cachenode": {}, "router": {}, "gpu": of_devices()}
        for samples in before:
            out["cachenode"].update(samples)
        for node in (nodes[0], nodes[1], nodes[3]):
            out["cachenode"].update(parsed(request(node, "GET", "/metrics")[2].decode()))
        for router in (open_router, locked):
            out["router"].update(parsed(request(router, "GET", "/metrics")[2].decode()))
        return out
