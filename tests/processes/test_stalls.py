"""A limit counts the seconds of a machine that runs; one that stands still has them counted anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from stalls import Machine


async def tick(machine: Machine, *seconds: float) -> None:
    """So long each tick takes."""
    began = machine.stalls[-1][1] if machine.stalls else 100.0
    for each in seconds:
        machine.note(began, began + each)
        began += each
        await trio.lowlevel.checkpoint()


async def test_a_limit_ends_once_the_machine_was_undisturbed_for_so_long(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "file")
    ticked: list[int] = []

    async def run() -> None:
        await tick(machine, 0.11, 0.11, 0.11, 2.0)
        for number in range(1, 100):
            ticked.append(number)
            await tick(machine, 0.11)

    with pytest.raises(trio.TooSlowError, match=r"not within 1 s, 1 stalls"), machine.limit(1.0):
        await run()
    assert ticked[-1] == 10


async def test_stalls_are_left_aside_in_a_limit(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "file")
    with machine.limit(1.0):
        for _ in range(5):
            await tick(machine, *[0.11] * 8, 0.3)
    assert len(machine.stalls) == 5


async def test_what_is_measured_begins_at_the_last_stall(tmp_path: Path, nursery: trio.Nursery) -> None:
    """The one that has not been noted yet, for instance."""
    machine = Machine(tmp_path / "file")
    seconds: list[float] = []

    async def measure(began: float, ended: float) -> None:
        seconds.append(await machine.undisturbed(began, ended))

    nursery.start_soon(measure, 100.0, 103.0)
    nursery.start_soon(measure, 99.0, 100.0)
    nursery.start_soon(measure, 100.5, 101.5)
    await trio.testing.wait_all_tasks_blocked()
    await tick(machine, 2.0)
    await trio.testing.wait_all_tasks_blocked()
    await tick(machine, 0.1)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(seconds) == [0.0, 1.0, 1.0]
    assert machine.calm_since == 102.0
    assert [machine.stalls_since(101.0), machine.stalls_since(102.0)] == [1, 0]


async def test_a_machine_that_runs_has_its_ticks(machine: Machine) -> None:
    """Whether it stands still meanwhile or not."""
    with pytest.raises(trio.TooSlowError), machine.limit(0.3):
        await trio.sleep_forever()
