"""The log as a state machine, beside a twin that is a list of entries; and what a follower makes of a leader's log."""

from __future__ import annotations

import pytest
from effort import CI
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors._protocol.errors import InvariantViolation, RemoteProtocolError
from broadcast._protocol import follower
from broadcast._protocol.entries import EpochStart, SessionKept, encode_entries
from broadcast._protocol.log import Log
from broadcast._protocol.messages import Append
from broadcast._protocol.position import START, Batch, Position


class LogAndTwin(RuleBasedStateMachine):
    """The twin: one (epoch, first index of its batch) for each entry, and the batches in order."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.entries: list[tuple[int, int]] = []
        self.batches: list[Batch] = []

    @property
    def epoch(self) -> int:
        return self.entries[-1][0] if self.entries else 0

    def _next(self, count: int, epochs: int, time: int, stamps: int, size: int = 3) -> Batch:
        last = self.batches[-1] if self.batches else None
        return Batch(
            epoch=max(1, self.epoch + epochs),
            previous_epoch=self.epoch,
            first=len(self.entries) + 1,
            count=count,
            time=(last.time if last else 0) + time,
            stamp=(last.last_stamp if last else 0) + 1 + stamps,
            entries=b"x" * size,
        )

    @rule(
        count=st.integers(1, 4),
        epochs=st.integers(0, 2),
        time=st.integers(0, 3),
        stamps=st.integers(0, 3),
        size=st.integers(0, 200),
    )
    def append(self, count: int, epochs: int, time: int, stamps: int, size: int) -> None:
        batch = self._next(count, epochs, time, stamps, size)
        self.log.append(batch)
        self.batches.append(batch)
        self.entries.extend([(batch.epoch, batch.first)] * count)

    @rule(change=st.sampled_from(("first", "previous_epoch", "epoch", "stamp", "time")), by=st.integers(-3, 3))
    def append_what_does_not_follow(self, change: str, by: int) -> None:
        right = self._next(1, 0, 0, 0)
        values = {name: getattr(right, name) for name in Batch.__struct_fields__}
        values[change] += by
        wrong = Batch(**values)
        fits = (
            wrong.previous == right.previous
            and wrong.epoch >= self.epoch
            and wrong.stamp >= right.stamp
            and wrong.time >= right.time
        )
        if not fits:
            with pytest.raises(InvariantViolation):
                self.log.append(wrong)

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(1, len(self.entries)))
        if self.entries[index - 1][1] != index:
            with pytest.raises(InvariantViolation):
                self.log.truncate(index)
            return
        self.log.truncate(index)
        del self.entries[index - 1 :]
        self.batches = [batch for batch in self.batches if batch.first < index]

    @rule(first=st.integers(1, 30), size=st.integers(0, 600))
    def read(self, first: int, size: int) -> None:
        expected: list[Batch] = []
        for batch in self.batches:
            if batch.last >= first and (not expected or sum(each.size for each in [*expected, batch]) <= size):
                expected.append(batch)
            elif expected:
                break
        assert self.log.read(first, size) == tuple(expected)

    @rule(after=st.integers(0, 30), last=st.integers(0, 30))
    def between(self, after: int, last: int) -> None:
        expected = [batch for batch in self.batches if batch.last > after and batch.first <= last]
        assert list(self.log.between(after, last)) == expected

    @invariant()
    def looks_like_the_twin(self) -> None:
        log, entries = self.log, self.entries
        assert log.last == (Position(self.epoch, len(entries)) if entries else START)
        assert log.last_stamp == (self.batches[-1].last_stamp if self.batches else 0)
        assert log.last_time == (self.batches[-1].time if self.batches else 0)
        assert (log.epoch_at(0), log.epoch_at(len(entries) + 1)) == (0, None)
        ends = {batch.last for batch in self.batches} | {0}
        for index in range(len(entries) + 2):
            known = 1 <= index <= len(entries)
            batch = log.batch_at(index)
            assert log.ends_at(index) is (index in ends)
            assert (batch is not None) is known
            if batch is not None:
                epoch, first = entries[index - 1]
                assert (log.epoch_at(index), batch.first) == (epoch, first)
                assert log.holds(Position(epoch, index))
                assert not log.holds(Position(epoch + 1, index))
                same = [at for at in range(1, index + 1) if entries[at - 1][0] == epoch]
                assert log.first_of_epoch_at(index) == same[0]


LogAndTwin.TestCase.settings = CI
TestLog = LogAndTwin.TestCase


# -- a follower and a leader ---------------------------------------------------------------------------------------


def log_of(runs: list[tuple[int, int]]) -> Log:
    """Batches (epoch step, count). Two logs with equal beginnings of `runs` share those batches."""
    log, epoch = Log(), 1
    for step, count in runs:
        epoch += step
        last = log.last
        log.append(Batch(epoch, last.epoch, last.index + 1, count, 0, last.index + 1, b""))
    return log


runs = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), max_size=5)


@st.composite
def two_logs(draw: st.DrawFn) -> tuple[Log, Log, int]:
    """A leader's log, a follower's, and how far the follower knows it to be committed: within what they share.

    Behind what they share their epochs differ: one leader makes one entry at a place (log matching).
    """
    shared, mine, theirs = draw(runs), draw(runs), draw(runs)
    common = log_of(shared)
    leader = [(step * 2 + (2 if at == 0 else 0), count) for at, (step, count) in enumerate(mine)]
    other = [(step * 2 + (1 if at == 0 else 0), count) for at, (step, count) in enumerate(theirs)]
    ends = [batch.last for batch in common.between(0, common.last.index)]
    commit = draw(st.sampled_from([0, *ends]))
    return log_of(shared + leader), log_of(shared + other), commit


@given(two_logs(), st.data())
@CI
def test_what_a_follower_takes_is_what_it_lacks_and_its_hints_lead_there(
    logs: tuple[Log, Log, int], data: st.DataObject
) -> None:
    """From any place where the leader begins: each refusal brings it nearer, none goes to or below commit.

    At the end the follower's log begins with the leader's, and nothing was removed that the leader has.
    """
    leader, mine, commit = logs
    shared = 0
    for one, other in zip(leader.between(0, leader.last.index), mine.between(0, mine.last.index), strict=False):
        if one != other:
            break
        shared = one.last
    ends = [0, *(batch.last for batch in leader.between(0, leader.last.index))]
    at = data.draw(st.sampled_from(ends))
    for _ in range(len(ends) + 2):
        previous = Position(leader.epoch_at(at) or 0, at)
        if at <= commit or mine.holds(previous):
            break
        hint = follower.conflict(mine, previous, commit)
        assert commit < hint <= at, "a hint leads back, and not into what is committed"
        held = leader.batch_at(hint)
        assert held is not None
        at = held.first - 1
    else:
        raise AssertionError("the hints lead nowhere")
    many = data.draw(st.integers(0, 4))
    batches = tuple(leader.between(at, leader.last.index))[:many]
    append = Append(99, Position(leader.epoch_at(at) or 0, at), batches, 0)
    before = list(mine.between(0, mine.last.index))
    missing = follower.missing(mine, append, commit)
    if missing:
        assert missing[0].first > max(shared, commit) or missing[0] not in before
        if missing[0].first <= mine.last.index:
            mine.truncate(missing[0].first)
        for batch in missing:
            mine.append(batch)
    end = batches[-1].last if batches else at
    after = list(mine.between(0, mine.last.index))
    assert [batch for batch in after if batch.last <= end] == list(leader.between(0, end))
    kept = [batch for batch in before if batch in list(leader.between(0, leader.last.index))]
    assert [batch for batch in kept if batch in after] == kept, "nothing that the leader has was removed"
    assert follower.missing(mine, append, commit) == (), "said again, it changes nothing"


@given(two_logs(), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=3), st.data())
@CI
def test_no_message_removes_what_is_committed(
    logs: tuple[Log, Log, int], made_up: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Whatever a peer makes up: it is refused, or what is taken begins behind the commit index, between two batches."""
    _, mine, commit = logs
    at = data.draw(st.integers(0, mine.last.index + 1))
    end = Position(data.draw(st.integers(0, 5)), at)
    batches = []
    previous = end
    for epochs, count in made_up:
        epoch = max(1, previous.epoch + epochs)
        content = [SessionKept(1, 0) for _ in range(count + 1)]
        content[:1] = [EpochStart("a")] if epoch != previous.epoch else content[:1]
        entries = encode_entries(content)
        batch = Batch(epoch, previous.epoch, previous.index + 1, count + 1, 0, 50 + previous.index, entries)
        batches.append(batch)
        previous = batch.end
    append = Append(99, end, tuple(batches), 0)
    if end.index > commit and not mine.holds(end):
        assert follower.conflict(mine, end, commit) > commit
        return
    try:
        follower.check(append, "a", 10**6)
        missing = follower.missing(mine, append, commit)
    except RemoteProtocolError:
        return
    if missing and missing[0].first <= mine.last.index:
        assert missing[0].first > commit
        assert mine.ends_at(missing[0].first - 1)
