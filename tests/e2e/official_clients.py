"""Plays clients/scenarios.json with an official OpenAI client, against two nodes behind a router with tenants.

A step is done by the client's driver: `do` says what, `body` goes on top of the file's body of that kind, `who` is
the key. "$name.path" stands for a value of the file or a saved answer. `expect` is of the answer, or of what a
stream adds up to; `fails`, of the error that the client must raise. `kills`: the stream's node, while the client
waits behind `pause_after` events. Every body and event that a client shows is held
against the types that OpenAI publishes with its Python client, where that is installed.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

from fleet import Fleet, check, metric, wait_until

CLIENTS = pathlib.Path(__file__).with_name("clients")
HOLD = """
import json, sys
from pydantic import TypeAdapter
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
kinds = {"chat": ChatCompletion, "chat chunk": ChatCompletionChunk, "completions": Completion, "model": Model,
         "completions chunk": Completion, "responses": Response, "responses chunk": ResponseStreamEvent}
kinds = {name: TypeAdapter(kind) for name, kind in kinds.items()}
for line in sys.stdin:
    kind, value = json.loads(line)
    try:
        kinds[kind].validate_python(value, strict=True)
        said = ""
    except Exception as e:
        said = str(e)
    print(json.dumps(said), flush=True)
"""


class Pipe:
    """A process that answers each line of JSON with one."""

    def __init__(self, command, environment=None):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=environment)

    def ask(self, value):
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        check(line, f"the client ended with {self.process.poll()} at {value}")
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        check(self.process.wait(20) == 0, "the client failed at its end")


class Types:
    """OpenAI's own types as they are published; counts what was held against them."""

    def __init__(self):
        python = os.environ.get("HEARTH_TEST_PYTHON", sys.executable)
        have = subprocess.run([python, "-c", "import openai, pydantic"], capture_output=True)
        self.pipe = Pipe([python, "-c", HOLD]) if have.returncode == 0 else None
        self.held = 0

    def hold(self, kind, value):
        if self.pipe is None:
            return
        said = self.pipe.ask([kind, value])
        check(not said, f"{kind} is not as OpenAI publishes it: {said}\n{json.dumps(value)[:800]}")
        self.held += 1

    def hold_all(self, kind, answer):
        if kind.startswith("models."):
            for model in answer["value"].get("data", [answer["value"]]):
                self.hold("model", model)
        elif kind == "responses.retrieve":
            self.hold("responses", answer["value"])
        elif "value" in answer and answer["value"]:
            self.hold(kind, answer["value"])
        for chunk in answer.get("chunks", []):
            if kind == "completions":
                # The type is that of a whole answer; the API's own chunks have null until the last.
                chunk = {**chunk, "choices": [{**c, "finish_reason": c["finish_reason"] or "stop"}
                                              for c in chunk["choices"]]}
            self.hold(kind + " chunk", chunk)


def pick(value, path):
    """The value at "a.0.b"; None if there is none."""
    for part in path.split(".") if path else []:
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict):
            value = value.get(part)
        else:
            return None
    return value


def filled(value, names):
    if isinstance(value, dict):
        return {key: filled(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, names) for one in value]
    if isinstance(value, str) and value.startswith("$"):
        name, _, path = value[1:].partition(".")
        return pick(names[name], path)
    return value.replace("$client", names["client"]) if isinstance(value, str) else value


