"""The SQLite disk: what is written is found again, on the same disk only, and the rules of a write hold."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors._protocol.errors import InvariantViolation
from broadcast import _sqlite
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.snapshots import Snapshot
from broadcast._sqlite import SqliteDisk
from broadcast._storage import DiskDamaged, DiskRefused, MemoryDisk, Stored
from membership._protocol.configurations import Agreed
from membership._protocol.view import Configuration, Formation, Member, Promise

FORMATION = Formation("bank", b"c" * 16, Configuration((Member("a", b"s" * 16),)))
AGREED = Agreed.formed(FORMATION.configuration)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite, "JOURNAL_SIZE", 100_000)
    monkeypatch.setattr(_sqlite, "BALLAST_SIZE", 100_000)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SqliteDisk]:
    disk = SqliteDisk(tmp_path / "data")
    yield disk
    disk.close()


def reopened(disk: SqliteDisk, tmp_path: Path, group: str = "bank") -> Stored:
    """What a next life finds; it closes again, so that `disk` may be opened once more."""
    disk.close()
    later = SqliteDisk(tmp_path / "data")
    try:
        return later.open_group(group)
    finally:
        later.close()


def log(count: int, size: int = 20) -> list[Persist]:
    return [
        Persist(n, batches=(Batch(1, 1 if n > 1 else 0, n, 1, n, n, bytes([n % 256]) * size),), commit=n - 1)
        for n in range(1, count + 1)
    ]


def test_what_was_written_is_found_again_in_the_next_life(disk: SqliteDisk, tmp_path: Path) -> None:
    begun = disk.open_group("bank")
    assert begun == Stored(begun.storage, None, Promise(), [])
    first, second = Batch(2, 0, 1, 3, 10, 5, b"one"), Batch(2, 2, 4, 1, 10, 8, b"")
    disk.write([("bank", Persist(1, promise=Promise(2, "a"), formation=FORMATION))])
    disk.write([("bank", Persist(2, batches=(first, second), commit=1))])
    assert reopened(disk, tmp_path) == Stored(begun.storage, FORMATION, Promise(2, "a"), [first, second], commit=1)


def test_one_transaction_joins_the_writes_of_many_groups(disk: SqliteDisk, tmp_path: Path) -> None:
    assert disk.open_group("bank").storage != disk.open_group("room").storage
    bank, room = log(3), log(2)
    disk.write([("bank", bank[0]), ("room", room[0]), ("bank", bank[1]), ("bank", bank[2])])
    disk.write([("room", room[1])])
    assert len(reopened(disk, tmp_path, "bank").batches) == 3
    assert len(reopened(disk, tmp_path, "room").batches) == 2


def test_a_transaction_that_contradicts_the_log_leaves_nothing_and_the_disk_goes_on(
    disk: SqliteDisk, tmp_path: Path
) -> None:
    disk.open_group("bank")
    first, second, third = log(3)
    disk.write([("bank", first)])
    with pytest.raises(InvariantViolation, match="a batch continues the log"):
        disk.write([("bank", second), ("bank", second)])
    with pytest.raises(InvariantViolation, match="opened before it is written"):
        disk.write([("bank", second), ("other", first)])
    disk.write([("bank", second), ("bank", third)])
    assert [batch.first for batch in reopened(disk, tmp_path).batches] == [1, 2, 3]


def test_no_epoch_goes_down_in_the_next_life_either(disk: SqliteDisk, tmp_path: Path) -> None:
    disk.open_group("bank")
    disk.write([("bank", Persist(1, promise=Promise(7, "a")))])
    disk.close()
    disk.open_group("bank")
    with pytest.raises(InvariantViolation, match="no epoch goes down"):
        disk.write([("bank", Persist(1, promise=Promise(6, "b")))])


def test_a_second_user_of_the_directory_is_refused_until_the_first_has_closed(disk: SqliteDisk, tmp_path: Path) -> None:
    disk.open_group("bank")
    second = SqliteDisk(tmp_path / "data")
    with pytest.raises(DiskRefused, match="in use by another process"):
        second.open_group("bank")
    disk.close()
    second.open_group("bank")
    second.close()


def test_a_database_that_another_program_has_open_is_refused(disk: SqliteDisk, tmp_path: Path) -> None:
    disk.open_group("bank")
    disk.close()
    other = sqlite3.connect(tmp_path / "data" / "log.sqlite3", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DiskRefused, match="close the program"):
            disk.open_group("bank")
    finally:
        other.close()


def test_a_copy_is_refused(disk: SqliteDisk, tmp_path: Path) -> None:
    disk.open_group("bank")
    disk.close()
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    copy = SqliteDisk(tmp_path / "copy")
    with pytest.raises(DiskRefused, match="is a copy"):
        copy.open_group("bank")
    disk.open_group("bank")  # the original is not


class Told:
    """What the system tells of every file; the device and its id may be other ones in the next life."""

    def __init__(self, device: int, file_system: int, generation: int) -> None:
        self.device = device
        self.file_system = file_system
        self.generation = generation

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        status_of = os.fstat

        def status(file: int) -> os.stat_result:
            return os.stat_result([*status_of(file)[:2], self.device, *status_of(file)[3:]])

        def statistics(file: int) -> SimpleNamespace:
            return SimpleNamespace(f_fsid=self.file_system)

        def generation(file: int) -> int:
            return self.generation

        monkeypatch.setattr(os, "fstat", status)
        monkeypatch.setattr(os, "fstatvfs", statistics)
        monkeypatch.setattr(_sqlite, "_generation", generation)


@pytest.mark.parametrize(
    ("first", "then", "is_refused"),
    [
        (Told(10, 99, 7), Told(10, 99, 8), True),  # copied, the original removed, copied back into its inode
        (Told(10, 99, 7), Told(11, 99, 7), False),  # the device has another number
        (Told(10, 10, 7), Told(11, 11, 7), False),  # the same, where the id of the file system is that number
        (Told(10, 99, 7), Told(10, 98, 7), True),
        (Told(10, 10, 7), Told(10, 10, 8), True),
        (Told(10, 10, 7), Told(11, 99, 7), True),
        (Told(10, 10, 0), Told(11, 11, 0), True),  # nothing else tells it from a copy
        (Told(10, 99, 0), Told(11, 99, 0), False),
    ],
)
def test_a_file_is_the_same_on_a_device_with_another_number(
    disk: SqliteDisk, monkeypatch: pytest.MonkeyPatch, first: Told, then: Told, is_refused: bool
) -> None:
    with monkeypatch.context() as patch:
        first.install(patch)
        disk.open_group("bank")
        disk.close()
    then.install(monkeypatch)
    with pytest.raises(DiskRefused, match="is a copy") if is_refused else nullcontext():
        disk.open_group("bank")


def test_a_look_at_the_files_place_leaves_sqlite_its_locks(disk: SqliteDisk, tmp_path: Path) -> None:
    """A process gives up all its locks on a file when it closes any descriptor of it (POSIX)."""
    for _ in range(2):  # made, and opened
        disk.open_group("bank")
        look = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM identity')"
        command = [sys.executable, "-c", look, str(tmp_path / "data" / "log.sqlite3")]
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "database is locked" in other.stderr
        disk.close()


def test_a_newer_schema_is_refused_with_both_versions_named(disk: SqliteDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite, "VERSION", 3)
    disk.open_group("bank")
    disk.close()
    monkeypatch.setattr(_sqlite, "VERSION", 2)
    with pytest.raises(DiskRefused, match="version 3, and this program knows versions up to 2"):
        disk.open_group("bank")


def test_the_directory_is_its_owners_alone(disk: SqliteDisk, tmp_path: Path) -> None:
    disk.open_group("bank")
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_the_journal_keeps_its_size_over_many_checkpoints(
    disk: SqliteDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite, "CHECKPOINT_PAGES", 20)
    disk.open_group("bank")
    for persist in log(200):
        disk.write([("bank", persist)])
        disk.tend()
    assert (tmp_path / "data" / "log.sqlite3-wal").stat().st_size <= 200_000
    assert (tmp_path / "data" / "log.sqlite3").stat().st_size > 20_000
    assert len(reopened(disk, tmp_path).batches) == 200


def test_the_journal_keeps_its_size_while_a_log_goes(
    disk: SqliteDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is removed is written too, and counts."""
    monkeypatch.setattr(_sqlite, "CHECKPOINT_PAGES", 20)
    disk.open_group("bank")
    for persist in log(200, size=4_000):
        disk.write([("bank", persist)])
        disk.tend()
    snapshot = Snapshot(Position(1, 200), 0, 200, AGREED, 1, bytes(32))
    for last in range(10, 201, 10):
        disk.write([("bank", Persist(200 + last, snapshot=snapshot, compact=last, commit=200))])
        disk.tend()
    assert (tmp_path / "data" / "log.sqlite3-wal").stat().st_size <= 200_000
    assert reopened(disk, tmp_path).start == Position(1, 200)


