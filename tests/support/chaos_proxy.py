#!/usr/bin/env python3
"""A TCP proxy that delays, throttles, cuts, stalls and corrupts what a server answers.

In a test: `with ChaosProxy("127.0.0.1:9000") as proxy: proxy.fault("reset", at=100)`.
By hand:   chaos_proxy.py 127.0.0.1:9000
prints `ready http://ADDR:PORT` and obeys lines on stdin: `fault KIND [AT [MATCH]]`, `delay MS`,
`throttle BYTES_PER_S`, `clear`, `cut`, `down`, `up`, `seen`. It ends with stdin.
"""

import asyncio
import socket
import struct
import sys
import threading

KINDS = ("reset", "end", "stall", "corrupt")
PIECE = 16 * 1024


class Fault:
    """Done once, `at` bytes behind the first occurrence of `match` in a server's bytes.

    reset: both sides get RST. end: both get FIN. stall: nothing more passes, both stay open.
    corrupt: one byte is changed.
    """

    def __init__(self, kind, at=0, match=b""):
        assert kind in KINDS, kind
        self.kind, self.at, self.match = kind, at, match
        self.owner = None  # The connection that it was matched on.
        self.done = False


class Connection:
    """One client's connection and the one to the server behind it."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.stalled = asyncio.Event()
        self.ended = False

    async def run(self):
        up = asyncio.create_task(self.pump_up())
        down = asyncio.create_task(self.pump_down())
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if down.done() and not self.ended:
            up.cancel()
        elif up.done() and not self.ended:  # A client that left leaves the server too.
            down.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        for _, writer in (self.client, self.server):
            writer.close()

    async def pump_up(self):
        while piece := await self.client[0].read(PIECE):
            self.server[1].write(piece)
            await self.server[1].drain()

    async def pump_down(self):
        while piece := await self.server[0].read(PIECE):
            if self.proxy.delay_s:
                await asyncio.sleep(self.proxy.delay_s)
            piece = await self.faulty(piece)
            if self.ended:
                return
            await self.send(piece)

    async def send(self, piece):
        rate = self.proxy.bytes_per_s
        step = max(1, rate // 20) if rate else len(piece)
        for begin in range(0, len(piece), max(step, 1)):
            self.client[1].write(piece[begin:begin + step])
            await self.client[1].drain()
            if rate:
                await asyncio.sleep(step / rate)

    async def faulty(self, piece):
        """The piece as the client is to get it; may end the connection."""
        fault = self.proxy.pending
        if fault is None or fault.owner not in (None, self):
            return piece
        begin = 0
        if fault.owner is None:
            begin = piece.find(fault.match)
            if begin < 0:
                return piece
            fault.owner = self
        if begin + fault.at >= len(piece):
            fault.at -= len(piece) - begin
            return piece
        self.proxy.pending = None
        fault.done = True
        where = begin + fault.at
        if fault.kind == "corrupt":
            return piece[:where] + bytes([piece[where] ^ 0x20]) + piece[where + 1:]
        await self.send(piece[:where])
        if fault.kind == "stall":
            await self.stalled.wait()
        self.end(reset=fault.kind == "reset")
        return b""

    def end(self, reset):
        self.ended = True
        self.stalled.set()
        for _, writer in (self.client, self.server):
            if reset:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            else:
                writer.close()


class ChaosProxy:
    """Listens on a free loopback port from its making to its end; its methods are for one thread."""

    def __init__(self, upstream):
        host, port = upstream.rsplit(":", 1)
        self.upstream = (host, int(port))
        self.connections = set()
        self.clear()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = 0
        self.call(self._up())
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.call(self._down())
        self.call(self._cut())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    # Faults.

    def clear(self):
        self.pending = None
        self.delay_s = 0.0
        self.bytes_per_s = 0

    def fault(self, kind, at=0, match=b""):
        """Arms one fault; it replaces one that has not come yet."""
        self.pending = Fault(kind, at, match)
        return self.pending

    def delay(self, seconds):
        """Each piece of an answer comes so much later."""
        self.delay_s = seconds

    def throttle(self, bytes_per_s):
        self.bytes_per_s = bytes_per_s

    def cut(self):
        """Resets all connections now."""
        self.call(self._cut())

    def down(self):
        """Refuses connections; those that are open stay."""
        self.call(self._down())

    def up(self):
        self.call(self._up())

    # On the loop.

    async def _up(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _down(self):
        self.server.close()

    async def _cut(self):
        for connection in list(self.connections):
            connection.end(reset=True)

    async def _serve(self, reader, writer):
        try:
            server = await asyncio.open_connection(*self.upstream)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(self, (reader, writer), server)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)


def main():
    with ChaosProxy(sys.argv[1]) as proxy:
        print(f"ready http://{proxy.address}", flush=True)
        for line in sys.stdin:
            name, *words = line.split()
            if name == "fault":
                at = int(words[1]) if len(words) > 1 else 0
                proxy.fault(words[0], at, " ".join(words[2:]).encode())
            elif name == "delay":
                proxy.delay(float(words[0]) / 1000)
            elif name == "throttle":
                proxy.throttle(int(words[0]))
            elif name == "seen":
                print(len(proxy.connections), flush=True)
            else:
                getattr(proxy, {"clear": "clear", "cut": "cut", "down": "down", "up": "up"}[name])()


if __name__ == "__main__":
    main()
