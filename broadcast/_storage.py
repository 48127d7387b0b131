"""What a storage is: the durable word of the groups of one node, and what can be wrong with it.

A `Disk` holds many groups and has one writer; it is used from one thread. It reads a group once, when that is
opened, and from then on only writes: the replica keeps in memory what it needs. So a storage is small.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, Protocol

import msgspec

from actors._protocol.errors import RemoteProtocolError, invariant
from broadcast._protocol.entries import check_content
from broadcast._protocol.output import Persist
from broadcast._protocol.position import START, Batch, Position
from broadcast._protocol.snapshots import DIGEST_SIZE, NOTHING, Compared, Divergence, Snapshot
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
    batches: the log, consecutive, the first right after `start`.
    commit: the highest commit mark stored with it: up to here it was known to be committed when it was last written.
    snapshot: the last one, whose file `Disk.snapshots` has. It holds what the log does not.
    start: position of the entry before the log's first; it is at or below the snapshot.
    divergence: why the state that was kept here must not be used, if it must not.
    compared: what is kept in mind of what replicas compare.
    """

    storage: bytes
    formation: Formation | None
    promise: Promise
    batches: list[Batch]
    commit: int = 0
    snapshot: Snapshot | None = None
    start: Position = START
    divergence: Divergence | None = None
    compared: Compared = NOTHING

    @property
    def end(self) -> Position:
        """Position of the log's last entry."""
        return self.batches[-1].end if self.batches else self.start

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

    def snapshots(self, group: str) -> Snapshots:
        """The files of a group that is open."""
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
    start: position of the entry before the first batch stored. snapshot: position of the snapshot, START without one.
    """

    formed: bool = False
    promised: int = 0
    end: Position = START
    commit: int = 0
    start: Position = START
    snapshot: Position = START

    def after(self, persist: Persist, end_before: Callable[[int], Position]) -> Ledger:
        """The ledger once `persist` is written; what does not fit is a bug of ours.

        end_before(index): end of the last stored batch that begins before `index`, START if there is none.
        """
        if persist.formation is not None:
            invariant(not self.formed, "a group is formed once", number=persist.number)
        promised = self.promised if persist.promise is None else persist.promise.epoch
        invariant(promised >= self.promised, "no epoch goes down", stored=self.promised, promise=persist.promise)
        commit = max(self.commit, persist.commit)
        start, end, snapshot = self._shortened(persist, commit, end_before)
        for batch in persist.batches:
            invariant(batch.previous == end, "a batch continues the log", end=end, first=batch.first)
            invariant(batch.epoch >= end.epoch, "epochs in the log never go down", end=end, epoch=batch.epoch)
            end = batch.end
        invariant(commit <= end.index, "what is committed is in the log", commit=commit, end=end)
        return Ledger(
            formed=self.formed or persist.formation is not None,
            promised=promised,
            end=end,
            commit=commit,
            start=start,
            snapshot=snapshot,
        )

    def _shortened(
        self, persist: Persist, commit: int, end_before: Callable[[int], Position]
    ) -> tuple[Position, Position, Position]:
        """Where the log begins and ends without what goes, before anything is added; and the snapshot's position."""
        start, end = self.start, self.end
        snapshot = self.snapshot if persist.snapshot is None else persist.snapshot.position
        if persist.snapshot is not None:
            grows = snapshot.index > self.snapshot.index or snapshot == self.snapshot
            invariant(grows, "no snapshot is older than the one before it", before=self.snapshot, snapshot=snapshot)
            invariant(commit >= snapshot.index, "what a snapshot has seen is committed", commit=commit, at=snapshot)
        if persist.truncate is not None:
            invariant(persist.truncate > commit, "nothing committed is cut", cut=persist.truncate, commit=commit)
            end = min(end, max(start, end_before(persist.truncate)))
        if persist.compact:
            start = max(start, min(end, end_before(persist.compact + 1)))
            if start == end:
                return snapshot, snapshot, snapshot
            invariant(persist.compact <= snapshot.index, "what goes is in the snapshot", at=snapshot, until=start)
        if persist.truncate is not None:
            invariant(end.index < persist.truncate, "no batch is cut in two", end=end, cut=persist.truncate)
        if persist.snapshot is not None and start != snapshot:
            there = max(start, min(end, end_before(snapshot.index + 1)))
            invariant(there == snapshot, "the log goes on from the snapshot", there=there, snapshot=snapshot)
        return start, end, snapshot


