"""A router with a static list and no Redis sticks sessions to servers it knows nothing about."""

import http.server
import json
import threading

from fleet import Fleet, chat, check, route, wait_until


class Upstream(http.server.BaseHTTPRequestHandler):
    """An OpenAI-compatible server of somebody else: it knows no Hearth header."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        sick = getattr(self.server, "sick", False)
        model = {"id": "foreign", "object": "model", "created": 1, "owned_by": "x"}
        self.answer(500 if sick else 200, {"object": "list", "data": [model]})

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(200, {"id": "1", "object": "chat.completion", "created": 1, "model": "foreign",
                          "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None,
                                       "message": {"role": "assistant", "content": "hi",
                                                   "refusal": None}}]})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream) for _ in range(3)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with Fleet() as fleet:
        config = fleet.path("router.yaml")
        with open(config, "w", encoding="utf-8") as out:
            out.write("nodes:\n")
            for n, server in enumerate(servers):
                out.write(f"  - {{id: up-{n}, address: '127.0.0.1:{server.server_port}'}}\n")
        routers = [fleet.start_router(f"router-{r}", "--config", config) for r in range(2)]
        where = {}
        for turn in range(3):
            for s in range(30):
                messages = [{"role": "user", "content": f"I am {s}"}]
                _, headers = chat(routers[(turn + s) % 2], messages, f"s{s}")
                node = route(headers)["node"]
                check(where.setdefault(s, node) == node, f"session {s} moved")
        check(len(set(where.values())) == 3, f"30 sessions on {set(where.values())}")
        status = fleet.hearth("router-0", "status")
        check("metadata store not used" in status, status)
        check(len([line for line in fleet.hearth("router-0", "nodes").splitlines() if " static " in line]) == 3,
              "nodes that no registry knows are listed")
        servers[1].sick = True
        wait_until(lambda: " ejected (" in fleet.hearth("router-0", "nodes").splitlines()[2],
                   "a server whose probes fail shows as ejected")


main()
