"""deploy/kubernetes and deploy/helm: they build, every object is well-typed, and the parts fit.

Wants kubectl (1.22 or later; $KUBECTL), helm ($HELM), kubernetes-validate ($KUBERNETES_VALIDATE) and
python3-yaml. What is not installed is not run, and the test then ends as skipped and says so.
"""

import copy
import json
import os
import re
import shutil
import subprocess
import sys

from fleet import BIN, ROOT, Fleet, check, skip

KUBERNETES = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "hearth"
VERSION = "1.32.0"
PROGRAMS = {"router.yaml": "hearth-router", "cachenode.yaml": "hearth-cachenode"}
HELM_VALUES = {
    "defaults": [],
    "all": ["monitoring.enabled=true", "keda.enabled=true", "cachenode.gpus=1", "cachenode.backend=cuda",
            "existingSecret=mine", "router.config.retry_foreign=true", "imagePullSecrets[0].name=pull"],
    "own": ["redis.enabled=false", "redis.address=redis.example:6380", "cachenode.model=",
            "networkPolicy.enabled=false", "cachenode.config.kv_ttl_ms=24h"],
}
REFUSED = [["router.replicas=0"], ["router.replcias=2"], ["cachenode.backend=tpu"], ["redis.address=nowhere"],
           ["redis.enabled=false"], ["keda.queueSeconds=-1"], ["cachenode.storage.size=big"]]
# What we use of other operators' kinds; their schemas are theirs. '' is the object itself.
FOREIGN = {
    "PodMonitor": {
        "spec": {"selector", "podMetricsEndpoints"}, "spec.selector": {"matchLabels"},
        "spec.podMetricsEndpoints": {"port", "path", "interval", "relabelings"},
        "spec.podMetricsEndpoints.relabelings": {"sourceLabels", "targetLabel", "replacement"}},
    "PrometheusRule": {
        "spec": {"groups"}, "spec.groups": {"name", "interval", "rules"},
        "spec.groups.rules": {"alert", "record", "expr", "for", "labels", "annotations"}},
    "ScaledObject": {
        "spec": {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod",
                 "advanced", "triggers"},
        "spec.scaleTargetRef": {"apiVersion", "kind", "name"},
        "spec.advanced": {"horizontalPodAutoscalerConfig"},
        "spec.advanced.horizontalPodAutoscalerConfig": {"behavior"},
        "spec.advanced.horizontalPodAutoscalerConfig.behavior": {"scaleUp", "scaleDown"},
        "spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleUp": {
            "stabilizationWindowSeconds", "policies"},
        "spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown": {
            "stabilizationWindowSeconds", "policies"},
        "spec.triggers": {"type", "name", "metricType", "metadata"},
        "spec.triggers.metadata": {"serverAddress", "query", "threshold", "ignoreNullValues"}},
}
missing = []  # What was not checked for want of a tool.


def tool(variable, name):
    """The path of a tool, or None and a word in `missing`."""
    path = os.environ.get(variable) or shutil.which(name)
    if path and os.access(path, os.X_OK):
        return path
    missing.append(name)
    return None


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120, **options)


def succeed(*command):
    done = run(*command)
    check(done.returncode == 0, f"{command}: {done.returncode} {done.stdout[-800:]}{done.stderr[-800:]}")
    return done.stdout