# -- snapshots --------------------------------------------------------------------------------------------------------


class SnapshotBroken(Exception):
    """What came from another node is not what it was said to be. Nothing here is damaged."""


class Written(NamedTuple):
    """Of a snapshot's bytes: how many, and their digest."""

    size: int
    digest: bytes


class Draft(Protocol):
    """A snapshot that is being written. It counts for nothing before `Snapshots.finish`."""

    def write(self, pieces: Iterable[bytes]) -> Written:
        """Write all of it, and sync it. Needs no thread or lock, so that a forked child may do it.

        Raises DiskFull, DiskFailed, and what comes from `pieces`.
        """
        ...

    def discard(self) -> None:
        """It is not wanted any more. Of one that was finished nothing is discarded."""
        ...


class Snapshots(Protocol):
    """The snapshots of one group, each in a file of its own.

    The methods may be called from any thread; only those about one and the same snapshot follow one another. They raise
    DiskFailed when the system fails, and those that write DiskFull.
    """

    @property
    def blocks(self) -> bool:
        """Do the methods take time, so that they are for a thread of their own?"""
        ...

    def begin(self, kept: Snapshot | None) -> None:
        """First, in each life: remove all but this one, also what was half written or half here."""
        ...

    def draft(self) -> Draft:
        """Begin to write one. Does not block."""
        ...

    def finish(self, draft: Draft, snapshot: Snapshot) -> None:
        """It was written: give it its name. From then on it is there, whatever happens."""
        ...

    def store(self, snapshot: Snapshot, offset: int, data: bytes) -> int:
        """Keep these bytes of one that is on its way to here; how many of it are here then, without a gap.

        At offset 0 it begins, in the place of any other. Bytes that are here, or do not fit yet, change nothing.
        """
        ...

    def complete(self, snapshot: Snapshot) -> None:
        """All of it is here: sync it, and give it its name, so that it is there, whatever happens.

        Raises SnapshotBroken if it is not what `snapshot` says; nothing of it is left then.
        """
        ...

    def verify(self, snapshot: Snapshot) -> None:
        """Before its parts are read for another: raises DiskDamaged if it is there, and not what it was."""
        ...

    def read(self, snapshot: Snapshot, offset: int, size: int) -> bytes | None:
        """Up to `size` bytes of it; None if it is not there any more, or not whole."""
        ...

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        """All of it, in pieces of any size, from the first on, once it has been found to be whole.

        Raises DiskDamaged.
        """
        ...

    def retain(self, newest: Snapshot, in_use: Sequence[Snapshot] = ()) -> None:
        """Remove those that are older than `newest`, which the disk names, but for these."""
        ...

    def close(self) -> None:
        """Close what is read. Closing again does nothing."""
        ...


def digest_of(pieces: Iterable[bytes]) -> bytes:
    """As `Snapshot.digest` has it."""
    digest = blake2b(digest_size=DIGEST_SIZE)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


# -- in memory --------------------------------------------------------------------------------------------------------


class _MemoryDraft:
    def __init__(self) -> None:
        self.content = b""

    def write(self, pieces: Iterable[bytes]) -> Written:
        self.content = b"".join(pieces)
        return Written(len(self.content), digest_of([self.content]))

    def discard(self) -> None:
        self.content = b""


