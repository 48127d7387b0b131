"""The log of batches, against a twin that keeps one epoch for each index."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors._protocol.errors import InvariantViolation
from broadcast._protocol import follower
from broadcast._protocol.log import Log
from broadcast._protocol.position import START, Batch, Position


def batch(epoch: int, first: int, count: int = 1, previous: int = 0, time: int = 0, size: int = 1) -> Batch:
    return Batch(epoch, previous, first, count, time, first, b"x" * size)


def log_of(*runs: tuple[int, int]) -> Log:
    """A log of batches (epoch, count), one after the other."""
    log = Log()
    for epoch, count in runs:
        last = log.last
        log.append(batch(epoch, last.index + 1, count, last.epoch))
    return log


RUNS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), max_size=8).map(
    lambda steps: [(1 + sum(step for step, _ in steps[: at + 1]), count) for at, (_, count) in enumerate(steps)]
)


@given(RUNS, st.integers(0, 40))
def test_it_finds_by_index_what_a_list_of_entries_finds(runs: list[tuple[int, int]], index: int) -> None:
    log = log_of(*runs)
    epochs = [0] + [epoch for epoch, count in runs for _ in range(count)]
    firsts = [1 + sum(count for _, count in runs[:at]) for at in range(len(runs))]
    assert log.last == Position(epochs[-1], len(epochs) - 1)
    expected = epochs[index] if index < len(epochs) else None
    assert log.epoch_at(index) == expected
    assert log.holds(Position(3, index)) == (expected == 3)
    found = log.batch_at(index)
    assert (found is None) == (index == 0 or expected is None)
    assert found is None or found.first <= index <= found.last
    if found is not None:
        run = next(at for at in range(index, -1, -1) if at == 0 or epochs[at] != epochs[index])
        assert log.first_of_epoch_at(index) == run + 1
        assert [each.first for each in log.read(index, 10**6)] == [first for first in firsts if first >= found.first]
    ends = [first + count - 1 for first, (_, count) in zip(firsts, runs, strict=True)]
    for last in range(len(epochs)):
        expected_firsts = [first for first, end in zip(firsts, ends, strict=True) if end > index and first <= last]
        assert [each.first for each in log.between(index, last)] == expected_firsts


def test_a_read_is_bounded_but_gives_something() -> None:
    log = Log([batch(1, 1, size=100), batch(1, 2, previous=1, size=100), batch(1, 3, previous=1, size=100)])
    assert [each.first for each in log.read(1, 2 * batch(1, 1, size=100).size)] == [1, 2]
    assert [each.first for each in log.read(2, 1)] == [2]
    assert log.read(4, 100) == ()


def test_it_is_cut_between_batches_and_goes_on_from_there() -> None:
    log = log_of((1, 2), (1, 2), (2, 3))
    log.truncate(3)
    assert log.last == Position(1, 2)
    log.append(batch(4, 3, previous=1))
    assert log.last == Position(4, 3)
    log.truncate(1)
    assert log.last == START


@pytest.mark.parametrize("first", [2, 4, 8])
def test_no_batch_is_cut_in_two(first: int) -> None:
    with pytest.raises(InvariantViolation, match="between batches"):
        log_of((1, 2), (1, 2), (2, 3)).truncate(first)


@pytest.mark.parametrize(
    ("claim", "wrong"),
    [
        ("follows the one before", batch(2, 6, previous=2)),
        ("follows the one before", batch(2, 5, previous=1)),
        ("never go down", Batch(1, 2, 5, 1, 9, 9, b"")),
        ("stamps grow", Batch(2, 2, 5, 1, 9, 4, b"")),
        ("time never goes back", Batch(2, 2, 5, 1, 6, 9, b"")),
    ],
)
def test_only_what_follows_is_appended(claim: str, wrong: Batch) -> None:
    log = Log([batch(1, 1, 2), batch(2, 3, 2, previous=1, time=7)])
    with pytest.raises(InvariantViolation, match=claim):
        log.append(wrong)


# -- what a follower looks at (rule 8; Ongaro 2014, 3.5) ------------------------------------------------------------


@pytest.mark.parametrize(
    ("previous", "commit", "hint"),
    [
        (Position(4, 9), 0, 8),  # beyond our end: that is where we end
        (Position(4, 7), 0, 5),  # all entries of the epoch found there are doubtful
        (Position(4, 7), 5, 6),  # but what is committed is not
        (Position(3, 4), 0, 1),
    ],
)
def test_where_the_leader_should_go_on(previous: Position, commit: int, hint: int) -> None:
    assert follower.conflict(log_of((1, 2), (1, 2), (2, 3)), previous, commit) == hint


def test_an_old_or_repeated_batch_is_not_new() -> None:
    log = log_of((1, 2), (2, 3))
    assert not follower.is_new(log, batch(2, 3, 3, previous=1), fixed=0)
    assert not follower.is_new(log, batch(9, 3, 3, previous=1), fixed=5)
    assert follower.is_new(log, batch(3, 3, 3, previous=1), fixed=2)
    assert follower.is_new(log, batch(2, 6, previous=2), fixed=5)


def test_a_batch_counts_for_as_much_as_it_takes_in_memory() -> None:
    """Else a log of small ones, bounded by their sizes, takes several times its bound."""
    count, content = 5_000, 28
    epoch, time, stamp = 1_000, 1_700_000_000_000_000, 1_000_000
    packed = [
        msgspec.msgpack.encode(
            (epoch, epoch if at > 1 else 0, at, 1, time + 1_000 * at, stamp + 3 * at, bytes(content))
        )
        for at in range(1, count + 1)
    ]
    log = Log()
    tracemalloc.start()
    try:
        for each in packed:
            log.append(msgspec.msgpack.decode(each, type=Batch))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    size = sum(each.size for each in log.between(0, count))
    assert 0.7 * size < taken < 1.1 * size


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(0, 12), st.integers(1, 200), st.integers(1, 4))
def test_it_is_cut_into_parts_of_so_much_at_most(sizes: list[int], count: int, size_max: int, count_max: int) -> None:
    """Together they are all of it; each has no more than allowed, or one batch; and two neighbours would have more."""
    log = Log()
    for size in sizes:
        log.append(batch(1, log.last.index + 1, previous=log.last.epoch, size=size))
    index = min(count, len(sizes))
    cut = log.parts(index, size_max, count_max)
    parts = [list(log.between(first, last)) for first, last in pairwise([0, *(part.last for part in cut)])]
    assert [each for part in parts for each in part] == list(log.between(0, index))

    def fits(part: list[Batch]) -> bool:
        return len(part) <= count_max and sum(each.size for each in part) <= size_max

    assert [part.size for part in cut] == [sum(each.size for each in part) for part in parts]
    assert all(fits(part) or len(part) == 1 for part in parts)
    assert not any(fits([*one, other[0]]) for one, other in pairwise(parts))
