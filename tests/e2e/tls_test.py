"""TLS on both sides: a Python client over HTTPS, a router, a node that asks the router who it is; and
between nodes."""

import http.client
import json
import os
import signal
import ssl
import subprocess

from fleet import BIN, Fleet, check, redis_command, skip, wait_until


def openssl(*command, **options):
    try:
        subprocess.run(["openssl", *command], check=True, capture_output=True, text=True, **options)
    except FileNotFoundError:
        skip("the openssl program is not installed")


def authority(fleet, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", f"/CN={name}", "-keyout", fleet.path(name + ".key"),
            "-out", fleet.path(name + ".pem"))


def certificate(fleet, ca, name, names="DNS:localhost,IP:127.0.0.1"):
    """A certificate with its key, signed by `ca`; replaces an earlier one."""
    request = fleet.path(name + ".csr")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            f"/CN={name}", "-keyout", fleet.path(name + ".key"), "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", fleet.path(ca + ".pem"), "-CAkey",
            fleet.path(ca + ".key"), "-CAcreateserial", "-days", "1", "-extfile", "/dev/stdin",
            "-out", fleet.path(name + ".pem"), input=f"subjectAltName={names}\n")


def connect(fleet, address, ca):
    context = ssl.create_default_context(cafile=fleet.path(ca + ".pem"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    host, port = address.rsplit(":", 1)
    return http.client.HTTPSConnection(host, int(port), timeout=60, context=context)


def get(fleet, address, path, ca):
    connection = connect(fleet, address, ca)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def chats(fleet, router):
    """A stream, then a big prompt, on one connection."""
    connection = connect(fleet, router, "ca")
    for text in ("hello", "word " * 60_000):
        body = json.dumps({"model": "tiny", "stream": text == "hello", "max_tokens": 20,
                           "messages": [{"role": "user", "content": text}]})
        connection.request("POST", "/v1/chat/completions", body,
                           {"content-type": "application/json", "x-session-id": "s"})
        answer = connection.getresponse()
        got = answer.read()
        if text == "hello":
            check(answer.status == 200 and got.endswith(b"data: [DONE]\n\n"), got[-300:])
            check(connection.sock.selected_alpn_protocol() == "http/1.1", "ALPN")
        else:  # Longer than the context: the node has read it and says so.
            check(answer.status in (200, 400), (answer.status, got[:300]))
    connection.close()


def refused(fleet, address, ca="ca"):
    try:
        get(fleet, address, "/health", ca)
    except (ssl.SSLError, http.client.HTTPException, OSError) as fault:
        return str(fault) or repr(fault)
    return None


def log_of(fleet, name):
    with open(fleet.path(name + ".log"), encoding="utf-8") as log:
        return log.read()


def reloads(fleet, router):
    """New files are served after SIGHUP; bad ones are not, and the log says why."""
    process = fleet.processes["router"]
    certificate(fleet, "next", "router")
    check(refused(fleet, router, "next"), "new certificates before SIGHUP")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: refused(fleet, router, "next") is None, "the new certificate is served")
    check("certificate" in (refused(fleet, router) or ""), "the old authority is still trusted")
    with open(fleet.path("router.pem"), "w", encoding="utf-8") as spoilt:
        spoilt.write("nothing\n")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload failed" in log_of(fleet, "router"), "the log says what is wrong")
    check(refused(fleet, router, "next") is None, "a bad file took the certificate away")


def ask(fleet, node, messages, session):
    """A turn on a node that asks for a certificate; its reply and how much of it was cached."""
    connection = connect(fleet, node, "ca")
    connection._context.load_cert_chain(fleet.path("client.pem"), fleet.path("client.key"))
    body = json.dumps({"model": "tiny", "messages": messages, "temperature": 0, "max_tokens": 12})
    connection.request("POST", "/v1/chat/completions", body,
                       {"content-type": "application/json", "hearth-session": f"{session:032x}"})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    check(answer.status == 200, told)
    return (told["choices"][0]["message"]["content"],
            told["usage"]["prompt_tokens_details"]["cached_tokens"])


def between_nodes():
    """KV is pulled over TLS from a node that asks for a certificate; a node that trusts another
    authority gets none, and computes."""
    with Fleet() as fleet:
        fleet.tiny_model()
        fleet.start_redis()
        authority(fleet, "ca")
        authority(fleet, "next")
        certificate(fleet, "ca", "client")
        nodes = {}
        for name, trusted in (("north", "ca"), ("south", "ca"), ("stranger", "next")):
            certificate(fleet, "ca", name)
            nodes[name] = fleet.start_node(
                name, "--tls-cert", fleet.path(name + ".pem"), "--tls-key", fleet.path(name + ".key"),
                "--tls-client-ca", fleet.path("ca.pem"), "--tls-client-auth", "require",
                "--peer-ca", fleet.path(trusted + ".pem"))
        # A node that has not reached the store yet knows of no other.
        for name in nodes:
            record = "hearth:{default}:node:" + name
            wait_until(lambda: redis_command(fleet.redis, "EXISTS", record) == "1", f"{name} is known")
        for session, name in enumerate(("south", "stranger"), 1):
            messages = [{"role": "system", "content": f"You keep lighthouse {session} alone. " * 20},
                        {"role": "user", "content": "Who are you?"}]
            reply, _ = ask(fleet, nodes["north"], messages, session)
            messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": "And?"}]
            record = "hearth:{default}:session:" + f"{session:032x}"
            wait_until(lambda: redis_command(fleet.redis, "EXISTS", record) == "1", "it is published")
            got, cached = ask(fleet, nodes[name], messages, session)
            expected, held = ask(fleet, nodes["north"], messages, session)
            check(got == expected, f"{name}: {got!r} in place of {expected!r}")
            check((cached > held - 70) == (name == "south"), f"{name} found {cached}, north {held}")
        check("could not be pulled" in log_of(fleet, "stranger"), "the log says why")


def main():
    between_nodes()
    with Fleet() as fleet:
        fleet.tiny_model()
        authority(fleet, "ca")
        authority(fleet, "next")
        for name in ("router", "node", "client"):
            certificate(fleet, "ca", name)
        path = fleet.path
        node = fleet.start_node("node-1", "--tls-cert", path("node.pem"), "--tls-key",
                                path("node.key"), "--tls-client-ca", path("ca.pem"),
                                "--tls-client-auth", "require")
        check("ertificate" in refused(fleet, node), "a node served a client without certificate")
        config = path("router.yaml")
        with open(config, "w", encoding="utf-8") as out:
            out.write(f"nodes: [{{id: node-1, address: '{node}'}}]\n"
                      f"tls_cert: {path('router.pem')}\ntls_key: {path('router.key')}\n"
                      f"upstream_tls: true\nupstream_ca: {path('ca.pem')}\n")
        command = [BIN / "hearth-router", "--config", config, "--listen", "127.0.0.1:0",
                   "--admin-listen", ""]
        # Without a certificate for the node it knows of no node, and says why.
        alone = fleet.start("alone", command)
        wait_until(lambda: "certificate required" in log_of(fleet, "alone"), "the log says why")
        check(get(fleet, alone, "/ready", "ca")[0] == 503, "ready without a node")
        router = fleet.start("router", command + ["--upstream-cert", path("client.pem"),
                                                  "--upstream-key", path("client.key")])
        wait_until(lambda: get(fleet, router, "/ready", "ca")[0] == 200, "the router is ready")
        chats(fleet, router)
        said = subprocess.run([BIN / "hearth", "chat", "--router", "https://" + router, "--cacert",
                               path("ca.pem"), "--max-tokens", "4"], input="Hello!\n",
                              capture_output=True, text=True, timeout=60)
        check(said.returncode == 0, said.stdout + said.stderr)
        lost = subprocess.run([BIN / "hearth", "chat", "--router", "https://" + router],
                              input="Hello!\n", capture_output=True, text=True, timeout=60)
        check(lost.returncode == 1 and "certificate is refused" in lost.stderr, lost.stderr)
        wrong = subprocess.run(command + ["--tls-key", os.devnull, "--check"], capture_output=True,
                               text=True, timeout=60)
        check(wrong.returncode == 2 and "tls_cert" in wrong.stderr, wrong.stderr)
        reloads(fleet, router)


main()
