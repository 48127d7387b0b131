"""Where a start takes longest: just before a snapshot is due, after commands that came one after another.

Each of them is a batch, and a row on disk, of its own. To ask for so many would take minutes: they are written past the
replicas, as they would have done. What a start computes is judged always; how long it takes, where the machine is left
alone, that is if COMMANDS is in the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from bench_store import Store
from lasting import NAMES, START_SECONDS_MAX, Group, open_lasting, told_of_start

from actors._interface import Interface
from actors._protocol.codec import join_array
from broadcast._calls import runs_of
from broadcast._disks import stopped_disk
from broadcast._protocol.entries import Commands, encode_entries
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from membership import Limits

pytestmark = pytest.mark.alone  # seconds are measured

PATIENCE_SECONDS_MAX = 180.0
FEW = 30  # batches that come of starts, and of elections
AT_A_TIME = 5_000  # batches in a write


async def test_a_start_is_short_also_where_a_snapshot_is_due_next(tmp_path: Path) -> None:
    due = Limits().snapshot_batches
    async with open_lasting(tmp_path / "group") as group:
        await group.start(*NAMES)
        await group.start_client()
        await group.ask("asks", count=1, tasks=1)
        last = max(told["last"] for told in (await group.settled()).values())
        for name in NAMES:
            await group.kill(name)
        for name in NAMES:
            write_alone(group.data(name), 2 * due - FEW - last)
        await group.start(*NAMES)
        await until_all_compacted(group)
        leader = await group.leader()
        name = next(each for each in NAMES if each != leader)
        told = await group.restarted(name, PATIENCE_SECONDS_MAX)
        apart = told["last"] - told["snapshot"]
        load = f"load {os.getloadavg()[0]:.1f}"
        print(f"{apart:,} batches to apply; {told_of_start(name, told)}; {load}", file=sys.stderr)
        assert due - 2 * FEW < apart < due, "the next one is due soon"
        assert told["start cpu"] < START_SECONDS_MAX
        assert not os.environ.get("COMMANDS") or told["since start"] < START_SECONDS_MAX


async def until_all_compacted(group: Group) -> None:
    """By a snapshot, once they have applied what was written."""
    with trio.fail_after(PATIENCE_SECONDS_MAX):
        while min([(await group.status(name))["first"] for name in NAMES]) == 1:  # noqa: ASYNC110
            await trio.sleep(0.05)


def write_alone(data: Path, count: int) -> None:
    """So many commands more, under the last session, as if they had been asked one after another."""
    disk = stopped_disk(data)
    try:
        batches = list(alone(disk.open_group("bench").batches, count))
        for number in range(0, count, AT_A_TIME):
            some = tuple(batches[number : number + AT_A_TIME])
            disk.write([("bench", Persist(number + 1, batches=some, commit=some[0].first - 1))])
            disk.tend()
    finally:
        disk.close()


def alone(log: list[Batch], count: int) -> Iterator[Batch]:
    runs = [run for batch in log for run, _ in runs_of(batch) if isinstance(run, Commands)]
    session, number, batch = runs[-1].session, runs[-1].number + runs[-1].count, log[-1]
    call = join_array([Interface.of(Store).method_for(Store.add).pack((1,), {})])
    for at in range(number, number + count):
        run = Commands(session, at, 1, at - 1, 0, batch.last_stamp, call)
        entries = encode_entries([run])
        batch = Batch(batch.epoch, batch.epoch, batch.last + 1, 1, batch.time + 1_500, batch.last_stamp + 3, entries)
        yield batch
