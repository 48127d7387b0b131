"""Links between replicas that can be cut, slowed and torn: a proxy for each pair and direction of dialing.

A node sends to a peer over the link that it dialed itself, so that the wire (a, b) carries what a says to b; only pongs
come back on it. What is cut is not lost: it waits, as TCP would have it sent again and again, until the wire is healed.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager

import trio

CHUNK = 65_536


class Wire:
    """What one node says to another goes through here. delay: seconds that every chunk takes longer."""

    def __init__(self, to: str) -> None:
        self.delay = 0.0
        self._host, _, port = to.rpartition(":")
        self._port = int(port)
        self._open = trio.Event()
        self._open.set()
        self._streams: set[trio.SocketStream] = set()

    def cut(self) -> None:
        """Nothing gets through any more, in neither direction."""
        self._open = trio.Event()

    def heal(self) -> None:
        """Everything that waits gets through, and what comes."""
        self._open.set()

    def tear(self) -> None:
        """Every connection is reset, at both ends."""
        for stream in [each for each in self._streams if each.socket.fileno() >= 0]:  # the rest are closing already
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()

    async def _healed(self) -> None:
        """Also if it was cut again before those that waited were woken."""
        while not self._open.is_set():
            await self._open.wait()

    async def serve(self, near: trio.SocketStream) -> None:
        """One connection, until either end closes it."""
        try:
            await self._healed()
            far = await trio.open_tcp_stream(self._host, self._port)
        except OSError:  # nobody listens: the dialer sees its connection closed
            await near.aclose()
            return
        both = {near, far}
        self._streams |= both
        try:
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, near, far, nursery.cancel_scope)
                nursery.start_soon(self._carry, far, near, nursery.cancel_scope)
        finally:
            self._streams -= both

    async def _carry(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            while chunk := await source.receive_some(CHUNK):
                if self.delay:
                    await trio.sleep(self.delay)
                await self._healed()
                await sink.send_all(chunk)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


Wires = Mapping[tuple[str, str], Wire]


@asynccontextmanager
async def open_wires(members: Mapping[str, str]) -> AsyncGenerator[tuple[Wires, dict[str, dict[str, str]]]]:
    """Wires between all of these (name -> address), and where each is to dial the others.

    A group tells its members where they are: told these addresses only, they would find the way around a wire that is
    cut for long. `WiredNetwork` does not.
    """
    wires: dict[tuple[str, str], Wire] = {}
    told = {name: {name: address} for name, address in members.items()}
    async with trio.open_nursery() as nursery:
        for name in members:
            for other, address in members.items():
                if name != other:
                    wire = wires[name, other] = Wire(address)
                    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
                    told[name][other] = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
                    nursery.start_soon(trio.serve_listeners, wire.serve, listeners)
        yield wires, told
        nursery.cancel_scope.cancel()


def around(wires: Wires, name: str) -> list[Wire]:
    """All that this member says and hears."""
    return [wire for pair, wire in wires.items() if name in pair]


def between(wires: Wires, some: Iterable[str], others: Iterable[str]) -> list[Wire]:
    """What these say to those, and hear of them."""
    left, right = set(some), set(others)
    return [wire for (one, other), wire in wires.items() if {one, other} & left and {one, other} & right]


@contextmanager
def parted(wires: Iterable[Wire]) -> Generator[None]:
    """Cut these for as long as the context lasts."""
    cut = list(wires)
    for wire in cut:
        wire.cut()
    try:
        yield
    finally:
        for wire in cut:
            wire.heal()
