"""Where clients come in at a process: what they submit and ask goes to its core, what comes of it goes back to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from broadcast._machine import Machine
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.desk import Desk, Owner
from broadcast._protocol.entries import Submittable
from broadcast._protocol.output import Input, ReadAsked, ReadGivenUp, Submitted
from broadcast._protocol.queries import Query
from broadcast._protocol.reports import Report
from broadcast._protocol.visits import Leading, Members
from broadcast._sifting import sifted
from broadcast._simulation.archive import Guard
from broadcast._simulation.invariants import Process
from broadcast._simulation.life import Life
from broadcast._simulation.world import World


class Asker(Owner, Protocol):
    """The near end of a client's link."""

    def told(self, number: int, outcome: bytes) -> None: ...
    def introduce(self, word: Members | Leading) -> None:
        """What there is to know of the group."""
        ...

    def broken(self) -> None: ...


class Reception:
    """Of one life of a process. give: what its core is given. tokens: of reads, of which no life uses one again."""

    def __init__(
        self,
        process: Process,
        life: Life,
        world: World,
        tokens: Iterator[int],
        guard: Guard,
        give: Callable[[Input], None],
    ) -> None:
        self._process = process
        self._life = life
        self._world = world
        self._tokens = tokens
        self._guard = guard
        self._give = give
        self._desk: Desk | None = None
        self._askers: dict[int, Asker] = {}
        self._reads: dict[int, tuple[Asker, Query, Consistency]] = {}

    # -- what the process tells ------------------------------------------------------------------------------------

    def form(self, machine: Machine[Any]) -> None:
        """The group has formed."""
        self._desk = Desk(machine.sessions)
        for asker in list(self._askers.values()):
            self.welcome(asker)

    def installed(self, machine: Machine[Any]) -> None:
        """It has taken the place of the one before."""
        if self._desk is not None:
            self._desk.installed(machine.sessions, machine.applied)

    def route(self, reports: Sequence[Report], index: int) -> None:
        """They came of what was applied up to there."""
        if self._desk is not None:
            self._desk.route(reports, index)

    def led(self, leader: str | None) -> None:
        """Somebody else leads, or nobody: what was passed on to the one before may be lost."""
        self._introduce_all(Leading(leader, leader))
        if leader is not None and self._desk is not None:
            self._desk.lost()

    def linked(self) -> None:
        """Others are members now."""
        self._introduce_all(self._members())

    def _introduce_all(self, word: Members | Leading) -> None:
        for asker in list(self._askers.values()) if self._desk is not None else ():
            asker.introduce(word)

    def _members(self) -> Members:
        configuration = self._life.replica.configuration
        return Members({name: name for name in configuration.names} if configuration else {})

    def close(self) -> None:
        """The process is gone."""
        for asker in self._askers.values():
            asker.broken()

    # -- links -----------------------------------------------------------------------------------------------------

    def connect(self, asker: Asker) -> None:
        """A client's link begins."""
        self._askers[id(asker)] = asker

    def welcome(self, asker: Asker) -> None:
        """Tell it who is there, once the group has formed. A member's name is its address here."""
        if self._desk is not None and id(asker) in self._askers:
            leader = self._life.replica.leader
            asker.introduce(self._members())
            asker.introduce(Leading(leader, leader))

    def leave(self, asker: Asker) -> None:
        """It has ended."""
        self._askers.pop(id(asker), None)
        for number in [number for number, read in self._reads.items() if read[0] is asker]:
            if number in self._reads:  # giving up one may have answered another
                self._give_up(number)
        if self._desk is not None:
            self._desk.leave(asker)

    # -- commands --------------------------------------------------------------------------------------------------

    def submit(self, asker: Asker, stamp: int, entries: tuple[Submittable, ...]) -> None:
        """A client wants these in the log."""
        self._life.clock.witness(stamp)
        if self._desk is not None and id(asker) in self._askers:
            machine = self._process.machine
            open_entries = self._desk.submit(asker, [sifted(entry, machine) for entry in entries])
            if open_entries:
                self._give(Submitted(open_entries))

    # -- reads -----------------------------------------------------------------------------------------------------

    def ask(self, asker: Asker, query: Query) -> None:
        """A client asks this; `asker.told(number, ...)` answers. What is under way already is not begun again."""
        if self._token_of(asker, query.number) is None and id(asker) in self._askers:
            leased = query.consistency is Consistency.LEASE and not self._process.holds_lease
            self._begin_read(asker, query, Consistency.LINEARIZABLE if leased else query.consistency)

    def give_up(self, asker: Asker, number: int) -> None:
        """A client does not wait for that query any more."""
        token = self._token_of(asker, number)
        if token is not None:
            self._give_up(token)

    def read_ready(self, token: int) -> None:
        """Run it. If it went by a lease which has ended since, it has to wait for a round after all (rule 20)."""
        asker, query, consistency = self._reads.pop(token)
        outcome = self._process.machine.query(query.call, "reader")
        if consistency is Consistency.LEASE and not self._process.holds_lease:
            self._world.marks["leases that ended during a read"] += 1
            again = partial(self._begin_read, asker, query, Consistency.LINEARIZABLE)
            self._world.schedule.after(0, self._guard(again))
            return
        self._world.marks["reads by lease"] += consistency is Consistency.LEASE
        asker.told(query.number, outcome)

    def _begin_read(self, asker: Asker, query: Query, consistency: Consistency) -> None:
        token = next(self._tokens)
        self._reads[token] = asker, query, consistency
        self._give(ReadAsked(token, consistency, query.seen))

    def _token_of(self, asker: Asker, number: int) -> int | None:
        reads = self._reads.items()
        return next((token for token, read in reads if read[0] is asker and read[1].number == number), None)

    def _give_up(self, token: int) -> None:
        del self._reads[token]
        self._give(ReadGivenUp(token))