class Configs:
    """Runs the programs' own --check on settings, with secrets and model of this test."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.secret = fleet.path("secret")
        with open(self.secret, "w", encoding="utf-8") as out:
            out.write("0123456789abcdef0123456789abcdef\n")

    def accept(self, where, name, text, variables=()):
        text = re.sub(r"/etc/hearth-secrets/[a-z-]+", self.secret, text)
        text = re.sub(r"(?m)^model_path: .*", f"model_path: {self.fleet.tiny_model()}", text)
        path = self.fleet.path(name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        done = run(BIN / PROGRAMS[name], "--config", path, "--check", env={**os.environ, **dict(variables)})
        check(done.returncode == 0, f"{where}: {done.stderr}")

    def committed(self):
        """Files of deploy/; in those for people, each setting that is commented out exists too."""
        pod = {"HEARTH_NODE_ID": "n-0", "HEARTH_ADVERTISE": "10.0.0.7:8101", "HEARTH_THREADS": "4"}
        for name in PROGRAMS:
            self.accept("base", name, (KUBERNETES / "base" / "config" / name).read_text(), pod.items())
        for path in sorted((ROOT / "deploy" / "config").glob("*.yaml")):
            name = "cachenode.yaml" if path.name.startswith("cachenode") else "router.yaml"
            text = path.read_text()
            self.accept(path.name, name, text)
            known = set(re.findall(r"(?m)^(?:# )?([a-z_]+): ", run(BIN / PROGRAMS[name], "--print-config").stdout))
            named = set(re.findall(r"(?m)^# ([a-z_]+):(?: |$)", text))
            check(named <= known, f"{path.name}: no settings: {sorted(named - known)}")


def by_kind(objects, kind):
    return [o for o in objects if o["kind"] == kind]


def workloads(objects):
    return by_kind(objects, "Deployment") + by_kind(objects, "StatefulSet")


def restricted(where, spec):
    """The rules of Pod Security's level `restricted`, and what we want beyond it."""
    pod = spec["securityContext"]
    check(pod["runAsNonRoot"] is True and pod["runAsUser"] > 0, f"{where}: may run as root")
    check(pod["seccompProfile"] == {"type": "RuntimeDefault"}, f"{where}: seccomp")
    check(spec["automountServiceAccountToken"] is False, f"{where}: gets an API token")
    check(not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), f"{where}: host namespaces")
    for volume in spec.get("volumes", []):
        check(set(volume) - {"name"} <= {"configMap", "secret", "emptyDir"}, f"{where}: volume {volume}")
    for container in spec["containers"] + spec.get("initContainers", []):
        context = container["securityContext"]
        check(context == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                          "capabilities": {"drop": ["ALL"]}}, f"{where}: {container['name']}: {context}")
        check("requests" in container["resources"], f"{where}: {container['name']} requests nothing")
        paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        check(not any(a != b and a.startswith(b + "/") for a in paths for b in paths),
              f"{where}: a mount inside another, which may be read-only: {paths}")


def milliseconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}[unit]


def hook_seconds(where, container):
    """How long the preStop hook may take: nodes drain in it, routers have none."""
    hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [])
    if "cachenode" not in where:
        check(not hook, f"{where}: a hook that only takes from the grace")
        return 0
    check(hook[:-1] == ["hearth", "drain", "--self", "--wait", "--timeout"], f"{where}: preStop {hook}")
    return int(hook[-1])


def drains_in_time(where, spec, text):
    """Hook and the program's own drain end before the kubelet kills it, with some seconds to spare."""
    found = dict(re.findall(r"(?m)^(drain_delay_ms|drain_grace_ms): (\S+)", text))
    total = sum(milliseconds(value) for value in found.values()) / 1000
    total += hook_seconds(where, spec["containers"][0])
    check("drain_grace_ms" in found, f"{where}: drain_grace_ms is left to its default")
    grace = spec["terminationGracePeriodSeconds"]
    check(total + 10 <= grace <= total + 60, f"{where}: drains for {total} s, killed after {grace} s")


def probes(where, container):
    for name, path in (("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")):
        check(container[name]["httpGet"]["path"] == path, f"{where}: {name}")
    live, ready = container["livenessProbe"], container["readinessProbe"]
    slow = live["periodSeconds"] * live["failureThreshold"]
    check(ready["periodSeconds"] * ready["failureThreshold"] * 10 <= slow, f"{where}: readiness must fail first")


