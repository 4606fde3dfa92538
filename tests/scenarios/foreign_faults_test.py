"""Servers that are not Hearth's, and break: the client always sees that its answer is not whole."""

import http.server
import json
import threading

from streams import Stream, quiet, run_all, start_router_to
from fleet import Fleet, check, metric, wait_until


class Server(http.server.BaseHTTPRequestHandler):
    """Streams five events, and breaks as its server was told."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.turns += 1
        how = self.server.how
        if how == "dies before":
            self.close_connection = True
            return
        if isinstance(how, int):
            body = b'{"error":{"message":"no","type":"server_error","param":null,"code":null}}'
            self.send_response(how)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        chunked = self.protocol_version == "HTTP/1.1"
        if chunked:
            self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for n in range(5):
            self.event(chunked, f'data: {{"n":{n}}}\n\n')
        if how == "dies":
            self.close_connection = True
        elif how == "dies in an event":
            self.event(chunked, 'data: {"half')
            self.close_connection = True
        elif how == "stalls":
            self.server.release.wait(30)
            self.close_connection = True
        else:
            self.event(chunked, "data: [DONE]\n\n")
            if chunked:
                self.wfile.write(b"0\r\n\r\n")

    def event(self, chunked, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)

    def log_message(self, *_):
        pass


class Chunked(Server):
    protocol_version = "HTTP/1.1"


class UntilClose(Server):
    protocol_version = "HTTP/1.0"


def start_servers(handler, count):
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(count)]
    for server in servers:
        server.daemon_threads = True
        server.turns, server.how, server.release = 0, "well", threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return servers


def one_stream(router, session):
    stream = Stream(router, {"messages": [{"role": "user", "content": "hi"}]}, session)
    run_all([stream])
    return stream


def in_streams(router, servers, kind):
    shown = "".join(f'data: {{"n":{n}}}\n\n' for n in range(5))
    cases = [("well", None), ("dies", "node_lost"), ("dies in an event", "node_lost"),
             ("stalls", "node_timeout")]
    for how, code in cases:
        for server in servers:
            server.how, server.turns = how, 0
        stream = one_stream(router, f"{kind} {how}".replace(" ", "-"))
        where = f"{kind}, {how}: {stream.status} {stream.failure} {stream.text!r}"
        check(stream.status == 200 and stream.text.decode().startswith(shown), where)
        check(stream.error_code() == code, where)
        check(stream.whole == (code is None), where)
        check(("[DONE]" in stream.text.decode()) == (code is None), where)
        check(sum(server.turns for server in servers) == 1, f"{where}: sent twice")
        for server in servers:
            server.release.set()
            server.release = threading.Event()


def before_answers(router, servers):
    cases = [("dies before", 502, 1), (500, 500, 1), (429, 429, 1), (503, 503, 3)]
    for how, status, turns in cases:
        for server in servers:
            server.how, server.turns = how, 0
        stream = one_stream(router, f"before-{how}".replace(" ", "-"))
        check(stream.status == status, f"{how}: HTTP {stream.status} {stream.text!r}")
        check("error" in json.loads(stream.text), f"{how}: {stream.text!r}")
        sent = sum(server.turns for server in servers)
        check(sent == turns, f"{how}: {sent} servers got the turn, not {turns}")


def ejected(fleet):
    """A server that fails turn after turn is walked past, is tried again in time, and serves again;
    its sessions come home."""
    servers = start_servers(Chunked, 3)
    addresses = [f"127.0.0.1:{server.server_port}" for server in servers]
    router = start_router_to(fleet, addresses, "--eject-failures=3", "--eject-ms=2s",
                             name="router-ejects")
    wait_until(lambda: metric(router, "hearth_router_node_health") == 3, "all are up")
    turns = lambda: [server.turns for server in servers]

    def played(session, status=200):
        before = turns()
        check(one_stream(router, session).status == status, f"{session}: {turns()}")
        return [now - then for now, then in zip(turns(), before)].index(1)

    sessions = [f"ejected-{n}" for n in range(30)]
    home = {session: played(session) for session in sessions}
    bad = home[sessions[0]]
    own = [session for session in sessions if home[session] == bad]
    check(0 < len(own) < 30, home)
    servers[bad].how = 500
    for session in (own * 3)[:3]:
        check(played(session, 500) == bad, "a failing server is asked until it is ejected")
    count = "hearth_router_node_ejections_total"
    check(metric(router, count) == 1, f"{metric(router, count)} ejections")
    heirs = {session: played(session) for session in sessions}
    check(bad not in heirs.values(), "an ejected server got a turn")
    check(all(heirs[s] == home[s] for s in sessions if s not in own), "others moved too")
    servers[bad].how = "well"
    wait_until(lambda: played(own[0]) == bad, "it is tried again")
    wait_until(lambda: {session: played(session) for session in sessions} == home, "all are home")


def main():
    with Fleet() as fleet:
        for kind, handler in (("chunked", Chunked), ("until close", UntilClose)):
            servers = start_servers(handler, 3)
            addresses = [f"127.0.0.1:{server.server_port}" for server in servers]
            router = start_router_to(fleet, addresses, "--idle-stream-timeout-ms=500",
                                     name=f"router-{kind}".replace(" ", "-"))
            wait_until(lambda r=router: metric(r, "hearth_router_node_health") == 3, "all are up")
            in_streams(router, servers, kind)
            if kind == "chunked":
                before_answers(router, servers)
            wait_until(lambda r=router: quiet(r), "all gauges are back at 0")
        ejected(fleet)


main()
