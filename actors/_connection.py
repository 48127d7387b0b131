"""A live connection: what it sends (`_outbox`), and the one task that reads."""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors._crowd import Crowd
from actors._gate import Gate
from actors._outbox import Outbox
from actors._protocol.envelope import Envelope, Pong
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.link import Answer, Event, Link, LinkClosed
from actors._room import Room
from actors._stir import Stir
from actors._turns import Turns

RECEIVE_SIZE = 2**16
"""Bytes that are received at a time, at most."""
HANDSHAKE_SECONDS = 5.0
"""From the start of a dial, or from an accepted connection, to a link that is ready."""
PING_SECONDS = 1.0
"""Between two pings of a dialer."""


class Connection:
    """A connection whose link is ready, until it is lost or closed.

    heard: when bytes last came, or many that waited for it were sent, on Trio's clock.
    ended: why it is over; None while it is not.
    fault: did the peer break the rules?
    rooms: that it shares with others, for what comes and for what is to be sent; None if what it may keep is its own.
    crowd: that it is one of, and stands back with; None if all that comes is looked at at once.
    """

    __slots__ = (
        "_link",
        "_rooms",
        "_scope",
        "_stir",
        "_stream",
        "_turns",
        "ended",
        "fault",
        "heard",
        "outbox",
    )

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
        crowd: Crowd | None = None,
    ) -> None:
        keep = None if rooms is None else self._keep_outgoing
        self._stir = stir
        self.outbox = Outbox(bulk_size_max, gate, stir, in_parts=in_parts, keep=keep)
        self._rooms = rooms
        self._turns = None if crowd is None else Turns(crowd, self, stir.time)
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
            if self._turns is not None:
                self._turns.leave()

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
        link, turns = self._link, self._turns
        try:
            while True:
                if turns is not None:
                    await turns.begin()
                came = False
                while self.ended is None and (event := link.next_event()) is not None:
                    if turns is not None and turns.are_over:
                        await turns.go_on()
                        if self.ended is not None:
                            break  # it was closed while it stood back
                    came = True
                    if type(event) is Envelope and receive is not None:
                        receive(event)
                    else:
                        self._handle(event)
                if turns is not None:
                    turns.end(came=came)
                if self._rooms is not None:
                    self._keep_incoming()
                    await self.outbox.wait_taken()
                link.receive_data(await self._stream.receive_some(RECEIVE_SIZE))
                self.heard = self._stir.note()
        except RemoteProtocolError as error:
            self.close(str(error), fault=True)
        except trio.BrokenResourceError as error:
            self.close(f"the connection broke: {error.__cause__ or error}")

    def suspect(self) -> None:
        """Its client has said what no good one says."""
        if self._turns is not None:
            self._turns.suspect()

    def _handle(self, event: Event) -> None:
        match event:
            case Answer(data=data):
                if not self.outbox.put(data, control=True):
                    raise RemoteProtocolError("pings, and does not read what is answered")
            case Pong(number=number):
                self.outbox.got(number)
            case LinkClosed(clean=clean):
                self.close("closed by the other side" if clean else "closed by the other side within a frame")
            case _:
                raise RemoteProtocolError(f"an unexpected {type(event).__name__}")


async def next_event(stream: trio.abc.Stream, link: Link) -> Event:
    """The next event of a link, during the handshake. Raises RemoteProtocolError, trio.BrokenResourceError."""
    while (event := link.next_event()) is None:
        link.receive_data(await stream.receive_some(RECEIVE_SIZE))
    return event
