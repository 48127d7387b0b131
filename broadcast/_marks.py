"""The marks of a data directory: whose it is now, and how far each group's writes were known to be durable.

The marks lie in a file of their own beside the database, which is written after each transaction but not synced with
it: a process that is killed leaves them exact, a power cut leaves them anywhere in the past. So a database that is
*behind* its marks has lost what was durable: a journal deleted or cut off, a page that never reached the disk, an old
copy put back. One that is ahead of them proves nothing. This costs a write to the page cache, two microseconds, and
covers what nothing in the database can: that what was stored last is missing.

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

SLOT = struct.Struct(">16sQ4xI")  # storage id of the group, its highest serial, checksum; within one sector, never torn
TITLE = b"troupe marks\0\0\0\0"  # in the place of a storage id, in slot 0
VERSION = 1
FILE_SIZE = 4096  # at first: room for the slots of 127 groups


class Marks:
    """The marks file, open and locked. Slot n belongs to the group with number n of the database, from 1."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises DiskRefused if another process has it, DiskFailed if it cannot be opened."""
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
        return any(os.pread(self._file, os.fstat(self._file).st_size, SLOT.size))

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
        size = len(content) - len(content) % SLOT.size
        slots = {offset // SLOT.size: content[offset : offset + SLOT.size] for offset in range(0, size, SLOT.size)}
        marks = {number: self._unpack(slot) for number, slot in slots.items() if any(slot)}
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
            self._write(_pack(storage, written), number * SLOT.size)
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

    def _unpack(self, slot: bytes) -> tuple[bytes, int]:
        storage, written, checksum = SLOT.unpack(slot)
        if zlib.crc32(slot[:-4]) != checksum:
            raise DiskDamaged(f"{self._path} fails its checksum")
        return storage, written


def _pack(storage: bytes, written: int) -> bytes:
    slot = SLOT.pack(storage, written, 0)
    return slot[:-4] + zlib.crc32(slot[:-4]).to_bytes(4, "big")


def _failure(path: Path, error: OSError) -> DiskFull | DiskFailed:
    if error.errno == errno.ENOSPC:
        return DiskFull(f"{path}: {error.strerror}")
    return DiskFailed(f"{path}: {error.strerror}; look after the disk and start the node again")
