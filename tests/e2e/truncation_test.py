"""A dialogue that outgrows the context goes on without its oldest turns, warm, and never silently."""

import json

from fleet import Fleet, check, metric, request


def ask(address, messages, **fields):
    body = json.dumps({"model": "tiny", "temperature": 0, "max_tokens": 16, "messages": messages,
                       **fields})
    headers = {"content-type": "application/json", "x-session-id": "one"}
    status, answer_headers, answer = request(address, "POST", "/v1/chat/completions", body, headers)
    return status, {k.lower(): v for k, v in answer_headers.items()}, json.loads(answer)


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        node = fleet.start_node("node-0", "--truncation-step-tokens", "512",
                                "--default-max-tokens", "64")
        router = fleet.start_router()
        fleet.wait_members(router, 1)
        messages = [{"role": "system", "content": "You are the keeper of a lighthouse. " * 4}]
        cached = prompts = truncated = moves = 0
        before = None
        for turn in range(60):
            messages.append({"role": "user", "content": f"Question {turn}: what of the ships? " * 4})
            status, headers, answer = ask(router, messages, truncation="auto")
            check(status == 200, f"turn {turn}: HTTP {status}: {answer}")
            usage = answer["usage"]
            note = headers.get("hearth-truncated")
            if note:
                truncated += 1
                moves += note != before
                cached += usage["prompt_tokens_details"]["cached_tokens"]
                prompts += usage["prompt_tokens"]
            before = note
            messages.append(answer["choices"][0]["message"])
        check(truncated >= 10, f"only {truncated} turns were truncated")
        check(moves * 3 <= truncated, f"the point moved {moves} times in {truncated} turns")
        rate = cached / prompts
        print(f"{truncated} truncated turns, the point moved {moves} times, {rate:.3f} cached")
        check(rate > 0.6, f"only {rate:.3f} of the truncated prompts was cached")
        check(metric(node, "hearth_engine_truncated_turns_total") == truncated, "not counted")
        messages.append({"role": "user", "content": "And now?"})
        status, headers, answer = ask(router, messages)
        check(status == 400 and answer["error"]["code"] == "context_length_exceeded",
              f"without being asked to: HTTP {status} {answer}")
        status, _, answer = ask(router, messages, truncation="sometimes")
        check(status == 400 and answer["error"]["param"] == "truncation", f"{status} {answer}")


main()
