"""Chats that many fleets play alike: temperature 0, so that their replies and their KV are the same."""

import concurrent.futures
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from fleet import chat  # noqa: E402


def question(session, turn):
    return f"Question {turn} of visitor {session}: " + f"what of the {session * 7 + turn} ships? " * 6


def persona(session):
    return f"You are keeper number {session} of a lighthouse that nobody else keeps. " * 24


class Chats:
    """Sessions with a persona of their own each; plays all of them turn by turn."""

    def __init__(self, router, sessions):
        self.router = router
        self.sessions = sessions
        self.messages = [[{"role": "system", "content": persona(s)}] for s in range(sessions)]
        self.cached = {}
        self.replies = {}

    def turn(self, session, turn):
        messages = self.messages[session]
        messages.append({"role": "user", "content": question(session, turn)})
        answer, _ = chat(self.router, messages, f"s{session}", max_tokens=12)
        reply = answer["choices"][0]["message"]["content"]
        messages.append({"role": "assistant", "content": reply})
        self.replies[session, turn] = reply
        self.cached[session, turn] = answer["usage"]["prompt_tokens_details"]["cached_tokens"]

    def round(self, turn):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda s: self.turn(s, turn), range(self.sessions)))

    def follow_up_tokens(self):
        return sum(n for (_, turn), n in self.cached.items() if turn > 0)
