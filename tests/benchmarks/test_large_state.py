"""While snapshots of a large state are taken, sent and installed the group goes on: nobody elects, or stands still.

STATE in the environment says how many megabytes; `make endurance` has 100. Then it is judged whether any loop, or the
time between two heartbeats, came to half the shortest election timeout. (Leave the machine alone.) CI has few, beside
who knows what: there that is shown.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio
from lasting import MIB, NAMES, Group, mib, open_lasting

pytestmark = pytest.mark.alone  # seconds are measured

WANTED = int(os.environ.get("STATE") or 0)
STATE = WANTED or 8  # megabytes
THING_SIZE = 1_000  # bytes: so many objects it is made of
STILL_SECONDS_MAX = 0.25
PATIENCE_SECONDS_MAX = 180.0


async def test_snapshots_of_a_large_state_hold_nobody_up(tmp_path: Path) -> None:
    async with open_lasting(tmp_path / "group") as group:
        await group.start(*NAMES)
        await group.start_client()
        await group.ask("keep", times=STATE, count=MIB // THING_SIZE, size=THING_SIZE)
        before = await group.settled()
        leader = before["a"]["leader"]
        await group.anew()
        taken = (await group.ask("pipelined", count=110_000, window=5_000))["rate"]
        await until_all_took(group, before["a"]["last"])
        await tell("taken", group, f"{taken:,.0f} commands/s meanwhile")
        absent = next(name for name in NAMES if name != leader)
        missed_from = (await group.status(absent))["last"]
        await group.kill(absent)
        await group.ask("pipelined", count=25_000, window=1_000, size=THING_SIZE)  # more than the log keeps
        await until_all_took(group, missed_from)
        await group.anew()
        last = (await group.status(leader))["last"]
        await group.start(absent)
        told = await group.caught_up(absent, last, PATIENCE_SECONDS_MAX)
        assert told["first"] > missed_from + 1, "it has got a snapshot, and not the log"
        await tell("sent and installed", group, f"at {absent}")
        after = await group.settled()
        assert not WANTED or {told["epoch"] for told in after.values()} == {before["a"]["epoch"]}, "nobody elects"


async def until_all_took(group: Group, index: int) -> None:
    """A snapshot of what lies beyond."""
    with trio.fail_after(PATIENCE_SECONDS_MAX):
        while min([(await group.status(name))["snapshot"] for name in group.replicas]) <= index:  # noqa: ASYNC110
            await trio.sleep(0.05)


async def tell(what: str, group: Group, more: str) -> None:
    """What `pytest -s` shows; and judge it."""
    told = {name: await group.status(name) for name in group.replicas}
    lines = [
        f"{name}: a loop was late by {1e3 * each['late']:.0f} ms at most, computing for {1e3 * each['computed']:.0f}, "
        f"and heartbeats came {1e3 * each['gap']:.0f} ms apart; {mib(each['peak'])}, epoch {each['epoch']}"
        for name, each in told.items()
    ]
    print(f"{STATE} MB, {what}: {'; '.join(lines)}; {more}; load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    assert not WANTED or max(max(each["late"], each["gap"]) for each in told.values()) < STILL_SECONDS_MAX
