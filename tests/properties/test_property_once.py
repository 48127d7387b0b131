"""Once only, from end to end (rules 18, 19): a handle's submitter, the desks of two replicas, and the log they apply.

What a submitter sends may be lost, doubled and reordered on its way into the log; what it is told may be lost when it
goes to another replica; replicas apply the log at their own pace; sessions expire when all is silent for long.
"""

from __future__ import annotations

from collections import deque

from effort import CI
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors._actor import Actor, command
from actors._interface import Interface
from actors._protocol.codec import decode, encode
from broadcast._machine import Machine
from broadcast._protocol.desk import Desk
from broadcast._protocol.entries import EpochStart, Submittable, encode_entries, span
from broadcast._protocol.log import Log
from broadcast._protocol.position import Batch
from broadcast._protocol.reports import Report
from broadcast._protocol.sessions import Outcome
from broadcast._protocol.submitter import Answered, Submitter, Unknown
from membership._protocol.view import Configuration, Limits, Member

SECOND = 1_000_000
TERM = 10 * SECOND
CONFIGURATION = Configuration((Member("a", b"a" * 16),), limits=Limits(session_term=TERM))


class Notes(Actor):
    def __init__(self) -> None:
        self.tickets: list[int] = []

    @command
    def note(self, ticket: int) -> int:
        self.tickets.append(ticket)
        return ticket * 10


INTERFACE = Interface.of(Notes)


class Replica:
    def __init__(self, log: Log) -> None:
        self.machine = Machine(Notes, INTERFACE, CONFIGURATION, log.between, group="notes")
        self.desk = Desk(self.machine.sessions)


class Link:
    """The owner's end at one replica: what it was told and has not heard."""

    name = "me"

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.told: deque[Report] = deque()

    def report(self, report: Report) -> None:
        self.told.append(report)


class OnceOnly(RuleBasedStateMachine):
    @initialize(window=st.sampled_from((1, 3, 1_000)))
    def begin(self, window: int) -> None:
        self.window = window
        self.now = 0
        self.log = Log()
        self.replicas = [Replica(self.log) for _ in range(2)]
        self.submitter = Submitter(owner="me", nonce=b"n" * 16)
        self.link = Link(self.replicas[0])
        self.under_way: list[tuple[Submittable, ...]] = []
        self.withdrawn: set[int] = set()
        self.ended: dict[int, list[object] | None] = {}  # ticket -> outcome, None if unknown
        self.expired = 0
        self._append(EpochStart("a"))
        self.go_to(0)
        self.offer(1)
        self.drain()

    # -- the handle ------------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 3))
    def offer(self, count: int) -> None:
        for _ in range(count):
            self.submitter.offer(encode(["note", self.submitter.offered + 1]))
        self.flush()

    @rule(count=st.integers(1, 2))
    def offer_later(self, count: int) -> None:
        """They wait for what comes next, and may be withdrawn until then."""
        for _ in range(count):
            self.submitter.offer(encode(["note", self.submitter.offered + 1]))

    @precondition(lambda self: self.submitter.outstanding)
    @rule(back=st.integers(0, 3))
    def withdraw(self, back: int) -> None:
        ticket = self.submitter.offered - back
        if ticket > self.submitter.answered and self.submitter.withdraw(ticket):
            self.withdrawn.add(ticket)

    @rule()
    def flush(self) -> None:
        entries = self.submitter.take(0, self.now)
        open_entries = self.link.replica.desk.submit(self.link, entries)
        if open_entries:
            self.under_way.append(open_entries)

    @rule()
    def hear(self) -> None:
        while self.link.told:
            self.submitter.receive(self.link.told.popleft(), self.now)
        for result in self.submitter.take_results():
            self._ended(result)
        self.flush()

    @rule(which=st.integers(0, 1))
    def go_to(self, which: int) -> None:
        """Its link broke, and what it was told on it is lost."""
        self.link.replica.desk.leave(self.link)
        self.link = Link(self.replicas[which])
        self.submitter.enter(b"c" * 16, term=TERM, window=self.window, now=self.now)

    @rule(by=st.sampled_from((SECOND // 10, SECOND, 4 * SECOND, TERM)))
    def time_passes(self, by: int) -> None:
        self.now += by
        self.submitter.tick(self.now)
        self.flush()

    def _ended(self, result: Answered | Unknown) -> None:
        if isinstance(result, Unknown):
            assert any(self._is_gone(replica) for replica in self.replicas), "only of a session that has expired"
            outcomes: list[list[object] | None] = [None] * (result.last - result.first + 1)
        else:
            outcomes = [decode(outcome) for outcome in result.outcomes]  # type: ignore[misc]
        for ticket, outcome in enumerate(outcomes, result.first):
            assert ticket == len(self.ended) + 1, "in the order of tickets, each once"
            self.ended[ticket] = outcome
            if outcome is not None:
                expected = [Outcome.VOID.value] if ticket in self.withdrawn else [Outcome.APPLIED.value, ticket * 10]
                assert outcome == expected

    def _is_gone(self, replica: Replica) -> bool:
        return replica.machine.time >= TERM

    # -- the way into the log --------------------------------------------------------------------------------------

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 9), again=st.booleans())
    def sequence(self, which: int, again: bool) -> None:
        entries = self.under_way.pop(which % len(self.under_way))
        if again:
            self.under_way.append(entries)
        self._append(*entries)
        self.apply(which % 2)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 9))
    def lose(self, which: int) -> None:
        self.under_way.pop(which % len(self.under_way))

    @rule()
    def another_leader(self) -> None:
        for replica in self.replicas:
            replica.desk.lost()

    @rule(which=st.integers(0, 1))
    def apply(self, which: int) -> None:
        replica = self.replicas[which]
        for batch in self.log.between(replica.machine.applied, self.log.last.index):
            replica.desk.route(replica.machine.apply(batch), batch.last)

    def _append(self, *entries: Submittable | EpochStart) -> None:
        last = self.log.last
        count = sum(map(span, entries))
        time = max(self.now, self.log.last_time)
        stamp = self.log.last_stamp + 1
        self.log.append(Batch(1, last.epoch, last.index + 1, count, time, stamp, encode_entries(entries)))

    # -- what holds ------------------------------------------------------------------------------------------------

    @invariant()
    def each_is_applied_once_and_in_order(self) -> None:
        if not hasattr(self, "replicas"):
            return
        for replica in self.replicas:
            tickets = replica.machine.actor.tickets
            assert tickets == sorted(set(tickets))
            assert not self.withdrawn & set(tickets)

    @invariant()
    def what_was_answered_was_applied(self) -> None:
        if hasattr(self, "replicas"):
            applied = {ticket for replica in self.replicas for ticket in replica.machine.actor.tickets}
            assert {ticket for ticket, outcome in self.ended.items() if outcome} <= applied | self.withdrawn

    def teardown(self) -> None:
        if hasattr(self, "replicas"):
            self.drain()

    def drain(self) -> None:
        """Once nothing is lost any more, everything is answered."""
        for _ in range(200):
            if not self.submitter.outstanding:
                break
            self.flush()
            while self.under_way:
                self.sequence(0, again=False)
            for which in range(2):
                self.apply(which)
            self.hear()
            self.time_passes(SECOND // 2)
        assert self.submitter.outstanding == 0
        assert len(self.ended) == self.submitter.offered


OnceOnly.TestCase.settings = CI
TestOnceOnly = OnceOnly.TestCase
