"""Tenants: equal prompts never hit across them; a tenant's own do, and nobody chooses his salt."""

import hashlib

from fleet import Fleet, chat, check, request

PERSONA = "You are the keeper of a lighthouse on a cold coast, and you speak of the sea. " * 8


def cached(router, key, session, extra=None):
    """Cached tokens of the same first turn, asked with a tenant's key."""
    import json

    body = json.dumps({"model": "tiny", "temperature": 0, "max_tokens": 8, "messages": [
        {"role": "system", "content": PERSONA}, {"role": "user", "content": "What do you see?"}]})
    headers = {"content-type": "application/json", "x-session-id": session,
               "authorization": f"Bearer {key}", **(extra or {})}
    status, _, answer = request(router, "POST", "/v1/chat/completions", body, headers)
    check(status == 200, f"HTTP {status}: {answer[:300]!r}")
    return json.loads(answer)["usage"]["prompt_tokens_details"]["cached_tokens"]


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        node = fleet.start_node("node-0")
        config = fleet.path("router.yaml")
        with open(config, "w", encoding="utf-8") as out:
            out.write("tenants:\n")
            for name in ("acme", "zeta"):
                digest = hashlib.sha256(f"hk-{name}".encode()).hexdigest()
                out.write(f"  - name: {name}\n    keys: [\"sha256:{digest}\"]\n")
        router = fleet.start_router("router", "--config", config)
        fleet.wait_members(router, 1)
        check(cached(router, "hk-acme", "a") == 0, "the first turn of all hit something")
        check(cached(router, "hk-zeta", "b") == 0, "a tenant hit another's pages")
        own = cached(router, "hk-acme", "c")
        check(own > 100, f"another session of the same tenant hit {own} tokens only")
        # The salt that a client sends is none: with another tenant's he stays who he is.
        status, _, _ = request(node, "GET", "/health")
        check(status == 200, "the node is gone")
        for salt in ("", "00", "ff" * 16):
            check(cached(router, "hk-zeta", "d" + salt, {"hearth-tenant": salt}) >= own,
                  "a client's own salt was believed: his tenant's pages were missed")
        # Nor does a session's name lead across: acme's session under zeta's key.
        check(cached(router, "hk-zeta", "a") >= own, "zeta lost its own pages")
        direct, _ = chat(node, [{"role": "system", "content": PERSONA},
                                {"role": "user", "content": "What do you see?"}], max_tokens=4)
        check(direct["usage"]["prompt_tokens_details"]["cached_tokens"] == 0,
              "a turn without a tenant hit a tenant's pages")


main()
