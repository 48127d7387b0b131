"""After very many commands a replica needs no more memory, disk or time to start than it did, and neither who was away.

COMMANDS in the environment says how many: 1,000,000 of a counter, with `make endurance`. CI has few, that bring some
bytes each so that the log is compacted, too. ASKS: how many one after another, each a batch and a row of its own. How
long a start takes is judged where the machine is left alone, that is if COMMANDS is given; what it computes, always.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from children import Message
from lasting import MIB, NAMES, START_SECONDS_MAX, Group, mib, open_lasting, size_of, told_of_start

pytestmark = pytest.mark.alone  # memory is judged, and how much is waiting for a processor counts

WANTED = int(os.environ.get("COMMANDS") or 0)
COMMANDS = WANTED or 60_000
SIZE = 0 if WANTED else 150  # bytes that each brings
ASKS = int(os.environ.get("ASKS") or 300)
WINDOW = 10_000
MEMORY_MAX = 120 * MIB
DISK_MAX = 100 * MIB
PATIENCE_SECONDS_MAX = 180.0


async def test_a_long_life_needs_no_more_than_a_short_one(tmp_path: Path) -> None:
    async with open_lasting(tmp_path / "group") as group:
        await group.start(*NAMES)
        await group.start_client()
        await group.ask("asks", count=ASKS, tasks=1)
        judge("asked one after another", await group.settled(), group)
        absent = next(name for name, told in (await group.settled()).items() if told["leader"] != name)
        missed_from = (await group.status(absent))["last"]
        await group.kill(absent)
        rate = (await group.ask("pipelined", count=COMMANDS, window=WINDOW, size=SIZE))["rate"]
        tell(f"{COMMANDS:,} commands while {absent} was away, {rate:,.0f}/s")
        judge("after them", await group.settled(), group)
        await bring_back(group, absent, missed_from)
        for name in NAMES:
            await restart(group, name)
        judge("in the end", await group.settled(), group)


async def bring_back(group: Group, absent: str, missed_from: int) -> None:
    """It gets a snapshot: the log does not go back so far any more."""
    last = max([(await group.status(name))["last"] for name in group.replicas])
    began = time.monotonic()
    await group.start(absent)
    told = await group.caught_up(absent, last, PATIENCE_SECONDS_MAX)
    seconds = time.monotonic() - began
    snapshots = {path.name: path.stat().st_size for path in (group.data(absent) / "snapshots").iterdir()}
    tell(f"{absent} had caught up after {seconds:.2f} s, by a snapshot of {max(snapshots.values()):,} bytes")
    assert told["first"] > missed_from + 1, "it has got a snapshot, and not the log"


async def restart(group: Group, name: str) -> None:
    """Kill it and start it: it reads its disk, and applies what that has beyond the snapshot."""
    told = await group.restarted(name, PATIENCE_SECONDS_MAX)
    tell(told_of_start(name, told))
    assert told["start cpu"] < START_SECONDS_MAX
    assert not WANTED or told["since start"] < START_SECONDS_MAX


def judge(when: str, replicas: dict[str, Message], group: Group) -> None:
    sizes = {name: size_of(group.data(name)) for name in replicas}
    tell(
        f"{when}: "
        + "; ".join(
            f"{name} {mib(told['memory'])}, {mib(told['peak'])} at most, {mib(sizes[name])} on disk"
            for name, told in replicas.items()
        )
        + f"; load {os.getloadavg()[0]:.1f}"
    )
    assert max(told["peak"] for told in replicas.values()) < MEMORY_MAX
    assert max(sizes.values()) < DISK_MAX


def tell(*text: Any) -> None:
    """What `pytest -s` shows, and what a failure shows too."""
    print(*text, file=sys.stderr, flush=True)
