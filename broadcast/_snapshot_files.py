"""Snapshots on disk, each in a file of its own beside the database (rules 11, 27).

    snapshots/<group>-<index>-<digest>    one that is whole: its bytes and nothing else
    snapshots/<group>-draft-<random>      one that is being written
    snapshots/<group>-incoming            one that is on its way to here, as far as it has come

<group> is the group's number in the database. A file gets the first kind of name once its content is synced, and only
then does the database come to know of it, so that what the database names is whole. The name has part of the digest:
no two contents ever contend for one. No draft has the name of another either: a child of an earlier life that is late
writes to its own, which counts for nothing. Whatever else lies there is removed when the group is opened.

None of this is the log writer's work: a snapshot is large, and nobody's acknowledgement waits for it. It is synced as
it is written, a few megabytes at a time, so that a sync of the log never has all of it to wait for.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from actors._durable import make_directory, sync
from actors._protocol.errors import invariant
from broadcast._protocol.snapshots import DIGEST_SIZE, Snapshot
from broadcast._storage import DiskDamaged, DiskFailed, DiskFull, Draft, SnapshotBroken, Written, broken, digest_of

PIECE_SIZE = 2**20  # bytes read at once
WRITE_SIZE = 2**18  # bytes gathered for a write
SYNC_SIZE = 4 * 2**20  # bytes after which what was written is synced
DRAFT_NAME_SIZE = 8  # random bytes


class _Sink:
    """A file that is written from its beginning; counts, hashes, and syncs as it goes."""

    def __init__(self, path: Path) -> None:
        """A file that is there already is another's: FileExistsError."""
        self.path = path
        self.size = 0
        self._digest = blake2b(digest_size=DIGEST_SIZE)
        self._unsynced = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def add(self, data: bytes | bytearray) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self._digest.update(data)
        self.size += len(data)
        self._unsynced += len(data)
        if self._unsynced >= SYNC_SIZE:
            self._sync()

    def end(self) -> Written:
        """Sync the last of it. It is still to be closed."""
        self._sync()
        return Written(self.size, self._digest.digest())

    def close(self) -> None:
        os.close(self._file)

    def _sync(self) -> None:
        os.fsync(self._file)
        self._unsynced = 0


class _FileDraft:
    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, pieces: Iterable[bytes]) -> Written:
        with _guarded(self.path):
            sink = _Sink(self.path)
            try:
                gathered = bytearray()
                for piece in pieces:
                    gathered += piece
                    if len(gathered) >= WRITE_SIZE:
                        sink.add(gathered)
                        gathered = bytearray()
                sink.add(gathered)
                return sink.end()
            finally:
                sink.close()

    def discard(self) -> None:
        with _guarded(self.path):
            self.path.unlink(missing_ok=True)


@dataclass(slots=True)
class _Incoming:
    snapshot: Snapshot
    sink: _Sink


