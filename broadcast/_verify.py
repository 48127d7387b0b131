"""Is what a stopped node has on disk what was written (`troupe log verify`)? Nothing of it is changed.

What a node looks at when it starts is looked at here, and more: every entry is opened. SQLite would bring the journal
into the database; so it gets a copy of both. What is damaged in one group keeps nobody from looking at the others.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from actors._identity import looked_at
from actors._protocol.errors import RemoteProtocolError
from broadcast import _rows
from broadcast._errors import Diverged
from broadcast._marks import Marks
from broadcast._protocol.entries import check_content
from broadcast._rows import Group
from broadcast._snapshot_files import FileSnapshots
from broadcast._sqlite import check_identity, check_structure, connect, place_of, read_groups, scan_journal
from broadcast._storage import DiskDamaged, Stored

DATABASE, JOURNAL, MARKS = "log.sqlite3", "log.sqlite3-wal", "log.marks"


@dataclass(frozen=True, slots=True)
class GroupFound:
    """What a group has on this disk. damage: what is wrong with it, in words; None: all is as it was written.

    stored: without batches if these are damaged. It may all be as it was written, and be of no use: `divergence`.
    """

    name: str
    stored: Stored
    damage: str | None

    @property
    def divergence(self) -> str | None:
        """Why no replica goes on with this, in words, if a majority was found to have another state."""
        found = self.stored.divergence
        return None if found is None else str(Diverged(self.name, found.at, found.agreed))


@dataclass(frozen=True, slots=True)
class Found:
    """What a data directory has. damage: of what all groups need, if any."""

    node: str
    groups: tuple[GroupFound, ...]
    damage: str | None


def verify(data: Path) -> Found:
    """Look at all that is in the data directory of a node that is stopped. Blocks.

    Raises DataDirectoryError, DiskRefused (in use, a copy, or newer), DiskFailed, OSError.
    """
    with looked_at(data) as node:
        try:
            return Found(node, tuple(_groups(data)), None)
        except DiskDamaged as error:
            return Found(node, (), error.what)


def _groups(data: Path) -> Iterator[GroupFound]:
    path, journal = data / DATABASE, data / JOURNAL
    for file in (path, data / MARKS):
        if not file.exists():
            if path.exists() or journal.exists():
                raise DiskDamaged(f"{data} has lost its {file.name}")
            return  # no group was ever joined
    with closing(Marks(data / MARKS, may_change=False)) as locked, tempfile.TemporaryDirectory() as directory:
        marks = locked.read()
        scan_journal(journal)
        copy = Path(directory) / DATABASE
        for source in filter(Path.exists, (path, journal)):
            shutil.copyfile(source, copy.with_name(source.name))
        try:
            with closing(connect(copy)) as connection:
                check_identity(connection, path, place_of(path))
                check_structure(connection, path)
                groups = read_groups(connection, path, marks)
                yield from [_group(connection, group, data) for group in groups.values()]
        except sqlite3.Error as error:
            raise DiskDamaged(f"{path}: {error}") from error


def _group(connection: sqlite3.Connection, group: Group, data: Path) -> GroupFound:
    record = group.record
    stored = Stored(
        record.storage,
        record.formation,
        record.promise,
        [],
        snapshot=record.snapshot,
        start=record.start,
        divergence=record.divergence,
        compared=record.compared,
    )
    try:
        batches, _, commit = _rows.read_batches(connection, group, str(data / DATABASE))
        stored = replace(stored, batches=batches, commit=commit)
        _check_entries(stored, record.name)
        if record.snapshot is not None:
            files = FileSnapshots(data / "snapshots", group.number, record.name)
            for _ in files.pieces(record.snapshot):
                pass
    except DiskDamaged as error:
        return GroupFound(record.name, stored, error.what)
    return GroupFound(record.name, stored, None)


def _check_entries(stored: Stored, group: str) -> None:
    for batch in stored.batches:
        try:
            check_content(batch)
        except RemoteProtocolError as error:
            raise DiskDamaged(f"group {group!r}: the batch at index {batch.first} cannot be opened: {error}") from error
