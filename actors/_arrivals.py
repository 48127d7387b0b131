"""Who has dialed, until it is linked: a few at a time are taken from the system, and none has a task until it speaks.

Thousands may come, say nothing, be turned away and come again. There are so many places, for all and for those from one
address. Where they are taken, a newcomer gets that of one that is not linked yet though it has had the time: to say
something, which whoever means it does with the packet that follows its connection; or, after its turn in the crowd, to
say who it is. Where everybody there still has time, there is no place for the newcomer. Who says nothing costs no more
than to take a connection and to close it.
"""

from __future__ import annotations

import errno
import os
import resource
import selectors
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from math import inf
from typing import Generic, NamedTuple, TypeVar, cast

import trio

from actors._connection import HANDSHAKE_SECONDS
from actors._crowd import ARRIVAL_PATIENCE_SECONDS, AT_ONCE, REST_SECONDS
from actors._exchange import Exchange
from actors._network import Listener, close_nowait, file_of, host_of

CONNECTIONS_MAX = 1_000
"""Accepted connections at a time."""
STRANGERS_MAX = 900
"""Clients among them, and peers that this node does not know: one that was told of it and not yet the other way round.
The other places are for known peers, which must always find one: each has one link at a time."""
CONNECTIONS_PER_HOST_MAX, STRANGERS_PER_HOST_MAX = 500, 400
"""The same for those from one address: nobody takes all places from one."""
DESCRIPTORS_KEPT = 128
"""Files that the process may need besides, or half of those that it may open. Where connections would take these, there
are fewer places, in proportion: a disk that cannot be opened stops a replica, and a connection that is closed does not.
"""
SILENT_SECONDS, GREETED_SECONDS = 0.05, 0.25
"""To say something, and after that to shake hands, where places are short: two journeys there and back, with TLS."""
TAKEN_AT_ONCE, TURNED_AWAY_AT_ONCE = 24, 6
"""Connections that are taken from the listeners of a node in one go, before it rests, 4,000 in a second; and where all
places are taken, 1,000: sooner, those that are turned away and come again take a processor. What the system holds
meanwhile is little (`_tcp.BACKLOG`), or who means it would have its turn too late."""
SHORT_OF = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
SHORT_SECONDS = 0.1
"""After which a connection is tried to be taken anew, where there was no file, or no memory, for it."""

T = TypeVar("T")


class Places(NamedTuple):
    """How many connections there may be at a time; of them, of strangers; and the same for each address."""

    all: int
    strangers: int
    of_host: int
    strangers_of_host: int


