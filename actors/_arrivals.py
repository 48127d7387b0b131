"""Who has dialed, until it is linked: a few at a time are taken from the system, and none has a task until it speaks.

Thousands may come, say nothing, be turned away and come again. There are so many places, for all and for those from one
address, and a newcomer takes that of the eldest that is not linked yet: who means it is linked within moments. For who
says nothing that costs no more than to take a connection and to close it; who does has its turn in the crowd.
"""

from __future__ import annotations

import errno
import os
import resource
import selectors
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from math import inf
from typing import Generic, NamedTuple, TypeVar, cast

import trio

from actors._connection import HANDSHAKE_SECONDS
from actors._crowd import ARRIVAL_PATIENCE_SECONDS, AT_ONCE, REST_SECONDS
from actors._exchange import Exchange
from actors._network import Listener, close, file_of, host_of

CONNECTIONS_MAX = 1_000
"""Accepted connections at a time. One more takes the place of the eldest that is not linked yet, or else is closed."""
STRANGERS_MAX = 900
"""Clients among them, and peers that this node does not know: one that was told of it and not yet the other way round.
The other places are for known peers, which must always find one: each has one link at a time."""
CONNECTIONS_PER_HOST_MAX, STRANGERS_PER_HOST_MAX = 500, 400
"""The same for those from one address: nobody takes all places from one."""
DESCRIPTORS_KEPT = 128
"""Files that the process may need besides, or half of those that it may open. Where connections would take these, there
are fewer places, in proportion: a disk that cannot be opened stops a replica, and a connection that is closed does not.
"""
TAKEN_AT_ONCE, TURNED_AWAY_AT_ONCE = 12, 6
"""Connections that are taken from a listener in one go, before it rests, 2,000 in a second; and where all places are
taken, and one must go for each that comes, half as many: sooner, who is turned away and comes again takes a processor.
Those whom the system holds meanwhile are few (`_tcp.BACKLOG`), or who means it would come too late."""
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
    """Not linked yet. file: that shows when it has said something; None where that is not known, or it has.
    scope: of the task that it has, once its turn has come."""

    stream: trio.abc.Stream
    host: str | None
    since: float
    file: int | None = None
    scope: trio.CancelScope | None = None


