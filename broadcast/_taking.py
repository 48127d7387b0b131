"""Taking snapshots of a machine, one at a time (rule 11).

A small state is encoded at once, between two batches. A large one is encoded by a forked child, so that this process
stops for no longer than the fork takes. Where a snapshot cannot be taken nothing is lost: the log stays as it is, and
the next marker is another occasion.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec
import trio

from broadcast._capture import Placed
from broadcast._errors import CannotCapture
from broadcast._forked import Child, ChildFailed, end_unless_wanted, while_wanted
from broadcast._log import log
from broadcast._protocol.snapshots import Snapshot
from broadcast._storage import DiskFailed, DiskFull, Draft, Snapshots, Written

AT_ONCE_SIZE_MAX = 2**20  # bytes of a state that is encoded in this process
WHY_SIZE_MAX = 400  # characters of what a child says went wrong
CHILD_SECONDS_MAX = 600.0  # that a child may take at least, however small the state
CHILD_SPEED_MIN = 2**20  # bytes of the state per second: who writes less has more than that against it


class Capturable(Placed, Protocol):
    """What a snapshot is taken of."""

    def capture(self) -> Iterator[bytes]:
        """Its bytes, made as they are taken: it must not change meanwhile. Raises `CannotCapture`."""
        ...


class _Answer(msgspec.Struct, array_like=True):
    """Of a child. trouble: what was raised, if anything, by the table below; why: what that says."""

    size: int = 0
    digest: bytes = b""
    trouble: str = ""
    why: str = ""


_TROUBLES: dict[str, type[Exception]] = {kind.__name__: kind for kind in (DiskFull, DiskFailed, CannotCapture)}
_PASSING = (DiskFull, CannotCapture, ChildFailed, OSError)
"""What keeps a snapshot from being taken, and the replica from nothing. (A process that cannot be had: OSError.)"""


@dataclass(slots=True)
class _Work:
    """A snapshot on its way. describe: what it is of, once its size and digest are known."""

    draft: Draft
    describe: Callable[[Written], Snapshot]
    began: float
    source: list[bytes] | Child


class Taking:
    """Takes snapshots for one replica. `run` it; `begin` one; `taken` is called when it is there, whatever happens.

    failed: called when the disk is of no further use.
    """

    def __init__(
        self,
        group: str,
        files: Snapshots,
        size: int,
        taken: Callable[[Snapshot], None],
        failed: Callable[[DiskFailed], None],
        uncapturable: Callable[[str], None],
    ) -> None:
        """`size`: of the state, about, in bytes. uncapturable: called with the reason, where it is in the state."""
        self._group = group
        self._files = files
        self._size = size
        self._taken = taken
        self._failed = failed
        self._uncapturable = uncapturable
        self._work: _Work | None = None
        self._begun = trio.Event()
        self._idle = trio.lowlevel.ParkingLot()
        self._ended = False

    def grew(self, size: int) -> None:
        """So many bytes of commands were applied: the state may be that much larger."""
        self._size += size

    def begin(self, machine: Capturable) -> None:
        """Take one of the machine as it is, unless one is under way."""
        if self._work is not None or self._ended:
            return
        position, moment, stamp, agreed = machine.position, machine.time, machine.stamp, machine.agreed
        work = _Work(
            self._files.draft(),
            lambda written: Snapshot(position, moment, stamp, agreed, written.size, written.digest),
            time.monotonic(),
            [],
        )
        try:
            pieces = self._at_once(machine)
            if pieces is None:
                work.source = Child(partial(_in_child, work.draft, machine, os.getpid()))
            elif self._files.blocks:
                work.source = pieces
            else:
                self._keep(self._write(work, pieces), work)
                return
        except _PASSING as error:
            self._tell(error)
            return
        self._work = work
        self._begun.set()

    def _at_once(self, machine: Capturable) -> list[bytes] | None:
        """All of it, if that is not too much to be done here."""
        size_max = AT_ONCE_SIZE_MAX if self._files.blocks else None
        if size_max is not None and self._size > size_max:
            return None
        pieces: list[bytes] = []
        size = 0
        for piece in machine.capture():
            pieces.append(piece)
            size += len(piece)
            if size_max is not None and size > size_max:
                return None
        return pieces

    async def wait_idle(self) -> None:
        """Until none is under way."""
        while self._work is not None and not self._ended:
            await self._idle.park()

    async def run(self) -> None:
        """See to what was begun, until cancelled."""
        try:
            while True:
                await self._begun.wait()
                self._begun = trio.Event()
                if self._work is not None:
                    await self._finish(self._work)
                    self._work = None
                    self._idle.unpark_all()
        finally:
            self._ended = True
            self._idle.unpark_all()
            if self._work is not None and isinstance(self._work.source, Child):
                await self._work.source.kill()

    async def _finish(self, work: _Work) -> None:
        try:
            try:
                if isinstance(work.source, Child):
                    written = _opened(await self._answer(work.source))
                    self._keep(await trio.to_thread.run_sync(self._name, work, written), work)
                else:
                    self._keep(await trio.to_thread.run_sync(self._write, work, work.source), work)
            except _PASSING as error:
                self._tell(error)
                await trio.to_thread.run_sync(work.draft.discard)
        except DiskFailed as error:
            self._failed(error)

    async def _answer(self, child: Child) -> bytes:
        """What it says. One that hangs in the user's own code is ended: it would be in the way of all others."""
        seconds = max(CHILD_SECONDS_MAX, self._size / CHILD_SPEED_MIN)
        with trio.move_on_after(seconds):
            return await child.wait()
        raise ChildFailed(f"the process that was to do it was at it for more than {seconds:.0f} s, and was ended")

    def _write(self, work: _Work, pieces: Iterable[bytes]) -> Snapshot:
        return self._name(work, work.draft.write(pieces))

    def _name(self, work: _Work, written: Written) -> Snapshot:
        snapshot = work.describe(written)
        self._files.finish(work.draft, snapshot)
        return snapshot

    def _keep(self, snapshot: Snapshot, work: _Work) -> None:
        self._size = snapshot.size
        seconds = round(time.monotonic() - work.began, 3)
        log.info("snapshot taken", group=self._group, index=snapshot.index, bytes=snapshot.size, seconds=seconds)
        self._taken(snapshot)

    def _tell(self, error: Exception) -> None:
        log.warning("no snapshot could be taken: the log stays as it is", group=self._group, reason=str(error))
        if isinstance(error, CannotCapture):
            self._uncapturable(str(error))


def _in_child(draft: Draft, machine: Capturable, parent: int) -> bytes:
    """Write it all, and say what came of it."""
    end_unless_wanted(parent)  # before there is a file that nobody would remove
    try:
        answer = _Answer(*draft.write(while_wanted(machine.capture(), parent)))
    except tuple(_TROUBLES.values()) as error:
        answer = _Answer(trouble=type(error).__name__, why=str(error)[:WHY_SIZE_MAX])
    return msgspec.msgpack.encode(answer)


def _opened(data: bytes) -> Written:
    """The reverse; raises what was raised in the child."""
    answer = msgspec.msgpack.decode(data, type=_Answer)
    if answer.trouble:
        raise _TROUBLES[answer.trouble](answer.why)
    return Written(answer.size, answer.digest)
