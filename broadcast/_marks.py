"""The marks of a data directory: whose it is now, and how far each group's writes were known to be durable.

The marks lie in a file of their own beside the database, which is written after each transaction but not synced with
it: a process that is killed leaves them exact, a power cut leaves them anywhere in the past. So a database that is
*behind* its marks has lost what was durable: a journal deleted or cut off, a page that never reached the disk, an old
copy put back. One that is ahead of them proves nothing. This costs a write to the page cache, two microseconds, and
covers what nothing in the database can: that what was stored last is missing.

Each group has two slots, written by turns: a process that dies in the midst of writing one of them leaves the other,
which says one transaction less.

The open file also carries the lock of the directory, freed when it is closed (rule 16).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import zlib
from pathlib import Path

from broadcast._storage import DiskDamaged, DiskFailed, DiskFull, DiskRefused

SLOT = struct.Struct(">16sQ4xI")  # storage id of the group, its highest serial, checksum; within one sector
PAIR_SIZE = 2 * SLOT.size
TITLE = b"troupe marks\0\0\0\0"  # in the place of a storage id, in the first slot of pair 0; the second is empty
VERSION = 1
FILE_SIZE = 4096  # at first: room for the slots of 63 groups


class Marks:
    """The marks file, open and locked. Pair n belongs to the group with number n of the database, from 1."""

    def __init__(self, path: Path, *, may_change: bool = True) -> None:
        """Open or create the file. Raises DiskRefused if another process has it, DiskFailed if it cannot be opened.

        may_change: unless this is so, it is only looked at.
        """
        self._path = path
        self._newest: dict[int, int] = {}  # by number of the group: which of its slots was written last
        try:
            self._file = os.open(path, (os.O_RDWR | os.O_CREAT if may_change else os.O_RDONLY) | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _failure(path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise _failure(path, error) from error
            raise DiskRefused(
                f"{path.parent} is in use by another process; a data directory belongs to one node at a time. "
                "Stop the other process, or give this node a directory of its own"
            ) from error

    @property
    def begun(self) -> bool:
        """Is anything in the file? There is no database before it has its first content."""
        return os.fstat(self._file).st_size > 0

    @property
    def has_groups(self) -> bool:
        """Is anything said of a group?"""
        return any(os.pread(self._file, os.fstat(self._file).st_size, PAIR_SIZE))

    def begin(self) -> None:
        """Write the first, empty state, and make it durable."""
        try:
            os.ftruncate(self._file, 0)
            self._write(_pack(TITLE, VERSION).ljust(FILE_SIZE, b"\0"), 0)
            os.fsync(self._file)
        except OSError as error:
            raise _failure(self._path, error) from error

    def read(self) -> dict[int, tuple[bytes, int]]:
        """By number of the group: its storage id, and the highest serial that was durable at least."""
        content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        content += bytes(-len(content) % PAIR_SIZE)  # the file may end with the first slot of a pair
        marks: dict[int, tuple[bytes, int]] = {}
        for number in range(len(content) // PAIR_SIZE):
            newest = self._newest_of(number, content[number * PAIR_SIZE : (number + 1) * PAIR_SIZE])
            if newest is not None:
                marks[number] = newest
        title, version = marks.pop(0, (b"", 0))
        if title != TITLE:
            raise DiskDamaged(f"{self._path} has lost its beginning")
        if version > VERSION:
            raise DiskRefused(
                f"{self._path} is of version {version}, and this program knows versions up to {VERSION}; "
                "start the newer program"
            )
        return marks

    def set(self, number: int, storage: bytes, written: int) -> None:
        """Note that all of a group up to the serial `written` is durable."""
        try:
            which = 1 - self._newest.get(number, 1)
            self._write(_pack(storage, written), number * PAIR_SIZE + which * SLOT.size)
            self._newest[number] = which
        except OSError as error:
            raise _failure(self._path, error) from error

    def _write(self, data: bytes, offset: int) -> None:
        """All of it, in however many pieces the system takes it; a piece that it refuses says why."""
        while data:
            written = os.pwrite(self._file, data, offset)
            data, offset = data[written:], offset + written

    def sync(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise _failure(self._path, error) from error

    def close(self) -> None:
        """Close the file and free the directory."""
        os.close(self._file)

    def _newest_of(self, number: int, pair: bytes) -> tuple[bytes, int] | None:
        """What the slots of a group say, and which says more; None if nothing is said yet. One of them may be torn."""
        slots = [pair[: SLOT.size], pair[SLOT.size :]]
        whole = {which: said for which, slot in enumerate(slots) if (said := _unpack(slot)) is not None}
        if whole:
            self._newest[number] = max(whole, key=lambda which: whole[which][1])
            return whole[self._newest[number]]
        if all(map(any, slots)) or (number == 0 and any(pair)):
            raise DiskDamaged(f"{self._path} fails its checksum")
        return None  # the first that was ever written is torn, or not there


def _pack(storage: bytes, written: int) -> bytes:
    slot = SLOT.pack(storage, written, 0)
    return slot[:-4] + zlib.crc32(slot[:-4]).to_bytes(4, "big")


def _unpack(slot: bytes) -> tuple[bytes, int] | None:
    """None if it is empty or torn."""
    storage, written, checksum = SLOT.unpack(slot)
    return (storage, written) if any(slot) and zlib.crc32(slot[:-4]) == checksum else None


def _failure(path: Path, error: OSError) -> DiskFull | DiskFailed:
    if error.errno == errno.ENOSPC:
        return DiskFull(f"{path}: {error.strerror}")
    return DiskFailed(f"{path}: {error.strerror}; look after the disk and start the node again")
