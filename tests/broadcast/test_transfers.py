"""Snapshots on their way: what came is what it was said to be, nothing goes on without a pause, and what is told."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import msgspec
import pytest
import trio
from machine_scene import Scene, begun, calls
from structlog.testing import capture_logs
from trio.testing import MockClock

from actors import Actor, command
from actors._interface import Interface
from broadcast import _transfers as transfers
from broadcast._errors import CannotRestore
from broadcast._machine import Machine
from broadcast._protocol.output import Input, Load, Loaded, LoadFailed, PartRead, PartStored, ReadPart, StorePart
from broadcast._protocol.position import START, Position
from broadcast._protocol.snapshots import Snapshot
from broadcast._simulation.archive import Archive
from broadcast._simulation.options import Options
from broadcast._simulation.world import World
from broadcast._snapshots import Pieces, SnapshotKeeper
from broadcast._storage import DiskFull, MemorySnapshots, Stored, digest_of
from broadcast._transfers import Unable
from membership._protocol.configurations import Agreed
from membership._protocol.view import Configuration, Member, Promise

OTHERS = Agreed.formed(Configuration((Member("x", b"x" * 16),)))
CHANGES: dict[str, dict[str, object]] = {
    "position": {"position": Position(7, 3)},
    "log time": {"time": 99},
    "stamp": {"stamp": 98},
    "members": {"agreed": OTHERS},
}


class Purse(Actor):
    def __init__(self) -> None:
        self.coins = 0

    @command
    def put(self, count: int) -> None:
        self.coins += count


def restored(pieces: Pieces) -> Machine[Purse]:
    return Machine.restored(Purse, Interface.of(Purse), lambda after, last: (), pieces)


def made_of(snapshot: Snapshot, pieces: Pieces) -> Machine[Purse]:
    return restored(pieces)


def captured(**changes: object) -> tuple[Snapshot, bytes]:
    """A snapshot, and its content, of which the header differs by these."""
    scene: Scene[Purse] = begun(Purse)
    scene.apply(calls(1, ["put", 3]))
    machine = scene.machine
    content = b"".join(machine.capture())
    held = Snapshot(machine.position, machine.time, machine.stamp, machine.agreed, len(content), digest_of([content]))
    return msgspec.structs.replace(held, **changes), content


class Rig:
    """What keeps snapshots for a replica, and what it tells its core. told: that, and how long after the start."""

    def __init__(self, files: MemorySnapshots) -> None:
        self.told: list[tuple[Input, float]] = []
        self.came = trio.lowlevel.ParkingLot()
        self.failed: list[Unable] = []
        self.keeper = SnapshotKeeper[Purse]("purses", files, made_of, self._tell, self.failed.append)
        self._began = trio.current_time()

    def _tell(self, given: Input) -> None:
        self.told.append((given, trio.current_time() - self._began))
        self.came.unpark_all()

    async def heard(self, count: int) -> list[Input]:
        while len(self.told) < count:
            await self.came.park()
        return [given for given, _ in self.told]


@asynccontextmanager
async def rig(files: MemorySnapshots) -> AsyncGenerator[Rig]:
    made = Rig(files)
    await made.keeper.open(Stored(b"s" * 16, None, Promise(), []))
    async with trio.open_nursery() as nursery:
        for task in made.keeper.tasks:
            nursery.start_soon(task)
        yield made
        assert made.failed == []
        nursery.cancel_scope.cancel()


def came(keeper: SnapshotKeeper[Purse], snapshot: Snapshot, content: bytes) -> None:
    keeper.perform(StorePart(snapshot, 0, content))
    keeper.perform(Load(snapshot))


async def test_what_is_what_it_was_said_to_be_is_loaded() -> None:
    snapshot, content = captured()
    async with rig(MemorySnapshots()) as it:
        came(it.keeper, snapshot, content)
        assert await it.heard(2) == [PartStored(snapshot.position, len(content)), Loaded(snapshot.position)]


@pytest.mark.parametrize("part", CHANGES)
async def test_what_is_not_is_no_state_for_this_replica(autojump_clock: MockClock, part: str) -> None:
    snapshot, content = captured(**CHANGES[part])
    async with rig(MemorySnapshots()) as it:
        came(it.keeper, snapshot, content)
        _, failed = await it.heard(2)
        assert isinstance(failed, LoadFailed)
        assert f"was said to have another {part} than what it holds" in failed.why


@pytest.mark.parametrize("part", CHANGES)
async def test_no_replica_begins_with_a_state_that_is_not_what_its_disk_says(part: str) -> None:
    files = MemorySnapshots()
    snapshot, content = captured(**CHANGES[part])
    files.whole[snapshot.position] = content
    keeper = SnapshotKeeper[Purse]("purses", files, made_of, lambda given: None, lambda error: None)
    with pytest.raises(CannotRestore, match=f"another {part} than"):
        await keeper.open(Stored(b"s" * 16, None, Promise(), [], snapshot=snapshot, start=START))


@pytest.mark.parametrize("part", [None, *CHANGES])
def test_the_simulator_does_so_too(part: str | None) -> None:
    snapshot, content = captured(**CHANGES[part] if part else {})

    class Disk:
        full = False
        snapshots = MemorySnapshots()

    def restore(snapshot: Snapshot) -> Machine[Any]:
        return restored(partial(Disk.snapshots.pieces, snapshot))

    told: list[Input] = []
    world = World(random.Random(1), Options())
    guard: Callable[[Callable[[], None]], Callable[[], None]] = lambda action: action  # noqa: E731
    archive = Archive(world, cast(Any, Disk()), guard, told.append, restore, lambda snapshot: None)
    archive.perform(StorePart(snapshot, 0, content))
    archive.perform(Load(snapshot))
    world.schedule.run(10**9)
    assert isinstance(told[-1], LoadFailed if part else Loaded)
    assert (archive.loaded is None) == (part is not None)


# -- pauses -----------------------------------------------------------------------------------------------------------


class FullFiles(MemorySnapshots):
    """No room: for parts, or for the last of it."""

    def __init__(self, for_parts: bool) -> None:
        super().__init__()
        self._for_parts = for_parts

    def store(self, snapshot: Snapshot, offset: int, data: bytes) -> int:
        if self._for_parts:
            raise DiskFull("no room")
        return super().store(snapshot, offset, data)

    def complete(self, snapshot: Snapshot) -> None:
        raise DiskFull("no room")


async def test_what_finds_no_room_or_is_of_no_use_begins_anew_after_a_pause(autojump_clock: MockClock) -> None:
    """The answer to it is what it begins anew upon."""
    snapshot, content = captured()
    async with rig(FullFiles(for_parts=True)) as it:
        it.keeper.perform(StorePart(snapshot, 0, content))
        await it.heard(1)
        assert it.told == [(PartStored(snapshot.position, 0), pytest.approx(transfers.PAUSE_SECONDS))]
    async with rig(FullFiles(for_parts=False)) as it:
        came(it.keeper, snapshot, content)
        await it.heard(2)
        assert it.told[1] == (LoadFailed(snapshot.position, "no room"), pytest.approx(transfers.PAUSE_SECONDS))
    async with rig(MemorySnapshots()) as it:
        came(it.keeper, snapshot, content[:-1] + b"?")
        await it.heard(2)
        assert it.told[1][1] == pytest.approx(transfers.PAUSE_SECONDS)


# -- what is told -----------------------------------------------------------------------------------------------------


async def test_that_it_was_sent_is_told_once_for_each_who_gets_it() -> None:
    files = MemorySnapshots()
    snapshot, content = captured()
    other = msgspec.structs.replace(snapshot, position=Position(1, 9))
    with capture_logs() as logs:
        async with rig(files) as it:
            files.whole = {snapshot.position: content, other.position: content}
            for to, each in (("b", snapshot), ("b", snapshot), ("c", snapshot), ("b", snapshot), ("b", other)):
                it.keeper.perform(ReadPart(to, each, 0, len(content)))
            assert all(isinstance(given, PartRead) for given in await it.heard(5))
    assert [(each["to"], each["index"]) for each in logs if each["event"] == "snapshot sent"] == [
        ("b", 3),
        ("c", 3),
        ("b", 9),
    ]
