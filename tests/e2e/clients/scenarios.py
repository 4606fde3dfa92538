"""What the official OpenAI client for Python must be able to do. Arguments: base URL, a key with limits."""

import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="hk-free", max_retries=0)
limited = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
patient = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=5)
TALK = [{"role": "system", "content": "You keep a lighthouse."}, {"role": "user", "content": "Good evening!"}]
LAMP = {"name": "lamp", "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}},
                                       "required": ["on"], "additionalProperties": False}}
SCHEMA = {"type": "object", "properties": {"on": {"type": "boolean"}, "colour": {"enum": ["red", "green"]}},
          "required": ["on", "colour"], "additionalProperties": False}


def chat(who=client, **fields):
    fields = {"messages": TALK, "temperature": 0, "max_completion_tokens": 16, **fields}
    return who.chat.completions.create(model="tiny", **fields)


def refused(kind, **fields):
    try:
        chat(**fields)
    except kind as e:
        return e
    raise AssertionError(f"{fields} was accepted")


def models():
    assert [m.id for m in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"


def whole():
    answer = chat()
    assert answer.choices[0].message.content and answer.choices[0].finish_reason in ("stop", "length")
    text = client.completions.create(model="tiny", prompt="Once upon a time", max_tokens=4, temperature=0)
    assert text.choices[0].text


def stream():
    text, finish = "", None
    for chunk in chat(stream=True):
        assert chunk.usage is None
        text += chunk.choices[0].delta.content or ""
        finish = chunk.choices[0].finish_reason or finish
    assert text == chat().choices[0].message.content and finish in ("stop", "length")


def usage():
    headers, talk = {"x-session-id": "official-py"}, [TALK[0], {"role": "user", "content": "Tell of the sea."}]
    last = list(chat(messages=talk, stream=True, stream_options={"include_usage": True}, extra_headers=headers))[-1]
    assert last.choices == [] and last.usage.prompt_tokens_details.cached_tokens >= 0
    first = chat(messages=talk, extra_headers=headers).choices[0].message.content
    talk += [{"role": "assistant", "content": first}, {"role": "user", "content": "And now?"}]
    again = chat(messages=talk, extra_headers=headers).usage
    assert last.usage.prompt_tokens < again.prompt_tokens_details.cached_tokens < again.prompt_tokens, again
    assert again.total_tokens == again.prompt_tokens + again.completion_tokens


def errors():
    assert refused(openai.BadRequestError, temperature=7).body["param"] == "temperature"
    assert refused(openai.BadRequestError, messages=[]).body["code"] == "invalid_value"
    assert refused(openai.BadRequestError, max_completion_tokens=10**6).body["code"] == "context_length_exceeded"
    lost = client.with_options(default_headers={"x-request-id": "mine-1"})
    try:
        lost.chat.completions.create(model="other", messages=TALK)
        raise AssertionError("an unknown model was accepted")
    except openai.NotFoundError as e:
        assert e.body["code"] == "model_not_found" and e.request_id == "mine-1", (e.body, e.request_id)


def retries():
    try:
        for _ in range(20):
            chat(who=limited, max_completion_tokens=1)
        raise AssertionError("no limit was met")
    except openai.RateLimitError as e:
        assert int(e.response.headers["retry-after"]) >= 1, e.response.headers
    assert chat(who=patient, max_completion_tokens=1).choices


def abort():
    long = chat(stream=True, max_completion_tokens=400, extra_body={"ignore_eos": True})
    next(iter(long))
    long.close()
    assert chat().choices


def tools():
    tool = {"type": "function", "function": LAMP}
    forced = {"tools": [tool], "tool_choice": {"type": "function", "function": {"name": "lamp"}},
              "max_completion_tokens": 100}
    choice = chat(**forced).choices[0]
    call = choice.message.tool_calls[0]
    assert choice.finish_reason == "tool_calls" and call.function.name == "lamp"
    assert isinstance(json.loads(call.function.arguments)["on"], bool)
    parts = [c.choices[0].delta.tool_calls for c in chat(stream=True, **forced) if c.choices[0].delta.tool_calls]
    assert "".join(p[0].function.arguments for p in parts) == call.function.arguments
    result = {"role": "tool", "tool_call_id": call.id, "content": "It shines."}
    assert chat(messages=[*TALK, choice.message, result], tools=[tool]).choices[0].message


def json_mode():
    kind = {"type": "json_schema", "json_schema": {"name": "lamp", "strict": True, "schema": SCHEMA}}
    for reply in chat(response_format=kind, max_completion_tokens=200, n=2).choices:
        value = json.loads(reply.message.content)
        assert set(value) == {"on", "colour"} and value["colour"] in ("red", "green"), value
    assert "minimum" in refused(openai.BadRequestError, response_format={"type": "json_schema", "json_schema": {
        "name": "n", "schema": {"type": "integer", "minimum": 3}}}).body["param"]


def logprobs():
    tokens = chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert tokens and all(len(t.top_logprobs) == 3 for t in tokens)
    assert all(t.logprob == t.top_logprobs[0].logprob for t in tokens)  # Greedy takes the best.


def responses():
    fields = {"model": "tiny", "temperature": 0, "max_output_tokens": 12}
    first = client.responses.create(input="Good evening!", instructions="Be kind.", **fields)
    assert first.output_text and first.status in ("completed", "incomplete")
    again = client.responses.create(input="And now?", previous_response_id=first.id, **fields)
    assert again.usage.input_tokens_details.cached_tokens >= 0 and again.previous_response_id == first.id
    text, last = "", None
    for event in client.responses.create(input="And now?", previous_response_id=first.id, stream=True, **fields):
        text += event.delta if event.type == "response.output_text.delta" else ""
        last = event
    assert last.type in ("response.completed", "response.incomplete") and text == again.output_text
    try:
        client.responses.create(input="x", previous_response_id="resp_gone", **fields)
        raise AssertionError("an unknown response was found")
    except openai.NotFoundError as e:
        assert e.body["code"] == "previous_response_not_found", e.body


for scenario in sys.argv[3:]:
    globals()[scenario]()
    print("ok", scenario)
print("openai", openai.__version__)
