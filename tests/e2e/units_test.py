"""The systemd units: well-formed, and the programs do what Type=notify and WatchdogSec expect."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess

from fleet import BIN, ROOT, Fleet, check, skip

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


def verify(fleet):
    """systemd-analyze on copies that name the programs of this build; False if there is none."""
    if not shutil.which("systemd-analyze"):
        return False
    copies = []
    for unit in UNITS:
        copies.append(pathlib.Path(fleet.path(unit.name)))
        copies[-1].write_text(unit.read_text().replace("/usr/bin/hearth", f"{BIN.resolve()}/hearth"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *copies], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "hearth" in line]
    check(done.returncode == 0 and not said, f"systemd-analyze verify: {done.stderr}")
    return True


def states_until(listener, wanted, seconds=20):
    """Messages to the supervisor, up to and with the one that has `wanted`."""
    listener.settimeout(seconds)
    heard = []
    while not heard or wanted not in heard[-1]:
        heard.append(listener.recv(4096).decode())
    return heard


def watched(fleet, name, start):
    """READY=1 when it serves, WATCHDOG=1 again and again, STOPPING=1 at its end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = fleet.path(f"{name}.notify")
        listener.bind(path)
        os.environ.update(NOTIFY_SOCKET=path, WATCHDOG_USEC="200000")
        try:
            start()
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
        heard = states_until(listener, "READY=1")
        for _ in range(5):
            heard += states_until(listener, "WATCHDOG=1", seconds=5)
        process = fleet.processes[name]
        process.send_signal(signal.SIGSTOP)
        listener.settimeout(1)
        try:
            while True:  # What was under way.
                listener.recv(4096)
        except TimeoutError:
            pass  # A process that hangs is silent, so that the supervisor sees it.
        process.send_signal(signal.SIGCONT)
        states_until(listener, "WATCHDOG=1", seconds=5)
        process.send_signal(signal.SIGTERM)
        states_until(listener, "STOPPING=1")
        check(process.wait(30) == 0, f"{name} ended with {process.returncode}")


def main():
    with Fleet() as fleet:
        fleet.start_redis()
        watched(fleet, "node-0", lambda: fleet.start_node("node-0"))
        fleet.start_node("node-1")
        watched(fleet, "router", fleet.start_router)
        if not verify(fleet):
            skip("systemd-analyze is not installed: the units were not verified")
    print(f"{len(UNITS)} units verified")


main()
