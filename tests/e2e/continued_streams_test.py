"""Streams with calls and those of /v1/responses go on at an heir, or say that they broke."""

import contextlib
import json
import pathlib
import random
import re
import sys

from fleet import Fleet, check, metric, request, wait_until

sys.path[:0] = [str(pathlib.Path(__file__).parents[1] / name) for name in ("support", "scenarios")]
from chaos_proxy import ChaosProxy  # noqa: E402
from streams import Stream, run_all, start_router_to  # noqa: E402

SESSION = "the same for all, as ids of responses name it"
TALK = [{"role": "user", "content": "It gets dark."}]
PARAMETERS = {"type": "object", "properties": {"on": {"type": "boolean"}, "colour": {"enum": ["red", "green"]}},
              "required": ["on", "colour"]}
LAMP = {"name": "lamp", "parameters": PARAMETERS}
CHAT_TOOLS = {"messages": TALK, "max_tokens": 120, "tools": [{"type": "function", "function": LAMP}]}
REPLY_TOOLS = {"input": "It gets dark.", "max_output_tokens": 120, "tools": [{"type": "function", **LAMP}]}
REQUESTS = [
    ("/v1/chat/completions", {**CHAT_TOOLS, "tool_choice": "required", "temperature": 1, "seed": 3}),
    ("/v1/chat/completions", {**CHAT_TOOLS, "max_tokens": 24, "ignore_eos": True, "temperature": 0}),
    ("/v1/responses", {**REPLY_TOOLS, "tool_choice": "required", "temperature": 1, "seed": 4}),
    ("/v1/responses", {"input": "A story, please.", "max_output_tokens": 24, "ignore_eos": True, "temperature": 0}),
]
CUTS = int(sys.argv[1]) if len(sys.argv) > 1 else 32


def comparable(text):
    """A stream without what differs between two runs: one number in all ids, the time, cached tokens."""
    number = re.search(rb'"id":"(?:chatcmpl-[0-9a-f]{8}|resp_[0-9a-f]{32})([0-9a-f]{16})"', text)[1]
    ids = set(re.findall(rb'"id":"((?:chatcmpl-|resp_)[^"]*)"', text))
    check(len(ids) == 1, f"two nodes show: {ids}")
    text = text.replace(number, b"*").replace(ids.pop()[:-16], b"*")
    text = re.sub(rb'"created(_at)?":\d+', b'"created":*', text)
    return re.sub(rb'"(cached|cache_write)_tokens":\d+', rb'"\1_tokens":*', text)


def cut_anywhere(rng):
    with Fleet() as fleet, contextlib.ExitStack() as stack:
        nodes = [fleet.start_node(f"node-{n}", "--chat-template", "qwen") for n in range(3)]
        proxies = [stack.enter_context(ChaosProxy(address)) for address in nodes]
        router = start_router_to(fleet, [p.address for p in proxies])
        calm = []
        for path, body in REQUESTS:
            stream = Stream(router, body, SESSION, path)
            run_all([stream])
            check(stream.status == 200 and stream.whole, f"{stream.status} {stream.failure} {stream.text}")
            calm.append(stream.text)
        broken = 0
        for cut in range(CUTS):
            n = cut % len(REQUESTS)
            size = len(calm[n]) + 600
            faults = [proxy.fault(rng.choice(("reset", "end")), rng.randrange(size), b"text/event-stream")
                      for proxy in rng.sample(proxies, 2)]
            stream = Stream(router, REQUESTS[n][1], SESSION, REQUESTS[n][0])
            run_all([stream])
            where = f"cut {cut}, {[(f.kind, f.done) for f in faults]}"
            check(stream.status == 200 and stream.whole, f"{where}: {stream.failure} {stream.text[-400:]!r}")
            check(comparable(stream.text) == comparable(calm[n]), f"{where}\n{calm[n]!r}\n{stream.text!r}")
            broken += sum(f.done for f in faults)
            for proxy in proxies:
                proxy.clear()
        continued = metric(router, "hearth_router_streams_continued_total")
        check(continued > CUTS / 8, f"only {continued} streams were continued")
        return broken, continued


def first_turn(router, number):
    body = {"model": "tiny", "input": f"Good evening, {number}.", "temperature": 0, "max_output_tokens": 4}
    status, headers, answer = request(router, "POST", "/v1/responses", json.dumps(body),
                                      {"content-type": "application/json"})
    check(status == 200, answer[:300])
    node = {k.lower(): v for k, v in headers.items()}["hearth-route"].split(";")[0].split("=")[1]
    return json.loads(answer)["id"], node


def killed_in_mid_stream(replicate):
    """Long replies behind kept responses; their node is killed. With copies they go on, else they say so."""
    with Fleet() as fleet:
        fleet.tiny_model(layers=8)
        fleet.start_redis()
        for n in range(3):
            fleet.start_node(f"node-{n}", "--heartbeat-ms", "100ms", "--replicate", str(replicate))
        router = fleet.start_router()
        fleet.wait_members(router, 3)
        firsts = [first_turn(router, n) for n in range(6)]
        gone = firsts[0][1]
        held = lambda: sum(request(address, "GET", f"/v1/responses/{kept}")[0] == 200
                           for kept, _ in firsts for name, address in fleet.address.items() if "node" in name)
        if replicate:
            wait_until(lambda: held() >= 2 * len(firsts), "each response has a copy")
        body = {"input": "Tell on, and at length.", "temperature": 0, "max_output_tokens": 1200, "ignore_eos": True,
                "store": False}
        streams = [Stream(router, {**body, "previous_response_id": kept}, "", "/v1/responses", timeout=30)
                   for kept, node in firsts if node == gone]
        for stream in streams:
            stream.start()
        wait_until(lambda: all(s.text.count(b"\n\n") > 5 for s in streams), "all streams flow")
        fleet.kill(gone)
        for stream in streams:
            stream.join(60)
        cut = 0
        for stream in streams:
            events = [json.loads(e.split("data: ", 1)[1]) for e in stream.text.decode().split("\n\n") if e]
            check([e["sequence_number"] for e in events] == list(range(len(events))), "a number is missing")
            if events[-1]["type"] == "response.incomplete":
                text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
                whole = events[-1]["response"]["output"][0]["content"][0]["text"]
                check(stream.whole and text == whole, "the whole is not what was told")
                continue
            cut += 1
            check(events[-1]["type"] == "error" and not stream.whole, f"a clean-looking end: {events[-1]}")
            check(events[-1]["error"]["code"] == "node_lost", f"{events[-1]}")
        check(cut == 0 if replicate else cut > 0, f"{cut} of {len(streams)} streams broke")
        return len(streams)


def main():
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    broken, continued = cut_anywhere(random.Random(seed))
    print(f"{broken} cuts, {continued:.0f} continuations")
    for replicate in (0, 1):
        print(f"replicate {replicate}: {killed_in_mid_stream(replicate)} streams lost their node")


main()
