"""T7, T4: sessions, the apply loop and snapshots beside a model: retries, gaps, expiry, numbers out of order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from effort import CI
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors._actor import Actor, command, query
from actors._interface import Interface
from actors._protocol.codec import decode, encode, join_array
from actors._protocol.errors import Refused
from broadcast._machine import Machine, Turn
from broadcast._protocol.entries import (
    VOID,
    Commands,
    Entry,
    EpochStart,
    SessionAsked,
    SessionEnded,
    SessionKept,
    encode_entries,
    span,
)
from broadcast._protocol.log import Log
from broadcast._protocol.position import Batch
from broadcast._protocol.reports import Answers, Expired, Kept, Missing, Opened, Report
from broadcast._protocol.sessions import Outcome
from membership._protocol.view import Configuration, Limits, Member

TERM = 1_000
SESSIONS_MAX = 3
UNDOS_MAX = 2
UNDO_INTERVAL = TERM // 2
LIMITS = Limits(
    session_term=TERM,
    sessions_max=SESSIONS_MAX,
    snapshot_entries=7,
    snapshot_size=2_000,
    undos_max=UNDOS_MAX,
    undo_interval=UNDO_INTERVAL,
)
CONFIGURATION = Configuration((Member("a", b"a" * 16),), limits=LIMITS)


class Tally(Actor):
    def __init__(self) -> None:
        self.sum = 0
        self.done: list[int] = []
        self.came_from: list[tuple[str, int]] = []

    @query
    def done_so_far(self) -> list[int]:
        return self.done

    @command
    def add(self, number: int) -> int:
        self.sum += number
        self.done.append(number)
        self.came_from.append((self.context.sender, self.context.position.index))
        if number % 7 == 3:
            raise LookupError(self.sum)
        if number % 7 == 5:
            raise Refused("not five", number)
        return self.sum


INTERFACE = Interface.of(Tally)


@dataclass
class Record:
    """What the model remembers of a session: every answer it ever gave."""

    owner: str
    heard: int
    answers: list[list[object]] = field(default_factory=list[list[object]])
    acknowledged: int = 0
    nonce: bytes = b""
    budget: Budget = field(default_factory=lambda: Budget.of(UNDOS_MAX))


@dataclass
class Budget:
    """Log time that undos may take at most, and yet; as of when."""

    full: int
    left: int
    filled_at: int = 0

    @classmethod
    def of(cls, undos: int) -> Budget:
        return cls(undos * UNDO_INTERVAL, undos * UNDO_INTERVAL)

    def lacks(self, time: int) -> int:
        """How much of it is missing for another undo."""
        self.left = min(self.full, self.left + time - self.filled_at)
        self.filled_at = time
        return max(0, UNDO_INTERVAL - self.left)


class MachineAndModel(RuleBasedStateMachine):
    """The model applies commands to a plain sum. A crash changes nothing; a refusal comes after a change."""

    @initialize()
    def begin(self) -> None:
        self.log = Log()
        self.machine = Machine(Tally, INTERFACE, CONFIGURATION, self._held, group="tally")
        self.compacted = 0
        self.markers: list[tuple[int, bytes]] = []
        self.is_late = True
        self.records: dict[int, Record] = {}
        self.budget = Budget.of(2 * UNDOS_MAX)  # of all of them
        self.done: list[int] = []
        self.time = 0
        self.epoch = 0
        self.new_epoch()
        self.open(0, "me")

    @rule()
    def new_epoch(self) -> None:
        """Gives all their full term again (rule 12)."""
        self.epoch += 1
        for record in self.records.values():
            record.heard = self.time
        assert self._apply(EpochStart("a")) == []

    def _held(self, after: int, last: int) -> Iterator[Batch]:
        """The log from the snapshot on that was taken last."""
        assert after >= self.compacted, "what was compacted is not asked for"
        return self.log.between(after, last)

    @rule()
    def take_a_snapshot(self) -> None:
        """The log before it is not there any more."""
        kept = b"".join(self.machine.capture())
        self.compacted = self.machine.applied
        self.machine.snapshot_taken(self.compacted, len(kept), lambda: [kept])

    @rule()
    def start_from_a_snapshot(self) -> None:
        """Another machine goes on, with what the snapshot holds and nothing else."""
        kept = b"".join(self.machine.capture())
        self.compacted = self.machine.applied
        self.machine = Machine.restored(Tally, INTERFACE, self._held, lambda: [kept], group="tally")
        assert b"".join(self.machine.capture()) == kept

    @rule(is_late=st.booleans())
    def haste(self, is_late: bool) -> None:
        """From now on, is it late after each command, so that somebody could look in between?"""
        self.is_late = is_late

    @rule(by=st.sampled_from((0, 1, TERM // 3, TERM - 1, TERM, 2 * TERM)))
    def time_passes(self, by: int) -> None:
        self.time += by

    @rule(number=st.integers(0, 4), owner=st.sampled_from(("me", "you")))
    def open(self, number: int, owner: str) -> None:
        nonce = f"{owner} {number}".encode().ljust(16)
        self._expire()
        index = self.log.last.index + 1
        same = [at for at, record in self.records.items() if (record.nonce, record.owner) == (nonce, owner)]
        if same:
            expected: int | None = same[-1]
            self._hear(same[-1])
        elif len(self.records) < SESSIONS_MAX:
            expected = index
            self.records[index] = Record(owner, self.time, nonce=nonce)
        else:
            expected = None
        assert self._apply(SessionAsked(nonce, owner)) == [Opened(nonce, owner, expected)]

    @rule(data=st.data(), acknowledged=st.integers(0, 8))
    def keep(self, data: st.DataObject, acknowledged: int) -> None:
        session = self._any(data)
        self._expire()
        kept = session in self.records
        if kept:
            self._hear(session)
            self._acknowledge(self.records[session], acknowledged)
        assert self._apply(SessionKept(session, acknowledged)) == [Kept(session) if kept else Expired(session)]

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        session = self._any(data)
        self._expire()
        self.records.pop(session, None)
        assert self._apply(SessionEnded(session)) == []

    @rule(
        data=st.data(),
        numbers=st.lists(st.integers(0, 20) | st.none(), min_size=1, max_size=4),
        off=st.sampled_from((0, 0, 0, 0, -3, -2, -1, 1, 2)),
        acknowledged=st.integers(0, 8),
    )
    def ask(self, data: st.DataObject, numbers: list[int | None], off: int, acknowledged: int) -> None:
        """A run of the next numbers, or of some before or behind them."""
        self._ask(self._any(data), numbers, off, acknowledged)

    @rule()
    def all_crash(self) -> None:
        """For each session, as often as it may."""
        for session in list(self.records):
            self._ask(session, [3] * UNDOS_MAX, 0, 0)

    def _ask(self, session: int, numbers: list[int | None], off: int, acknowledged: int) -> None:
        record = self.records.get(session)
        first = max(1, (len(record.answers) if record else 0) + 1 + off)
        calls = join_array([VOID if number is None else encode(["add", number]) for number in numbers])
        entry = Commands(session, first, len(numbers), acknowledged, 7, 0, calls)
        self._expire()
        record = self.records.get(session)
        if record is None:
            expected: list[Report] = [Expired(session)]
        else:
            self._hear(session)
            self._acknowledge(record, acknowledged)
            expected = self._run(session, record, first, numbers)
        found = self._apply(entry)
        assert [_opened(report) for report in found] == [_opened(report) for report in expected]

    def _acknowledge(self, record: Record, number: int) -> None:
        record.acknowledged = max(record.acknowledged, min(number, len(record.answers)))

    def _run(self, session: int, record: Record, first: int, numbers: list[int | None]) -> list[Report]:
        last = len(record.answers)
        if first > last + 1:
            return [Missing(session, last + 1, 7)]
        for number in numbers[last + 1 - first :]:
            record.answers.append(self._once(record, number))
        start = max(first, record.acknowledged + 1)
        end = first + len(numbers) - 1
        known = record.answers[start - 1 : end]
        return [Answers(session, start, [encode(answer) for answer in known])] if known else []

    def _once(self, record: Record, number: int | None) -> list[object]:
        if number is None:
            return [Outcome.VOID.value]
        if lack := record.budget.lacks(self.time):
            return [Outcome.OVERLOADED.value, "undos", lack]
        if lack := self.budget.lacks(self.time):
            return [Outcome.OVERLOADED.value, "undos of all", lack]
        if number % 7 == 3:
            record.budget.left -= UNDO_INTERVAL
            self.budget.left -= UNDO_INTERVAL
            return [Outcome.CRASHED.value, "LookupError"]
        self.done.append(number)
        if number % 7 == 5:
            return [Outcome.REFUSED.value, "Refused", ["not five", number]]
        return [Outcome.APPLIED.value, sum(self.done)]

    def _any(self, data: st.DataObject) -> int:
        """A session that is there, or was, or never will be."""
        return data.draw(st.sampled_from([*self.records] * 3 + [1, 2, 10**6]))

    def _hear(self, session: int) -> None:
        self.records[session].heard = self.time

    def _expire(self) -> None:
        self.records = {at: record for at, record in self.records.items() if record.heard + TERM > self.time}

    def _apply(self, entry: Entry) -> list[Report]:
        self._expire()
        last = self.log.last
        batch = Batch(
            self.epoch,
            last.epoch,
            last.index + 1,
            span(entry),
            self.time,
            self.log.last_stamp + 1,
            encode_entries([entry]),
        )
        self.log.append(batch)
        reports: list[Report] = []
        for _ in self.machine.applying(batch, reports, Turn(lambda: float(self.is_late), until=1.0)):
            self.machine.query(encode(["done_so_far"]), "somebody")
        if self.machine.at_marker:
            self.markers.append((self.machine.applied, b"".join(self.machine.capture())))
        return reports

    @invariant()
    def the_actor_has_done_what_the_model_has(self) -> None:
        if hasattr(self, "machine"):
            assert (self.machine.actor.done, self.machine.actor.sum) == (self.done, sum(self.done))

    @invariant()
    def the_same_sessions_are_there(self) -> None:
        if not hasattr(self, "machine"):
            return
        found = {
            number: (session.owner, session.last, session.acknowledged) for number, session in self.machine.sessions
        }
        for number, (owner, last, acknowledged) in found.items():
            record = self.records.get(number)
            if record is None or record.heard + TERM <= self.time:
                continue  # it has expired, and the next entry will show it
            assert (owner, last, acknowledged) == (record.owner, len(record.answers), record.acknowledged)
        assert {at for at, record in self.records.items() if record.heard + TERM > self.time} <= set(found)

    def teardown(self) -> None:
        """Another replica, with all of the log at once and no snapshot, comes to the same."""
        if hasattr(self, "machine"):
            other = Machine(Tally, INTERFACE, CONFIGURATION, self.log.between, group="tally")
            markers: list[tuple[int, bytes]] = []
            for batch in self.log.between(0, self.log.last.index):
                other.apply(batch)
                if other.at_marker:
                    markers.append((other.applied, b"".join(other.capture())))
            assert markers == self.markers
            assert other.state() == self.machine.state()
            assert list(other.sessions) == list(self.machine.sessions)
            assert other.views[-1] == self.machine.views[-1]
            assert b"".join(other.capture()) == b"".join(self.machine.capture())
            first = max(self.machine.first_index, other.first_index)  # each remembers what its own undos may need
            for batch in self.log.between(first - 1, self.log.last.index):
                assert list(other.deliveries(batch, first)) == list(self.machine.deliveries(batch, first))


def _opened(report: Report) -> object:
    """Outcomes are compared as values."""
    if isinstance(report, Answers):
        return report.session, report.number, [decode(outcome) for outcome in report.outcomes]
    return report


MachineAndModel.TestCase.settings = CI
TestMachine = MachineAndModel.TestCase
