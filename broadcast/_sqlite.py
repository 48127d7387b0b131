"""The default storage: one SQLite database for all groups of a data directory (rule 27).

    log.sqlite3       for each group a record (storage id, formation, promise) and a table with one row a batch
    log.sqlite3-wal   SQLite's write-ahead journal, looked at by `_journal.py` before SQLite opens it
    log.marks         lock of the directory, and how far each group is known to be durable (`_marks.py`)
    snapshots/        what the log does not hold any more, a file for each (`_snapshot_files.py`)
    ballast           room that is given up when the disk is full, for promises, cuts and snapshots, and lent to what
                      removes the beginning of the log (rule 25)

What is trusted, and why. SQLite syncs its journal at every commit; a commit that returned is durable. What it returns
when it is opened again is not trusted: the structure must pass `quick_check`, each row its checksum (`_rows.py`), the
rows must be consecutive, their epochs chained and never decreasing, the last one at or beyond every commit mark; what
was stored before anything that is there must be there too (serials: `_rows.py`); and no group may be behind its mark.

Measured (200 B and 20 KB rows, pages of 1 to 16 KB): pages of 4 KB are as fast as any, and a commit into a journal
whose blocks are there already takes 0.6 (200 B) and 0.5 (20 KB) of the time of one that makes the file longer, so
the journal is filled with zeros when it is opened, and begun anew rather than grown: checkpoints are made here and
not by SQLite, which would make them before the commit returns and ignore their failures.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import struct
import sys
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec

from actors._durable import make_directory, sync
from actors._protocol.errors import invariant, violated
from broadcast import _journal, _rows
from broadcast._marks import Marks
from broadcast._protocol.output import Persist
from broadcast._rows import Group, Record
from broadcast._snapshot_files import FileSnapshots
from broadcast._storage import STORAGE_ID_SIZE, DiskDamaged, DiskFailed, DiskFull, DiskRefused, Stored

VERSION = 1  # of the schema
PAGE_SIZE = 4096  # bytes
CHECKPOINT_PAGES = 1000  # about so many pages in the journal, and it is brought into the database
CHECKPOINT_PAGES_TIGHT = 100  # the same where there was no room for a journal of its full size
JOURNAL_SIZE = 1200 * (PAGE_SIZE + 24)  # bytes kept for the journal, so that commits do not make the file longer
BALLAST_SIZE = 6 * 2**20  # bytes: more than JOURNAL_SIZE, so that all that a journal holds finds room by it
LENT_MARGIN = 2**18  # bytes of it that a checkpoint is not to need
BALLAST_EVERY = 64  # writes between attempts to get the ballast back

IDENTITY_TABLE = "CREATE TABLE identity (identity BLOB NOT NULL, checksum INTEGER NOT NULL)"
"""One row. Later versions keep the table, and the place of the version."""
IDENTITY = struct.Struct(">QQQQ")  # version of the schema; file system, inode and its generation that it was made on
Place = tuple[int, int, int]
GET_GENERATION = 0x80007601 | struct.calcsize("l") << 16  # FS_IOC_GETVERSION of <linux/fs.h>


class SqliteDisk:
    """A disk in a directory, which the first `open_group` creates, or opens and locks."""

    def __init__(self, directory: Path, entropy: Callable[[int], bytes] = os.urandom) -> None:
        """entropy(size): that many random bytes, for the storage ids."""
        self._directory = directory
        self._path = directory / "log.sqlite3"
        self._journal_path = directory / "log.sqlite3-wal"
        self._ballast_path = directory / "ballast"
        self._entropy = entropy
        self._marks: Marks | None = None
        self._connection: sqlite3.Connection | None = None
        self._groups: dict[str, Group] = {}
        self._failed: str | None = None
        self._journal_pages = 0  # written since the last checkpoint, about
        self._checkpoint_pages = CHECKPOINT_PAGES
        self._writes_until_ballast = 0

    # -- opening ----------------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Of the groups that are here."""
        self._ensure_open()
        return tuple(self._groups)

    def _ensure_open(self) -> None:
        self._refuse_if_failed()
        if self._connection is None:
            try:
                self._open()
            except BaseException:
                self.close()
                raise

    def open_group(self, group: str) -> Stored:
        self._ensure_open()
        with self._guarded(DiskDamaged):
            found = self._groups.get(group) or self._begin_group(group)
            batches, read, commit = _rows.read_batches(self._open_connection, found, str(self._path))
            self._marked.set(read.number, read.record.storage, read.written)
            self._marked.sync()
        self._groups[group] = read
        record = read.record
        return Stored(
            record.storage,
            record.formation,
            record.promise,
            batches,
            commit,
            record.snapshot,
            record.start,
            record.divergence,
            record.compared,
        )

    def snapshots(self, group: str) -> FileSnapshots:
        opened = self._opened(group)
        return FileSnapshots(self._directory / "snapshots", opened.number, group)

    def _open(self) -> None:
        with self._guarded(DiskDamaged):
            make_directory(self._directory)
            self._marks = Marks(self._directory / "log.marks")
            if not self._path.exists():
                self._create()
            elif not self._marked.begun:
                raise DiskDamaged(f"{self._directory} has lost its log.marks")
            marks = self._marked.read()
            scan_journal(self._journal_path)
            place = place_of(self._path)
            self._connection = connection = connect(self._path)
            check_identity(connection, self._path, place)
            check_structure(connection, self._path)
            self._groups = read_groups(connection, self._path, marks)
            # From here on nothing depends on frames that an earlier life may have failed to sync (rule 27).
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise DiskRefused(f"{self._path} is in use by another program; close that, and start again")
            self._fill_journal()
            self._fill_ballast()
            sync(self._directory)

    def _create(self) -> None:
        """Make an empty database under another name, and give it its own when it is complete."""
        if self._journal_path.exists() or self._marked.has_groups:
            raise DiskDamaged(f"{self._directory} has lost its log.sqlite3")
        beginning = self._path.with_suffix(".new")
        for remains in self._directory.glob(beginning.name + "*"):
            remains.unlink()
        beginning.touch()
        place = place_of(beginning)
        connection = connect(beginning)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(IDENTITY_TABLE)
            connection.execute(_rows.GROUPS_TABLE)
            identity = IDENTITY.pack(VERSION, *place)
            connection.execute("INSERT INTO identity VALUES (?, ?)", (identity, zlib.crc32(identity)))
            connection.execute("COMMIT")
        finally:
            connection.close()
        self._marked.begin()
        sync(beginning)
        beginning.rename(self._path)

    def _begin_group(self, name: str) -> Group:
        number = max((group.number for group in self._groups.values()), default=0) + 1
        group = Group(number, Record(name, self._entropy(STORAGE_ID_SIZE)))
        with self._transaction() as connection:
            _rows.create(connection, group)
        return group

    # -- writing ----------------------------------------------------------------------------------------------

    def write(self, writes: Sequence[tuple[str, Persist]]) -> None:
        """See `Disk`. On a full disk the ballast is for what lets it get out of that, and not for what makes it fuller.

        It is given up for a promise, a cut, a snapshot and their like, together with what is written beside them. What
        only appends is refused. Where a part of the log goes with it, what is appended is refused, and the part goes
        by itself first (`_remove_alone`): what is tried again then has the room that it left in the database.
        """
        self._refuse_if_failed()
        try:
            self._write(writes)
        except DiskFull:
            of_rows = all(_rows.is_of_rows(persist) for _, persist in writes)
            if not (self._remove_alone(writes) if of_rows else self._give_up_ballast()):
                raise
            self._write(writes)
        self._writes_until_ballast -= 1

    def _remove_alone(self, writes: Sequence[tuple[str, Persist]]) -> bool:
        """Let what these remove at the beginning of the log go, and append nothing. Has anything gone?

        It may go before the rest is there: a snapshot that is durable holds it. A removal makes the database no larger,
        and needs room in the journal alone. If that cannot be brought into the database, since this would have to grow,
        the ballast is lent to that: each page by which the database grows lies in the journal, and more; so what is
        lent comes back with the end of the journal, cut off. It is not lent where it might not do: then it would be
        gone, and nothing won. So what makes the log shorter costs no promise its room, and no full disk stays as it is
        while some of the log may go.
        """
        removals = [
            (name, Persist(persist.number, compact=persist.compact))
            for name, persist in writes
            if persist.compact > self._begins_behind(name)
        ]
        if not removals or self._growth() > BALLAST_SIZE - LENT_MARGIN:
            return False
        self._give_up_ballast()
        try:
            self._cut_journal()
            self._write(removals)
            self._cut_journal()
        except DiskFull:
            return False
        finally:
            self._fill_ballast()
        return True

    def _begins_behind(self, name: str) -> int:
        """Index before the first that a group's log still has."""
        ledger = self._opened(name).ledger
        return 0 if ledger is None else ledger.start.index

    def _growth(self) -> int:
        """Bytes by which the database will grow when the journal is brought into it."""
        with self._guarded(DiskFailed):
            (pages,) = self._open_connection.execute("PRAGMA page_count").fetchone()
            return int(pages) * PAGE_SIZE - self._path.stat().st_blocks * 512

    def _cut_journal(self) -> None:
        """Bring all of the journal into the database, and give its room back."""
        with self._guarded(DiskFailed):
            self._open_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._empty_journal()
        self._journal_pages, self._checkpoint_pages = 0, min(CHECKPOINT_PAGES, CHECKPOINT_PAGES_TIGHT)

    def _write(self, writes: Sequence[tuple[str, Persist]]) -> None:
        changed: dict[str, Group] = {}
        removes = any(persist.compact or persist.truncate is not None for _, persist in writes)
        with self._guarded(DiskFailed):
            free = self._free_pages() if removes else 0
            alone = len(writes) == 1 and _rows.is_one_statement(writes[0][1])  # which is a transaction in itself
            with nullcontext(self._open_connection) if alone else self._transaction() as connection:
                for name, persist in writes:
                    group = changed.get(name) or self._opened(name)
                    if group.ledger is None:
                        violated("a group is read before it is written", group=name)
                    after = group.ledger.after(persist, partial(_rows.end_before, connection, group))
                    changed[name] = _rows.store(connection, group, after, persist)
            self._groups.update(changed)
            for group in changed.values():
                with suppress(DiskFull):  # a mark that is behind says less, and nothing wrong
                    self._marked.set(group.number, group.record.storage, group.written)
            freed = self._free_pages() - free if removes else 0
        self._journal_pages += (
            max(0, freed)
            + sum(2 + batch.size // PAGE_SIZE for _, persist in writes for batch in persist.batches)
            + len(changed)
        )

    def _free_pages(self) -> int:
        """Those that held rows which were removed. Removing writes them, too."""
        (count,) = self._open_connection.execute("PRAGMA freelist_count").fetchone()
        return int(count)

    def refound(self, name: str, persist: Persist) -> None:
        """As `write`, with another record for a group that has one: what is stored is another group's from now on."""
        group = self._opened(name)
        if group.ledger is None:
            violated("a group is read before it is written", group=name)
        self._groups[name] = msgspec.structs.replace(group, ledger=msgspec.structs.replace(group.ledger, formed=False))
        self.write([(name, persist)])

    def _opened(self, name: str) -> Group:
        invariant(name in self._groups, "a group is opened before it is written", group=name)
        return self._groups[name]

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        connection = self._open_connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    # -- housekeeping -----------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Bring the journal into the database when it has grown, and get the ballast back when there is room."""
        self._refuse_if_failed()
        if self._journal_pages >= self._checkpoint_pages:
            try:
                with self._guarded(DiskFailed):
                    self._open_connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                    self._journal_pages = 0
            except DiskFull:  # all is in the journal still: try again when that has grown some more
                self._journal_pages = self._checkpoint_pages // 2
        if self._writes_until_ballast <= 0:
            self._writes_until_ballast = BALLAST_EVERY
            self._fill_ballast()

    def _fill_journal(self) -> None:
        """Give the empty journal its blocks; without room for them it is only slower, and is kept small."""
        self._checkpoint_pages = CHECKPOINT_PAGES
        self._empty_journal()
        file = os.open(self._journal_path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            zeros, filled = memoryview(bytes(JOURNAL_SIZE)), 0
            while filled < JOURNAL_SIZE:  # a disk with room for a part takes that, and refuses the rest
                filled += os.pwrite(file, zeros[filled:], filled)
            os.fsync(file)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            os.ftruncate(file, 0)
            self._checkpoint_pages = min(CHECKPOINT_PAGES, CHECKPOINT_PAGES_TIGHT)
        finally:
            os.close(file)

    def _empty_journal(self) -> None:
        """All of it is in the database. That it is empty is made durable: what is new in the midst of old frames would
        look like damage."""
        file = os.open(self._journal_path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, 0)
            os.fsync(file)
        finally:
            os.close(file)

    def _fill_ballast(self) -> None:
        if self._ballast_path.exists():
            return
        with suppress(OSError):  # no room, or no way to reserve it: the disk itself will tell when that matters
            file = os.open(self._ballast_path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, BALLAST_SIZE)
            except OSError:
                self._ballast_path.unlink()
            finally:
                os.close(file)

    def _give_up_ballast(self) -> bool:
        """Make room; False if that was done before."""
        self._writes_until_ballast = BALLAST_EVERY
        try:
            self._ballast_path.unlink()
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        """Release the database and then the directory.

        SQLite brings the journal into the database when it closes it, also after a failure. That acknowledges
        nothing, and removes the journal only once all of it was written again from there and synced.
        """
        connection, self._connection = self._connection, None
        marks, self._marks = self._marks, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        if marks is not None:
            with suppress(DiskFull, DiskFailed):
                marks.sync()
            marks.close()
        self._groups.clear()

    # -- what can go wrong ------------------------------------------------------------------------------------

    @property
    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            violated("the disk is open", directory=str(self._directory))
        return self._connection

    @property
    def _marked(self) -> Marks:
        if self._marks is None:
            violated("the directory is locked", directory=str(self._directory))
        return self._marks

    def _refuse_if_failed(self) -> None:
        if self._failed is not None:
            raise DiskFailed(self._failed)

    @contextmanager
    def _guarded(self, otherwise: type[DiskDamaged | DiskFailed]) -> Generator[None, None, None]:
        """Tell what an error of SQLite or the system means; what no table knows is `otherwise`."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            self._raise(MEANINGS.get(code, otherwise), error)
        except OSError as error:
            self._raise(DiskFull if error.errno == errno.ENOSPC else DiskFailed, error)
        except DiskFailed as error:
            self._failed = str(error)
            raise

    def _raise(self, kind: type[Exception], error: Exception) -> NoReturn:
        if kind is DiskFailed:
            self._failed = f"{self._path}: {error}; look after the disk, and start the node again"
            raise DiskFailed(self._failed) from error
        if kind is DiskRefused:
            raise DiskRefused(f"{self._path}: {error}; close the program that has it open") from error
        raise kind(f"{self._path}: {error}") from error


MEANINGS: dict[int, type[Exception]] = {
    sqlite3.SQLITE_FULL: DiskFull,
    sqlite3.SQLITE_IOERR: DiskFailed,
    sqlite3.SQLITE_CANTOPEN: DiskFailed,
    sqlite3.SQLITE_READONLY: DiskFailed,
    sqlite3.SQLITE_PERM: DiskFailed,
    sqlite3.SQLITE_NOMEM: DiskFailed,
    sqlite3.SQLITE_BUSY: DiskRefused,
}
"""Of SQLite's primary result codes: https://sqlite.org/rescode.html"""


def connect(path: Path) -> sqlite3.Connection:
    """Open a database, and nobody else may; or make one."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=1)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # first: so there is no shared memory file
        connection.execute(f"PRAGMA page_size={PAGE_SIZE}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise DiskFailed(f"{path}: this file system does not allow a write-ahead journal ({mode})")
    except BaseException:
        connection.close()
        raise
    return connection


def place_of(path: Path) -> Place:
    """What a copy of a file does not have: its file system, its inode, and the inode's generation.

    On some file systems (XFS) the id of the file system is the number of its device, which may be another one after a
    reboot. There the generation alone has to do, a random number that goes with the inode; without one the id is kept.
    Not while SQLite has the file open: closing a second descriptor would give up its locks (POSIX).
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        generation = _generation(file)
        status, file_system = os.fstat(file), os.fstatvfs(file).f_fsid & (2**64 - 1)
    finally:
        os.close(file)
    if generation and file_system == status.st_dev:
        file_system = 0
    return file_system, status.st_ino, generation


def _generation(file: int) -> int:
    """Of a file's inode, 0 where the file system does not tell."""
    try:
        return int.from_bytes(fcntl.ioctl(file, GET_GENERATION, bytes(8))[:4], sys.byteorder)
    except OSError:
        return 0


# -- what is not trusted ----------------------------------------------------------------------------------------------


def scan_journal(path: Path) -> None:
    """Raise DiskDamaged unless SQLite may open this journal, if there is one."""
    if path.exists():
        with path.open("rb") as journal:
            verdict = _journal.scan(journal)
        if isinstance(verdict, _journal.Damage):
            raise DiskDamaged(f"{path} is damaged at byte {verdict.offset}: {verdict.why}")


def check_structure(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DiskDamaged unless SQLite finds nothing wrong. `path`: whose name is told."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DiskDamaged(f"the structure of {path} is damaged ({verdict})")


def check_identity(connection: sqlite3.Connection, path: Path, place: Place) -> None:
    """Raise DiskDamaged or DiskRefused unless this is what was made at that place, by a program that we know."""
    rows: list[tuple[object, object]] = connection.execute("SELECT * FROM identity").fetchall()
    identity, checksum = rows[0] if len(rows) == 1 else (None, None)
    if not isinstance(identity, bytes) or zlib.crc32(identity) != checksum:
        raise DiskDamaged(f"the identity in {path} fails its checksum")
    version, *made = IDENTITY.unpack_from(identity)
    if version > VERSION:
        raise DiskRefused(
            f"{path} has a schema of version {version}, and this program knows versions up to {VERSION}; "
            "start the newer program"
        )
    if tuple(made) != place:
        raise DiskRefused(
            f"{path} is a copy: it was made on another file system or as another file, and the original "
            "may be in use. Start this node with an empty directory, and have it added again"
        )


def read_groups(connection: sqlite3.Connection, path: Path, marks: dict[int, tuple[bytes, int]]) -> dict[str, Group]:
    """The groups by name, as far as the marks know them. Raises DiskDamaged."""
    groups: dict[str, Group] = {}
    for group in _rows.read_groups(connection, str(path)):
        storage, written = marks.pop(group.number, (group.record.storage, 0))
        if storage != group.record.storage:
            raise DiskDamaged(f"{path} and its log.marks do not belong together")
        groups[group.record.name] = msgspec.structs.replace(group, written=written)
    if marks:
        raise DiskDamaged(f"{path} has lost the groups with the numbers {sorted(marks)}")
    return groups
