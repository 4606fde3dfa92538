"""docs/openapi.yaml and the programs agree: every answer of node and router, chunks too, is as it says."""

import json
import os
import subprocess
import sys

from fleet import ROOT, Fleet, check, request, skip

if __name__ == "__main__":
    PYTHON = os.environ.get("HEARTH_TEST_PYTHON", sys.executable)
    if subprocess.run([PYTHON, "-c", "import jsonschema, yaml"], capture_output=True).returncode:
        skip("jsonschema and PyYAML are not installed (./dev test installs them)")
    if PYTHON != sys.executable and "--inner" not in sys.argv:  # A venv's is a link to the same file.
        sys.exit(subprocess.run([PYTHON, __file__, "--inner"]).returncode)

import jsonschema
import yaml

TALK = [{"role": "system", "content": "You keep a lighthouse."}, {"role": "user", "content": "Good evening!"}]
LAMP = {"name": "lamp", "description": "Sets the lamp.", "parameters": {
    "type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}}
SCHEMA = {"type": "object", "properties": {"on": {"type": "boolean"}, "colour": {"enum": ["red", "green"]}},
          "required": ["on", "colour"], "additionalProperties": False}
CHAT = {"model": "tiny", "messages": TALK, "temperature": 0, "max_tokens": 8}
TEXT = {"model": "tiny", "prompt": "Once upon a time", "temperature": 0, "max_tokens": 6}
REPLY = {"model": "tiny", "input": "Good evening!", "temperature": 0, "max_output_tokens": 8}
FORMAT = {"type": "json_schema", "json_schema": {"name": "lamp", "schema": SCHEMA}}

BODIES = [  # Path, body, status. All bodies with 200 are valid requests.
    ("/v1/chat/completions", CHAT, 200),
    ("/v1/chat/completions", {**CHAT, "n": 3, "temperature": 1.5, "seed": 7, "stop": ["x"]}, 200),
    ("/v1/chat/completions", {**CHAT, "logprobs": True, "top_logprobs": 3}, 200),
    ("/v1/chat/completions", {**CHAT, "response_format": FORMAT, "max_tokens": 200}, 200),
    ("/v1/chat/completions", {**CHAT, "max_tokens": 100, "tool_choice": "required",
                              "tools": [{"type": "function", "function": LAMP}]}, 200),
    ("/v1/chat/completions", {**CHAT, "response_format": FORMAT, "max_tokens": 200,
                              "tools": [{"type": "function", "function": LAMP}]}, 200),
    ("/v1/chat/completions", {**CHAT, "temperature": 3}, 400),
    ("/v1/chat/completions", {**CHAT, "messages": []}, 400),
    ("/v1/chat/completions", {**CHAT, "n": 17}, 400),
    ("/v1/chat/completions", {**CHAT, "model": "other"}, 404),
    ("/v1/chat/completions", {**CHAT, "response_format": {"type": "xml"}}, 400),
    ("/v1/completions", TEXT, 200),
    ("/v1/completions", {**TEXT, "logprobs": 2}, 200),
    ("/v1/completions", {**TEXT, "prompt": [1, 2, 3]}, 200),
    ("/v1/completions", {**TEXT, "prompt": []}, 400),
    ("/v1/responses", REPLY, 200),
    ("/v1/responses", {**REPLY, "instructions": "Be kind.", "metadata": {"a": "b"}, "top_logprobs": 2,
                       "include": ["message.output_text.logprobs"]}, 200),
    ("/v1/responses", {**REPLY, "max_output_tokens": 100, "tool_choice": "required",
                       "tools": [{"type": "function", **LAMP}]}, 200),
    ("/v1/responses", {**REPLY, "max_output_tokens": 200,
                       "text": {"format": {"type": "json_schema", "name": "lamp", "schema": SCHEMA}}}, 200),
    ("/v1/responses", {**REPLY, "max_output_tokens": 200, "tools": [{"type": "function", **LAMP}],
                       "text": {"format": {"type": "json_schema", "name": "lamp", "schema": SCHEMA}}}, 200),
    ("/v1/responses", {**REPLY, "previous_response_id": "resp_unknown"}, 404),
    ("/v1/responses", {**REPLY, "input": []}, 400),
]
NODE_BODIES = [
    ("/tokenize", CHAT, 200), ("/tokenize", TEXT, 200), ("/tokenize", {"model": "tiny"}, 400),
    ("/apply-template", CHAT, 200), ("/detokenize", {"tokens": [65, 66]}, 200),
    ("/detokenize", {"tokens": [-1]}, 400),
]
GETS = [("/v1/models", 200), ("/v1/models/tiny", 200), ("/v1/models/other", 404), ("/health", 200),
        ("/ready", 200), ("/metrics", 200)]
NODE_GETS = [("/version", 200), ("/props", 200)]
STREAMS = {"/v1/chat/completions", "/v1/completions", "/v1/responses"}


class Contract:
    """The page, and what of it has been seen."""

    def __init__(self):
        self.page = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
        self.seen = set()

    def validator(self, schema):
        whole = {**schema, "components": self.page["components"]}
        return jsonschema.Draft202012Validator(whole)

    def path_of(self, path):
        if path.startswith("/v1/responses/"):
            return "/v1/responses/{id}"
        return "/v1/models/{id}" if path.startswith("/v1/models/") else path

    def content(self, method, path, status):
        answers = self.page["paths"][self.path_of(path)][method]["responses"]
        answer = answers.get(str(status), answers.get("default"))
        check(answer is not None, f"{method} {path}: no answer {status} is described")
        if "$ref" in answer:
            answer = self.page["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
        self.seen.add((method, self.path_of(path)))
        return answer["content"]

    def hold(self, schema, value, where):
        errors = sorted(self.validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path)))
        shown = [f"{'/'.join(map(str, e.path))}: {e.message[:300]}" for e in errors[:3]]
        check(not errors, f"{where}: {shown} in {json.dumps(value)[:600]}")

    def hold_answer(self, method, path, status, headers, body):
        kind = headers["content-type"].split(";")[0]
        content = self.content(method, path, status)
        check(kind in content, f"{method} {path}: {kind} is not described for {status}")
        value = body.decode() if kind == "text/plain" else json.loads(body)
        self.hold(content[kind]["schema"], value, f"{method} {path} {status}")

    def hold_stream(self, path, body):
        schema = self.content("post", path, 200)["text/event-stream"]["schema"]
        events = [e for e in body.decode().split("\n\n") if e]
        check(len(events) > 2, f"{path}: {len(events)} events")
        for i, event in enumerate(events):
            lines = event.split("\n")
            data = lines[-1]
            check(data.startswith("data: "), event)
            if data == "data: [DONE]":
                check(i + 1 == len(events) and path != "/v1/responses", event)
                continue
            value = json.loads(data[6:])
            if path == "/v1/responses":
                check(lines[0] == f"event: {value['type']}" and value["sequence_number"] == i, event)
            self.hold(schema, value, f"event of {path}")


def post(address, path, body):
    status, headers, answer = request(address, "POST", path, json.dumps(body),
                                      {"content-type": "application/json"})
    return status, {k.lower(): v for k, v in headers.items()}, answer


def hold_bodies(contract, address, bodies, name):
    for path, body, wanted in bodies:
        status, headers, answer = post(address, path, body)
        check(status == wanted, f"{name} {path} {body}: {status} {answer[:300]}")
        contract.hold_answer("post", path, status, headers, answer)
        asked = contract.page["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        if status == 200:
            contract.hold(asked, body, f"request to {path}")
        elif status == 400:
            refused = any(contract.validator(asked).iter_errors(body))
            check(refused, f"{path}: {body} is refused, but valid as described")
        if status == 200 and path in STREAMS:
            streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
            status, headers, answer = post(address, path, streamed)
            check(status == 200 and headers["content-type"] == "text/event-stream", f"{status} {headers}")
            contract.hold_stream(path, answer)
    for path, wanted in GETS + (NODE_GETS if name == "node" else []):
        status, headers, answer = request(address, "GET", path)
        check(status == wanted, f"{name} GET {path}: {status}")
        contract.hold_answer("get", path, status, {k.lower(): v for k, v in headers.items()}, answer)


def hold_kept(contract, address, name):
    """A kept response, shown and forgotten, and what is said once it is gone."""
    kept = json.loads(post(address, "/v1/responses", REPLY)[2])
    path = f"/v1/responses/{kept['id']}"
    for method, wanted in (("GET", 200), ("DELETE", 200), ("DELETE", 404), ("GET", 404)):
        status, headers, answer = request(address, method, path)
        check(status == wanted, f"{name} {method} {path}: {status} {answer[:200]}")
        headers = {k.lower(): v for k, v in headers.items()}
        contract.hold_answer(method.lower(), path, status, headers, answer)
        check(method != "GET" or status != 200 or json.loads(answer) == kept, "another response was shown")


def main():
    contract = Contract()
    with Fleet() as fleet:
        fleet.start_redis()
        node = fleet.start_node("node-0", "--chat-template", "qwen")
        router = fleet.start_router()
        fleet.wait_members(router, 1)
        hold_bodies(contract, node, BODIES + NODE_BODIES, "node")
        hold_bodies(contract, router, BODIES, "router")
        hold_kept(contract, node, "node")
        hold_kept(contract, router, "router")
        for path, methods in contract.page["paths"].items():
            for method, facts in methods.items():
                check((method, path) in contract.seen, f"{method} {path} was not asked")
                if facts.get("x-served-by") == "node":
                    status, _, answer = request(router, method.upper(), path)
                    check(status == 404, f"the router serves {path}: {status} {answer[:200]}")
    # A page that allows everything would hold nothing.
    broken = json.loads(json.dumps(contract.page["components"]["schemas"]["Usage"]))
    check(any(contract.validator(broken).iter_errors({"prompt_tokens": "1"})), "the validator checks nothing")
    print(f"{len(contract.seen)} operations hold, on node and router")


if __name__ == "__main__":
    main()
