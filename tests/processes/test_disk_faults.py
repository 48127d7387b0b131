"""Disks that fail, fill up, or are slow, below one process of a group that is used: it goes on, and nothing is lost.

DEATHS=n in the environment has a process die within the first change to its disk, the second, and so on up to the n-th;
without it, within some of the first hundred.
"""

from __future__ import annotations

import errno
import os
import random
import statistics
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio
from disks import ADVICE, FAILURES, Disk
from load import under_load
from rig import PATIENCE_SECONDS_MAX, Rig, open_rig, tell, until
from stalls import Machine
from store import Store
from wanted import count_wanted
from wires import around, parted

from broadcast import connect
from broadcast.cli._process import ReplicaEnded

DEATHS = count_wanted("DEATHS", 0)
NUMBERS = range(1, DEATHS + 1) if DEATHS else random.Random(29).sample(range(1, 101), 4)
ELECTION_TIMEOUT = 0.5  # seconds: what `Limits` says unless told otherwise
SYNC_MS = 5
POWER_CUTS = 4
ROUNDS, COMMANDS = 4, 20  # of comparing a slow disk with a healthy one, and in each of them
SMALL_SIZE = 4 * 2**20  # bytes of a disk without room for a journal made beforehand
ROOM_SIZE = 32 * 1024  # bytes that are left on it when it is to become full
FULL = "the disk takes nothing at present"


@asynccontextmanager
async def started(library: Path, at: Path, sync_ms: int = 0) -> AsyncGenerator[Rig]:
    async with open_rig("store:Store", library, at) as rig:
        for member in rig.members.values():
            member.sync_ms = sync_ms
        await rig.start()
        yield rig


# -- failing (T32) ---------------------------------------------------------------------------------------------------

TROUBLES: tuple[tuple[str, object], ...] = (
    ("fail-sync", "once"),  # and then it says that all is well
    ("fail-sync", ""),
    ("fail-write", errno.EIO),
    ("fail-write", errno.EROFS),
)


async def test_a_disk_that_fails_ends_its_process_and_the_group_goes_on(library: Path, tmp_path: Path) -> None:
    chance = random.Random(32)
    async with started(library, tmp_path) as rig, under_load(rig, chance) as load:
        for number, (fault, value) in enumerate(TROUBLES):
            victim = rig.followers[0] if number % 2 else rig.leader
            with victim.disk.going_wrong(fault, value):
                why = await victim.wait_ended()
            assert why.startswith(FAILURES), why
            assert str(victim.disk.data) in why
            assert any(advice in why for advice in ADVICE), why
            await load.answers(20)
            victim.disk.lose_power(number if number % 2 else None)
            await victim.start()


async def test_writes_that_are_cut_short_are_gone_on_with(library: Path, tmp_path: Path) -> None:
    async with started(library, tmp_path) as rig, under_load(rig, random.Random(33)) as load:
        victim = rig.leader
        with victim.disk.going_wrong("short-writes"):
            await load.answers(50)
            await victim.kill()
            victim.disk.lose_power()
            await victim.start()
            await load.answers(50)
        await victim.kill()


# -- full (T32) ------------------------------------------------------------------------------------------------------


@contextmanager
def mounted(disk: Disk) -> Generator[Callable[[], AbstractContextManager[None]]]:
    """A small file system in memory. What is yielded makes it full, for as long as its context lasts."""
    disk.data.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_SIZE}", "troupe", str(disk.data)]
    subprocess.run(mount, check=True, capture_output=True)

    @contextmanager
    def full() -> Generator[None]:
        filler, found = disk.data / "filler", os.statvfs(disk.data)
        try:
            with suppress(OSError):  # there is less room by now: it is full all the same
                filler.write_bytes(bytes(max(0, found.f_bavail * found.f_bsize - ROOM_SIZE)))
            yield
        finally:
            filler.unlink()

    try:
        yield full
    finally:
        subprocess.run(["umount", "--lazy", str(disk.data)], check=True)


@contextmanager
def limited(disk: Disk) -> Generator[Callable[[], AbstractContextManager[None]]]:
    """The same, as the library below the process has it."""
    with disk.going_wrong("limit", SMALL_SIZE):
        yield lambda: disk.going_wrong("limit", disk.size + ROOM_SIZE)


def may_mount(disk: Disk) -> bool:
    try:
        with mounted(disk):
            return True
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        print(f"nothing can be mounted here: the library's limit instead ({error})", file=sys.stderr)
        return False


@pytest.mark.parametrize("is_mounted", [True, False], ids=["tmpfs", "limit"])
async def test_a_full_disk_takes_part_again_once_there_is_room(library: Path, tmp_path: Path, is_mounted: bool) -> None:
    """Where nothing may be mounted, the library's limit takes the place of the file system in memory."""
    async with open_rig("store:Store", library, tmp_path) as rig:
        victim = rig["a"]
        if is_mounted and may_mount(victim.disk):
            victim.disk = Disk(None, victim.disk.data)
            small = mounted(victim.disk)
        else:
            small = limited(victim.disk)
        with small as full:
            await rig.start()
            async with under_load(rig, random.Random(16)) as load:
                with full():
                    await until(lambda: FULL in victim.process.log.read_text())
                    await load.answers(50)
                    await until(lambda: rig.leader is not victim)
                    assert victim.process.ended is None
                await load.answers(50)
            await victim.kill()


# -- slow (T33) ------------------------------------------------------------------------------------------------------


