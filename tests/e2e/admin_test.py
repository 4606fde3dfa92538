"""The admin API and its commands over a real fleet: what they say is what then happens."""
import json
import os
import subprocess

from fleet import BIN, Fleet, chat, check, metric, redis_command, route, wait_until


def hearth(admin, *arguments, code=0):
    """Output of a hearth command that ends with `code`."""
    environment = dict(os.environ, HEARTH_ADMIN=admin)
    done = subprocess.run([BIN / "hearth", *arguments], capture_output=True, text=True, timeout=60,
                          env=environment, check=False)
    check(done.returncode == code, f"hearth {arguments}: {done.returncode}: {done.stderr}")
    return done.stdout if code == 0 else done.stderr


def admin_of(fleet, name="router"):
    with open(fleet.path(name + ".log"), encoding="utf-8") as log:
        for line in log:
            if " admin=" in line:
                return line.split(" admin=")[1].split()[0]
    raise AssertionError("the router's log names no admin listener")


def turn(router, key):
    """Node and reason of one turn, both empty without a hearth-route."""
    _, headers = chat(router, [{"role": "user", "content": "hello"}], key, max_tokens=2)
    parts = route(headers) if "hearth-route" in headers else {}
    return parts.get("node", ""), parts.get("reason", "")


def explains(fleet, router, admin):
    for number in range(12):
        key = f"chat {number}"
        told = json.loads(hearth(admin, "explain", key, "--source", "header", "--json"))
        node, reason = turn(router, key)
        check((told["node"], told["reason"]) == (node, reason), f"{key}: {told}, went to {node}")
        last = json.loads(hearth(admin, "sessions", key, "--source", "header", "--json"))["turns"][-1]
        check((last["status"], last["node"]) == (200, node), f"{key}: {last}")
        check(key not in hearth(admin, "sessions", key, "--source", "header"), "a raw key is shown")


def reloads(fleet, router, admin):
    config = fleet.path("router.yaml")
    with open(config, "w", encoding="utf-8") as text:
        text.write("in_flight_max: 0\nexpose_route: false\n")
    check("expose_route" in hearth(admin, "config", "reload"), "the change is not reported")
    check(turn(router, "after reload")[0] == "", "expose_route: false is not in force")
    with open(config, "w", encoding="utf-8") as text:
        text.write("in_flight_max: many\n")
    said = hearth(admin, "config", "reload", code=2)
    check("router.yaml:1" in said and "in_flight_max" in said, f"bad file: {said}")
    check(turn(router, "after a bad file")[0] == "", "a bad file changed settings")


def tells_why(fleet, router, admin):
    """What a session's turns found, and where an edited prompt left what was there."""
    messages = [{"role": "system", "content": "You keep a lighthouse. " * 20},
                {"role": "user", "content": "Who are you?"}]
    answer, _ = chat(router, messages, "why", max_tokens=8)
    messages += [{"role": "assistant", "content": answer["choices"][0]["message"]["content"]},
                 {"role": "user", "content": "And then?"}]
    _, headers = chat(router, messages, "why", max_tokens=8)
    messages[1]["content"] = "Who were you?"
    chat(router, messages, "why", max_tokens=8)
    told = json.loads(hearth(admin, "sessions", "why", "--source", "header", "--json"))["nodes"]
    check([node["node"] for node in told] == [route(headers)["node"]], told)
    first, second, third = told[0]["turns"]
    check(first["turn"] == 1 and first["cached_tokens"] < 64 and first["diverged_at"] is None, first)
    check(second["turn"] == 2 and second["missed"] == {} and second["diverged_at"] is None, second)
    check(second["cached_tokens"] >= second["reusable_tokens"] > 250, second)
    check(250 < third["diverged_at"] < first["prompt_tokens"], (first, third))
    said = hearth(admin, "sessions", "why", "--source", "header")
    check(f"leaves the last turn at token {third['diverged_at']}" in said, said)
    check("lighthouse" not in said, "a prompt is shown")


def drains(fleet, router, admin):
    """A drained node gets nothing more from any router, though Redis forgets; then it serves again."""
    second = fleet.start_router("second")
    fleet.wait_members(second, 3)
    keys = [f"drained {number}" for number in range(12)]
    homes = {key: turn(router, key)[0] for key in keys}
    check("node-2" in homes.values(), homes)
    told = json.loads(hearth(admin, "drain", "node-2", "--wait", "--json"))
    check(told["state"] == "draining" and told["reason"] == "operator", told)
    check(told["drain"]["turns"] == 0 and told["drain"]["hands_over"], told)
    check(told["drain"]["sessions"] == 0, f"sessions were not handed over: {told}")
    check(metric(fleet.address["node-2"], "hearth_cache_sessions") == 0, "they are still there")

    def state_at(address):
        nodes = json.loads(hearth(address, "status", "--json"))["nodes"]
        return {node["id"]: node["state"] for node in nodes}["node-2"]

    wait_until(lambda: state_at(admin_of(fleet, "second")) == "draining", "the second router knows")
    redis_command(fleet.redis, "FLUSHALL")
    wait_until(lambda: redis_command(fleet.redis, "HGET", "hearth:{default}:drains", "node-2") == "1",
               "the drain is written again")
    for address in (router, second):
        for key in keys:
            node, _ = turn(address, key)
            check(node != "node-2" and homes[key] in (node, "node-2"), f"{key}: {homes[key]}, {node}")
    check("no member" in hearth(admin, "drain", "node-9", code=2), "unknown node")
    check("in service again" in hearth(admin, "undrain", "node-2"), "undrain")
    wait_until(lambda: state_at(admin_of(fleet, "second")) == "active", "the second router knows")
    fresh = {turn(router, f"fresh {number}")[0] for number in range(40)}
    check("node-2" in fresh, fresh)


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        for name in ("node-1", "node-2", "node-3"):
            fleet.start_node(name)
        with open(fleet.path("router.yaml"), "w", encoding="utf-8") as text:
            text.write("in_flight_max: 0\n")
        router = fleet.start_router("router", "--config", fleet.path("router.yaml"))
        fleet.wait_members(router, 3)
        admin = admin_of(fleet)
        explains(fleet, router, admin)
        told = json.loads(hearth(admin, "what-if", "--remove", "node-1", "--json"))
        check(abs(told["sessions_moved"] - 1 / 3) < 0.02, f"what-if: {told}")
        check("node-9" in hearth(admin, "what-if", "--remove", "node-9", code=2), "unknown node")
        check(hearth(admin, "log-level", "debug").strip() == "debug", "log level")
        tells_why(fleet, router, admin)
        drains(fleet, router, admin)
        reloads(fleet, router, admin)


main()
