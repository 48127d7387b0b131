"""A network in memory, for tests: nodes and clients in one process, and every fault a network has, at will.

    network = MemoryNetwork()
    async with open_node("a", listen="a:1", network=network.host("a")), \\
               open_node("b", peers={"b": "b:1", "a": "a:1"}, network=network.host("b")): ...

A host has a name, which is the host in its addresses. With `trio.testing.MockClock(autojump_threshold=0)` no time is
waited for, and with a seeded `random` the bytes of each run come as those of the last.
"""

from __future__ import annotations

import errno
import math
import os
from collections import Counter, deque
from collections.abc import Callable
from random import Random

import trio

from actors._network import Listener
from actors._protocol.address import Address
from actors._tcp import CannotListen

__all__ = ["MemoryNetwork"]

BACKLOG = 128
"""Connections that may wait to be accepted at one listener; one more is refused."""


class MemoryNetwork:
    """Hosts and the streams between them.

    Each of these may be changed at any time:

    latency: seconds that bytes are under way, at most; drawn for each write. They arrive in order all the same.
    buffer_size: bytes that may be under way in one direction of a connection; who sends more waits.
    tearing: the chance that a write takes, or a read gives, only a part of what it could.
    refusals: the chance that a dial is refused although somebody listens.
    tap: called with each direction of a connection and the bytes that leave on it.
    """

    def __init__(
        self,
        *,
        random: Random | None = None,
        latency: float = 0.0,
        buffer_size: int = 2**16,
        tearing: float = 0.0,
        refusals: float = 0.0,
    ) -> None:
        self.latency = latency
        self._buffer_size = buffer_size
        self.tearing = tearing
        self.refusals = refusals
        self.tap: Callable[[Way, bytes], None] | None = None
        self._random = random or Random()  # noqa: S311 - no secret
        self._listeners: dict[Address, MemoryListener] = {}
        self._cut: Counter[tuple[str, str]] = Counter()
        self._ways: dict[Way, None] = {}  # whose end is not reached yet
        self._changed = trio.lowlevel.ParkingLot()
        self._count = 0
        self._ports = 0

    @property
    def buffer_size(self) -> int:
        return self._buffer_size

    @buffer_size.setter
    def buffer_size(self, size: int) -> None:
        self._buffer_size = size
        self._wake()

    def host(self, name: str) -> Host:
        """One host, as a `Network`. Each call is a new life of it: one that has crashed stays so."""
        return Host(self, name)

    # -- faults ----------------------------------------------------------------------------------------------------

    def cut(self, sender: str, receiver: str) -> None:
        """Nothing gets from `sender` to `receiver` until this is healed as often as it was cut. What is sent waits on
        the way, as it does where packets are dropped; nobody is told."""
        self._cut[sender, receiver] += 1

    def heal(self, sender: str, receiver: str) -> None:
        """Undo one `cut`. Where nothing is cut, nothing is done."""
        self._cut[sender, receiver] = max(0, self._cut[sender, receiver] - 1)
        self._changed.unpark_all()
        self._wake()

    def lose(self, one: str, other: str) -> None:
        """Every connection between the two breaks. Of what is under way a beginning arrives, cut off anywhere."""
        for way in list(self._ways):
            if {way.sender, way.receiver} == {one, other}:
                way.lose()

    def _wake(self) -> None:
        """Whoever waits on a way may go on."""
        for way in self._ways:
            way.changed.unpark_all()

    # -- for hosts and ways ----------------------------------------------------------------------------------------

    def is_cut(self, sender: str, receiver: str) -> bool:
        return self._cut[sender, receiver] > 0

    def delay(self) -> float:
        return self._random.uniform(0, self.latency) if self.latency else 0.0

    def part(self, size: int) -> int:
        """Of so many bytes, how many go at once: one at least, if there is any."""
        return self._random.randint(1, size) if size and self._strikes(self.tearing) else size

    def beginning(self, size: int) -> int:
        """Of so many bytes under way on a connection that breaks, how many still arrive."""
        return self._random.randint(0, size)

    def _strikes(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance

    def listen(self, host: Host, port: int) -> MemoryListener:
        if not port:
            self._ports += 1
            port = 49_151 + self._ports
        address = Address(host.name, port)
        if address in self._listeners:
            raise CannotListen(errno.EADDRINUSE, f"cannot listen on {address}: somebody does already")
        listener = self._listeners[address] = MemoryListener(host, address)
        return listener

    def forget(self, listener: MemoryListener) -> None:
        if self._listeners.get(listener.address) is listener:
            del self._listeners[listener.address]

    async def connect(self, host: Host, address: Address) -> MemoryStream:
        """The dialer's end."""
        await trio.sleep(self.delay())
        is_refused = self._strikes(self.refusals)
        while True:
            while self.is_cut(host.name, address.host) or self.is_cut(address.host, host.name):
                await self._changed.park()
            host.check_alive()
            listener = self._listeners.get(address)
            if listener is None or is_refused:
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            if not listener.is_full:
                break
            await listener.changed.park()
        there, here = self._way(host.name, address.host), self._way(address.host, host.name)
        listener.take(MemoryStream(listener.host, there, here))
        return MemoryStream(host, here, there)

    def _way(self, sender: str, receiver: str) -> Way:
        self._count += 1
        way = Way(self, self._count, sender, receiver)
        self._ways[way] = None
        return way

    def over(self, way: Way) -> None:
        self._ways.pop(way, None)


class Host:
    """A process on the network: what it opens is its own. Made by `MemoryNetwork.host`; a `Network`.

    streams: that it has open.
    """

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.name = name
        self.crashed = False
        self.streams: dict[MemoryStream, None] = {}
        self._network = network
        self._listeners: list[MemoryListener] = []

    async def listen(self, address: Address, *, insecure: bool) -> list[MemoryListener]:
        """A listener at `name:port`. Nobody outside can reach it, so that `insecure` does not matter."""
        await trio.lowlevel.checkpoint()
        self.check_alive()
        if address.host != self.name:
            raise CannotListen(errno.EADDRNOTAVAIL, f"cannot listen on {address}: this host is {self.name}")
        self._listeners.append(self._network.listen(self, address.port))
        return [self._listeners[-1]]

    async def dial(self, address: Address) -> MemoryStream:
        return await self._network.connect(self, address)

    def crash(self) -> None:
        """Its process is gone: nobody listens, its connections are lost, nothing that it does has an effect."""
        self.crashed = True
        for listener in self._listeners:
            self._network.forget(listener)
        for stream in list(self.streams):
            stream.lose()

    def check_alive(self) -> None:
        if self.crashed:
            raise OSError(errno.ENETDOWN, os.strerror(errno.ENETDOWN))


class MemoryListener(Listener):
    """Takes connections for a host. changed: whoever dials, and finds it full, waits here."""

    def __init__(self, host: Host, address: Address) -> None:
        self.host = host
        self._address = address
        self.changed = trio.lowlevel.ParkingLot()
        self._offer, self._offered = trio.open_memory_channel["MemoryStream"](BACKLOG)

    @property
    def address(self) -> Address:
        return self._address

    @property
    def is_full(self) -> bool:
        return self._offered.statistics().current_buffer_used >= BACKLOG

    def take(self, stream: MemoryStream) -> None:
        self._offer.send_nowait(stream)

    async def accept(self) -> MemoryStream:
        stream = await self._offered.receive()
        self.changed.unpark_all()
        return stream

    async def aclose(self) -> None:
        self.host._network.forget(self)  # pyright: ignore[reportPrivateUsage]
        while True:
            try:
                self._offered.receive_nowait().close_nowait()
            except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                break
        self._offered.close()
        self.changed.unpark_all()
        await trio.lowlevel.checkpoint()


class Way:
    """One direction of a connection. number: of all ways of the network, in the order of their making.

    ended: does nothing more follow what is under way? changed: whoever waits for bytes, or for room, waits here.
    """

    def __init__(self, network: MemoryNetwork, number: int, sender: str, receiver: str) -> None:
        self.number = number
        self.sender = sender
        self.receiver = receiver
        self.ended = False
        self.broken = False
        self.changed = trio.lowlevel.ParkingLot()
        self._network = network
        self._under_way: deque[tuple[float, bytes]] = deque()  # when each piece arrives
        self._size = 0
        self._arrival = 0.0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take as much as there is room for. Raises OSError."""
        network = self._network
        if self.ended:
            if self.broken and network.is_cut(self.receiver, self.sender):
                return len(data)  # nobody has told yet that it goes nowhere
            raise _reset()
        count = network.part(min(len(data), max(0, network.buffer_size - self._size)))  # it may have been more
        if count > 0:
            piece = bytes(data[:count])
            self._arrival = max(self._arrival, trio.current_time() + network.delay())
            self._under_way.append((self._arrival, piece))
            self._size += count
            if network.tap is not None:
                network.tap(self, piece)
            self.changed.unpark_all()
        return count

    def read(self, size_max: int) -> bytes | None:
        """What has come by now; None if nothing has yet. Raises OSError where the connection broke."""
        if self.arrives > trio.current_time():
            return None
        if not self._under_way:
            self._network.over(self)
            if self.broken:
                raise _reset()
            return b""
        came, arrives = b"", 0.0
        while self._under_way and self._under_way[0][0] <= trio.current_time() and len(came) < size_max:
            arrives, piece = self._under_way.popleft()
            came += piece
        count = self._network.part(min(len(came), size_max))
        if count < len(came):
            self._under_way.appendleft((arrives, came[count:]))
        self._size -= count
        self.changed.unpark_all()
        return came[:count]

    @property
    def arrives(self) -> float:
        """When there is something to read, or the end, as far as is known."""
        if self._network.is_cut(self.sender, self.receiver):
            return math.inf
        if self._under_way:
            return self._under_way[0][0]
        return -math.inf if self.ended else math.inf

    @property
    def has_room(self) -> bool:
        return self.ended or self._size < self._network.buffer_size

    @property
    def is_empty(self) -> bool:
        return not self._under_way

    def end(self) -> None:
        """Nothing more is sent."""
        self.ended = True
        self.changed.unpark_all()

    def lose(self) -> None:
        """The connection breaks."""
        if self.broken:
            return
        left = self._network.beginning(self._size)
        while self._size > left:
            at, piece = self._under_way.pop()
            kept = max(0, len(piece) - (self._size - left))
            self._size -= len(piece) - kept
            if kept:
                self._under_way.append((at, piece[:kept]))
        self.broken = True
        self.end()

    def abandon(self) -> None:
        """Nobody reads any more."""
        self._under_way.clear()
        self._size = 0
        self.broken = True
        self.end()
        self._network.over(self)


class MemoryStream(trio.abc.Stream):
    """One end of a connection, with what a `Network`'s streams may have besides where there is no system below."""

    def __init__(self, host: Host, incoming: Way, outgoing: Way) -> None:
        host.streams[self] = None
        self._host = host
        self._incoming = incoming
        self._outgoing = outgoing
        self._failure: OSError | None = None
        self._closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has come, at least one byte; b"" at the end. Always a checkpoint."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed here")
            try:
                data = self._incoming.read(max_bytes or 65_536)
            except OSError as error:
                raise trio.BrokenResourceError from error
            if data is not None:
                return data
            with trio.move_on_at(self._incoming.arrives):
                await self._incoming.changed.park()

    def send_nowait(self, data: bytes) -> int:
        """See `Network`. What goes wrong is for the next `send_all` to raise."""
        try:
            return self._write(data)
        except OSError as error:
            self._failure = error
            return 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it. No checkpoint if there is room at once."""
        if self._failure is not None:
            raise trio.BrokenResourceError from self._failure
        try:
            with memoryview(data) as view:
                sent = self._write(view)
                while sent < len(view):
                    if self._outgoing.has_room:
                        await trio.lowlevel.checkpoint()
                    else:
                        await self._outgoing.changed.park()
                    sent += self._write(view[sent:])
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self._outgoing.has_room:
            await self._outgoing.changed.park()

    async def aclose(self) -> None:
        """Close it. As with TCP, who has not read all that came breaks the connection."""
        self.close_nowait()
        await trio.lowlevel.checkpoint()

    def close_nowait(self) -> None:
        """As `aclose`."""
        if not self._closed:
            self._closed = True
            del self._host.streams[self]
            if self._incoming.is_empty or self._incoming.broken:
                self._outgoing.end()
            else:
                self._outgoing.lose()
            self._incoming.abandon()

    def lose(self) -> None:
        """The connection breaks, both ways."""
        self._incoming.lose()
        self._outgoing.lose()

    def _write(self, data: bytes | bytearray | memoryview) -> int:
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._outgoing.write(data)


def _reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
