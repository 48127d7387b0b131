"""Snapshots on their way: parts read for others, parts kept that come from another, and a state made of all of them.

What is read and what comes are two lines of work, each in its order: making a state takes seconds, and whoever waits
for a part of ours must not wait for that. Nothing of it is done in the thread that Trio runs in.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

import trio

from actors._actor import Actor
from actors._protocol.errors import violated
from broadcast._errors import CannotRestore, Outdated
from broadcast._large import give_up
from broadcast._log import log
from broadcast._machine import Machine
from broadcast._protocol.output import (
    Input,
    Load,
    Loaded,
    LoadFailed,
    PartRead,
    PartStored,
    ReadPart,
    StorePart,
    Transfer,
)
from broadcast._protocol.position import Position
from broadcast._protocol.snapshots import Snapshot
from broadcast._storage import DiskDamaged, DiskFailed, DiskFull, SnapshotBroken, Snapshots

A = TypeVar("A", bound=Actor)
P = ParamSpec("P")
T = TypeVar("T")

PAUSE_SECONDS = 1.0  # after one that could not be used, or found no room: else it would begin anew at once, and so on
_UNUSABLE = (SnapshotBroken, DiskDamaged, DiskFull, CannotRestore)
"""Why no state could be made of what came, though this replica is as good as before."""

Unable = DiskFailed | DiskDamaged | Outdated
"""Why this replica cannot go on."""


@dataclass(frozen=True, slots=True)
class _Retain:
    """Files to be removed: the older ones, but for those in use."""

    newest: Snapshot
    in_use: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True)
class _GiveUp:
    """The state of an actor that nobody uses any more."""

    actor: Actor


class _Line:
    """Work that is done in its order."""

    def __init__(self) -> None:
        self.waiting = deque[Transfer | _Retain | _GiveUp]()
        self.came = trio.Event()

    def add(self, work: Transfer | _Retain | _GiveUp) -> None:
        self.waiting.append(work)
        self.came.set()


class Transfers(Generic[A]):
    """What a replica owes those who send it snapshots and those who get them. Run `read_parts` and `keep_parts`."""

    def __init__(
        self,
        group: str,
        files: Snapshots,
        load: Callable[[Snapshot], Machine[A]],
        give: Callable[[Input], None],
        failed: Callable[[Unable], None],
    ) -> None:
        """load(snapshot): a machine made of its file; for another thread. give(input): hand it to the core."""
        self._loaded: Machine[A] | None = None
        self.began = 0.0
        """When the first part came of the one that came last, on the monotonic clock, in seconds."""
        self._group = group
        self._files = files
        self._load = load
        self._give = give
        self._failed = failed
        self._reading = _Line()
        self._storing = _Line()
        self._sending: dict[str, float] = {}  # member -> when the first part was read for it
        self._sent: dict[str, Position] = {}  # member -> the one of which it was told that it was sent to it

    def take_loaded(self) -> Machine[A]:
        """What was made of the snapshot for which `Loaded` is being given: then, or never."""
        machine, self._loaded = self._loaded, None
        if machine is None:
            violated("what is installed was loaded", group=self._group)
        return machine

    def perform(self, work: Transfer) -> None:
        """Do this in its turn."""
        (self._reading if isinstance(work, ReadPart) else self._storing).add(work)

    def retain(self, newest: Snapshot, in_use: tuple[Snapshot, ...]) -> None:
        """The disk names `newest` now: remove the older ones, but for these."""
        self._storing.add(_Retain(newest, in_use))

    def give_up(self, actor: Actor) -> None:
        """This one is not used any more."""
        self._storing.add(_GiveUp(actor))

    async def read_parts(self) -> None:
        """See to what others get, until cancelled."""
        await self._serve(self._reading)

    async def keep_parts(self) -> None:
        """See to what comes and goes here, until cancelled."""
        await self._serve(self._storing)

    async def _serve(self, line: _Line) -> None:
        while True:
            await line.came.wait()
            line.came = trio.Event()
            while line.waiting:
                work = line.waiting.popleft()
                try:
                    await _WAYS[type(work)](self, work)
                except (DiskFailed, DiskDamaged, Outdated) as error:
                    self._failed(error)
                    return

    async def _read(self, asked: ReadPart) -> None:
        snapshot = asked.snapshot
        if asked.offset == 0:
            self._sending[asked.to] = time.monotonic()
            await in_thread(self._files, self._files.verify, snapshot)
        data = await in_thread(self._files, self._files.read, snapshot, asked.offset, asked.size)
        self._give(PartRead(asked.to, snapshot.position, asked.offset, data))
        if data is not None and asked.offset + len(data) == snapshot.size and asked.to in self._sending:
            seconds = round(time.monotonic() - self._sending.pop(asked.to), 3)
            if self._sent.get(asked.to) == snapshot.position:
                return  # the last part, or all of it, was sent again
            self._sent[asked.to] = snapshot.position
            facts = {"to": asked.to, "index": snapshot.index, "bytes": snapshot.size, "seconds": seconds}
            log.info("snapshot sent", group=self._group, **facts)

    async def _store(self, part: StorePart) -> None:
        snapshot = part.snapshot
        if part.offset == 0:
            self.began = time.monotonic()
        try:
            size = await in_thread(self._files, self._files.store, snapshot, part.offset, part.data)
        except DiskFull as full:
            log.warning("no room for a snapshot that comes", group=self._group, reason=str(full))
            await trio.sleep(PAUSE_SECONDS)
            size = 0
        self._give(PartStored(snapshot.position, size))

    async def _make(self, asked: Load) -> None:
        snapshot = asked.snapshot
        try:
            await in_thread(self._files, self._files.complete, snapshot)
            self._loaded = await in_thread(self._files, self._load, snapshot)
        except _UNUSABLE as error:
            await trio.sleep(PAUSE_SECONDS)
            why = error.what if isinstance(error, DiskDamaged) else str(error)
            self._give(LoadFailed(snapshot.position, why))
            return
        self._give(Loaded(snapshot.position))
        self._drop_loaded()

    def _drop_loaded(self) -> None:
        """What was loaded and not taken."""
        if self._loaded is not None:
            self.give_up(self._loaded.actor)
            self._loaded = None

    async def _remove(self, asked: _Retain) -> None:
        await in_thread(self._files, self._files.retain, asked.newest, asked.in_use)

    async def _end(self, asked: _GiveUp) -> None:
        await in_thread(self._files, give_up, asked.actor)


async def in_thread(files: Snapshots, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call this, in a thread of its own if that takes time."""
    call = partial(function, *args, **kwargs)
    if files.blocks:
        return await trio.to_thread.run_sync(call)
    await trio.lowlevel.checkpoint()
    return call()


_WAYS: dict[type, Callable[[Transfers[Any], Any], Awaitable[None]]] = {
    ReadPart: Transfers[Any]._read,  # pyright: ignore[reportPrivateUsage]
    StorePart: Transfers[Any]._store,  # pyright: ignore[reportPrivateUsage]
    Load: Transfers[Any]._make,  # pyright: ignore[reportPrivateUsage]
    _Retain: Transfers[Any]._remove,  # pyright: ignore[reportPrivateUsage]
    _GiveUp: Transfers[Any]._end,  # pyright: ignore[reportPrivateUsage]
}