@pytest.mark.parametrize("room", [0, 60_000])
def test_a_journal_that_found_no_room_beforehand_does_not_take_what_is_left(
    disk: SqliteDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Neither at once nor as it grows: there would be none for the database, into which it is to be brought."""
    whole, journal = os.pwrite, tmp_path / "data" / "log.sqlite3-wal"

    def take_what_fits(file: int, data: bytes, offset: int) -> int:
        if os.readlink(f"/proc/self/fd/{file}") != str(journal):
            return whole(file, data, offset)
        if offset >= room:
            raise OSError(errno.ENOSPC, "no room")
        return whole(file, data[: room - offset], offset)

    monkeypatch.setattr(os, "pwrite", take_what_fits)
    disk.open_group("bank")
    assert journal.stat().st_size <= 4 * 4120
    for persist in log(400):
        disk.write([("bank", persist)])
        disk.tend()
    assert journal.stat().st_size < 2 * 100 * 4120
    assert len(reopened(disk, tmp_path).batches) == 400


def test_a_creation_that_did_not_end_is_begun_anew(disk: SqliteDisk, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "log.new").write_bytes(b"half a database")
    (data / "log.marks").write_bytes(bytes(4096))
    assert disk.open_group("bank").batches == []


@pytest.mark.parametrize("name", ["log.sqlite3", "log.marks"])
def test_a_file_that_is_gone_is_damage_and_nothing_is_begun_in_its_place(
    disk: SqliteDisk, tmp_path: Path, name: str
) -> None:
    disk.open_group("bank")
    disk.write([("bank", log(1)[0])])
    disk.close()
    (tmp_path / "data" / name).unlink()
    for _ in range(2):
        with pytest.raises(DiskDamaged, match=f"has lost its {name}"):
            disk.open_group("bank")


def test_damage_of_one_group_leaves_the_others(disk: SqliteDisk, tmp_path: Path) -> None:
    disk.open_group("bank")
    disk.open_group("room")
    disk.write([("bank", log(1)[0]), ("room", log(1)[0])])
    disk.close()
    with sqlite3.connect(tmp_path / "data" / "log.sqlite3") as connection:
        connection.execute("UPDATE batches_1 SET epoch = 2")
    connection.close()
    with pytest.raises(DiskDamaged, match="group 'bank': the batch after index 0 fails its checksum"):
        disk.open_group("bank")
    assert len(disk.open_group("room").batches) == 1


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM batches_1 WHERE first = 2", "does not continue index 1"),
        ("DELETE FROM batches_1 WHERE first = 3", "3 writes were durable, and 2 are there"),
        ("DELETE FROM batches_1", "3 writes were durable, and 0 are there"),
        ("UPDATE batches_1 SET first = 9 WHERE first = 3", "fails its checksum"),
        ("UPDATE batches_1 SET entries = x'00' WHERE first = 2", "fails its checksum"),
        ("UPDATE batches_1 SET entries = 'text' WHERE first = 2", "has lost its form"),
        ("UPDATE batches_1 SET time = 1.5 WHERE first = 2", "has lost its form"),
        ("UPDATE batches_1 SET commit_mark = 1 WHERE first = 1", "fails its checksum"),
        ("UPDATE groups SET record = x'00'", "the record of group 1 fails its checksum"),
        ("UPDATE groups SET record = 5", "the record of group 1 has lost its form"),
        ("UPDATE groups SET number = 2", "the record of group 2 fails its checksum"),
        ("DELETE FROM groups", r"has lost the groups with the numbers \[1\]"),
        ("DROP TABLE batches_1", "no such table"),
        ("DELETE FROM identity", "the identity"),
        ("UPDATE identity SET identity = 'x'", "the identity"),
    ],
)
def test_what_does_not_fit_is_named(disk: SqliteDisk, tmp_path: Path, statement: str, said: str) -> None:
    disk.open_group("bank")
    for persist in log(3):
        disk.write([("bank", persist)])
    disk.close()
    with sqlite3.connect(tmp_path / "data" / "log.sqlite3") as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(DiskDamaged, match=said) as caught:
        disk.open_group("bank")
    assert "have the member added again" in str(caught.value)


def test_a_commit_mark_beyond_the_end_is_damage(disk: SqliteDisk, tmp_path: Path) -> None:
    """The last rows are gone, and so are the marks: another row still tells that they were committed."""
    disk.open_group("bank")
    first, second, third = log(3)
    disk.write([("bank", Persist(1, batches=first.batches + second.batches + third.batches, commit=3))])
    disk.close()
    with sqlite3.connect(tmp_path / "data" / "log.sqlite3") as connection:
        connection.execute("DELETE FROM batches_1 WHERE first = 3")
    connection.close()
    with pytest.raises(DiskDamaged, match="index 3 was committed, and index 2 is the last"):
        disk.open_group("bank")


# -- a memory disk as the dumb twin ------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[list[Persist] | None]:
    """Transactions of one group that keep the rules; None: the disk is closed and opened."""
    ends = [(0, 0)]  # (epoch, last) after each batch that is held, the start first
    commit, promised, formed, at = 0, 0, False, 0
    history: list[list[Persist] | None] = []
    for number in range(1, draw(st.integers(1, 12))):
        if draw(st.integers(0, 4)) == 0:
            history.append(None)
        formation = None
        if not formed and draw(st.booleans()):
            formation, formed = FORMATION, True
        promise = None
        if draw(st.booleans()):
            promised += draw(st.integers(0, 2))
            promise = Promise(promised, draw(st.sampled_from([None, "a", "b"])))
        truncate = None
        if draw(st.integers(0, 3)) == 0:
            kept = draw(st.integers(next(i for i, end in enumerate(ends) if end[1] >= commit), len(ends) - 1))
            truncate = ends[kept][1] + 1
            del ends[kept + 1 :]
        snapshot, compact = None, 0
        if draw(st.integers(0, 3)) == 0:
            known = [i for i, end in enumerate(ends) if max(1, at) <= end[1] <= commit]
            if known:
                of = draw(st.sampled_from(known))
                at = ends[of][1]
                snapshot = Snapshot(Position(*ends[of]), 5, 7, AGREED, 1, b"d" * 32)
                kept = draw(st.integers(0, of))
                compact = ends[kept][1]
                del ends[:kept]
        batches: list[Batch] = []
        for _ in range(draw(st.integers(0, 3))):
            epoch, last = ends[-1]
            new = Batch(
                max(1, epoch + draw(st.integers(0, 1))),
                epoch,
                last + 1,
                draw(st.integers(1, 3)),
                5,
                7,
                draw(st.binary()),
            )
            batches.append(new)
            ends.append((new.epoch, new.last))
        commit = draw(st.integers(commit, ends[-1][1])) if truncate is None else commit
        persist = Persist(number, promise, formation, truncate, tuple(batches), commit, snapshot, compact)
        last_one = history[-1] if history else None
        if last_one is not None and draw(st.booleans()):
            last_one.append(persist)
        else:
            history.append([persist])
    return history


def assert_same(found: Stored, meant: Stored) -> None:
    """A commit mark is stored with batches only, and is gone with them: it may be lower than what was written."""
    assert replace(found, commit=0) == replace(meant, commit=0)
    assert 0 <= found.commit <= meant.commit


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories())
def test_it_holds_what_a_memory_disk_holds(
    history: list[list[Persist] | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("twin")
    disk = SqliteDisk(data, entropy=lambda size: b"s" * size)
    twin = MemoryDisk(entropy=lambda size: b"s" * size)
    try:
        assert_same(disk.open_group("bank"), twin.open_group("bank"))
        for transaction in history:
            if transaction is None:
                disk.close()
                assert_same(disk.open_group("bank"), twin.open_group("bank"))
            else:
                writes = [("bank", persist) for persist in transaction]
                disk.write(writes)
                twin.write(writes)
                disk.tend()
        disk.close()
        assert_same(disk.open_group("bank"), twin.open_group("bank"))
    finally:
        disk.close()
