"""What a write may be: the rules every disk keeps, and the memory disk."""

from __future__ import annotations

import pytest

from actors._protocol.errors import InvariantViolation
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._storage import MemoryDisk, Stored
from membership._protocol.view import Configuration, Formation, Promise

FORMATION = Formation("bank", b"c" * 16, Configuration(()))


def batch(epoch: int, first: int, count: int = 1, previous: int | None = None) -> Batch:
    return Batch(epoch, (epoch if first > 1 else 0) if previous is None else previous, first, count, 0, first, b"x")


def disk_with(*persists: Persist) -> MemoryDisk:
    disk = MemoryDisk(entropy=lambda size: b"s" * size)
    disk.open_group("bank")
    for persist in persists:
        disk.write([("bank", persist)])
    return disk


def test_a_group_begins_with_a_storage_id_of_its_own_that_it_keeps() -> None:
    disk = MemoryDisk()
    first = disk.open_group("bank")
    assert first == Stored(first.storage, None, Promise(), [])
    assert len(first.storage) == 16
    assert disk.open_group("bank").storage == first.storage
    assert disk.open_group("room").storage != first.storage


def test_what_was_written_is_found_again() -> None:
    disk = disk_with(
        Persist(1, formation=FORMATION, promise=Promise(2, "a")),
        Persist(2, batches=(batch(2, 1, 3), batch(2, 4)), commit=4),
        Persist(3, batches=(batch(2, 5), batch(2, 6, 2)), commit=4),
        Persist(4, promise=Promise(3, "b"), truncate=6, batches=(batch(3, 6, previous=2),)),
    )
    assert disk.open_group("bank") == Stored(
        b"s" * 16,
        FORMATION,
        Promise(3, "b"),
        [batch(2, 1, 3), batch(2, 4), batch(2, 5), batch(3, 6, previous=2)],
        commit=4,
    )


def test_cutting_beyond_the_end_cuts_nothing() -> None:
    disk = disk_with(Persist(1, batches=(batch(1, 1),)), Persist(2, truncate=2, batches=(batch(1, 2),)))
    assert [found.first for found in disk.open_group("bank").batches] == [1, 2]


@pytest.mark.parametrize(
    ("claim", "bad"),
    [
        ("no epoch goes down", Persist(9, promise=Promise(4, "a"))),
        ("a group is formed once", Persist(9, formation=FORMATION)),
        ("nothing committed is cut", Persist(9, truncate=3)),
        ("nothing committed is cut", Persist(9, truncate=4, commit=4)),
        ("no batch is cut in two", Persist(9, truncate=5)),
        ("a batch continues the log", Persist(9, batches=(batch(5, 8),))),
        ("a batch continues the log", Persist(9, batches=(batch(5, 6),))),
        ("a batch continues the log", Persist(9, batches=(batch(5, 7, previous=4),))),
        ("epochs in the log never go down", Persist(9, batches=(batch(4, 7, previous=5),))),
        ("what is committed is in the log", Persist(9, commit=7)),
    ],
)
def test_what_contradicts_the_log_is_a_bug_of_ours(claim: str, bad: Persist) -> None:
    disk = disk_with(
        Persist(1, formation=FORMATION, promise=Promise(5, "a")),
        Persist(2, batches=(batch(5, 1, 3),)),
        Persist(3, batches=(batch(5, 4, 3),), commit=3),
    )
    before = disk.open_group("bank")
    with pytest.raises(InvariantViolation, match=claim):
        disk.write([("bank", bad)])
    assert disk.open_group("bank") == before