def seen(chunks):
    """What the events of a stream add up to."""
    choices = [choice for chunk in chunks for choice in chunk.get("choices") or []]
    deltas = [choice.get("delta") or {} for choice in choices]
    of = lambda kind: "".join(e["delta"] for e in chunks if e.get("type") == kind)
    calls = [call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls") or []]
    text = "".join(delta.get("content") or "" for delta in deltas) + "".join(c.get("text") or "" for c in choices)
    return {"chunks": chunks, "last": chunks[-1], "text": text + of("response.output_text.delta"),
            "arguments": "".join(calls) + of("response.function_call_arguments.delta"),
            "finish": next((c["finish_reason"] for c in reversed(choices) if c.get("finish_reason")), None),
            "logprobs": [t for c in choices for t in (c.get("logprobs") or {}).get("content") or []],
            "ids": sorted({chunk["id"] for chunk in chunks if "id" in chunk})}


def fits(text, schema):
    """A JSON text by the few keywords that scenarios use."""
    value = json.loads(text)
    check(set(value) <= set(schema["properties"]) and set(schema["required"]) <= set(value), f"{value}")
    for key, one in value.items():
        allowed = schema["properties"][key]
        check(one in allowed["enum"] if "enum" in allowed else isinstance(one, bool), f"{key}: {one}")
    return True


HOLDS = {
    "is": lambda value, wanted: value == wanted,
    "among": lambda value, wanted: value in wanted,
    "above": lambda value, wanted: isinstance(value, (int, float)) and value > wanted,
    "full": lambda value, wanted: bool(value) == wanted,
    "absent": lambda value, wanted: (value is None) == wanted,
    "length": lambda value, wanted: isinstance(value, list) and len(value) == wanted,
    "json": fits,
}


class Play:
    def __init__(self, fleet, router, client, script, name):
        self.fleet, self.router, self.client, self.script = fleet, router, client, script
        self.names = {**script["values"], "client": name}
        self.types = Types()

    def expect(self, wanted, answer, where):
        for path, rules in wanted.items():
            for rule, right in rules.items():
                value = pick(answer, path)
                check(HOLDS[rule](value, filled(right, self.names)), f"{where}: {path!r} is {value!r}, not {rule} {right!r}")

    def fail(self, wanted, answer, where):
        check("error" in answer, f"{where}: no error, but {json.dumps(answer)[:400]}")
        got = {key: answer["error"][key] for key in wanted}
        check(got == wanted, f"{where}: {answer['error']}")
        if answer["error"]["status"] is not None:
            check(set(answer["error"]["body"]) == {"message", "type", "param", "code"}, f"{where}: {answer['error']}")

    def watch(self, step, where):
        value = lambda: metric(self.router, step["name"], step["label"])
        wait_until(lambda: value() > step["above"] if "above" in step else value() < step["below"], where)

    def kill_serving(self):
        serving = [name for name in self.fleet.address if name.startswith("node-") and
                   metric(self.router, "hearth_router_node_in_flight", f'node="{name}"') > 0]
        check(len(serving) == 1, f"{serving} serve the stream: it ended too early")
        self.fleet.kill(serving[0])

    def ask(self, step):
        request = {key: filled(step[key], self.names) for key in ("do", "who", "id", "headers", "pause_after", "leave_after")
                   if key in step}
        if step["do"] in self.script["bodies"]:
            request["body"] = {**self.script["bodies"][step["do"]], **filled(step.get("body", {}), self.names)}
        answer = self.client.ask(request)
        if answer.get("paused"):
            self.kill_serving()
            answer = self.client.ask({})
        return answer

    def step(self, step, where):
        if step["do"] == "metric":
            return self.watch(step, where)
        answer = self.ask(step)
        for _ in range(step.get("repeat", 1) - 1):
            answer = answer if "error" in answer else self.ask(step)
        if "fails" in step:
            return self.fail(step["fails"], answer, where)
        check("error" not in answer, f"{where}: {answer.get('error')}")
        self.types.hold_all(step["do"], answer)
        shown = seen(answer["chunks"]) if "chunks" in answer else answer["value"]
        if "save" in step:
            self.names[step["save"]] = shown
        self.expect(step.get("expect", {}), shown, where)


def start(fleet):
    fleet.tiny_model(layers=6)
    fleet.start_redis()
    for n in range(2):
        fleet.start_node(f"node-{n}", "--chat-template", "qwen", "--heartbeat-ms", "200ms")
    config = fleet.path("router.yaml")
    with open(config, "w", encoding="utf-8") as out:
        out.write("tenants:\n")
        for name, limit in (("free", ""), ("few", ", requests_per_second: 1")):
            digest = hashlib.sha256(f"hk-{name}".encode()).hexdigest()
            out.write(f"  - {{name: {name}, keys: [\"sha256:{digest}\"]{limit}}}\n")
    router = fleet.start_router("router", "--config", config)
    fleet.wait_members(router, 2)
    return router


def play(name, command, environment=None):
    """All scenarios with the client whose driver is `command`."""
    script = json.loads((CLIENTS / "scenarios.json").read_text())
    with Fleet() as fleet:
        router = start(fleet)
        client = Pipe([*command, f"http://{router}/v1"], environment)
        party = Play(fleet, router, client, script, name)
        for scenario in script["scenarios"]:
            for number, step in enumerate(scenario["steps"]):
                party.step(step, f"{scenario['name']}, step {number}")
            print("ok", scenario["name"])
        client.end()
        if party.types.pipe is None:
            print("skipped: nothing was held against OpenAI's types, whose package is not installed (./dev test installs it)")
        else:
            party.types.pipe.end()
            check(party.types.held > 100, f"only {party.types.held} bodies and events were held against OpenAI's types")
            print(f"{party.types.held} bodies and events are as OpenAI publishes them")