@pytest.mark.alone  # seconds are judged
async def test_a_leader_whose_disk_hangs_is_replaced_and_does_not_lead_while_it_does(
    library: Path, tmp_path: Path, machine: Machine
) -> None:
    async with started(library, tmp_path) as rig, under_load(rig, random.Random(17)) as load:
        slow, other, before = rig.leader, rig.followers[0], rig.epoch
        with slow.disk.going_wrong("slow-sync", 30_000):
            with machine.limit(5 * ELECTION_TIMEOUT):
                after = await other.process.wait_view(after_epoch=before)
                while after.leader == slow.name:  # it had been elected once more, just before
                    after = await other.process.wait_view(after_epoch=after.epoch)
            began = trio.current_time()
            with trio.move_on_after(6 * ELECTION_TIMEOUT):
                while True:
                    with machine.limit(5 * ELECTION_TIMEOUT):
                        await load.answers(1)
                    assert rig.leader is not slow
            assert after.leader == rig.leader.name or machine.stalls_since(began)
        await load.answers(20)
        with slow.disk.going_wrong("slow-sync", 200):
            await load.answers(50)


@pytest.mark.alone  # seconds are judged
async def test_a_follower_whose_disk_is_slow_costs_nothing(library: Path, tmp_path: Path) -> None:
    """Beside the same follower's healthy disk, by turns: whatever else the machine does costs both of them time."""
    async with started(library, tmp_path, SYNC_MS) as rig:
        async with connect("group", Store, members=rig.addresses) as client:

            async def seconds_of_each(count: int) -> list[float]:
                seconds: list[float] = []
                for value in range(count):
                    begun = trio.current_time()
                    await client.ask(Store.write, "key", value)
                    seconds.append(trio.current_time() - begun)
                return seconds

            usual: list[float] = []
            slow: dict[int, list[float]] = {200: [], 30_000: []}
            with trio.fail_after(PATIENCE_SECONDS_MAX):
                for milliseconds, seconds in [*slow.items()] * ROUNDS:
                    usual += await seconds_of_each(COMMANDS)
                    with rig.followers[0].disk.going_wrong("slow-sync", milliseconds):
                        seconds += await seconds_of_each(COMMANDS)
            for seconds in slow.values():
                assert statistics.median(seconds) <= 2 * statistics.median(usual)
        assert await rig.wrongs() == []


# -- death in the midst of it (T29) ----------------------------------------------------------------------------------


async def test_a_process_that_dies_in_the_midst_of_a_change_starts_again_and_nothing_is_lost(
    library: Path, tmp_path: Path
) -> None:
    """Of a leader and of a follower, in turns; while it is used, and while it starts."""
    chance = random.Random(29)
    async with started(library, tmp_path) as rig, under_load(rig, chance):
        for turn, number in enumerate(NUMBERS):
            victim = rig.followers[0] if turn % 2 else rig.leader
            if turn % 4 > 1:
                await victim.kill()
            with victim.disk.going_wrong("die", f"{number} {chance.randrange(2**20)}"):
                if victim.process.pid is None:
                    with suppress(ReplicaEnded):
                        await victim.start()
                assert "status -9" in await victim.wait_ended(), number
            tell(f"{victim.name} died within change {number}, and starts again")
            if turn % 3 == 0:
                victim.disk.lose_power(turn)
            await victim.start()


# -- power cuts of one (T30; of all: `test_powercut_group.py`) -------------------------------------------------------


async def test_power_cuts_of_one_at_a_time_lose_nothing(library: Path, tmp_path: Path) -> None:
    """Of the leader and of a follower, in turns; every other one tears what was not synced, the rest take all of it."""
    async with started(library, tmp_path, SYNC_MS) as rig, under_load(rig, random.Random(30)) as load:
        for turn in range(POWER_CUTS):
            victim = rig.followers[0] if turn % 2 else rig.leader
            await load.answers(turn)
            await victim.kill()
            victim.disk.lose_power(turn if turn % 4 > 1 else None)
            await load.answers(5)
            await victim.start()


# -- power cut of one of an ack quorum, and isolation of the node that was not in it (T31) ---------------------------


@pytest.mark.parametrize("is_lying", [False, True], ids=["synced", "lying"])
async def test_what_two_acknowledged_is_not_lost_by_one_that_forgets_and_one_that_never_had_it(
    library: Path, tmp_path: Path, is_lying: bool
) -> None:
    """A disk whose syncs do nothing loses it, and this test sees it."""
    async with started(library, tmp_path, SYNC_MS) as rig:
        answered: dict[str, int] = {}
        leader, (alone, forgets) = rig.leader, rig.followers
        await forgets.kill()
        forgets.lying = is_lying
        await forgets.start()
        with parted(around(rig.wires, alone.name)), trio.fail_after(PATIENCE_SECONDS_MAX):
            async with connect("group", Store, members=rig.addresses) as client:
                for number in range(50):
                    await client.ask(Store.write, f"key {number}", number)
                    answered[f"key {number}"] = number
                forgets.process.kill()
                await forgets.process.wait_ended()
        with parted(around(rig.wires, leader.name)), trio.fail_after(PATIENCE_SECONDS_MAX):  # before anybody runs
            forgets.disk.lose_power()
            await forgets.start()
            held = await alone.read("linearizable", "everything")
        if is_lying:
            assert held != answered
        else:
            assert held == answered
            assert await rig.wrongs() == []
