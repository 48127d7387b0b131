"""What waits to be sequenced is bounded, and leaves in batches of bounded size."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcast._protocol.entries import Commands, size
from broadcast._protocol.pending import BATCH_COUNT_MAX, BATCH_ENTRIES_MAX, BATCH_SIZE_MAX, PENDING_SIZE_MAX, Pending


def run(calls_size: int, number: int = 1, count: int = 1) -> Commands:
    return Commands(1, number, count, 0, 0, 0, b"x" * calls_size)


@given(st.lists(st.integers(0, BATCH_SIZE_MAX // 2)))
def test_everything_leaves_once_in_order_and_a_batch_takes_what_fits(sizes: list[int]) -> None:
    pending = Pending()
    entries = [run(each, number) for number, each in enumerate(sizes, 1)]
    pending.add(entries)
    batches = []
    while pending:
        batches.append(pending.take())
        assert batches[-1]
        assert sum(map(size, batches[-1])) <= BATCH_SIZE_MAX
    assert [entry for batch in batches for entry in batch] == entries
    for batch, following in pairwise(batches):
        assert sum(map(size, batch)) + size(following[0]) > BATCH_SIZE_MAX


def test_a_batch_takes_so_many_entries_and_a_single_large_one() -> None:
    pending = Pending()
    pending.add([run(BATCH_SIZE_MAX + 1), *(run(1, number) for number in range(2, BATCH_ENTRIES_MAX + 3))])
    assert [len(pending.take()) for _ in range(3)] == [1, BATCH_ENTRIES_MAX, 1]
    assert not pending


def test_a_batch_takes_so_many_commands_and_what_is_left_goes_into_the_next() -> None:
    """It is applied in one go, and a thousand full runs would hold up everybody for seconds."""
    pending = Pending()
    full = [run(1, BATCH_COUNT_MAX + number, 1_000) for number in range(0, 6_000, 1_000)]
    pending.add([run(1, count=BATCH_COUNT_MAX - 1), *full])
    assert [len(pending.take()) for _ in range(2)] == [2, 5]
    assert not pending


def test_what_is_beyond_the_bound_is_dropped_and_room_comes_back() -> None:
    pending = Pending()
    half, second, third = run(PENDING_SIZE_MAX // 2), run(PENDING_SIZE_MAX // 2, 2), run(1, 3)
    pending.add([half, second, third])
    assert [pending.take(), pending.take()] == [[half], [third]]
    pending.add([second, third])
    assert [pending.take(), pending.take()] == [[second], [third]]


def test_a_copy_of_what_waits_or_was_taken_is_not_taken_again() -> None:
    """A client that has waited for long sends again all that is under way: the log is not to grow by it."""
    pending = Pending()
    runs = [run(10, number, 2) for number in (1, 3, 5)]
    pending.add(runs)
    assert pending.take() == runs
    pending.add([*runs, run(10, 7, 2), run(10, 7, 2)])
    assert pending.take() == [run(10, 7, 2)]
    assert not pending


def test_what_closes_a_gap_is_taken_and_all_behind_it_once_more() -> None:
    """What stands before the gap was closed was not applied, and is answered by nobody."""
    pending = Pending()
    first, second, third = run(10, 1), run(10, 2), run(10, 3)
    pending.add([second, third, second, third])  # the first one was lost on its way
    assert pending.take() == [second, third]
    pending.add([first, second, third, third])
    assert pending.take() == [first, second, third]


def test_a_run_of_which_some_was_not_taken_is_no_copy() -> None:
    pending = Pending()
    pending.add([run(10, 1, 4), run(10, 3, 4), run(10, 1, 6)])
    assert pending.take() == [run(10, 1, 4), run(10, 3, 4)]


def test_sessions_do_not_know_each_others_numbers_and_the_one_longest_unheard_of_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broadcast._protocol.copies.SESSIONS_MAX", 2)
    pending = Pending()
    entries = [Commands(session, 1, 1, 0, 0, 0, b"x") for session in (1, 2, 1, 3, 1, 2, 3)]
    pending.add(entries)
    assert [entry.session for entry in pending.take() if isinstance(entry, Commands)] == [1, 2, 3, 2, 3]
