"""What waits to be sequenced is bounded, and leaves in batches of bounded size."""

from __future__ import annotations

from itertools import pairwise

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
    pending.add([run(BATCH_SIZE_MAX + 1), *[run(1)] * (BATCH_ENTRIES_MAX + 1)])
    assert [len(pending.take()) for _ in range(3)] == [1, BATCH_ENTRIES_MAX, 1]
    assert not pending


def test_a_batch_takes_so_many_commands_and_what_is_left_goes_into_the_next() -> None:
    """It is applied in one go, and a thousand full runs would hold up everybody for seconds."""
    pending = Pending()
    pending.add([run(1, count=BATCH_COUNT_MAX - 1), *[run(1, count=1_000)] * 6])
    assert [len(pending.take()) for _ in range(2)] == [2, 5]
    assert not pending


def test_what_is_beyond_the_bound_is_dropped_and_room_comes_back() -> None:
    pending = Pending()
    half = run(PENDING_SIZE_MAX // 2)
    pending.add([half, half, run(1)])
    assert [pending.take(), pending.take()] == [[half], [run(1)]]
    pending.add([half, run(1)])
    assert [pending.take(), pending.take()] == [[half], [run(1)]]
