"""Snapshots on a disk: whole or told to be damaged, the log goes on from one, and only what is older goes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from hashlib import blake2b
from pathlib import Path

import pytest

from actors._protocol.errors import InvariantViolation
from broadcast import _snapshot_files, _sqlite
from broadcast._protocol.output import Persist
from broadcast._protocol.position import START, Batch, Position
from broadcast._protocol.snapshots import Snapshot
from broadcast._snapshot_files import FileSnapshots
from broadcast._sqlite import SqliteDisk
from broadcast._storage import (
    DiskDamaged,
    DiskFailed,
    DiskFull,
    Ledger,
    MemoryDisk,
    MemorySnapshots,
    SnapshotBroken,
    Snapshots,
    Written,
    digest_of,
)
from membership._protocol.configurations import Agreed
from membership._protocol.view import Configuration, Member, Promise

AGREED = Agreed.formed(Configuration((Member("a", b"s" * 16),)))
CONTENT = bytes(range(256)) * 40


def snapshot(index: int, content: bytes = CONTENT, epoch: int = 1) -> Snapshot:
    return Snapshot(Position(epoch, index), 7, 9, AGREED, len(content), digest_of([content]))


def batch(first: int, count: int = 1, epoch: int = 1, previous: int | None = None) -> Batch:
    before = (epoch if first > 1 else 0) if previous is None else previous
    return Batch(epoch, before, first, count, first, first, b"x" * 50)


LOG = Persist(1, Promise(1, "a"), batches=(batch(1, 3), batch(4), batch(5, 2), batch(7)), commit=6)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite, "JOURNAL_SIZE", 100_000)
    monkeypatch.setattr(_sqlite, "BALLAST_SIZE", 100_000)
    monkeypatch.setattr(_snapshot_files, "SYNC_SIZE", 3000)
    monkeypatch.setattr(_snapshot_files, "PIECE_SIZE", 1000)
    monkeypatch.setattr(_snapshot_files, "WRITE_SIZE", 500)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SqliteDisk]:
    disk = SqliteDisk(tmp_path / "data")
    disk.open_group("bank")
    yield disk
    disk.close()


@pytest.fixture(params=["files", "memory"])
def snapshots(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Snapshots]:
    is_memory = request.param == "memory"
    made: Snapshots = MemorySnapshots() if is_memory else FileSnapshots(tmp_path / "snapshots", 1, "bank")
    made.begin(None)
    with closing(made):
        yield made


def take(snapshots: Snapshots, index: int, content: bytes = CONTENT) -> Snapshot:
    draft = snapshots.draft()
    written = draft.write(content[at : at + 300] for at in range(0, len(content), 300))
    taken = snapshot(index, content)
    assert written == Written(taken.size, taken.digest)
    snapshots.finish(draft, taken)
    return taken


# -- the log that goes on from one ------------------------------------------------------------------------------------

WRITES: dict[str, tuple[Persist, Position, list[int]]] = {
    "nothing goes": (Persist(2, snapshot=snapshot(4)), START, [1, 4, 5, 7]),
    "nothing goes, and more comes": (Persist(2, snapshot=snapshot(4), batches=(batch(8),)), START, [1, 4, 5, 7, 8]),
    "some goes": (Persist(2, snapshot=snapshot(6), compact=4), Position(1, 4), [5, 7]),
    "all up to it goes": (Persist(2, snapshot=snapshot(6), compact=6), Position(1, 6), [7]),
    "all goes": (Persist(2, snapshot=snapshot(7), compact=7, commit=7), Position(1, 7), []),
    "the whole log is replaced by what it has not": (
        Persist(2, Promise(3, "b"), snapshot=snapshot(20, epoch=3), compact=20, batches=(batch(21, 1, 3),), commit=20),
        Position(3, 20),
        [21],
    ),
    "the whole log is replaced, also what lies beyond": (
        Persist(2, Promise(3, "b"), snapshot=snapshot(6, epoch=2), compact=7, batches=(batch(7, 1, 3, 2),)),
        Position(2, 6),
        [7],
    ),
    "its end is cut as well": (
        Persist(2, Promise(2, "b"), snapshot=snapshot(4), truncate=7, compact=3, batches=(batch(7, 1, 2, 1),)),
        Position(1, 3),
        [4, 5, 7],
    ),
}


@pytest.mark.parametrize("kind", WRITES)
def test_a_snapshot_takes_the_place_of_the_log_up_to_it(disk: SqliteDisk, kind: str) -> None:
    persist, start, firsts = WRITES[kind]
    twin = MemoryDisk(lambda size: disk.open_group("bank").storage)
    twin.open_group("bank")
    for each in (disk, twin):
        each.write([("bank", LOG)])
        each.write([("bank", persist)])
    for _ in range(2):
        found = disk.open_group("bank")
        assert found == twin.open_group("bank")
        assert (found.start, [each.first for each in found.batches]) == (start, firsts)
        assert found.snapshot == persist.snapshot
        assert found.snapshot is not None
        assert found.commit >= found.snapshot.index
        disk.close()


def test_a_log_that_was_shortened_is_gone_on_with_and_shortened_again(disk: SqliteDisk) -> None:
    disk.write([("bank", LOG)])
    disk.write([("bank", Persist(2, snapshot=snapshot(6), compact=6))])
    for number in range(8, 30):
        disk.write([("bank", Persist(number, batches=(batch(number),), commit=number))])
        if number % 5 == 0:
            disk.close()
            assert disk.open_group("bank").end == Position(1, number)
            disk.write([("bank", Persist(99, snapshot=snapshot(number - 1), compact=number - 3))])
            assert disk.open_group("bank").start == Position(1, number - 3)
    disk.write([("bank", Persist(99, compact=24))])  # what had been kept for somebody
    disk.close()
    found = disk.open_group("bank")
    assert (found.start, found.snapshot) == (Position(1, 24), snapshot(24))


@pytest.mark.parametrize(
    ("claim", "bad"),
    [
        ("what goes is in the snapshot", Persist(9, compact=5)),
        ("what goes is in the snapshot", Persist(9, snapshot=snapshot(4), compact=5)),
        ("what a snapshot has seen is committed", Persist(9, snapshot=snapshot(7))),
        ("the log goes on from the snapshot", Persist(9, snapshot=snapshot(5))),
        ("the log goes on from the snapshot", Persist(9, snapshot=snapshot(6, epoch=2))),
        ("the log goes on from the snapshot", Persist(9, snapshot=snapshot(20), commit=20)),
        ("no snapshot is older", Persist(9, snapshot=snapshot(1))),
        ("no snapshot is older", Persist(9, snapshot=snapshot(3, epoch=2))),
        ("what is committed is in the log", Persist(9, snapshot=snapshot(4), compact=9)),
        ("a batch continues the log", Persist(9, snapshot=snapshot(9), compact=9, commit=9, batches=(batch(8),))),
    ],
)
def test_what_contradicts_the_log_is_a_bug_of_ours(claim: str, bad: Persist) -> None:
    disk = MemoryDisk(lambda size: b"s" * size)
    disk.open_group("bank")
    disk.write([("bank", LOG)])
    disk.write([("bank", Persist(2, snapshot=snapshot(3), compact=3))])
    before = disk.open_group("bank")
    with pytest.raises(InvariantViolation, match=claim):
        disk.write([("bank", bad)])
    assert disk.open_group("bank") == before


def test_a_batch_is_cut_in_two_only_where_all_of_the_log_goes() -> None:
    ledger = Ledger(end=Position(1, 7), commit=3)
    ends: Callable[[int], Position] = lambda index: Position(1, 6) if index <= 7 else Position(1, 7)  # noqa: E731
    all_goes = Persist(2, truncate=6, snapshot=snapshot(5, epoch=2), compact=7, commit=5)
    assert ledger.after(all_goes, ends).end == Position(2, 5)
    with pytest.raises(InvariantViolation, match="no batch is cut in two"):
        ledger.after(Persist(2, truncate=6), ends)


def test_a_full_disk_gives_up_its_ballast_for_what_makes_the_log_shorter(
    disk: SqliteDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.write([("bank", LOG)])
    tried: list[Persist] = []

    def is_full(self: SqliteDisk, writes: list[tuple[str, Persist]]) -> None:
        tried.append(writes[0][1])
        raise DiskFull("no room")

    monkeypatch.setattr(SqliteDisk, "_write", is_full)
    for persist, count in (
        (Persist(2, batches=(batch(8),)), 1),
        (Persist(3, snapshot=snapshot(6), compact=6, batches=(batch(8),)), 2),
    ):
        tried.clear()
        with pytest.raises(DiskFull):
            disk.write([("bank", persist)])
        assert tried == [persist] * count


# -- the files ---------------------------------------------------------------------------------------------------------


def test_one_that_was_taken_is_there(snapshots: Snapshots) -> None:
    taken = take(snapshots, 5)
    assert b"".join(snapshots.pieces(taken)) == CONTENT
    assert snapshots.read(taken, 100, 50) == CONTENT[100:150]
    assert snapshots.read(taken, len(CONTENT) - 10, 50) == CONTENT[-10:]
    assert snapshots.read(snapshot(6), 0, 10) is None
    snapshots.verify(taken)
    snapshots.verify(snapshot(6))  # of one that has gone, as older ones do, nothing is sent


def test_an_empty_one(snapshots: Snapshots) -> None:
    assert b"".join(snapshots.pieces(take(snapshots, 5, b""))) == b""


def test_a_draft_that_is_not_wanted_leaves_nothing(snapshots: Snapshots, tmp_path: Path) -> None:
    draft = snapshots.draft()
    draft.write([CONTENT])
    draft.discard()
    draft.discard()
    assert list(tmp_path.rglob("*draft*")) == []
    other = snapshots.draft()
    other.write([CONTENT])
    snapshots.finish(other, snapshot(3))
    other.discard()
    assert b"".join(snapshots.pieces(snapshot(3))) == CONTENT


def test_no_two_drafts_have_one_file_in_any_life(tmp_path: Path) -> None:
    """A child of an earlier life may still be at its own."""
    directory = tmp_path / "snapshots"
    earlier, later = FileSnapshots(directory, 1, "bank"), FileSnapshots(directory, 1, "bank")
    earlier.begin(None)
    late = earlier.draft()
    later.begin(None)
    drafts = [later.draft(), later.draft(), late]
    for number, draft in enumerate(drafts):
        draft.write([b"%d" % number])
    assert [draft.path.read_bytes() for draft in drafts] == [b"0", b"1", b"2"]


def test_what_is_there_is_not_written_over(files: FileSnapshots) -> None:
    draft = files.draft()
    draft.write([CONTENT])
    with pytest.raises(DiskFailed, match="File exists"):
        draft.write([b"other"])
    assert draft.path.read_bytes() == CONTENT


def test_one_comes_in_parts(snapshots: Snapshots) -> None:
    coming = snapshot(5)
    assert snapshots.store(coming, 1000, CONTENT[1000:2000]) == 0  # it has not begun
    assert snapshots.store(coming, 0, CONTENT[:1000]) == 1000
    assert snapshots.store(coming, 2000, CONTENT[2000:3000]) == 1000  # a gap
    assert snapshots.store(coming, 1000, CONTENT[1000:2000]) == 2000
    assert snapshots.store(coming, 1000, CONTENT[1000:2000]) == 2000  # once more
    assert snapshots.store(snapshot(6), 2000, b"x") == 0  # another
    assert snapshots.store(coming, 2000, CONTENT[2000:]) == len(CONTENT)
    snapshots.complete(coming)
    assert b"".join(snapshots.pieces(coming)) == CONTENT


def test_one_that_begins_takes_the_place_of_another_that_was_on_its_way(snapshots: Snapshots) -> None:
    other, content = snapshot(6, CONTENT[::-1]), CONTENT[::-1]
    snapshots.store(snapshot(5), 0, CONTENT[:1000])
    assert snapshots.store(other, 0, content) == len(content)
    assert snapshots.store(snapshot(5), 1000, CONTENT[1000:]) == 0
    snapshots.complete(other)
    assert b"".join(snapshots.pieces(other)) == content


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"?", b""])
def test_what_came_and_is_not_what_was_said_is_no_snapshot(
    snapshots: Snapshots, content: bytes, tmp_path: Path
) -> None:
    coming = snapshot(5)
    snapshots.store(coming, 0, content)
    with pytest.raises(SnapshotBroken, match="index 5"):
        snapshots.complete(coming)
    with pytest.raises(DiskDamaged, match="gone"):
        list(snapshots.pieces(coming))
    assert list(tmp_path.rglob("1-*")) == []
    with pytest.raises(SnapshotBroken):
        snapshots.complete(coming)


def test_what_is_older_goes_and_what_is_newer_or_in_use_stays(snapshots: Snapshots) -> None:
    first, second, third, fourth = (take(snapshots, index) for index in (100, 9, 200, 1000))
    assert snapshots.read(first, 0, 5) == CONTENT[:5]
    snapshots.retain(third, [fourth, second])
    assert snapshots.read(first, 0, 5) is None
    for kept in (second, third, fourth):
        assert b"".join(snapshots.pieces(kept)) == CONTENT


def test_a_new_life_keeps_only_the_one_that_is_known(snapshots: Snapshots, tmp_path: Path) -> None:
    known, other = take(snapshots, 5), take(snapshots, 9)
    snapshots.store(snapshot(11), 0, CONTENT[:100])
    snapshots.draft().write([CONTENT])
    elsewhere = FileSnapshots(tmp_path / "snapshots", 11, "room")
    elsewhere.begin(None)
    rooms = take(elsewhere, 3)
    snapshots.begin(known)
    assert b"".join(snapshots.pieces(known)) == CONTENT
    assert snapshots.read(other, 0, 1) is None
    assert snapshots.store(snapshot(11), 100, CONTENT[100:]) == 0
    assert len(list(tmp_path.rglob("1-*"))) <= 1
    snapshots.begin(None)
    assert list(tmp_path.rglob("1-*")) == []
    assert b"".join(elsewhere.pieces(rooms)) == CONTENT


# -- damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> FileSnapshots:
    files = FileSnapshots(tmp_path / "snapshots", 1, "bank")
    files.begin(None)
    return files


def damage_of(files: FileSnapshots, of: Snapshot) -> str:
    with pytest.raises(DiskDamaged) as caught:
        list(files.pieces(of))
    assert "have the member added again" in str(caught.value)
    assert "the snapshot of group 'bank' at index 5" in caught.value.what
    assert str(files.path_of(of)) in caught.value.what
    if files.path_of(of).exists():
        with pytest.raises(DiskDamaged) as told:
            files.verify(of)
        assert told.value.what == caught.value.what
    return caught.value.what


def test_a_bit_that_flipped_anywhere_is_damage(files: FileSnapshots) -> None:
    content = CONTENT[:257]
    taken = take(files, 5, content)
    for offset in range(len(content)):
        changed = bytearray(content)
        changed[offset] ^= 1 << offset % 8
        files.path_of(taken).write_bytes(changed)
        assert "fails its checksum" in damage_of(files, taken)


def test_nothing_of_a_damaged_one_is_given_out(files: FileSnapshots) -> None:
    taken = take(files, 5)
    files.path_of(taken).write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(DiskDamaged):
        next(files.pieces(taken))


def test_one_that_is_gone_cut_off_or_another_is_damage(files: FileSnapshots, tmp_path: Path) -> None:
    taken = take(files, 5)
    path = files.path_of(taken)
    path.write_bytes(CONTENT[:-1])
    assert f"has {len(CONTENT)} bytes, and" in damage_of(files, taken)
    path.write_bytes(CONTENT[::-1])  # an older one, or one of another group, of the same size
    assert "fails its checksum" in damage_of(files, taken)
    path.unlink()
    assert "is gone" in damage_of(files, taken)


def test_a_part_of_one_that_is_cut_off_is_not_read(files: FileSnapshots) -> None:
    taken = take(files, 5)
    files.path_of(taken).write_bytes(CONTENT[:1000])
    assert files.read(taken, 900, 200) is None


# -- a disk that does not do as it should -----------------------------------------------------------------------------


def test_it_is_synced_before_it_gets_its_name_and_the_name_after(
    files: FileSnapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync_file, rename_file = os.fsync, Path.rename

    def fsync(file: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{file}")).name
        done.append(f"sync {'a draft' if name.startswith('1-draft-') else name}")
        sync_file(file)

    def rename(path: Path, target: Path) -> Path:
        done.append("name")
        return rename_file(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    take(files, 5, CONTENT[:4000])
    assert done == ["sync a draft"] * 2 + ["name", "sync snapshots"]
    done.clear()
    files.store(snapshot(6, CONTENT[:10]), 0, CONTENT[:10])
    files.complete(snapshot(6, CONTENT[:10]))
    assert done == ["sync 1-incoming", "name", "sync snapshots"]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskFull), (errno.EIO, DiskFailed)])
def test_a_disk_that_takes_no_more(
    files: FileSnapshots, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], tmp_path: Path
) -> None:
    def write(file: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    files.store(snapshot(5), 0, CONTENT[:100])
    monkeypatch.setattr(os, "write", write)
    draft = files.draft()
    with pytest.raises(kind, match=os.strerror(number)):
        draft.write([CONTENT])
    draft.discard()
    with pytest.raises(kind, match=os.strerror(number)):
        files.store(snapshot(5), 100, CONTENT[100:])
    if kind is DiskFull:  # there is room for others
        assert list(tmp_path.rglob("1-*")) == []
        assert files.store(snapshot(5), 100, CONTENT[100:]) == 0


def test_a_death_at_any_point_leaves_the_one_before_or_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of taking one and of installing one, up to where the database has it; the next life finds what that says."""

    class Death(BaseException):
        pass

    left = 0

    def mortal(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **keywords: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Death(name)
            return function(*arguments, **keywords)

        return run

    old, new, coming = snapshot(4), snapshot(6, CONTENT[::-1]), snapshot(20, CONTENT[:2000], epoch=2)
    deaths, storage, found = 0, b"", None
    for points in range(200):
        with monkeypatch.context() as patch, suppress(Death), closing(SqliteDisk(tmp_path / str(points))) as disk:
            storage = disk.open_group("bank").storage
            disk.write([("bank", LOG)])
            files = disk.snapshots("bank")
            files.begin(None)
            take(files, 4)
            disk.write([("bank", Persist(2, snapshot=old, compact=3))])
            left = points
            for name in ("write", "fsync", "rename", "unlink", "open"):
                patch.setattr(os, name, mortal(name, getattr(os, name)))
            try:
                take(files, 6, CONTENT[::-1])
                files.store(coming, 0, CONTENT[:1000])
                files.store(coming, 1000, CONTENT[1000:2000])
                files.complete(coming)
                disk.write([("bank", Persist(3, snapshot=new, compact=6))])
                files.retain(new)
                disk.write([("bank", Persist(4, snapshot=coming, compact=20, commit=20))])
                files.retain(coming)
            finally:
                patch.undo()
                deaths += left < 0
        with closing(SqliteDisk(tmp_path / str(points))) as disk:
            found = disk.open_group("bank")
            assert found.storage == storage
            assert found.snapshot in (old, new, coming)
            files = disk.snapshots("bank")
            files.begin(found.snapshot)
            assert digest_of(files.pieces(found.snapshot)) == found.snapshot.digest
            assert len(list((tmp_path / str(points) / "snapshots").iterdir())) == 1
        if left > 0:
            break
    assert deaths > 20
    assert found is not None
    assert found.snapshot == coming


def test_the_digest_is_blake2b_of_32_bytes() -> None:
    assert digest_of([CONTENT[:100], CONTENT[100:]]) == blake2b(CONTENT, digest_size=32).digest()
