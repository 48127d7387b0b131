"""A live connection: what waits to be sent, the one task that writes, and the one that reads."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable
from math import inf
from typing import NoReturn

import trio

from actors._gate import Gate
from actors._protocol.envelope import Envelope, pack_part
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.frames import HEAD_SIZE
from actors._protocol.link import Answer, Event, Link, LinkClosed
from actors._room import SMALL, Room

WRITE_SIZE = 2**18
"""Bytes that are joined into one write, about."""
DIRECT_SIZE_MAX = 2**15
"""Bytes that are written at once by whoever sends them; more are left to the writer, where the time is in the bytes."""
APART_SECONDS = 0.000_1
"""After which what is sent is not joined with what was sent before, though nothing was read meanwhile."""
PART_SIZE = 2**16
"""Bytes of what is large that are sent before others have their turn."""
RECEIVE_SIZE = 2**16
"""Bytes that are received at a time, at most."""
AHEAD_SIZE_MAX = 2**18
"""Bytes that wait to be sent to a client before nothing more is read of it until it has taken some."""
TURN_SECONDS = 0.002
"""That what one client has sent is looked at, before others have their turn."""
CONTROL_COUNT_MAX = 10_000
"""Messages in a control lane."""
HANDSHAKE_SECONDS = 5.0
"""From the start of a dial, or from an accepted connection, to a link that is ready."""
PING_SECONDS = 1.0
"""Between two pings of a dialer."""


class Stir:
    """When something was last read on the links of a node, and how often that was so far. For one run of Trio."""

    __slots__ = ("_clock", "at", "count")

    def __init__(self) -> None:
        self.count = 0
        self.at = -inf
        self._clock = trio.lowlevel.current_clock()

    def note(self) -> float:
        """Something has been read: what is sent now is likely to be an answer. The time, on Trio's clock."""
        self.count += 1
        self.at = self._clock.current_time()  # a third of what `trio.current_time` takes
        return self.at


