"""What waits to be sent on one connection: two lanes, and the one task that writes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable
from math import inf
from typing import NoReturn

import trio

from actors._gate import Gate
from actors._protocol.envelope import Ping, pack, pack_part
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.frames import HEAD_SIZE
from actors._room import SMALL
from actors._stir import Stir

WRITE_SIZE = 2**18
"""Bytes that are joined into one write, about."""
DIRECT_SIZE_MAX = 2**15
"""Bytes that are written at once by whoever sends them; more are left to the writer, where the time is in the bytes."""
APART_SECONDS = 0.000_1
"""After which what is sent is not joined with what was sent before, though nothing was read meanwhile."""
PART_SIZE = 2**16
"""Bytes of what is large that are sent before others have their turn."""
UNDER_WAY_SIZE_MAX = 2**19
"""Bytes of the bulk lane that have left, and that a peer is not known to have looked at, before no more leave. With one
write more that is under 1 MiB: what is urgent never waits for more than that in the buffers of two systems, 50 ms where
20 MB/s go through."""
PINGED_SIZE = 2**17
"""Bytes of the bulk lane after which a peer is asked how far it is."""
AHEAD_SIZE_MAX = 2**18
"""Bytes that wait to be sent to a client before nothing more is read of it until it has taken some."""
CONTROL_COUNT_MAX = 10_000
"""Messages in a control lane."""


class Outbox:
    """What waits to be sent on one connection: bounded, the control lane always first, emptied by one writer.

    What is the first since something was read, or for a while, does not wait for the writer, but is written by whoever
    sends it: to wake the writer costs as much as the message. What follows soon waits, and is joined: a burst is two or
    three writes, not one for each message.

    What is larger than a part goes in parts, one of them in each write, so that others go between them. Only what must
    not overtake it waits until it has left: what is of the same flow.

    The systems at both ends would take megabytes of what nobody has looked at yet, and what is urgent would come after
    that. So a peer, who gets parts, is pinged behind what it is sent, and when too much is under way the bulk lane
    waits for a pong. A ping's number says how many bytes of the lane have left before it.

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
        "_got",
        "_keep",
        "_large",
        "_left",
        "_parted",
        "_passed_at",
        "_pinged",
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
        # Bytes of the bulk lane, only counted where the other side takes parts: that have left, had left at the last
        # ping, and had before the last ping that was answered.
        self._left = self._pinged = self._got = 0
        # While the writer waits, with nothing for it to take and no write begun: its task, and what writes past it.
        self._writer: trio.lowlevel.Task | None = None
        self._direct: Callable[[bytes], int] | None = None
        self._reads = 0  # before something was last written past the writer
        self._passed_at = -inf  # when that was, or a little before

    def put(self, data: bytes, *, control: bool = False, flow: Hashable = None) -> bool:
        """Take `data` to send it; False, and nothing is taken, if its lane is full.

        flow: what is of one flow, and not urgent, arrives in order. What is large is overtaken by all others.
        """
        direct = self._direct
        if direct is not None and self._may_pass(data, control):
            if not control:
                data += self._count(len(data))
            rest = data[direct(data) :]
            if not rest:
                return True
            self._control.append(rest)  # whichever lane it came by: nothing may get between its parts
            self._size += len(rest)
        elif not self._queue(data, control, flow):
            return False
        self._wake()
        return True

    def _wake(self) -> None:
        """Something can be taken by the writer, if it waits, or else what has come waits as all before it does."""
        if not self._is_idle:
            self._direct = None
            writer, self._writer = self._writer, None
            if writer is not None:
                trio.lowlevel.reschedule(writer)

    def _may_pass(self, data: bytes, control: bool) -> bool:
        """May this be written past the writer, if it waits?"""
        if len(data) > DIRECT_SIZE_MAX or not (self._gate is None or self._gate.is_open):
            return False
        if not (control or self._has_way):
            return False
        if self._reads != self._stir.count:
            self._reads, self._passed_at = self._stir.count, self._stir.at
            return True
        now = trio.current_time()
        if now - self._passed_at <= APART_SECONDS:
            return False
        self._passed_at = now
        return True

    @property
    def _has_way(self) -> bool:
        """May anything leave of the bulk lane?"""
        return self._left - self._got < UNDER_WAY_SIZE_MAX

    def _count(self, size: int) -> bytes:
        """So many bytes of the bulk lane leave. Returns what is to leave right behind them."""
        if not self.in_parts:
            return b""
        self._left += size
        return self._ping() if self._left - self._pinged >= PINGED_SIZE else b""

    def _ping(self) -> bytes:
        self._pinged = self._left
        return pack(Ping(self._left))

    def ping(self) -> None:
        """Ask the other side whether it is there, and how far it is."""
        self.put(self._ping(), control=True)

    def got(self, size: int) -> None:
        """The other side has looked at so many bytes of the bulk lane.

        Raises RemoteProtocolError if that is more than it was sent.
        """
        if size > self._left:
            raise RemoteProtocolError(f"{size} bytes are answered for, and {self._left} were sent")
        self._got = max(self._got, size)
        self._wake()

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
            while self._is_idle:
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
            if not self._is_idle:
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
    def _is_idle(self) -> bool:
        """Is there nothing that may leave now?"""
        return not (self._control or ((self._bulk or self._large) and self._has_way))

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
        if self._has_way and (self._bulk or self._large):
            taken += self._take_bulk(WRITE_SIZE - size)
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def _take_bulk(self, size_max: int) -> list[bytes]:
        """What leaves of the bulk lane, behind what is urgent, and the ping behind that."""
        taken: list[bytes] = []
        size = 0
        while self._bulk and size < size_max:
            taken.append(self._bulk.popleft())
            size += len(taken[-1])
            self._bulk_size -= len(taken[-1])
        if self._large:
            taken.append(self._take_part())
            size += len(taken[-1])
        taken.append(self._count(size))
        return taken if taken[-1] else taken[:-1]

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
