"""The same chats get the same bytes from nodes that compute them in different ways (design 1.3).

Each chat is played turn by turn, its own replies going back into its prompt, so one byte that differs
anywhere changes everything after it.
"""

import concurrent.futures
import os
import random

from fleet import Fleet, chat, check

CHATS = 50
TOGETHER = 16
TURNS = 3
# "caf\u00e9", a family of emoji and a few others: their bytes are split over tokens.
WORDS = ("the sea was calm and a lamp went out while nobody asked why it rained in November "
         "caf\u00e9 na\u00efve \u4f60\u597d \u043f\u0440\u0438\u0432\u0435\u0442 "
         "\U0001F468\u200D\U0001F469\u200D\U0001F467 don't \"quote\" {x: 1} \\n <|im_end|> 1234567").split()


def make_chats(rng):
    def words(low, high):
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))

    personas = [words(40, 120) for _ in range(3)]
    chats = []
    for i in range(CHATS):
        fields = {"max_tokens": rng.randint(4, 24)}
        if i % 2:  # Seeded; the others are greedy.
            fields |= {"temperature": rng.choice([0.7, 1.0, 1.5]), "seed": rng.randrange(1 << 62)}
            fields |= rng.choice([{}, {"top_p": 0.9}, {"top_k": 20}, {"min_p": 0.05},
                                  {"presence_penalty": 0.5, "repetition_penalty": 1.1}])
        if i % 4 == 3:
            fields["stop"] = ["e", "\u00e9x"]
        chats.append({"system": rng.choice(personas), "fields": fields,
                      "users": [words(1, 60) for _ in range(TURNS)]})
    return chats


def play(address, one):
    """The replies of one chat and what ended them; (replies, cached tokens)."""
    messages = [{"role": "system", "content": one["system"]}]
    replies, cached = [], 0
    for user in one["users"]:
        messages.append({"role": "user", "content": user})
        answer, _ = chat(address, messages, **one["fields"])
        choice, usage = answer["choices"][0], answer["usage"]
        text = choice["message"]["content"]
        replies.append((text, choice["finish_reason"], usage["prompt_tokens"],
                        usage["completion_tokens"]))
        cached += usage["prompt_tokens_details"]["cached_tokens"]
        messages.append({"role": "assistant", "content": text})
    return replies, cached


def play_all(address, chats, together):
    with concurrent.futures.ThreadPoolExecutor(together) as pool:
        results = list(pool.map(lambda one: play(address, one), chats))
    return [replies for replies, _ in results], sum(cached for _, cached in results)


def main():
    seed = int(os.environ.get("HEARTH_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}; set HEARTH_SEED to repeat it")
    chats = make_chats(random.Random(seed))
    ways = [("cache", True, [], 1), ("no-cache", False, ["--cache=false"], 1),
            ("cache-together", True, [], TOGETHER), ("no-cache-together", False, ["--cache=false"],
             TOGETHER),
            ("chunks-1", True, ["--chunk-tokens-max", "1"], TOGETHER),
            ("chunks-7", False, ["--chunk-tokens-max", "7", "--cache=false"], TOGETHER),
            ("chunks-64", True, ["--chunk-tokens-max", "64", "--step-tokens-max", "96"], TOGETHER)]
    expected = None
    with Fleet() as fleet:
        for name, is_cached, flags, together in ways:
            address = fleet.start_node(name, *flags)
            replies, cached = play_all(address, chats, together)
            check((cached > 0) == is_cached, f"{name}: {cached} cached tokens")
            expected = expected or replies
            for i, (wanted, got) in enumerate(zip(expected, replies, strict=True)):
                check(got == wanted, f"{name}, chat {i}: {got!r} instead of {wanted!r}")
            fleet.processes[name].terminate()
            check(fleet.processes[name].wait(20) == 0, f"{name}: SIGTERM did not end it with 0")
    # An oracle that compares empty texts would compare nothing.
    texts = [reply[0] for replies in expected for reply in replies]
    check(len(set(texts)) > len(texts) // 2, f"the replies hardly differ: {texts!r}")


main()