def check_workload(where, workload, objects, configs):
    spec = workload["spec"]["template"]["spec"]
    labels = workload["spec"]["template"]["metadata"]["labels"]
    restricted(where, spec)
    selector = workload["spec"]["selector"]["matchLabels"]
    check(selector.items() <= labels.items(), f"{where}: its selector does not find its pods")
    if where.endswith("-redis"):
        return
    container = spec["containers"][0]
    probes(where, container)
    spread = {entry["topologyKey"] for entry in spec["topologySpreadConstraints"]}
    check(spread == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}, f"{where}: {spread}")
    budgets = [b for b in by_kind(objects, "PodDisruptionBudget")
               if b["spec"]["selector"]["matchLabels"].items() <= labels.items()]
    check(len(budgets) == 1, f"{where}: {len(budgets)} disruption budgets")
    reference = next(v["configMap"]["name"] for v in spec["volumes"] if "configMap" in v)
    data = next(o["data"] for o in by_kind(objects, "ConfigMap") if o["metadata"]["name"] == reference)
    (name, text), = data.items()
    check(name in container["args"][1], f"{where}: reads {container['args']}, there is {name}")
    values = {"HEARTH_NODE_ID": "n-0", "HEARTH_THREADS": "4"}
    for entry in container.get("env", []):
        if "value" in entry and entry["name"].startswith("HEARTH_"):
            values[entry["name"]] = entry["value"].replace("$(POD_IP)", "10.0.0.7")
    configs.accept(where, name, text, values.items())
    drains_in_time(where, spec, text)


def rule_groups():
    import yaml
    return [group for name in ("recording", "alerts")
            for group in yaml.safe_load((ROOT / "dashboards" / "rules" / f"{name}.yaml").read_text())["groups"]]


def check_relations(build, objects, configs):
    """What no schema knows: that the objects speak of each other."""
    pods = [w["spec"]["template"]["metadata"]["labels"] for w in workloads(objects)]
    finds = lambda labels: any(labels.items() <= each.items() for each in pods)
    for service in by_kind(objects, "Service"):
        check(finds(service["spec"]["selector"]), f"{build}: {service['metadata']['name']} finds no pod")
    for policy in by_kind(objects, "NetworkPolicy"):
        sides = [policy["spec"]] + policy["spec"].get("ingress", []) + policy["spec"].get("egress", [])
        peers = [p for side in sides for p in side.get("from", []) + side.get("to", [])] + [policy["spec"]]
        for peer in peers:
            if "podSelector" in peer:
                found = peer["podSelector"]["matchLabels"]
                check(finds(found), f"{build}: {policy['metadata']['name']} speaks of nobody: {found}")
    for monitor in by_kind(objects, "PodMonitor"):
        check(finds(monitor["spec"]["selector"]["matchLabels"]), f"{build}: a monitor finds no pod")
        jobs = {r["replacement"] for e in monitor["spec"]["podMetricsEndpoints"] for r in e["relabelings"]
                if r["targetLabel"] == "job"}
        check(jobs <= {"hearth-router", "hearth-cachenode"} and jobs, f"{build}: jobs {jobs}")
    boards = [text for o in by_kind(objects, "ConfigMap") if o["metadata"].get("labels", {}).get("grafana_dashboard")
              for text in o["data"].values()] if by_kind(objects, "PodMonitor") else []
    for text in boards:
        board = json.loads(text)["uid"].removeprefix("hearth-")
        check(json.loads(text) == json.loads((ROOT / "dashboards" / f"{board}.json").read_text()), board)
    for rule in by_kind(objects, "PrometheusRule"):
        check(len(boards) == 4 and rule["spec"]["groups"] == rule_groups(), f"{build}: rules or dashboards")
    for scaled in by_kind(objects, "ScaledObject"):
        target = scaled["spec"]["scaleTargetRef"]
        found = [w for w in workloads(objects) if w["metadata"]["name"] == target["name"]]
        check(found and "replicas" not in found[0]["spec"], f"{build}: who decides how many nodes there are?")
        check({t["type"] for t in scaled["spec"]["triggers"]} == {"prometheus"}, f"{build}: scaled on the CPU?")
    for workload in workloads(objects):
        check_workload(f"{build}: {workload['metadata']['name']}", workload, objects, configs)


