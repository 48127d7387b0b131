"""The book of what clients asked and what they know of it: kept once, for every play and every invariant.

A *moment* is a number of answers: how many all clients together have had so far. It tells all that can be told of time
from outside: which calls had an end before another one began.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from actors._protocol.codec import decode
from broadcast._delivery import Delivery
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.entries import Commands, Submittable
from broadcast._protocol.reports import Report
from broadcast._protocol.sessions import Outcome

Hears: TypeAlias = Mapping[str, Sequence[Callable[..., None]]]
"""By event: who wants to hear of it."""


class Fate(enum.Enum):
    """What the owner of a call knows of it."""

    OPEN = "open"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Call:
    """One command of an owner. ticket: which of its owner's. after: the moment when it was offered.

    query: the query that it is, if it is one for the log, and no command.
    index: where it took effect. Known only where a command's arguments tell whose it is (see `Judge.identify`).
    """

    owner: str
    ticket: int
    tag: str
    after: int
    query: bytes | None = None
    fate: Fate = Fate.OPEN
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a command. session, number: what it was called in its session. moment: it is the moment-th of all answers.

    ran: what took effect under that number; None if nothing did. again: it was sent more than once.
    """

    outcome: bytes
    session: int
    number: int
    moment: int
    ran: Ran | None
    again: bool


@dataclass(slots=True)
class Read:
    """A query, but none for the log, that is answered. after: the moment when it was asked. moment: it is that answer.

    seen: the first index whose state may give this answer, where the answer tells.
    """

    owner: str
    call: bytes
    consistency: Consistency
    outcome: bytes
    after: int
    moment: int
    seen: int | None = None

    @property
    def is_linearizable(self) -> bool:
        return self.consistency is not Consistency.SESSION


@dataclass(frozen=True, slots=True)
class Numbered:
    """A command in the log. early: a smaller number of its session is missing in the log up to there."""

    session: int
    number: int
    early: bool


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that took effect.

    place: among all of them, from 1 on. identity: owner and ticket, as far as its arguments tell them. call: the one
    that was asked under this identity, if it was.
    """

    place: int
    delivery: Delivery
    numbered: Numbered
    identity: tuple[str, int] | None
    call: Call | None

    @property
    def index(self) -> int:
        return self.delivery.position.index


def kind(outcome: bytes) -> Outcome:
    """What kind of outcome is this?"""
    return Outcome(cast("list[int]", decode(outcome))[0])


class Floor:
    """A bound from below that rises: what it was at each moment."""

    def __init__(self) -> None:
        self._moments = [0]
        self._bounds = [0]

    def rise(self, moment: int, bound: int) -> None:
        """From this moment on, which is not before any other, it is at least this."""
        if bound > self._bounds[-1]:
            self._moments.append(moment)
            self._bounds.append(bound)

    def at(self, moment: int) -> int:
        return self._bounds[bisect_right(self._moments, moment) - 1]


class Calls:
    """Told by clients what they ask and get, and by `Watch` what takes effect. known: the moment that it is."""

    def __init__(self, hears: Hears, seen: Callable[[Read], int | None]) -> None:
        self.known = 0
        self.floor = Floor()
        """An index up to which the order certainly was, by what was answered: commands, and reads that tell."""
        self.own = defaultdict[str, Floor](Floor)
        """The same for each owner, by what that one was answered."""
        self.ran: list[Ran] = []
        self._hears = hears
        self._seen = seen
        self._calls: dict[tuple[str, int], Call] = {}
        self._ran: dict[tuple[int, int], Ran] = {}  # by session and number
        self._sent = Counter[tuple[int, int]]()  # the same

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls.values())

    # -- told by clients -------------------------------------------------------------------------------------------

    def floor_of(self, read: Read) -> int:
        """The index up to which the state must go that this read is of (rule 20)."""
        floor = self.floor if read.is_linearizable else self.own[read.owner]
        return floor.at(read.after)

    def offered(self, owner: str, ticket: int, tag: str, query: bytes | None = None) -> None:
        """An owner hands its session the call of this ticket. query: which it is, if it is one."""
        call = self._calls[owner, ticket] = Call(owner, ticket, tag, self.known, query)
        for hear in self._hears["asked"]:
            hear(call)

    def sent(self, entries: Iterable[Submittable]) -> None:
        """An owner sends these to a replica."""
        for entry in entries:
            if isinstance(entry, Commands):
                self._sent.update((entry.session, entry.number + at) for at in range(entry.count))

    def withdrawn(self, owner: str, ticket: int) -> None:
        """It was given up before it was sent: definitely never applied."""
        self._settle(self._calls[owner, ticket], Fate.WITHDRAWN)

    def unknown(self, owner: str, first: int, last: int, session: int | None) -> None:
        """The outcome of these will never be known. session: of which the owner was told that it is over, if it was."""
        for hear in self._hears["lapsed"]:
            hear(session)
        for ticket in range(first, last + 1):
            self._settle(self._calls[owner, ticket], Fate.UNKNOWN)

    def answered(self, owner: str, ticket: int, outcome: bytes, session: int, number: int) -> None:
        """It has this outcome. session, number: what it was called in its session."""
        call = self._calls[owner, ticket]
        self._settle(call, Fate.ANSWERED)
        self.known += 1
        ran = self._ran.get((session, number))
        answer = Answer(outcome, session, number, self.known, ran, self._sent[session, number] > 1)
        for hear in self._hears["answered"]:
            hear(call, answer)
        if ran is not None:
            self.floor.rise(self.known, ran.index)
            self.own[owner].rise(self.known, ran.index)

    def read(self, owner: str, after: int, call: bytes, consistency: Consistency, outcome: bytes) -> None:
        """A query that began when `after` answers were known has this outcome (6.4)."""
        self.known += 1
        read = Read(owner, call, consistency, outcome, after, self.known)
        read.seen = self._seen(read)
        for hear in self._hears["read"]:
            hear(read)
        if read.seen is not None:
            self.floor.rise(self.known, read.seen)
            self.own[owner].rise(self.known, read.seen)

    def told(self, owner: str, report: Report) -> None:
        """A replica reports this to an owner."""
        for hear in self._hears["told"]:
            hear(owner, report)

    def _settle(self, call: Call, fate: Fate) -> None:
        if call.fate is not Fate.WITHDRAWN:
            for hear in self._hears["settling"]:
                hear(call, fate)
            call.fate = fate

    # -- told by the watch -----------------------------------------------------------------------------------------

    def took_effect(self, delivery: Delivery, numbered: Numbered, identity: tuple[str, int] | None) -> None:
        """In the order of the log."""
        call = None if identity is None else self._calls.get(identity)
        ran = Ran(len(self.ran) + 1, delivery, numbered, identity, call)
        for hear in self._hears["ran"]:
            hear(ran)
        self.ran.append(ran)
        self._ran[numbered.session, numbered.number] = ran
        if call is not None:
            call.index = ran.index
