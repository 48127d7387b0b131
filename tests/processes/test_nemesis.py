"""Real processes under whatever strikes: every client's history is linearizable, and all replicas have one order (T51).

MINUTES in the environment says for how long; `make jepsen MINUTES=30` sets it and shows the figures. SEED chooses what
strikes when; the timing of processes is nobody's to repeat.
"""

from __future__ import annotations

import random
import resource
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from disks import size_of
from load import Load, verdict_of
from nemesis import CHANGES, FAULTS, SYNC_MS, Fault, Nemesis
from rig import Rig, open_rig, tell
from stalls import Machine
from wanted import count_wanted, number_wanted

MINUTES = number_wanted("MINUTES", 0.5)
SEED = count_wanted("SEED", random.SystemRandom().randrange(1, 2**32))
TASKS = 13  # operations under way at a time
OPERATIONS_WANTED = 250_000  # at most, about, however long it runs
PAUSE_SECONDS = max(0.02, 2 * 60 * MINUTES * TASKS / OPERATIONS_WANTED)
QUIET_SECONDS_MAX = 15.0  # without an answer to anybody, while a quorum can be expected to: seconds of the machine
OPERATIONS_PER_MINUTE_MIN = 300
SHOWN_SECONDS = 10.0  # between two lines of progress


@pytest.mark.parametrize(("faults", "minutes"), [(FAULTS, MINUTES), (CHANGES, MINUTES / 2)], ids=["any", "members"])
async def test_whatever_strikes_histories_are_linearizable_and_orders_are_one(
    library: Path, tmp_path: Path, machine: Machine, faults: Sequence[Fault], minutes: float
) -> None:
    tell(f"seed {SEED}, {minutes:g} minutes")
    async with open_rig("store:Store", library, tmp_path, "abc", later="defg") as rig:
        for member in rig.members.values():
            member.sync_ms = SYNC_MS
        await rig.start()
        nemesis = Nemesis(rig, random.Random(SEED + 1), faults)
        load = Load(rig, random.Random(SEED), PAUSE_SECONDS)
        end = trio.current_time() + 60 * minutes
        try:
            async with trio.open_nursery() as nursery:
                load.until = end
                nursery.start_soon(load.run)
                nursery.start_soon(load.watch, lambda: nemesis.quorum, lambda: nemesis.now, machine)
                nursery.start_soon(nemesis.run, end)
                nursery.start_soon(show_progress, rig, load, nemesis, end)
            await rig.start()
            wrongs = [*await rig.wrongs(), *await load.wrongs()]
        finally:
            show_figures(rig, load, nemesis, machine)
    began = trio.current_time()
    verdict = verdict_of(load.history)
    tell(f"checked in {trio.current_time() - began:.1f} s: {str(verdict).splitlines()[0]}")
    assert wrongs == [], f"seed {SEED}"
    assert verdict.linearizable, f"seed {SEED}: {verdict}"
    assert load.longest_quiet_counted < QUIET_SECONDS_MAX, f"seed {SEED}: during {load.quiet_during}"
    assert load.answered > OPERATIONS_PER_MINUTE_MIN * minutes
    if 20 * len(faults) < minutes * 60:
        assert set(nemesis.strikes) == {fault.name for fault in faults}


def show_figures(rig: Rig, load: Load, nemesis: Nemesis, machine: Machine) -> None:
    kinds = Counter[str]()
    for operation in load.history:
        where = "a client" if operation.caller.startswith("client") else "a replica"
        kinds[f"{operation.method} by {where}"] += 1
    unknown = len(load.history) - load.answered
    tell(f"operations: {load.answered} answered, {unknown} of unknown outcome, on {len(load.keys)} keys")
    for kind, count in sorted(kinds.items()):
        tell(f"  {count:7} {kind}")
    tell(f"faults: {nemesis.strikes.total()}")
    for fault in nemesis.faults:
        tell(f"  {nemesis.strikes[fault.name]:7} {fault.name}")
    tell(
        f"members changed {nemesis.changing.made} times; {nemesis.changing.stopped} did not hear that they were removed"
    )
    tell(f"commands delivered: {rig.deliveries.count}, compared over {rig.deliveries.lives} notes of lives")
    tell(
        f"longest time without an answer while a quorum was connected: {load.longest_quiet:.2f} s, "
        f"during or after: {load.quiet_during}"
    )
    stood = sum(end - begin for begin, end in machine.stalls)
    tell(
        f"the machine itself stood still {len(machine.stalls)} times, for {stood:.1f} s in all, and ran for "
        f"{machine.seconds:.0f} s; by that, the longest time without an answer was {load.longest_quiet_counted:.2f} s"
    )


async def show_progress(rig: Rig, load: Load, nemesis: Nemesis, end: float) -> None:
    while (left := end - trio.current_time()) > 0:
        disk = size_of(rig.directory) // 2**20
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        tell(
            f"{left:5.0f} s left, {len(load.history)} operations, {nemesis.strikes.total()} faults, "
            f"quiet for {load.longest_quiet:.2f} s at most; {disk} MB of disk, {memory} MB of memory here"
        )
        await trio.sleep(min(left, SHOWN_SECONDS))