class FileSnapshots:
    """`Snapshots` in a directory, which `begin` makes."""

    blocks = True

    def __init__(self, directory: Path, number: int, group: str) -> None:
        """`number`: by which the database knows the group; `group`: its name, for people."""
        self._directory = directory
        self._number = number
        self._group = group
        self._incoming: _Incoming | None = None
        self._read: dict[Path, int] = {}  # files that parts are read of
        self._lock = threading.Lock()  # for these

    def path_of(self, snapshot: Snapshot) -> Path:
        """Where it is, once it is whole."""
        return self._directory / f"{self._number}-{snapshot.index}-{snapshot.digest[:8].hex()}"

    # -- writing --------------------------------------------------------------------------------------------------

    def begin(self, kept: Snapshot | None) -> None:
        self._drop_incoming()
        self.close()
        with _guarded(self._directory):
            make_directory(self._directory)
            for path in self._files():
                if kept is None or path != self.path_of(kept):
                    path.unlink()

    def draft(self) -> _FileDraft:
        return _FileDraft(self._directory / f"{self._number}-draft-{os.urandom(DRAFT_NAME_SIZE).hex()}")

    def finish(self, draft: Draft, snapshot: Snapshot) -> None:
        invariant(isinstance(draft, _FileDraft), "a draft is finished where it was begun")
        if isinstance(draft, _FileDraft):
            self._name(draft.path, snapshot)

    def store(self, snapshot: Snapshot, offset: int, data: bytes) -> int:
        if offset == 0:
            self._drop_incoming()
            with _guarded(self._directory):
                self._incoming = _Incoming(snapshot, _Sink(self._directory / f"{self._number}-incoming"))
        incoming = self._incoming
        if incoming is None or incoming.snapshot != snapshot:
            return 0
        if offset == incoming.sink.size and offset + len(data) <= snapshot.size:
            try:
                with _guarded(incoming.sink.path):
                    incoming.sink.add(data)
            except DiskFull:
                self._drop_incoming()
                raise
        return incoming.sink.size

    def complete(self, snapshot: Snapshot) -> None:
        incoming = self._incoming
        if incoming is None or incoming.snapshot != snapshot:
            raise SnapshotBroken(broken(snapshot))
        try:
            with _guarded(incoming.sink.path):
                written = incoming.sink.end()
            if written != (snapshot.size, snapshot.digest):
                raise SnapshotBroken(broken(snapshot))
            self._name(incoming.sink.path, snapshot)
        finally:
            self._drop_incoming()

    def retain(self, newest: Snapshot, in_use: Sequence[Snapshot] = ()) -> None:
        paths = [self.path_of(snapshot) for snapshot in (newest, *in_use)]
        with _guarded(self._directory):
            for path in self._files():
                index = path.name.split("-")[1]
                if index.isdecimal() and int(index) < newest.index and path not in paths:
                    path.unlink()
        self._close_all_but(paths)

    def _name(self, path: Path, snapshot: Snapshot) -> None:
        """Its content is synced."""
        with _guarded(path):
            path.rename(self.path_of(snapshot))
            sync(self._directory)

    def _drop_incoming(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            with _guarded(incoming.sink.path):
                incoming.sink.close()
                incoming.sink.path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob(f"{self._number}-*"))

    # -- reading --------------------------------------------------------------------------------------------------

    def verify(self, snapshot: Snapshot) -> None:
        path = self.path_of(snapshot)
        with _guarded(path), suppress(FileNotFoundError):
            self._check(path, snapshot)

    def read(self, snapshot: Snapshot, offset: int, size: int) -> bytes | None:
        path = self.path_of(snapshot)
        size = min(size, snapshot.size - offset)
        with self._lock, _guarded(path):
            if path not in self._read:
                try:
                    self._read[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    return None
            data = os.pread(self._read[path], size, offset)
            return data if len(data) == size else None

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        path = self.path_of(snapshot)
        with _guarded(path):
            try:
                self._check(path, snapshot)
            except FileNotFoundError:
                raise DiskDamaged(f"{self._label(snapshot)} is gone: there is no {path}") from None
            yield from _content(path)

    def _check(self, path: Path, snapshot: Snapshot) -> None:
        """Raises DiskDamaged, FileNotFoundError."""
        size = path.stat().st_size
        if size != snapshot.size:
            raise DiskDamaged(f"{self._label(snapshot)} has {snapshot.size} bytes, and {path} has {size}")
        if digest_of(_content(path)) != snapshot.digest:
            raise DiskDamaged(f"{self._label(snapshot)} fails its checksum: {path}")

    def _label(self, snapshot: Snapshot) -> str:
        return f"the snapshot of group {self._group!r} at index {snapshot.index}"

    def close(self) -> None:
        self._close_all_but([])

    def _close_all_but(self, kept: Sequence[Path]) -> None:
        with self._lock:
            for path in [path for path in self._read if path not in kept]:
                os.close(self._read.pop(path))


def _content(path: Path) -> Iterator[bytes]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while piece := os.read(file, PIECE_SIZE):
            yield piece
    finally:
        os.close(file)


@contextmanager
def _guarded(path: Path) -> Generator[None, None, None]:
    """Tell what an error of the system means."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{path}: {error.strerror}") from error
        raise DiskFailed(f"{path}: {error.strerror}; look after the disk, and start the node again") from error