class Arrivals(Generic[T]):
    """The places of a node, and who has one and is not linked yet.

    greet: shakes hands; None if that came to nothing. live: the life of a link after that; it has its place until this
    returns. Both may raise only what is a bug here.
    """

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
        self._all: dict[_Arrival, None] = {}  # the eldest first, as in the next two
        self._silent: dict[_Arrival, None] = {}
        self._waiting: dict[_Arrival, None] = {}  # for their turn
        self._waits = trio.lowlevel.ParkingLot()
        self._selector = selectors.DefaultSelector()  # of the silent

    async def run(self, listeners: Sequence[Listener]) -> None:
        """Take who comes, until it is cancelled. The listeners are closed then, and every connection."""
        try:
            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    nursery.start_soon(self._take, listener)
                nursery.start_soon(self._hear)
                nursery.start_soon(self._let_in, nursery)
        finally:
            self._selector.close()
            for arrival in (*self._silent, *self._waiting):
                with trio.CancelScope(shield=True):
                    await trio.aclose_forcefully(arrival.stream)

    def beat(self) -> None:
        """Once in a second: who has said nothing for so long has no more time for a handshake."""
        latest = trio.current_time() - HANDSHAKE_SECONDS
        for arrival in [*takewhile(lambda each: each.since <= latest, self._silent)]:
            self._turn_away(arrival)

    async def _take(self, listener: Listener) -> None:
        async with listener:
            taken, since = 0, -inf
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in SHORT_OF:
                        raise
                    self._complain("no connection can be taken", None, reason=os.strerror(error.errno))
                    if self._all:
                        self._turn_away(next(iter(self._all)))
                    await trio.sleep(SHORT_SECONDS)
                    continue
                now = trio.current_time()
                if now - since >= REST_SECONDS:
                    taken, since = 0, now
                taken += TAKEN_AT_ONCE // TURNED_AWAY_AT_ONCE if self._arrive(stream, now) else 1
                if taken >= TAKEN_AT_ONCE:
                    await trio.sleep_until(since + REST_SECONDS)
                    since = -inf

    def _arrive(self, stream: trio.abc.Stream, now: float) -> bool:
        """Must one go for it, or it itself?"""
        arrival = _Arrival(stream, host_of(stream), now, file_of(stream))
        self._open += 1
        count(self._hosts, arrival.host, 1)
        self._all[arrival] = None
        if arrival.file is None:
            self._heard(arrival)
        else:
            self._silent[arrival] = None
            self._selector.register(arrival.file, selectors.EVENT_READ, arrival)
        is_full = self._is_full_for(arrival.host)
        if is_full:
            self._turn_away(self._least_wanted(now, None if self._full else arrival.host))
        return is_full

    async def _hear(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._selector.fileno())
            for key, _ in self._selector.select(0):
                self._unsilence(key.data)
                self._heard(key.data)

    def _heard(self, arrival: _Arrival) -> None:
        self._waiting[arrival] = None
        self._waits.unpark()

    def _unsilence(self, arrival: _Arrival) -> None:
        del self._silent[arrival]
        self._selector.unregister(cast(int, arrival.file))
        arrival.file = None

    async def _let_in(self, nursery: trio.Nursery) -> None:
        """The eldest when it is its turn in the crowd, and with it others that have waited for long enough."""
        while True:
            if not self._waiting:
                await self._waits.park()
                continue
            latest = next(iter(self._waiting)).since + ARRIVAL_PATIENCE_SECONDS
            await self._exchange.crowd.stand_back(max(latest - trio.current_time(), 0))
            late = trio.current_time() - ARRIVAL_PATIENCE_SECONDS
            for number, arrival in enumerate([*islice(self._waiting, AT_ONCE)]):
                if number and arrival.since > late:
                    break
                del self._waiting[arrival]
                arrival.scope = trio.CancelScope(deadline=arrival.since + HANDSHAKE_SECONDS)
                nursery.start_soon(self._attend, arrival, arrival.scope)

    async def _attend(self, arrival: _Arrival, scope: trio.CancelScope) -> None:
        welcomed: T | None = None
        try:
            try:
                with scope:
                    welcomed = await self._greet(arrival.stream, arrival.host)
            finally:
                self._all.pop(arrival, None)
            if welcomed is not None:
                await self._live(welcomed, arrival.host)
        finally:
            self._leave(arrival)
            await trio.aclose_forcefully(arrival.stream)

    def _leave(self, arrival: _Arrival) -> None:
        self._open -= 1
        count(self._hosts, arrival.host, -1)

    def _is_full_for(self, host: str | None) -> bool:
        """Logs once when it gets so, not for each that has to go."""
        full = self._open > self._places.all
        if full and not self._full:
            self._complain("too many connections", None, allowed=self._places.all)
        self._full = full
        return full or (host is not None and self._is_full_of(host))

    def _is_full_of(self, host: str) -> bool:
        allowed = self._places.of_host
        if self._hosts[host] <= allowed:
            self._full_hosts.discard(host)
            return False
        if host not in self._full_hosts:
            self._full_hosts.add(host)
            self._complain("too many connections from one address", host, peer=host, allowed=allowed)
        return True

    def _least_wanted(self, now: float, host: str | None) -> _Arrival:
        """Of those from there: the eldest that has had time to say something, and has not, or else the eldest."""
        eldest = _eldest(self._silent, host)
        if eldest is not None and now - eldest.since >= ARRIVAL_PATIENCE_SECONDS:
            return eldest
        return cast(_Arrival, _eldest(self._all, host))  # there is one: who has just come

    def _turn_away(self, arrival: _Arrival) -> None:
        del self._all[arrival]
        if arrival.scope is not None:
            arrival.scope.cancel()
            return
        if arrival.file is not None:
            self._unsilence(arrival)
        else:
            del self._waiting[arrival]
        self._leave(arrival)
        close(arrival.stream)

    def _complain(self, event: str, host: str | None, **facts: object) -> None:
        self._exchange.complaints.warning(event, host, node=self._exchange.name, **facts)


def count(counter: Counter[str], host: str | None, more: int) -> None:
    """One more of this address, or one less. What comes to nothing is not kept: addresses are many."""
    if host is not None:
        counter[host] += more
        if not counter[host]:
            del counter[host]


def _eldest(arrivals: Iterable[_Arrival], host: str | None) -> _Arrival | None:
    """Of those from there, or of all; the eldest come first."""
    return next((each for each in arrivals if host is None or each.host == host), None)
