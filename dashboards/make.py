#!/usr/bin/env python3
"""Writes the Grafana dashboards and the recording rules from the tables in this folder.

    python3 dashboards/make.py           write fleet.json, node.json, router.json, gpu.json, rules/recording.yaml
    python3 dashboards/make.py --check   exit 1 if a committed file is not what the tables say
"""

import argparse
import json
import pathlib
import sys

import panels

HERE = pathlib.Path(__file__).resolve().parent
WINDOWS = ("5m", "15m", "30m", "1h", "2h", "6h", "1d", "3d")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
FULL_WIDTH = 24


def variable(name, query, label):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "refresh": 2,
            "query": {"query": query, "refId": name}, "definition": query, "includeAll": True,
            "multi": True, "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]},
            "sort": 1}


def variables(of):
    source = {"name": "datasource", "label": "Data source", "type": "datasource",
              "query": "prometheus", "refresh": 1, "current": {}}
    return [source] + [variable(*one) for one in of]


def color_of(thresholds):
    """[(from, color), ...]; the first begins at minus infinity."""
    steps = [{"color": color, "value": value} for value, color in thresholds]
    return {"mode": "absolute", "steps": steps}


def panel_of(panel, number, grid):
    custom = {}
    if panel.kind == "timeseries":
        stacked = panel.stack or panel.events
        custom = {"drawStyle": "bars" if panel.events else "line", "lineWidth": 1, "showPoints": "never",
                  "fillOpacity": 80 if panel.events else 40 if panel.stack else 0,
                  "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
                  "thresholdsStyle": {"mode": "line" if panel.thresholds else "off"}}
    defaults = {"unit": panel.unit, "custom": custom, "mappings": list(panel.mappings),
                "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
                "thresholds": color_of(panel.thresholds or [(None, "green")])}
    if panel.low is not None:
        defaults["min"] = panel.low
    if panel.high is not None:
        defaults["max"] = panel.high
    if panel.events:
        defaults["noValue"] = "none"
    # A table of numbers beside a wide panel; under a narrow one it would take its place.
    legend = {"displayMode": "list", "placement": "bottom", "calcs": [], "showLegend": True}
    if panel.width >= 12:
        legend = {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"],
                  "showLegend": True, "sortBy": "Max", "sortDesc": True}
    options = {
        "timeseries": {"legend": legend,
                       "tooltip": {"mode": "multi", "sort": "desc"}},
        "stat": {"colorMode": "value", "graphMode": "area", "textMode": "auto",
                 "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}},
        "bargauge": {"displayMode": "gradient", "orientation": "horizontal",
                     "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}},
        "state-timeline": {"mergeValues": True, "showValue": "never",
                           "legend": {"displayMode": "list", "placement": "bottom",
                                      "showLegend": True},
                           "tooltip": {"mode": "single", "sort": "none"}},
    }[panel.kind]
    targets = [{"refId": chr(ord("A") + i), "expr": expr, "legendFormat": legend,
                "datasource": SOURCE, "range": True} for i, (expr, legend) in enumerate(panel.queries)]
    return {"id": number, "type": panel.kind, "title": panel.title, "description": panel.description,
            "datasource": SOURCE, "gridPos": grid, "targets": targets, "options": options,
            "fieldConfig": {"defaults": defaults, "overrides": []}}


def first_free(taken, panel, top):
    """The highest, then leftmost place where the panel overlaps none of `taken`."""
    y = top
    while True:
        for x in range(FULL_WIDTH - panel.width + 1):
            cells = {(x + i, y + j) for i in range(panel.width) for j in range(panel.height)}
            if not cells & taken:
                return x, y, cells
        y += 1


def laid_out(rows):
    out, top, number = [], 0, 0
    for title, row in rows:
        number += 1
        out.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                    "gridPos": {"h": 1, "w": FULL_WIDTH, "x": 0, "y": top}})
        top += 1
        taken = set()
        for panel in row:
            x, y, cells = first_free(taken, panel, top)
            taken |= cells
            number += 1
            out.append(panel_of(panel, number, {"h": panel.height, "w": panel.width, "x": x, "y": y}))
        top = 1 + max(y for _, y in taken)
    return out


def annotation(name, expr, color, text):
    return {"name": name, "enable": True, "iconColor": color, "datasource": SOURCE, "expr": expr,
            "step": "60s", "titleFormat": text}


def versions(selector):
    """A version that was not there five minutes ago: its series is new, its value always 1."""
    known = f"count by (component, version) (hearth_build_info{{{selector}}}"
    return f"{known}) unless {known} offset 5m)"


def dashboard(board):
    selector = 'cluster=~"$cluster"'
    return {
        "uid": board.uid, "id": None, "title": board.title, "description": board.description,
        "tags": ["hearth", "llm", "kv-cache"], "schemaVersion": 39, "version": 1, "editable": False,
        "graphTooltip": 1, "refresh": "30s", "timezone": "", "weekStart": "", "fiscalYearStartMonth": 0,
        "time": {"from": "now-6h", "to": "now"}, "timepicker": {},
        "links": [{"type": "dashboards", "tags": ["hearth"], "title": "Hearth", "asDropdown": True,
                   "includeVars": True, "keepTime": True}],
        "templating": {"list": variables(board.variables)},
        "annotations": {"list": [
            annotation("Members", f"changes(hearth_router_ring_version{{{selector}}}[1m]) > 0", "blue",
                       "the members changed"),
            annotation("Versions", versions(selector), "purple",
                       "{{component}} {{version}}"),
            annotation("Alerts", 'ALERTS{alertname=~"Hearth.*",alertstate="firing"}', "red",
                       "{{alertname}}")]},
        "panels": laid_out(board.rows)}


def recording_rules():
    lines = ["# Reused and reusable tokens by window; the alerts and the fleet dashboard read these.",
             "# Written by dashboards/make.py.", "groups:", "- name: hearth.recording",
             "  interval: 30s", "  rules:"]

    def rule(name, expr):
        lines.extend([f"  - record: {name}", f"    expr: {expr}"])

    for window in WINDOWS:
        for kind in ("reused", "reusable"):
            rule(f"model:hearth_engine_{kind}_tokens:rate{window}",
                 f"sum by (cluster, model) (rate(hearth_engine_{kind}_tokens_total[{window}]))")
        rule(f"model:hearth_engine_reuse_miss:ratio_rate{window}",
             f"1 - model:hearth_engine_reused_tokens:rate{window}"
             f" / (model:hearth_engine_reusable_tokens:rate{window} > 0)")
    rule("model:hearth_engine_ceiling:ratio_rate1h",
         "1 - sum by (cluster, model) "
         "(rate(hearth_engine_missed_tokens_total{reason=~\"salt|declined\"}[1h]))"
         " / (model:hearth_engine_reusable_tokens:rate1h > 0)")
    rule("model_reason:hearth_engine_missed_tokens:rate5m",
         "sum by (cluster, model, reason) (rate(hearth_engine_missed_tokens_total[5m]))")
    return "\n".join(lines) + "\n"


def files():
    for board in panels.BOARDS:
        text = json.dumps(dashboard(board), indent=1, ensure_ascii=False) + "\n"
        yield HERE / f"{board.name}.json", text
    yield HERE / "rules" / "recording.yaml", recording_rules()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on a difference")
    check = parser.parse_args().check
    stale = [path for path, text in files() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'stale' if check else 'wrote'}: {path.relative_to(HERE.parent)}")
    if check:
        sys.exit(1 if stale else 0)
    for path, text in files():
        path.write_text(text)


if __name__ == "__main__":
    main()
