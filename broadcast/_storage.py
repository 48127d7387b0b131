"""What a storage is: the durable word of the groups of one node, and what can be wrong with it.

A `Disk` holds many groups and has one writer; it is used from one thread. It reads a group once, when that is
opened, and from then on only writes: the replica keeps in memory what it needs. So a storage is small.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from actors._protocol.errors import RemoteProtocolError, invariant
from broadcast._protocol.entries import check_content
from broadcast._protocol.output import Persist
from broadcast._protocol.position import START, Batch, Position
from membership._protocol.view import Formation, Promise

STORAGE_ID_SIZE = 16  # bytes


class DiskFull(Exception):
    """There was no room: the transaction was rolled back, nothing of it is there. It may be tried again."""


class DiskFailed(Exception):
    """A write or a sync failed: what is on disk is unknown, and nothing more may be acknowledged.

    Never retried (rule 25): a second sync that succeeds proves nothing about what the first one lost.
    """


class DiskDamaged(Exception):
    """A checksum or the structure says that durable data is gone or changed. It must not be served from."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}; what this disk had promised cannot be trusted any more, so it must neither vote nor "
            "answer. Move the data directory away, start with an empty one, and have the member added again "
            "(remove it, then add it, at a node that still serves)"
        )
        self.what = what


class DiskRefused(Exception):
    """Nothing is wrong with the data, but this process must not use it: in use, a copy, or newer."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What one group finds on its disk.

    storage: this disk's id for this group, 16 bytes, made when the group was first opened on it (rule 16).
    formation, promise: as last written; a group never written to has no formation and promised nothing.
    batches: the log, consecutive, the first from index 1.
    commit: the highest commit mark stored with it: up to here it was known to be committed when it was last written.
    """

    storage: bytes
    formation: Formation | None
    promise: Promise
    batches: list[Batch]
    commit: int = 0

    def check(self, group: str) -> None:
        """Raise `DiskDamaged` unless each epoch begins with its epoch-start entry: without it nothing can be applied.

        The content of other batches is looked at when they are applied: to open all of them would take as long again.
        """
        for batch in self.batches:
            if batch.epoch != batch.previous_epoch:
                try:
                    check_content(batch)
                except RemoteProtocolError as error:
                    raise DiskDamaged(f"group {group!r}: {error}") from error


class Disk(Protocol):
    """One data directory: many groups, one writer. Every method blocks; all are called from one thread."""

    def open_group(self, group: str) -> Stored:
        """Read a group, or begin it. What is returned is durable, whatever an earlier life knew of it.

        Raises DiskDamaged, DiskRefused, DiskFailed, or DiskFull if there is no room to begin.
        """
        ...

    def write(self, writes: Sequence[tuple[str, Persist]]) -> None:
        """Make all of these durable, in this order, in one transaction: when it returns, all are there.

        When it raises DiskFull none is there, and the disk is as before. After DiskFailed it takes no more.
        """
        ...

    def tend(self) -> None:
        """Housekeeping that nobody waits for, done after what was written is reported. Raises DiskFailed."""
        ...

    def close(self) -> None:
        """Release the disk. What was written stays. Closing again does nothing."""
        ...


class Ledger(msgspec.Struct, frozen=True, gc=False):
    """What a disk must know of a group to tell whether the next write fits; the rules of a write are here.

    promised: the highest epoch granted. end: of the last batch stored. commit: the highest commit mark.
    """

    formed: bool = False
    promised: int = 0
    end: Position = START
    commit: int = 0

    def after(self, persist: Persist, end_before: Callable[[int], Position]) -> Ledger:
        """The ledger once `persist` is written; what does not fit is a bug of ours.

        end_before(index): end of the last stored batch that begins before `index`, START if there is none.
        """
        if persist.formation is not None:
            invariant(not self.formed, "a group is formed once", number=persist.number)
        promised = self.promised if persist.promise is None else persist.promise.epoch
        invariant(promised >= self.promised, "no epoch goes down", stored=self.promised, promise=persist.promise)
        commit = max(self.commit, persist.commit)
        end = self.end
        if persist.truncate is not None:
            invariant(persist.truncate > commit, "nothing committed is cut", cut=persist.truncate, commit=commit)
            end = min(end, end_before(persist.truncate))
            invariant(end.index < persist.truncate, "no batch is cut in two", end=end, cut=persist.truncate)
        for batch in persist.batches:
            invariant(batch.previous == end, "a batch continues the log", end=end, first=batch.first)
            invariant(batch.epoch >= end.epoch, "epochs in the log never go down", end=end, epoch=batch.epoch)
            end = batch.end
        invariant(commit <= end.index, "what is committed is in the log", commit=commit, end=end)
        return msgspec.structs.replace(
            self,
            formed=self.formed or persist.formation is not None,
            promised=promised,
            end=end,
            commit=commit,
        )


@dataclass(slots=True)
class _Group:
    storage: bytes
    formation: Formation | None = None
    promise: Promise = field(default_factory=Promise)
    batches: list[Batch] = field(default_factory=list[Batch])
    ledger: Ledger = field(default_factory=Ledger)

    def end_before(self, index: int) -> Position:
        return next((batch.end for batch in reversed(self.batches) if batch.first < index), START)

    def write(self, persist: Persist) -> None:
        self.ledger = self.ledger.after(persist, self.end_before)
        if persist.formation is not None:
            self.formation = persist.formation
        if persist.promise is not None:
            self.promise = persist.promise
        if persist.truncate is not None:
            while self.batches and self.batches[-1].first >= persist.truncate:
                self.batches.pop()
        self.batches.extend(persist.batches)


class MemoryDisk:
    """A disk that ends with its process, for tests. Who comes back without it has a wiped disk (rule 16).

    Closing releases nothing, so that a test may play a restart by opening the same groups again.
    """

    def __init__(self, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._entropy = entropy
        self._groups: dict[str, _Group] = {}

    def open_group(self, group: str) -> Stored:
        found = self._groups.get(group)
        if found is None:
            found = self._groups[group] = _Group(self._entropy(STORAGE_ID_SIZE))
        return Stored(found.storage, found.formation, found.promise, list(found.batches), found.ledger.commit)

    def write(self, writes: Sequence[tuple[str, Persist]]) -> None:
        for group, persist in writes:
            self._groups[group].write(persist)

    def tend(self) -> None:
        pass

    def close(self) -> None:
        pass
