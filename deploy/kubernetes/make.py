#!/usr/bin/env python3
"""Writes the PrometheusRule of the component `monitoring` from dashboards/rules.

    python3 deploy/kubernetes/make.py           write components/monitoring/rules.yaml
    python3 deploy/kubernetes/make.py --check   exit 1 if the committed file is not what the rules say
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
RULES = HERE.parents[1] / "dashboards" / "rules"
OUT = HERE / "components" / "monitoring" / "rules.yaml"
HEAD = """# Our recording and alert rules. Written by deploy/kubernetes/make.py from dashboards/rules.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: hearth
  labels: {app.kubernetes.io/part-of: hearth}
spec:
  groups:
"""


def groups(name):
    """The lines below `groups:` of a rule file, two columns further in."""
    lines = (RULES / name).read_text().split("groups:\n", 1)[1].splitlines()
    return "".join(f"  {line}\n" if line else "\n" for line in lines)


def main():
    text = HEAD + groups("recording.yaml") + groups("alerts.yaml")
    if "--check" not in sys.argv[1:]:
        OUT.write_text(text)
    elif OUT.read_text() != text:
        print(f"{OUT} is stale: run deploy/kubernetes/make.py")
        sys.exit(1)


main()
