"""The official OpenAI Python client streams a chat through the router, and reads our errors."""

import os
import subprocess
import sys

from fleet import Fleet, check, skip

CLIENT = r"""
import sys
import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
messages = [{"role": "system", "content": "You keep a lighthouse."},
            {"role": "user", "content": "Good evening!"}]
assert [m.id for m in client.models.list()] == ["tiny"]

def turn():
    text, usage, finish = "", None, None
    stream = client.chat.completions.create(
        model="tiny", messages=messages, stream=True, temperature=0, max_completion_tokens=16,
        stream_options={"include_usage": True}, extra_headers={"x-session-id": "official"})
    for chunk in stream:
        if chunk.usage:
            usage = chunk.usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    return text, usage, finish

first, usage, finish = turn()
assert first and finish in ("stop", "length"), (first, finish)
assert usage.prompt_tokens_details.cached_tokens == 0, usage
messages += [{"role": "assistant", "content": first}, {"role": "user", "content": "And now?"}]
second, usage, finish = turn()
assert 0 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens, usage

whole = client.chat.completions.create(model="tiny", messages=messages, temperature=0,
                                       max_completion_tokens=16)
assert whole.choices[0].message.content == second, (whole, second)
text = client.completions.create(model="tiny", prompt="Once upon a time", max_tokens=4, temperature=0)
assert text.choices[0].text

try:
    client.chat.completions.create(model="tiny", messages=messages, temperature=7)
    raise SystemExit("temperature 7 was accepted")
except openai.BadRequestError as e:
    assert e.body["param"] == "temperature", e.body
try:
    client.chat.completions.create(model="other", messages=messages)
    raise SystemExit("an unknown model was accepted")
except openai.NotFoundError as e:
    assert e.body["code"] == "model_not_found", e.body
print("openai", openai.__version__, "ok")
"""


def main():
    python = os.environ.get("HEARTH_TEST_PYTHON", sys.executable)
    have = subprocess.run([python, "-c", "import openai"], capture_output=True)
    if have.returncode != 0:
        skip("the OpenAI client is not installed (./dev test installs it)")
    with Fleet() as fleet:
        fleet.start_redis()
        for n in range(2):
            fleet.start_node(f"node-{n}")
        router = fleet.start_router()
        fleet.wait_members(router, 2)
        run = subprocess.run([python, "-c", CLIENT, f"http://{router}/v1"], capture_output=True,
                             text=True, timeout=120)
        print(run.stdout, run.stderr)
        check(run.returncode == 0, "the client failed")


main()
