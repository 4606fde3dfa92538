"""Does with the official OpenAI client for Python what lines on stdin say; one line of JSON for each. Argument: URL."""

import inspect
import json
import sys

import openai

KEYS = {"free": ("hk-free", 0), "few": ("hk-few", 0), "patient": ("hk-few", 5), "stranger": ("hk-none", 0)}
CLIENTS = {who: openai.OpenAI(base_url=sys.argv[1], api_key=key, max_retries=retries)
           for who, (key, retries) in KEYS.items()}


def say(**what):
    print(json.dumps(what), flush=True)


def read_stream(stream, step):
    chunks = []
    for chunk in stream:
        chunks.append(chunk.to_dict())
        if len(chunks) == step.get("leave_after"):
            stream.close()
            break
        if len(chunks) == step.get("pause_after"):
            say(paused=True)
            sys.stdin.readline()
    return chunks


def do(step):
    client, kind = CLIENTS[step.get("who", "free")], step["do"]
    options = {"extra_headers": step.get("headers", {})}
    if kind == "models.list":
        return {"value": {"data": [model.to_dict() for model in client.models.list(**options)]}}
    if kind == "models.retrieve":
        return {"value": client.models.retrieve(step["id"], **options).to_dict()}
    if kind == "responses.retrieve":
        return {"value": client.responses.retrieve(step["id"], **options).to_dict()}
    if kind == "responses.delete":
        client.responses.delete(step["id"], **options)
        return {"value": {}}
    made = {"chat": client.chat.completions, "completions": client.completions, "responses": client.responses}[kind]
    body = dict(step["body"])
    # What the client has no argument for, as it is.
    known = inspect.signature(made.create).parameters
    options["extra_body"] = {key: body.pop(key) for key in list(body) if key not in known}
    if body.get("stream"):
        return {"chunks": read_stream(made.create(**body, **options), step)}
    answer = made.create(**body, **options)
    return {"value": answer.to_dict(), "request_id": answer._request_id}


for line in sys.stdin:
    try:
        say(**do(json.loads(line)))
    except openai.APIError as e:
        answer = getattr(e, "response", None)
        say(error={"kind": type(e).__name__, "status": getattr(e, "status_code", None), "code": e.code,
                   "param": e.param, "body": e.body, "request_id": getattr(e, "request_id", None),
                   "retry_after": answer.headers.get("retry-after") if answer is not None else None})
