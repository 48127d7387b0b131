"""What a process does with snapshots, as the real shell does it: writes them, reads and keeps their parts, loads them.

Each of these takes a while, and a process that dies meanwhile has not done it. A part may come off the disk with a bit
flipped: that must be found where it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from broadcast._capture import check_header
from broadcast._errors import CannotRestore
from broadcast._machine import Machine
from broadcast._protocol.output import (
    Input,
    Load,
    Loaded,
    LoadFailed,
    PartRead,
    PartStored,
    ReadPart,
    SnapshotTaken,
    StorePart,
    Transfer,
)
from broadcast._protocol.snapshots import Snapshot
from broadcast._simulation.disk import Disk
from broadcast._simulation.world import World
from broadcast._storage import Draft, SnapshotBroken

ROTTEN = 0.02  # chance that a part which is read is not what was written, where disks may be damaged

Guard = Callable[[Callable[[], None]], Callable[[], None]]
"""Makes of something to do what does nothing once the process has ended."""
Restore = Callable[[Snapshot], Machine[Any]]
"""A machine at what a snapshot of its disk holds. Raises `DiskDamaged`, `CannotRestore`."""


class Archive:
    """Of one life of a process. give: what its core is given. taken: who looks on."""

    def __init__(
        self,
        world: World,
        disk: Disk,
        guard: Guard,
        give: Callable[[Input], None],
        restore: Restore,
        taken: Callable[[Snapshot], None],
    ) -> None:
        self.loaded: Machine[Any] | None = None
        """What was loaded last."""
        self._world = world
        self._disk = disk
        self._guard = guard
        self._give = give
        self._restore = restore
        self._taken = taken
        self._is_writing = False
        self._free_at = 0  # parts are read and kept one after the other

    def _after_a_while(self, action: Callable[[], None]) -> None:
        latency = self._world.options.disk_latency
        self._world.schedule.after(1 + self._world.chance.randrange(4 * latency), self._guard(action))

    def _in_turn(self, action: Callable[[], None]) -> None:
        latency = self._world.options.disk_latency
        self._free_at = max(self._free_at, self._world.now) + 1 + self._world.chance.randrange(latency)
        self._world.schedule.at(self._free_at, self._guard(action))

    # -- taking ----------------------------------------------------------------------------------------------------

    def take(self, machine: Machine[Any]) -> None:
        """Of what was just applied, unless one is being written already."""
        if not self._is_writing:
            self._is_writing = True
            draft = self._disk.snapshots.draft()
            written = draft.write(machine.capture())
            snapshot = Snapshot(
                machine.position, machine.time, machine.stamp, machine.agreed, written.size, written.digest
            )
            self._after_a_while(partial(self._finish, machine, draft, snapshot))

    def _finish(self, machine: Machine[Any], draft: Draft, snapshot: Snapshot) -> None:
        self._is_writing = False
        if not self._disk.full:
            self._disk.snapshots.finish(draft, snapshot)
            self._world.marks["snapshots taken"] += 1
            self._taken(snapshot)
            machine.snapshot_taken(snapshot.index, snapshot.size, partial(self._disk.snapshots.pieces, snapshot))
            self._give(SnapshotTaken(snapshot))

    # -- transfers -------------------------------------------------------------------------------------------------

    def perform(self, transfer: Transfer) -> None:
        """What the core asks for."""
        match transfer:
            case ReadPart():
                self._in_turn(partial(self._read, transfer))
            case StorePart():
                self._in_turn(partial(self._store, transfer))
            case Load():
                self._in_turn(partial(self._load, transfer.snapshot))

    def _read(self, asked: ReadPart) -> None:
        data = self._disk.snapshots.read(asked.snapshot, asked.offset, asked.size)
        if data and self._world.options.damaged_disks and self._world.strikes(ROTTEN):
            data = bytes([data[0] ^ 1]) + data[1:]
            self._world.marks["rotten parts of snapshots"] += 1
        self._give(PartRead(asked.to, asked.snapshot.position, asked.offset, data))

    def _store(self, asked: StorePart) -> None:
        size = 0 if self._disk.full else self._disk.snapshots.store(asked.snapshot, asked.offset, asked.data)
        self._give(PartStored(asked.snapshot.position, size))

    def _load(self, snapshot: Snapshot) -> None:
        try:
            self._disk.snapshots.complete(snapshot)
            loaded = self._restore(snapshot)
            check_header(loaded, snapshot)
        except (SnapshotBroken, CannotRestore) as error:
            self._world.marks["snapshots found broken"] += 1
            self._give(LoadFailed(snapshot.position, str(error)))
            return
        self.loaded = loaded
        self._give(Loaded(snapshot.position))
