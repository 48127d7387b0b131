"""One disk and one writer for each node, for as long as the node is open."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio

from actors import Actor, open_node, query
from broadcast import DiskDamaged, open_group
from broadcast._disks import disk_writer
from broadcast._protocol.entries import SessionKept, encode_entries
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._sqlite import SqliteDisk
from broadcast._writer import Writer


class Count(Actor):
    @query
    def value(self) -> int:
        return 0


async def test_all_who_ask_get_one_writer_of_the_nodes_directory(tmp_path: Path) -> None:
    writers: list[Writer] = []

    async def ask() -> None:
        writers.append(await disk_writer(node))

    async with open_node("a", listen="127.0.0.1:0", data=tmp_path / "a") as node:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
        writers.append(await disk_writer(node))
        async with open_node("b", listen="127.0.0.1:0", data=tmp_path / "b") as other:
            assert await disk_writer(other) is not writers[0]
    assert writers == [writers[0]] * 3
    disk = SqliteDisk(tmp_path / "a")
    disk.open_group("bank")  # the lock is free
    disk.close()


async def test_a_node_that_is_closed_has_none() -> None:
    async with open_node("a", listen="127.0.0.1:0") as node:
        await disk_writer(node)
    with pytest.raises(RuntimeError, match="closed"):
        await disk_writer(node)


async def test_a_writer_that_could_not_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "eventfd", refuse)
    async with open_node("a", listen="127.0.0.1:0") as node:
        with pytest.raises(OSError, match="too many open files"):
            await disk_writer(node)


async def test_a_log_in_which_an_epoch_does_not_begin_is_damaged(tmp_path: Path) -> None:
    """Every checksum is right, and yet it cannot be applied: known before anything is, and said by name."""
    data, members = tmp_path / "a", {"a": "127.0.0.1:0"}
    with trio.fail_after(20):
        async with open_group("count", Count, node="a", members=members, data=data) as group:
            await group.ask(Count.value)
    disk = SqliteDisk(data)
    (start,) = disk.open_group("count").batches
    batch = Batch(7, start.epoch, 2, 1, start.time, start.stamp + 1, encode_entries([SessionKept(1, 0)]))
    disk.write([("count", Persist(1, batches=(batch,)))])
    disk.close()
    with pytest.raises(
        DiskDamaged, match=r"group 'count': the batch at 2, epoch 7 after 1, has epoch-start entries at"
    ):
        async with open_group("count", Count, node="a", members=members, data=data):
            pass