class Outbox:
    """What waits to be sent on one connection: bounded, the control lane always first, emptied by one writer.

    What is the first since something was read, or for a while, does not wait for the writer, but is written by whoever
    sends it: to wake the writer costs as much as the message. What follows soon waits, and is joined: a burst is two or
    three writes, not one for each message.

    What is larger than a part goes in parts, one of them in each write, so that others go between them. Only what must
    not overtake it waits until it has left: what is of the same flow.

    bulk_size_max: bytes in the bulk lane, the large ones included. gate: stamps wait there; None if they need not.
    stir: of the node.
    in_parts: the other side takes parts; else what is large goes as it is, and in its turn.
    keep: told of how many bytes wait, while those are many, and whether some have just been sent; None if nobody need
        know. Of what goes in parts nobody is told.
    """

    __slots__ = (
        "_behind",
        "_bulk",
        "_bulk_size",
        "_control",
        "_direct",
        "_flows",
        "_gate",
        "_keep",
        "_large",
        "_parted",
        "_passed_at",
        "_reads",
        "_size",
        "_stir",
        "_writer",
        "bulk_size_max",
        "in_parts",
    )

    def __init__(
        self,
        bulk_size_max: int,
        gate: Gate | None,
        stir: Stir,
        *,
        in_parts: bool = False,
        keep: Callable[[int, bool], None] | None = None,
    ) -> None:
        self.bulk_size_max = bulk_size_max
        self.in_parts = in_parts
        self._gate = gate
        self._stir = stir
        self._keep = keep
        self._size = 0  # bytes of both lanes, and of the write under way
        self._behind = trio.lowlevel.ParkingLot()  # who waits until they are few
        self._control: deque[bytes] = deque()
        self._bulk: deque[bytes] = deque()
        self._bulk_size = 0
        self._large: deque[tuple[bytes, Hashable]] = deque()  # and what follows them in their flows
        self._flows: Counter[Hashable] = Counter()  # of these
        self._parted = 0  # bytes of the first of these that have left
        # While the writer waits, with nothing before it and no write begun: its task, and what writes past it.
        self._writer: trio.lowlevel.Task | None = None
        self._direct: Callable[[bytes], int] | None = None
        self._reads = 0  # before something was last written past the writer
        self._passed_at = -inf  # when that was, or a little before

    def put(self, data: bytes, *, control: bool = False, flow: Hashable = None) -> bool:
        """Take `data` to send it; False, and nothing is taken, if its lane is full.

        flow: what is of one flow, and not urgent, arrives in order. What is large is overtaken by all others.
        """
        direct = self._direct
        if direct is not None and self._may_pass(data):
            rest = data[direct(data) :]
            if not rest:
                return True
            self._control.append(rest)  # whichever lane it came by: nothing may get between its parts
            self._size += len(rest)
        elif not self._queue(data, control, flow):
            return False
        self._direct = None
        writer, self._writer = self._writer, None
        if writer is not None:
            trio.lowlevel.reschedule(writer)
        return True

    def _may_pass(self, data: bytes) -> bool:
        """May this be written past the writer, if it waits?"""
        if len(data) > DIRECT_SIZE_MAX or not (self._gate is None or self._gate.is_open):
            return False
        if self._reads != self._stir.count:
            self._reads, self._passed_at = self._stir.count, self._stir.at
            return True
        now = trio.current_time()
        if now - self._passed_at <= APART_SECONDS:
            return False
        self._passed_at = now
        return True

    def _queue(self, data: bytes, control: bool, flow: Hashable) -> bool:
        if control:
            if len(self._control) >= CONTROL_COUNT_MAX:
                return False
            self._control.append(data)
        else:
            if self._bulk_size + len(data) > self.bulk_size_max:
                return False
            if self.in_parts and (len(data) > PART_SIZE or flow in self._flows):
                self._large.append((data, flow))
                self._flows[flow] += 1
            else:
                self._bulk.append(data)
            self._bulk_size += len(data)
        self._size += len(data)
        if self._size > SMALL and self._keep is not None:
            self._keep(self._size, False)
        return True

    async def write_to(self, stream: trio.abc.SendStream) -> NoReturn:
        """Send for ever. Raises what the stream raises once the connection is lost."""
        while True:
            while self._is_empty:
                await self._wait(stream)
            data = self._take()
            if self._gate is not None and not self._gate.is_open:
                await self._gate.open()
            if self.in_parts or len(data) <= 2 * WRITE_SIZE:
                await stream.send_all(data)
                self._sent(len(data))
            else:  # so that it shows when some of it is taken
                for at in range(0, len(data), WRITE_SIZE):
                    part = data[at : at + WRITE_SIZE]
                    await stream.send_all(part)
                    self._sent(len(part))
            if not self._is_empty:
                await trio.lowlevel.checkpoint()

    def _sent(self, size: int) -> None:
        if self.in_parts:
            return  # it is not as many bytes as were asked for, and nobody wants to know
        was, self._size = self._size, self._size - size
        if was > SMALL and self._keep is not None:
            self._keep(self._size, True)
        if self._size <= AHEAD_SIZE_MAX and self._behind:
            self._behind.unpark_all()

    async def wait_taken(self) -> None:
        """Until little waits to be sent to who gets no parts. No checkpoint if that is so."""
        while self._size > AHEAD_SIZE_MAX and not self.in_parts:
            await self._behind.park()

    @property
    def _is_empty(self) -> bool:
        return not (self._control or self._bulk or self._large)

    async def _wait(self, stream: trio.abc.SendStream) -> None:
        self._direct = getattr(stream, "send_nowait", None)  # not every stream has it (see `Network`)
        self._writer = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._give_up_waiting)

    def _give_up_waiting(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        """Cancelled: the stream is closed soon, and what was its number may then be another file's."""
        self._direct = self._writer = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _take(self) -> bytes:
        taken: list[bytes] = []
        size = 0
        while self._control and size < WRITE_SIZE:
            taken.append(self._control.popleft())
            size += len(taken[-1])
        while self._bulk and size < WRITE_SIZE:
            taken.append(self._bulk.popleft())
            size += len(taken[-1])
            self._bulk_size -= len(taken[-1])
        if self._large:
            taken.append(self._take_part())
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def _take_part(self) -> bytes:
        """The next part of what is large, or the whole of what follows it in its flow."""
        data, flow = self._large[0]
        part = pack_part(data, self._parted, PART_SIZE) if len(data) > PART_SIZE else data
        self._parted += PART_SIZE
        if HEAD_SIZE + self._parted >= len(data):
            self._parted = 0
            self._large.popleft()
            self._bulk_size -= len(data)
            self._flows[flow] -= 1
            if not self._flows[flow]:
                del self._flows[flow]
        return part


class Connection:
    """A connection whose link is ready, until it is lost or closed.

    heard: when bytes last came, or many that waited for it were sent, on Trio's clock.
    ended: why it is over; None while it is not.
    fault: did the peer break the rules?
    rooms: that it shares with others, for what comes and for what is to be sent; None if what it may keep is its own.
    """

    __slots__ = ("_link", "_rooms", "_scope", "_stir", "_stream", "ended", "fault", "heard", "outbox")

    def __init__(
        self,
        stream: trio.abc.Stream,
        link: Link,
        bulk_size_max: int,
        gate: Gate,
        stir: Stir,
        *,
        in_parts: bool = False,
        rooms: tuple[Room, Room] | None = None,
    ) -> None:
        keep = None if rooms is None else self._keep_outgoing
        self._stir = stir
        self.outbox = Outbox(bulk_size_max, gate, stir, in_parts=in_parts, keep=keep)
        self._rooms = rooms
        self.heard = trio.current_time()
        self.ended: str | None = None
        self.fault = False
        self._stream = stream
        self._link = link
        self._scope = trio.CancelScope()

    def close(self, reason: str, *, fault: bool = False) -> None:
        """End it: `run` returns soon. The first reason counts."""
        if self.ended is None:
            self.ended = reason
            self.fault = fault
            self._scope.cancel()
            self._link.forget()  # now, and not when its task comes to its end: there may be many

    async def run(self, receive: Callable[[Envelope], None] | None) -> None:
        """Read and write until it is over; `ended` says why then. The stream is left to whom it belongs to.

        receive: called for each envelope, in order; None where none may come. A RemoteProtocolError that it raises ends
            the connection; whatever else it raises is raised.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._read, receive)  # each wake-up goes through all that awaits it
        finally:
            self.ended = self.ended or "this node is stopping"
            for room in self._rooms or ():
                room.hold(self, 0, moved=True)

    def _keep_incoming(self) -> None:
        """A frame that has come as a whole leaves little behind: who holds much gets no further until it has."""
        if self._rooms is not None and self.ended is None:
            self._rooms[0].hold(self, self._link.waiting, moved=False)

    def _keep_outgoing(self, size: int, moved: bool) -> None:
        if moved:
            self.heard = trio.current_time()  # in that it takes what it is sent: perhaps nothing is read of it now
        if self._rooms is not None and self.ended is None:
            self._rooms[1].hold(self, size, moved=moved)

    async def _write(self) -> None:
        try:
            await self.outbox.write_to(self._stream)
        except trio.BrokenResourceError as error:
            self.close(f"the connection broke: {error.__cause__ or error}")

    async def _read(self, receive: Callable[[Envelope], None] | None) -> None:
        link, shares = self._link, self._rooms is not None
        try:
            while True:
                began = trio.current_time() if shares else 0.0
                while self.ended is None and (event := link.next_event()) is not None:
                    if type(event) is Envelope and receive is not None:
                        receive(event)
                    else:
                        self._handle(event)
                    if shares and trio.current_time() - began > TURN_SECONDS:
                        await trio.lowlevel.checkpoint()
                        began = trio.current_time()
                if shares:
                    self._keep_incoming()
                    await self.outbox.wait_taken()
                link.receive_data(await self._stream.receive_some(RECEIVE_SIZE))
                self.heard = self._stir.note()
        except RemoteProtocolError as error:
            self.close(str(error), fault=True)
        except trio.BrokenResourceError as error:
            self.close(f"the connection broke: {error.__cause__ or error}")

    def _handle(self, event: Event) -> None:
        match event:
            case Answer(data=data):
                if not self.outbox.put(data, control=True):
                    raise RemoteProtocolError("pings, and does not read what is answered")
            case LinkClosed(clean=clean):
                self.close("closed by the other side" if clean else "closed by the other side within a frame")
            case _:
                raise RemoteProtocolError(f"an unexpected {type(event).__name__}")


async def next_event(stream: trio.abc.Stream, link: Link) -> Event:
    """The next event of a link, during the handshake. Raises RemoteProtocolError, trio.BrokenResourceError."""
    while (event := link.next_event()) is None:
        link.receive_data(await stream.receive_some(RECEIVE_SIZE))
    return event