def places_of(descriptors: int) -> Places:
    """In a process that may have so many files open."""
    room = descriptors - min(DESCRIPTORS_KEPT, descriptors // 2)
    limits = CONNECTIONS_MAX, STRANGERS_MAX, CONNECTIONS_PER_HOST_MAX, STRANGERS_PER_HOST_MAX
    return Places(*(max(min(limit, limit * room // CONNECTIONS_MAX), 1) for limit in limits))


def descriptors() -> int:
    """Files that this process may have open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2**31 if limit == resource.RLIM_INFINITY else limit


@dataclass(slots=True, eq=False)
class _Arrival:
    """Not linked yet. came: when it was taken from the system. since: when it came to say nothing, to wait for its
    turn, or to be greeted. file: that shows when it says something, while it is silent. scope: while it is greeted."""

    stream: trio.abc.Stream
    host: str | None
    came: float
    since: float
    file: int | None = None
    scope: trio.CancelScope | None = None


class Arrivals(Generic[T]):
    """The places of a node, and who has one and is not linked yet.

    greet: shakes hands; None if that came to nothing. live: the life of a link after that; it has its place until this
    returns. Both may raise only what is a bug here.
    """

    _nursery: trio.Nursery  # while it runs

    def __init__(
        self,
        exchange: Exchange,
        places: Places,
        greet: Callable[[trio.abc.Stream, str | None], Awaitable[T | None]],
        live: Callable[[T, str | None], Awaitable[None]],
    ) -> None:
        self._exchange = exchange
        self._places = places
        self._greet = greet
        self._live = live
        self._open = 0
        self._hosts: Counter[str] = Counter()  # connections from each address
        self._full = False
        self._full_hosts: set[str] = set()
        self._silent: dict[_Arrival, None] = {}  # in each of these, the one that came to it first is the first
        self._waiting: dict[_Arrival, None] = {}
        self._greeted: dict[_Arrival, None] = {}
        self._waits = trio.lowlevel.ParkingLot()
        self._selector = selectors.DefaultSelector()  # of the silent
        self._taken, self._rests_at = 0, -inf  # of this go, by all listeners, and when the next one may begin

    async def run(self, listeners: Sequence[Listener]) -> None:
        """Take who comes, until it is cancelled. The listeners are closed then, and every connection."""
        try:
            async with trio.open_nursery() as self._nursery:
                for listener in listeners:
                    self._nursery.start_soon(self._take, listener)
                self._nursery.start_soon(self._hear)
                self._nursery.start_soon(self._let_in)
        finally:
            self._selector.close()
            for arrival in (*self._silent, *self._waiting):
                with trio.CancelScope(shield=True):
                    await trio.aclose_forcefully(arrival.stream)

    def beat(self) -> None:
        """Once in a second: who has said nothing for so long has no more time for a handshake."""
        latest = trio.current_time() - HANDSHAKE_SECONDS
        for arrival in [*takewhile(lambda each: each.came <= latest, self._silent)]:
            self._turn_away(arrival)

    # -- who comes --------------------------------------------------------------------------------------------------

    async def _take(self, listener: Listener) -> None:
        async with listener:
            while True:
                while self._taken >= TAKEN_AT_ONCE and trio.current_time() < self._rests_at:  # noqa: ASYNC110 - by the clock
                    await trio.sleep_until(self._rests_at)
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in SHORT_OF:
                        raise
                    self._complain("no connection can be taken", None, reason=os.strerror(error.errno))
                    for eldest in chain(self._silent, self._greeted, self._waiting):
                        self._turn_away(eldest)
                        break
                    await trio.sleep(SHORT_SECONDS)
                    continue
                now = trio.current_time()
                if now >= self._rests_at:
                    self._taken, self._rests_at = 0, now + REST_SECONDS
                self._taken += TAKEN_AT_ONCE // TURNED_AWAY_AT_ONCE if self._arrive(stream, now) else 1

    def _arrive(self, stream: trio.abc.Stream, now: float) -> bool:
        """Must one go for it, or it itself?"""
        arrival = _Arrival(stream, host_of(stream), now, now, file_of(stream))
        self._open += 1
        count(self._hosts, arrival.host, 1)
        is_full, of_host = self._look_for_room(arrival.host)
        if is_full:
            one = self._who_had_time(now, of_host)
            if one is None:
                self._drop(arrival)
                return True
            self._turn_away(one)
        self._listen_to(arrival)
        return is_full

    def _listen_to(self, arrival: _Arrival) -> None:
        if arrival.file is not None:
            try:
                self._selector.register(arrival.file, selectors.EVENT_READ, arrival)
            except OSError:  # the system cannot tell of it
                arrival.file = None
            else:
                self._silent[arrival] = None
                return
        self._heard(arrival)

    async def _hear(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._selector.fileno())
            for key, _ in self._selector.select(0):
                self._unsilence(key.data)
                self._heard(key.data)

    def _heard(self, arrival: _Arrival) -> None:
        arrival.since = trio.current_time()
        self._waiting[arrival] = None
        self._waits.unpark()

    def _unsilence(self, arrival: _Arrival) -> None:
        del self._silent[arrival]
        self._selector.unregister(cast(int, arrival.file))
        arrival.file = None

    # -- who is let in ----------------------------------------------------------------------------------------------

    async def _let_in(self) -> None:
        """One when it is its turn in the crowd; with it others that have waited for long enough, or for whose places
        others wait."""
        while True:
            if not self._waiting:
                await self._waits.park()
                continue
            latest = next(iter(self._waiting)).since + ARRIVAL_PATIENCE_SECONDS
            if not await self._exchange.crowd.wait_turn(max(latest - trio.current_time(), 0)):
                await trio.lowlevel.checkpoint()  # whoever has waited for as long in the crowd has turns of its own
            now = trio.current_time()
            is_short = self._full or bool(self._full_hosts)
            for number, arrival in enumerate([*islice(self._waiting, AT_ONCE)]):
                if number and not is_short and arrival.since > now - ARRIVAL_PATIENCE_SECONDS:
                    break
                del self._waiting[arrival]
                self._greeted[arrival] = None
                arrival.since = now
                arrival.scope = trio.CancelScope(deadline=arrival.came + HANDSHAKE_SECONDS)
                self._nursery.start_soon(self._attend, arrival, arrival.scope)

    async def _attend(self, arrival: _Arrival, scope: trio.CancelScope) -> None:
        welcomed: T | None = None
        try:
            try:
                with scope:
                    welcomed = await self._greet(arrival.stream, arrival.host)
            finally:
                self._greeted.pop(arrival, None)
            if welcomed is not None:
                await self._live(welcomed, arrival.host)
        finally:
            self._leave(arrival)
            await trio.aclose_forcefully(arrival.stream)

    # -- who goes ---------------------------------------------------------------------------------------------------

    def _look_for_room(self, host: str | None) -> tuple[bool, str | None]:
        """Is there none, and if it is for those from there, from where? Logs once when it is so, not for each."""
        if host is not None and self._is_full_of(host):
            return True, host
        full = self._open > self._places.all
        if full and not self._full:
            self._complain("too many connections", None, allowed=self._places.all)
        self._full = full
        return full, None

    def _is_full_of(self, host: str) -> bool:
        allowed = self._places.of_host
        if self._hosts[host] <= allowed:
            self._full_hosts.discard(host)
            return False
        if host not in self._full_hosts:
            self._full_hosts.add(host)
            self._complain("too many connections from one address", host, peer=host, allowed=allowed)
        return True

    def _who_had_time(self, now: float, host: str | None) -> _Arrival | None:
        """Of those from there, or of all, the first of the silent, or else of the greeted."""
        for arrivals, seconds in ((self._silent, SILENT_SECONDS), (self._greeted, GREETED_SECONDS)):
            first = next((each for each in arrivals if host is None or each.host == host), None)
            if first is not None and now - first.since >= seconds:
                return first
        return None

    def _turn_away(self, arrival: _Arrival) -> None:
        if arrival.scope is not None:
            del self._greeted[arrival]
            arrival.scope.cancel()
            return
        if arrival.file is not None:
            self._unsilence(arrival)
        else:
            del self._waiting[arrival]
        self._drop(arrival)

    def _drop(self, arrival: _Arrival) -> None:
        self._leave(arrival)
        if not close_nowait(arrival.stream):
            self._nursery.start_soon(trio.aclose_forcefully, arrival.stream)

    def _leave(self, arrival: _Arrival) -> None:
        self._open -= 1
        count(self._hosts, arrival.host, -1)
        if arrival.host is not None and arrival.host not in self._hosts:
            self._full_hosts.discard(arrival.host)

    def _complain(self, event: str, host: str | None, **facts: object) -> None:
        self._exchange.complaints.warning(event, host, node=self._exchange.name, **facts)


def count(counter: Counter[str], host: str | None, more: int) -> None:
    """One more of this address, or one less. What comes to nothing is not kept: addresses are many."""
    if host is not None:
        counter[host] += more
        if not counter[host]:
            del counter[host]
