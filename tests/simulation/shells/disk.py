"""Disks that keep a record: what was made durable and when, as seen from outside all lives of a process.

A write takes its time in the writer's own thread, and its report comes later still. A process that is killed takes with
it what was not written; of the write under way all may be there, or nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import trio

from actors import DataDirectoryInUse
from broadcast._calls import open_calls
from broadcast._protocol.entries import Commands, decode_entries
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._protocol.snapshots import Snapshot
from broadcast._simulation.invariants import check
from broadcast._storage import DiskFailed, DiskFull, MemoryDisk, MemorySnapshots, Stored
from membership._protocol.view import Promise
from shells import threads

if TYPE_CHECKING:
    from pathlib import Path

    from shells.world import World

GROUP = "diary"
MARKS_AHEAD = 40  # stamps that one write of the mark covers: few, so that the gate shuts often


class Store:
    """The disk of one node, over all lives of its process.

    promise, held: the promise and the batches (by first index) that are durable. mark: the stamp reserved.
    stalled_until: writes that are under way before this moment end after it. full: there is no room.
    failing: the next write fails, and may be there or not.
    """

    wiped = False

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.promise = Promise()
        self.held: dict[int, Batch] = {}
        self.snapshot: Snapshot | None = None
        self.notes: dict[tuple[str, int], int] = {}  # of the commands that are durable: the index of their batch
        self.mark = 0
        self.incarnation = 0
        self.latency = 0.004
        self.stalled_until = 0.0
        self.full = False
        self.failing = False
        self._began: float | None = None  # the write under way
        self.owner: object = None  # who has it open
        self.identity: object = None
        self._world = world
        self._chance: Random = world.chance
        self._memory = MemoryDisk(world.chance.randbytes)
        self._done: dict[int, Persist] = {}  # by identity, which stays its own as long as it is here

    def is_durable(self, persist: Persist) -> bool:
        return id(persist) in self._done

    def open_group(self, group: str) -> Stored:
        return self._memory.open_group(group)

    @property
    def snapshots(self) -> MemorySnapshots:
        """The files of snapshots that are there; what is said of them, the log has."""
        return self._memory.snapshots(GROUP)

    @property
    def last(self) -> int:
        """The index that what is durable goes up to, without a gap from the beginning."""
        return max([self.snapshot.index if self.snapshot else 0, *(batch.last for batch in self.held.values())])

    def ends_at(self, index: int) -> bool:
        """Does what is durable have an end of a batch there?"""
        compacted = self.snapshot is not None and index <= self.snapshot.index
        return compacted or any(batch.last == index for batch in self.held.values())

    def holds(self, batch: Batch) -> bool:
        """Is this durable, as it is or in a snapshot?"""
        return (self.snapshot is not None and batch.last <= self.snapshot.index) or self.held.get(batch.first) == batch

    def write(self, writes: Sequence[tuple[str, Persist]]) -> None:
        """All of it is durable from now on."""
        self._world.note("disk", self.name, [persist.number for _, persist in writes])
        self._memory.write(writes)
        for _, persist in writes:
            self._done[id(persist)] = persist
            if persist.promise is not None:
                self.promise = persist.promise
            if persist.truncate is not None:
                self._world.marks["truncations"] += 1
                cut = persist.truncate
                self.held = {first: batch for first, batch in self.held.items() if first < cut}
                self.notes = {note: first for note, first in self.notes.items() if first < cut}
            self.snapshot = persist.snapshot or self.snapshot
            for batch in persist.batches:
                self.held[batch.first] = batch
                self.notes.update((note, batch.first) for note in _notes(batch))

    @property
    def hung_for(self) -> int:
        """How long the write under way has taken so far, in microseconds."""
        return 0 if self._began is None else int((self._world.clock.current_time() - self._began) * 1_000_000)

    def begin(self) -> None:
        self._began = self._world.clock.current_time()

    def end(self) -> None:
        self._began = None

    def take_time(self) -> None:
        """In a thread: as long as the disk takes."""
        threads.sleep(self._chance.uniform(0.0001, self.latency))
        if self.stalled_until > self._world.clock.current_time():
            threads.in_loop(self._wait_while_stalled)

    async def _wait_while_stalled(self) -> None:
        while (left := self.stalled_until - trio.current_time()) > 0:
            self._world.marks["writes that hung"] += 1
            await trio.sleep(left + self._chance.uniform(0.0001, 0.001))


def _notes(batch: Batch) -> list[tuple[str, int]]:
    """(owner, number) of the commands in a batch."""
    calls = [
        call for entry in decode_entries(batch.entries) if isinstance(entry, Commands) for call in open_calls(entry)
    ]
    return [(call[1], call[2]) for call in calls if isinstance(call, list) and call[:1] == ["note"]]


class Life:
    """Is a process there still? What it does afterwards has no effect."""

    def __init__(self) -> None:
        self.over = False


class RecordingDisk:
    """A `Disk`: one life of a process at its store. In the place of `SqliteDisk`."""

    def __init__(self, store: Store, life: Life, world: World) -> None:
        self._store = store
        self._life = life
        self._world = world
        self._open = False

    def open_group(self, group: str) -> Stored:
        store = self._store
        store.take_time()
        self._check_alive()
        check(store.owner in (None, self), "one life at a time has the disk", name=store.name)
        store.owner, self._open = self, True
        return store.open_group(group)

    def write(self, writes: Sequence[tuple[str, Persist]]) -> None:
        store, chance = self._store, self._world.chance
        check(self._open, "nothing is written to a disk that is closed", name=store.name)
        store.begin()
        store.take_time()
        store.end()
        if self._life.over:
            if chance.random() < 0.3 and not store.full and store.owner is self:
                store.write(writes)
            raise DiskFailed("its process is gone")
        if store.full:
            self._world.marks["full disks"] += 1
            raise DiskFull("no room")
        if store.failing:
            self._world.marks["failed writes"] += 1
            store.failing = False
            if chance.random() < 0.5:
                store.write(writes)
            raise DiskFailed("input/output error")
        store.write(writes)
        threads.sleep(chance.uniform(0, 0.002))  # so that much can happen between the write and its report

    def snapshots(self, group: str) -> MemorySnapshots:
        return self._store.snapshots

    def tend(self) -> None:
        pass

    def close(self) -> None:
        self._open = False
        if self._store.owner is self:
            self._store.owner = None

    def _check_alive(self) -> None:
        if self._life.over:
            raise DiskFailed("its process is gone")


class Directory:
    """The identity of a node over its lives. In the place of `DataDirectory`, with the lock and the mark of that."""

    def __init__(self, store: Store, life: Life, world: World, incarnation: int) -> None:
        self.incarnation = incarnation
        self.counter = store.mark
        self._store = store
        self._world = world
        self._life = life
        store.mark += MARKS_AHEAD

    @property
    def reserved(self) -> int:
        return self._store.mark

    @classmethod
    def open(cls, world: World, path: Path, name: str, first_incarnation: int) -> Directory:
        store, life = world.stores[name], world.lives[name]
        if store.identity is not None:
            raise DataDirectoryInUse(f"{path} is in use")
        store.take_time()
        store.incarnation = max(store.incarnation + 1, first_incarnation)
        directory = store.identity = cls(store, life, world, store.incarnation)
        return directory

    def reserve(self, mark: int) -> None:
        store = self._store
        self._world.marks["gate shut"] += 1
        store.take_time()
        if store.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if not self._life.over:
            store.mark = mark

    def close(self) -> None:
        if self._store.identity is self:
            self._store.identity = None


def directory_class(world: World) -> type:
    """What `actors._node` takes for `DataDirectory`."""
    return type("Opening", (), {"open": staticmethod(partial(Directory.open, world))})
