"""Stamps grow along every causal path, restarts included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors._protocol.clock import (
    COUNTER_ALLOWANCE,
    COUNTER_BLOCK,
    COUNTER_LEAST_MAX,
    COUNTER_MAX,
    LamportClock,
    Timestamp,
    counter_max,
)
from actors._protocol.errors import InvariantViolation, RemoteProtocolError


def test_it_counts_events_and_runs_ahead_of_what_it_meets() -> None:
    clock = LamportClock("a")
    assert (clock.tick(), clock.tick()) == (1, 2)
    clock.witness(10)
    assert clock.tick() == 11
    clock.witness(5)
    assert clock.timestamp() == Timestamp(12, "a")


def test_stamps_are_in_one_total_order() -> None:
    assert sorted([Timestamp(2, "a"), Timestamp(1, "b"), Timestamp(1, "a")]) == [(1, "a"), (1, "b"), (2, "a")]


def test_what_stamps_tell_of_causality_and_what_not() -> None:
    a, later, b = Timestamp(1, "a"), Timestamp(2, "a"), Timestamp(2, "b")
    assert a.happened_before(later) is True
    assert later.happened_before(a) is False
    assert a.happened_before(a) is False
    assert a < b
    assert a.happened_before(b) is None
    assert b.happened_before(a) is False
    assert later < b
    assert later.happened_before(b) is False  # neither knew of the other
    assert b.happened_before(later) is False


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=40))
def test_what_stamps_tell_is_never_wrong(sends: list[tuple[int, int]]) -> None:
    """Against the true past of each send, as sets of all that led to it."""
    clocks = [LamportClock(str(node)) for node in range(3)]
    pasts: list[frozenset[int]] = [frozenset()] * 3
    stamps: list[Timestamp] = []
    truth: list[frozenset[int]] = []
    for sender, receiver in sends:
        stamps.append(clocks[sender].timestamp())
        truth.append(pasts[sender])
        pasts[sender] |= {len(stamps) - 1}
        clocks[receiver].witness(stamps[-1].counter)
        pasts[receiver] |= pasts[sender]
    for one, stamp in enumerate(stamps):
        for other, later in enumerate(stamps):
            assert stamp.happened_before(later) in (one in truth[other], None)
            assert one not in truth[other] or stamp < later


@pytest.mark.parametrize("stamp", [-1, 2**50 + 1, COUNTER_MAX, COUNTER_MAX + 1, 2**63, 2**64])
def test_a_poisoned_stamp_is_refused_and_changes_nothing(stamp: int) -> None:
    clock = LamportClock("a", 7)
    with pytest.raises(RemoteProtocolError, match="Lamport stamp"):
        clock.witness(stamp, 2**50)
    assert clock.counter == 7


def test_the_bounds_themselves_are_accepted() -> None:
    clock = LamportClock("a")
    clock.witness(2**50, 2**50)
    assert clock.counter == 2**50
    clock.witness(2**49, 100)  # what it is ahead of already is no matter
    clock = LamportClock("a", COUNTER_MAX - 1)
    clock.witness(COUNTER_MAX)
    with pytest.raises(RemoteProtocolError):
        clock.witness(COUNTER_MAX + 1)


YEAR_2026 = 1_780_000_000_000_000


def test_strangers_take_no_clock_beyond_what_another_node_follows_to_nor_near_the_end() -> None:
    """However many stamps they send, and though the other node's wall clock is hours behind."""
    ahead, behind = LamportClock("a"), LamportClock("b")
    hour = 3_600_000_000
    most = counter_max(YEAR_2026, known=False)
    ahead.witness(most, most)
    with pytest.raises(RemoteProtocolError, match="beyond belief"):
        ahead.witness(most + 1, most)
    behind.witness(ahead.tick(), counter_max(YEAR_2026 - 23 * hour, known=True))
    assert counter_max(YEAR_2026 + hour, known=False) > behind.counter + 1_000_000  # time makes room again
    assert counter_max(100 * YEAR_2026, known=True) < COUNTER_MAX - 1_000 * COUNTER_BLOCK


def test_a_node_without_a_clock_believes_what_any_group_may_have_counted() -> None:
    assert counter_max(0, known=False) == COUNTER_LEAST_MAX
    assert counter_max(0, known=True) == COUNTER_LEAST_MAX + COUNTER_ALLOWANCE


def test_its_own_memory_advances_it_and_never_takes_it_back() -> None:
    clock = LamportClock("a", 7)
    clock.advance(2**61)
    clock.advance(3)
    assert clock.counter == 2**61
    with pytest.raises(InvariantViolation):
        clock.advance(COUNTER_MAX + 1)


def test_the_durable_mark_only_grows() -> None:
    clock = LamportClock("a", counter=100, durable=100)
    clock.tick()
    assert clock.counter > clock.reserved
    clock.reserve(200)
    assert clock.counter <= clock.reserved
    with pytest.raises(InvariantViolation):
        clock.reserve(150)


Step = tuple[int, int, bool]
steps = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=60)


@given(steps)
def test_stamps_grow_along_every_causal_path_over_restarts(steps: list[Step]) -> None:
    """Sends between three nodes; some restart first, from the mark that was durable then (T5)."""
    marks = [8, 8, 8]
    clocks = [LamportClock(str(node), 8, 8) for node in range(3)]
    sent = [0, 0, 0]  # the greatest stamp that each node has sent
    latest = [
        0,
        0,
        0,
    ]  # the greatest stamp in the causal past of each node; a restart forgets what it was told
    for sender, receiver, restarts in steps:
        if restarts:
            clocks[sender] = LamportClock(str(sender), marks[sender], marks[sender])
            latest[sender] = sent[sender]
        clock = clocks[sender]
        stamp = clock.tick()
        if clock.counter > clock.reserved:
            marks[sender] = clock.counter + 4
            clock.reserve(marks[sender])
        assert stamp > latest[sender]
        latest[sender] = sent[sender] = stamp
        clocks[receiver].witness(stamp)
        latest[receiver] = max(latest[receiver], stamp)
