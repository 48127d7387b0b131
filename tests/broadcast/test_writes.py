"""What is asked of the disk and not there yet (rules 0, 25)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcast._protocol.log import Log
from broadcast._protocol.position import FRAME_SIZE, Batch
from broadcast._protocol.writes import Writes
from membership._protocol.view import Promise


def batch(first: int, size: int) -> Batch:
    return Batch(1, 1 if first > 1 else 0, first, 1, 0, first, b"x" * size)


STEPS = st.lists(st.tuples(st.sampled_from(("append", "truncate", "flush", "persisted")), st.integers(0, 9)))


@given(STEPS)
def test_the_size_that_is_not_on_disk_is_that_of_all_that_was_asked_for(steps: list[tuple[str, int]]) -> None:
    """A twin that sums anew at each step. What was asked for counts until it is done, cut meanwhile or not."""
    log, writes = Log(), Writes(0, Promise())
    waiting: list[Batch] = []
    asked: list[tuple[int, list[Batch]]] = []
    for step, number in steps:
        if step == "append":
            log.append(batch(log.last.index + 1, number))
            writes.append(log.read(log.last.index, 1)[0])
            waiting.append(log.read(log.last.index, 1)[0])
        elif step == "truncate" and 0 < number <= log.last.index:
            log.truncate(number)
            writes.truncate(number)
            waiting = [each for each in waiting if each.first < number]
        elif step == "flush":
            persist = writes.flush(Promise(), 0, 0)
            if persist is not None:
                asked.append((persist.number, waiting))
                assert list(persist.batches) == waiting
                waiting = []
        elif step == "persisted" and asked:
            writes.persisted(asked.pop(0)[0])
        everything = [each for _, batches in asked for each in batches] + waiting
        assert writes.unsynced_size == sum(each.size for each in everything)


def test_asking_for_that_size_costs_the_same_however_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for at each batch that is placed."""
    writes = Writes(0, Promise())
    for first in range(1, 1_001):
        writes.append(batch(first, 1))
    asked: list[Batch] = []
    monkeypatch.setattr(Batch, "size", property(asked.append))
    assert writes.unsynced_size == 1_000 * (FRAME_SIZE + 1)
    assert asked == []
