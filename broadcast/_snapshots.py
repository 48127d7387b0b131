"""The snapshots of one replica: when one is taken, which one counts, and what becomes of those that come (rule 11)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Generic, TypeVar

import trio

from actors._actor import Actor
from actors._protocol.errors import invariant
from broadcast._capture import check_header
from broadcast._errors import CannotRestore
from broadcast._large import aside
from broadcast._log import log
from broadcast._machine import Machine
from broadcast._protocol.output import Input, Persist, SnapshotTaken, Transfer, Uncapturable
from broadcast._protocol.position import Batch
from broadcast._protocol.snapshots import Snapshot
from broadcast._storage import Snapshots, Stored
from broadcast._taking import AT_ONCE_SIZE_MAX, Taking
from broadcast._transfers import Transfers, Unable, in_thread

A = TypeVar("A", bound=Actor)

LAST_SECONDS_MAX = 5.0  # that a clean stop takes for its snapshot

Pieces = Callable[[], Iterator[bytes]]
"""Gives a snapshot's bytes, from their beginning at each call."""


class SnapshotKeeper(Generic[A]):
    """What a replica has to do with snapshots. Run `tasks`."""

    def __init__(
        self,
        group: str,
        files: Snapshots,
        make: Callable[[Snapshot, Pieces], Machine[A]],
        give: Callable[[Input], None],
        failed: Callable[[Unable], None],
    ) -> None:
        """make: a machine of a snapshot's bytes; for another thread. give: hand an input to the core."""
        self._group = group
        self._files = files
        self._make = make
        self._give = give
        self._machine: Machine[A] | None = None
        self._newest: Snapshot | None = None
        """The newest that this replica has taken, or was given: an undo begins there, or later."""
        self._asked: Snapshot | None = None
        """The one that the disk names, or will once it is done with what it was asked for."""
        self._writing: list[tuple[int, Snapshot]] = []  # number of a write, and the one that the disk names after it
        self._taking = Taking(group, files, 0, self._taken, failed, lambda why: give(Uncapturable(why)))
        self._transfers = Transfers[A](group, files, self._load, give, failed)
        self._progressed = trio.lowlevel.ParkingLot()

    @property
    def tasks(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """To be run until the replica ends."""
        return self._taking.run, self._transfers.read_parts, self._transfers.keep_parts

    async def open(self, stored: Stored) -> None:
        """Make a machine of the snapshot that the disk names, if it does.

        Raises DiskDamaged, CannotRestore, Outdated.
        """
        await in_thread(self._files, self._files.begin, stored.snapshot)
        self._newest = self._asked = stored.snapshot
        if stored.snapshot is not None:
            try:
                self._machine = await in_thread(self._files, self._load, stored.snapshot)
            except CannotRestore as error:
                raise CannotRestore(
                    f"group {self._group}: this replica cannot begin with its snapshot at index "
                    f"{stored.snapshot.index}: {error}. Start it with the class that the snapshot was taken of, or a "
                    "later one that restores what that left; or remove this member, and add it again with an empty "
                    "data directory"
                ) from error
            self._taking.grew(stored.snapshot.size)

    @property
    def machine(self) -> Machine[A] | None:
        """The one that was applied to last, or made of a snapshot."""
        return self._machine

    def close(self) -> None:
        self._files.close()

    def _load(self, snapshot: Snapshot) -> Machine[A]:
        with aside() if snapshot.size > AT_ONCE_SIZE_MAX else nullcontext():
            machine = self._make(snapshot, partial(self._files.pieces, snapshot))
        check_header(machine, snapshot)
        return machine

    # -- taking ----------------------------------------------------------------------------------------------------

    def applied(self, batch: Batch, machine: Machine[A]) -> None:
        """The machine has just applied this, and nothing since."""
        self._machine = machine
        self._taking.grew(batch.size)
        if machine.at_marker:
            self._taking.begin(machine)

    def _taken(self, snapshot: Snapshot) -> None:
        if self._machine is not None and snapshot.index > (self._newest.index if self._newest else 0):
            self._newest = snapshot
            self._machine.snapshot_taken(snapshot.index, snapshot.size, partial(self._files.pieces, snapshot))
            self._give(SnapshotTaken(snapshot))

    async def take_last(self) -> None:
        """Before a clean stop: take one of all that was applied, if there is time, so that the next start is short.

        In memory that would be of no use to anybody.
        """
        machine = self._machine
        if machine is None or not self._files.blocks:
            return
        with trio.move_on_after(LAST_SECONDS_MAX, shield=True):
            await self._taking.wait_idle()
            if self._newest is None or machine.applied > self._newest.index:
                self._taking.begin(machine)
                await self._taking.wait_idle()
            while self._asked != self._newest:  # until all of the log up to it is on this disk
                await self._progressed.park()

    # -- what the core asks for ------------------------------------------------------------------------------------

    def perform(self, transfer: Transfer) -> None:
        """A part to be read or kept, or a state to be made of all of them."""
        self._transfers.perform(transfer)

    def install(self, snapshot: Snapshot) -> Machine[A]:
        """The machine that was made of this one, which takes the place of the one that there is."""
        machine = self._transfers.take_loaded()
        invariant(machine.applied == snapshot.index, "what is installed was loaded", index=snapshot.index)
        if self._machine is not None:
            self._transfers.give_up(self._machine.actor)
        self._machine, self._newest = machine, snapshot
        seconds = round(time.monotonic() - self._transfers.began, 3)
        log.info("snapshot installed", group=self._group, index=snapshot.index, bytes=snapshot.size, seconds=seconds)
        return machine

    def asked(self, persist: Persist) -> None:
        """The disk was asked for this."""
        if persist.snapshot is not None:
            self._asked = persist.snapshot
            self._writing.append((persist.number, persist.snapshot))
            self._progressed.unpark_all()

    def written(self, number: int, in_use: tuple[Snapshot, ...]) -> None:
        """All up to that write is done: what is older than the snapshot that the disk names now may go."""
        done = [snapshot for asked, snapshot in self._writing if asked <= number]
        if done:
            self._writing = [each for each in self._writing if each[0] > number]
            self._transfers.retain(done[-1], in_use)