def check_foreign(where, kind, value, path=""):
    """Only keys that FOREIGN has, at every depth that it describes."""
    if isinstance(value, list):
        for each in value:
            check_foreign(where, kind, each, path)
    elif isinstance(value, dict):
        known = FOREIGN[kind].get(path)
        unknown = set(value) - (known if known is not None else set(value))
        check(not unknown, f"{where}: {kind} {path} has no {sorted(unknown)}")
        for key, each in value.items():
            check_foreign(where, kind, each, f"{path}.{key}" if path else key)


def check_types(fleet, yaml, validate, build, objects):
    """Every object against the schemas of Kubernetes, unknown keys refused."""
    for each in objects:
        if each["kind"] in FOREIGN:
            check_foreign(build, each["kind"], {k: each[k] for k in each if k not in ("apiVersion", "metadata", "kind")})
    if validate is None:
        return
    own = [o for o in objects if o["kind"] not in FOREIGN]
    path = fleet.path("objects.yaml")

    def verdict(those):
        with open(path, "w", encoding="utf-8") as out:
            yaml.safe_dump_all(those, out)
        return run(validate, "--strict", "-k", VERSION.rsplit(".", 1)[0], path)

    done = verdict(own)
    check(done.returncode == 0, f"{build}: {done.stdout[-800:]}{done.stderr[-800:]}")
    for place in ("spec", "container"):  # It does find what is wrong.
        broken = copy.deepcopy(workloads(own)[0])
        spec = broken["spec"] if place == "spec" else broken["spec"]["template"]["spec"]["containers"][0]
        spec["readinesProbe"] = {}
        check(verdict([broken]).returncode != 0, f"an unknown key in {place} was accepted")


def kustomized(kubectl):
    for overlay in sorted((KUBERNETES / "overlays").iterdir()):
        done = run(kubectl, "kustomize", overlay)
        if done.returncode != 0 and "components" in done.stderr:  # Before 1.21.
            missing.append("a kubectl that knows components")
            return
        check(done.returncode == 0, f"{overlay.name}: {done.stderr}")
        yield f"overlay {overlay.name}", done.stdout


def templated(helm, fleet):
    succeed(helm, "lint", CHART)
    # Its files as a package has them, which may hold no links.
    succeed(helm, "package", CHART, "--destination", fleet.folder.name)
    command = [helm, "template", "prod", next(p for p in map(fleet.path, os.listdir(fleet.folder.name))
                                              if p.endswith(".tgz")), "--kube-version", VERSION]
    for name, values in HELM_VALUES.items():
        flags = [word for value in values for word in ("--set", value)]
        yield f"chart {name}", succeed(*command, *flags)
    for values in REFUSED:
        done = run(*command, *(word for value in values for word in ("--set", value)))
        check(done.returncode != 0, f"the chart takes {values}")


def main():
    made = run(sys.executable, KUBERNETES / "make.py", "--check")
    check(made.returncode == 0, made.stdout + made.stderr)
    try:
        import yaml
    except ImportError:
        yaml = None
        missing.append("python3-yaml")
    with Fleet() as fleet:
        configs = Configs(fleet)
        configs.committed()
        kubectl, helm = tool("KUBECTL", "kubectl"), tool("HELM", "helm")
        validate = tool("KUBERNETES_VALIDATE", "kubernetes-validate")
        builds = list(kustomized(kubectl) if kubectl else []) + list(templated(helm, fleet) if helm else [])
        count = 0
        for build, text in builds if yaml else []:
            objects = [o for o in yaml.safe_load_all(text) if o]
            count += len(objects)
            check_relations(build, objects, configs)
            check_types(fleet, yaml, validate, build, objects)
    print(f"{len(builds)} builds, {count} objects")
    if missing:
        skip(f"not installed, so not all was checked: {', '.join(missing)}")


main()
