"""llama-cpp-python's server behind a static pool: streams and sticks with no Hearth node in sight.

Skipped unless HEARTH_TEST_PYTHON has llama_cpp.server; docs/vllm.md says how to get it."""

import json
import os
import pathlib
import socket
import subprocess
import sys

from fleet import Fleet, check, request, route, skip, wait_until

WEIGHTS = pathlib.Path(__file__).resolve().parents[3] / "shared/data/weights/stories260K-f32.gguf"


def stream(router, session, messages):
    """Text and route of one streamed turn."""
    body = json.dumps({"model": "stories", "messages": messages, "stream": True, "max_tokens": 12,
                       "temperature": 0})
    status, headers, answer = request(router, "POST", "/v1/chat/completions", body,
                                      {"x-session-id": session, "content-type": "application/json"})
    check(status == 200 and headers["content-type"].startswith("text/event-stream"), answer)
    events = [line[6:] for line in answer.decode().split("\n") if line.startswith("data: ")]
    check(events[-1].strip() == "[DONE]", f"the stream ends with {events[-1]}")
    text = ""
    for event in events[:-1]:
        choices = json.loads(event)["choices"]
        text += choices[0]["delta"].get("content") or "" if choices else ""
    return text, route(headers)


def main():
    python = os.environ.get("HEARTH_TEST_PYTHON", sys.executable)
    have = subprocess.run([python, "-c", "import llama_cpp.server.app"], capture_output=True,
                          check=False)
    if have.returncode != 0:
        skip("llama-cpp-python's server is not installed for " + python)
    if not WEIGHTS.exists():
        skip(f"{WEIGHTS} is absent")
    with Fleet() as fleet:
        ports = [free_port() for _ in range(2)]
        for port in ports:
            log = open(fleet.path(f"llama-{port}.log"), "ab")
            fleet.processes[f"llama-{port}"] = subprocess.Popen(
                [python, "-m", "llama_cpp.server", "--model", str(WEIGHTS), "--model_alias", "stories",
                 "--host", "127.0.0.1", "--port", str(port), "--n_ctx", "512",
                 "--chat_format", "chatml", "--interrupt_requests", "false"], stdout=log, stderr=log)
        for port in ports:
            wait_until(lambda p=port: answers(f"127.0.0.1:{p}"), f"llama on {port} answers")
        config = fleet.path("router.yaml")
        with open(config, "w", encoding="utf-8") as out:
            out.write("nodes:\n")
            for number, port in enumerate(ports):
                out.write(f"  - {{id: llama-{number}, address: '127.0.0.1:{port}'}}\n")
        router = fleet.start_router("router", "--config", config)
        home = {}
        for turn in range(3):
            for number in range(6):
                session = f"chat-{number}"
                messages = [{"role": "user", "content": f"Once upon a time, {number} {turn}"}]
                text, where = stream(router, session, messages)
                check(text, f"{session} has no text")
                check(home.setdefault(session, where["node"]) == where["node"], f"{session} moved")
        check(len(set(home.values())) == 2, home)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(address):
    try:
        return request(address, "GET", "/v1/models")[0] == 200
    except OSError:
        return False


main()
