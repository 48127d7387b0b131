"""Who this node is over all its lives: its name, its incarnation, and the mark its Lamport stamps stay below.

Kept in the node's data directory, which one process at a time may have. The file `node` is one frame (length and
checksum) around a CBOR array; it is replaced as a whole: written beside, synced, renamed, the directory synced. The
lock on `lock` goes with the process, and is given back after everything else.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Protocol

import msgspec

from actors._durable import make_directory, sync
from actors._protocol.address import NodeId
from actors._protocol.clock import COUNTER_BLOCK, COUNTER_MAX
from actors._protocol.codec import decode_struct, encode_struct
from actors._protocol.envelope import Natural
from actors._protocol.errors import RemoteProtocolError, invariant
from actors._protocol.frames import FrameReader, frame

_OURS = ("lock", "node", "node.new")


class DataDirectoryError(Exception):
    """This data directory cannot be used; the text says why, and what to do."""


class DataDirectoryInUse(DataDirectoryError):
    """Another process has this data directory open."""


class Identity(Protocol):
    """What a node is known by.

    incarnation: number of this life, greater than those of all before it.
    counter: the Lamport counter to begin at; no stamp that was ever sent is beyond it.
    reserved: the durable mark; stamps up to it may be sent.
    """

    @property
    def incarnation(self) -> int: ...
    @property
    def counter(self) -> int: ...
    @property
    def reserved(self) -> int: ...
    def reserve(self, mark: int) -> None:
        """Make `mark` durable. Blocks. Raises OSError, and then the node must stop."""
        ...

    def close(self) -> None:
        """Let go of what is held. Last of all."""
        ...


class MemoryIdentity:
    """The identity of a node that keeps nothing. `incarnation` must grow from life to life all the same."""

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.counter = 0
        self.reserved = COUNTER_MAX

    def reserve(self, mark: int) -> None:
        """Nothing is kept, so nothing is awaited."""

    def close(self) -> None:
        """Nothing is held."""


class _Record(msgspec.Struct, frozen=True, array_like=True, tag="node-1"):
    """The content of the file `node`. The tag is the version of the format."""

    name: NodeId
    incarnation: Natural
    mark: Annotated[int, msgspec.Meta(ge=0)]


class DataDirectory:
    """The open data directory of a node. Made by `open`, which blocks, as `reserve` does: call them in a thread."""

    def __init__(self, path: Path, lock: int, record: _Record, counter: int) -> None:
        self.path = path
        self.counter = counter
        self._lock: int | None = lock
        self._record = record

    @classmethod
    def open(cls, path: Path, name: str, first_incarnation: int = 1) -> DataDirectory:
        """Take the directory for node `name` and begin a new life of it; makes the directory if there is none.

        first_incarnation: the least of this life; greater than any that a lost directory may have had.
        Raises DataDirectoryInUse, DataDirectoryError (of another node, damaged, not a data directory, not to be
        made or written), OSError.
        """
        try:
            make_directory(path)
            lock = _lock(path)
        except OSError as error:
            raise DataDirectoryError(
                f"{path} is no data directory, and cannot be made one ({error.strerror}): name a directory that this "
                "process may write to, or a place for a new one"
            ) from error
        try:
            record = _read(path, name)
            counter = 0 if record is None else record.mark
            incarnation = first_incarnation if record is None else max(record.incarnation + 1, first_incarnation)
            directory = cls(path, lock, _Record(name, incarnation, counter), counter)
            try:
                directory.reserve(counter + COUNTER_BLOCK)
            except OSError as error:
                raise DataDirectoryError(
                    f"the file {path / 'node'} cannot be written ({error.strerror}): no life of this node has begun. "
                    "See to the disk, and start the node again"
                ) from error
        except BaseException:
            os.close(lock)
            raise
        return directory

    @property
    def incarnation(self) -> int:
        return self._record.incarnation

    @property
    def reserved(self) -> int:
        return self._record.mark

    def reserve(self, mark: int) -> None:
        """Make `mark` durable. Raises OSError, and then the node must stop: what is on disk is not known."""
        invariant(self._lock is not None, "an open data directory is written to", path=self.path)
        invariant(mark >= self._record.mark, "the durable mark only grows", mark=mark, before=self._record.mark)
        record = _Record(self._record.name, self._record.incarnation, mark)
        _replace(self.path, frame(encode_struct(record)))
        self._record = record

    def close(self) -> None:
        """Give the directory back. May be called again."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            os.close(lock)


@contextmanager
def looked_at(path: Path) -> Generator[str]:
    """The name of the node whose data directory this is; nobody may use it meanwhile, and nothing of it changes.

    Raises DataDirectoryInUse, DataDirectoryError, OSError.
    """
    if not (path / "node").exists():
        raise DataDirectoryError(f"{path} is no data directory of a node: it has no file 'node'")
    try:
        lock = os.open(path / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise DataDirectoryError(
            f"{path} has lost its file 'lock', by which it is known that no process uses it: start the node, which "
            "makes it anew whatever else is wrong here, and stop it again"
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(path, lock) from None
        yield _decode(path, (path / "node").read_bytes()).name
    finally:
        os.close(lock)


def _in_use(path: Path, lock: int) -> DataDirectoryInUse:
    holder = os.pread(lock, 20, 0).decode("ascii", "replace")
    by = f"process {holder}" if holder.isdigit() else "another process"
    return DataDirectoryInUse(
        f"the data directory {path} is in use by {by}: stop that one first, or give this node its own directory"
    )


def _lock(path: Path) -> int:
    """The descriptor that holds the lock until it is closed."""
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(OSError):  # for whoever meets the lock: a full disk may do without
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        error = _in_use(path, lock)
        os.close(lock)
        raise error from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def _read(path: Path, name: str) -> _Record | None:
    """What the last life left; None for a new directory."""
    try:
        data = (path / "node").read_bytes()
    except FileNotFoundError:
        foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in _OURS)
        if foreign:
            raise DataDirectoryError(
                f"{path} holds {foreign[0]!r} but no file 'node': either it is no data directory (choose another), "
                "or its identity was lost (remove it, and add this node to its groups again)"
            ) from None
        return None
    record = _decode(path, data)
    if record.name != name:
        raise DataDirectoryError(
            f"the data directory {path} belongs to node {record.name!r}, not to {name!r}: "
            "start the node under its own name, or give it another directory"
        )
    return record


def _decode(path: Path, data: bytes) -> _Record:
    reader = FrameReader()
    reader.receive_data(data)
    try:
        payload = reader.next_frame()
        if payload is None or not reader.is_between_frames:
            raise RemoteProtocolError(f"its length is {len(data)} bytes")
        return decode_struct(payload, _Record)
    except RemoteProtocolError as error:
        raise DataDirectoryError(
            f"the file {path / 'node'} is damaged ({error}): an older copy would let this node "
            "break its word; remove the data directory, and add this node to its groups again"
        ) from error


def _replace(directory: Path, data: bytes) -> None:
    beside = directory / "node.new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.rename(directory / "node")
    sync(directory)