class MemorySnapshots:
    """`Snapshots` that end with their process. whole: the content of those that are there, by position."""

    blocks = False

    def __init__(self) -> None:
        self.whole: dict[Position, bytes] = {}
        self._incoming: tuple[Snapshot, bytearray] | None = None

    def begin(self, kept: Snapshot | None) -> None:
        self.whole = {at: content for at, content in self.whole.items() if kept is not None and at == kept.position}
        self._incoming = None

    def draft(self) -> _MemoryDraft:
        return _MemoryDraft()

    def finish(self, draft: Draft, snapshot: Snapshot) -> None:
        invariant(isinstance(draft, _MemoryDraft), "a draft is finished where it was begun")
        if isinstance(draft, _MemoryDraft):
            self.whole[snapshot.position] = draft.content

    def store(self, snapshot: Snapshot, offset: int, data: bytes) -> int:
        if offset == 0:
            self._incoming = snapshot, bytearray()
        if self._incoming is None or self._incoming[0] != snapshot:
            return 0
        content = self._incoming[1]
        if offset == len(content):
            content += data
        return len(content)

    def complete(self, snapshot: Snapshot) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is None or incoming[0] != snapshot or not _is_whole(snapshot, bytes(incoming[1])):
            raise SnapshotBroken(broken(snapshot))
        self.whole[snapshot.position] = bytes(incoming[1])

    def verify(self, snapshot: Snapshot) -> None:
        if snapshot.position in self.whole:
            list(self.pieces(snapshot))

    def read(self, snapshot: Snapshot, offset: int, size: int) -> bytes | None:
        content = self.whole.get(snapshot.position)
        return None if content is None else content[offset : offset + size]

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        content = self.whole.get(snapshot.position)
        if content is None:
            raise DiskDamaged(f"the snapshot at index {snapshot.index} is gone")
        if not _is_whole(snapshot, content):
            raise DiskDamaged(f"the snapshot at index {snapshot.index} fails its checksum")
        yield content

    def retain(self, newest: Snapshot, in_use: Sequence[Snapshot] = ()) -> None:
        positions = [snapshot.position for snapshot in in_use]
        self.whole = {at: held for at, held in self.whole.items() if at.index >= newest.index or at in positions}

    def close(self) -> None:
        pass


def _is_whole(snapshot: Snapshot, content: bytes) -> bool:
    return len(content) == snapshot.size and digest_of([content]) == snapshot.digest


def broken(snapshot: Snapshot) -> str:
    """What is said of one that came, and is not what it was said to be."""
    return f"the snapshot at index {snapshot.index} that came is not what its digest says"


@dataclass(slots=True)
class _Group:
    storage: bytes
    formation: Formation | None = None
    promise: Promise = field(default_factory=Promise)
    batches: list[Batch] = field(default_factory=list[Batch])
    ledger: Ledger = field(default_factory=Ledger)
    snapshot: Snapshot | None = None
    divergence: Divergence | None = None
    compared: Compared = NOTHING
    files: MemorySnapshots = field(default_factory=MemorySnapshots)

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
        if persist.snapshot is not None:
            self.snapshot = persist.snapshot
        self.divergence = persist.divergence or self.divergence
        self.compared = persist.compared or self.compared
        if persist.compact:
            self.batches = [batch for batch in self.batches if batch.first > persist.compact]
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
        ledger = found.ledger
        return Stored(
            found.storage,
            found.formation,
            found.promise,
            list(found.batches),
            ledger.commit,
            found.snapshot,
            ledger.start,
            found.divergence,
            found.compared,
        )

    def copy(self) -> MemoryDisk:
        """Another disk that holds the same, down to the storage ids: for tests of what must not be used."""
        other = MemoryDisk(self._entropy)
        other._groups = deepcopy(self._groups)
        return other

    def write(self, writes: Sequence[tuple[str, Persist]]) -> None:
        for group, persist in writes:
            self._groups[group].write(persist)

    def snapshots(self, group: str) -> MemorySnapshots:
        return self._groups[group].files

    def tend(self) -> None:
        pass

    def close(self) -> None:
        pass
