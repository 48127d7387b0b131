"""A limit counts the seconds of a machine that runs; one that stands still has them counted anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from stalls import Machine


async def tick(machine: Machine, *seconds: float, share: float = 1.0) -> None:
    """So long each tick takes."""
    began = machine.stalls[-1][1] if machine.stalls else 100.0
    for each in seconds:
        machine.note(began, began + each, share)
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


async def test_a_second_counts_for_the_share_that_was_had_of_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "file")
    with machine.limit(1.0):
        await tick(machine, *[0.1] * 19, share=0.5)
    assert machine.seconds == pytest.approx(0.95)


async def test_what_is_measured_begins_at_the_last_stall(tmp_path: Path, nursery: trio.Nursery) -> None:
    """Also at one that has not been noted yet."""
    machine = Machine(tmp_path / "file")
    seconds: list[float] = []

    async def measure(began: float, ended: float) -> None:
        seconds.append(await machine.counted(began, ended))

    nursery.start_soon(measure, 99.0, 102.04)
    await trio.testing.wait_all_tasks_blocked()
    machine.note(99.0, 99.1)
    machine.note(100.0, 102.0)
    await trio.testing.wait_all_tasks_blocked()
    machine.note(102.0, 102.1, 0.5)
    await trio.testing.wait_all_tasks_blocked()
    assert seconds == [pytest.approx(0.02)]
    assert [machine.stalls_since(101.0), machine.stalls_since(102.0)] == [1, 0]


@pytest.mark.alone  # it is about the machine
async def test_a_machine_that_runs_has_its_ticks(machine: Machine) -> None:
    """Whether it stands still meanwhile or not."""
    with pytest.raises(trio.TooSlowError), machine.limit(0.3):
        await trio.sleep_forever()
