"""The disk below one replica's process: what goes wrong with it, begins and ends while the process runs.

Over the library of `powercut.c`, which the process is started with. What is damaged while no process runs is changed in
place: SQLite's database knows its own inode, and takes a copy for what it is.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import powercut

FAILURES = "DiskFailed: ", "DataDirectoryError: "
"""What a process names that ends because its disk fails: the database did, or the file with the node's identity."""
ADVICE = "look after the disk", "see to that disk"
"""What it says then."""


class Disk:
    """A data directory, and beside it how to undo what is not synced."""

    def __init__(self, library: Path | None, data: Path) -> None:
        """library: None if nothing is to go wrong but by other means."""
        self.data = data
        self.library = library
        self._undo = data.with_suffix(".undo")

    def environment(self, *, lie: bool = False, sync_ms: int = 0) -> dict[str, str]:
        """Of the process that begins now; see `powercut.environment`."""
        if self.library is None:
            return dict(os.environ)
        return powercut.environment(self.library, self.data, self._undo, lie=lie, sync_ms=sync_ms)

    @contextmanager
    def going_wrong(self, fault: str, value: object = "") -> Generator[None]:
        """See `powercut.FAULTS`."""
        powercut.begin(self._undo, fault, value)
        try:
            yield
        finally:
            powercut.end(self._undo, fault)

    def lose_power(self, seed: int | None = None) -> None:
        """After the process was killed: what it had not synced is gone, or what of it the seed says."""
        powercut.cut(self.data, self._undo, seed)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return size_of(self.data)

    def contents(self) -> dict[Path, bytes]:
        """What is in its files, to `restore` it; only while no process uses it."""
        return {path: path.read_bytes() for path in self._files()}

    def restore(self, contents: Mapping[Path, bytes]) -> None:
        """Put this back, each into its own inode: an older state of the whole volume."""
        for path in set(self._files()) - set(contents):
            path.unlink()
        for path, content in contents.items():
            path.write_bytes(content)

    def _files(self) -> Iterator[Path]:
        return (path for path in self.data.iterdir() if path.is_file())


def size_of(directory: Path) -> int:
    """Bytes of all files in it and below, while processes make and remove some."""
    total = 0
    for at, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):  # it was there a moment ago
                total += os.lstat(os.path.join(at, name)).st_size
    return total


def flip(path: Path, offset: int, bits: int = 0x10) -> None:
    """Change one byte of a file, in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ bits]))
