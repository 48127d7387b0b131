"""Damage of any byte is met by everything that was stored, or by DiskDamaged; never by less, never by something else.

A node is played dead by keeping the bytes of its files while it has them open; they are put back into the same files
(a copy would be refused), changed, and opened. Whether the marks are exact, as after a kill, or lie far in the past,
as after a power cut, makes one difference only: in the second case the last transaction may be lost, for a torn tail
and a damaged last transaction look the same.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from broadcast import _sqlite
from broadcast._protocol.output import Persist
from broadcast._protocol.position import START, Batch, Position
from broadcast._protocol.snapshots import Snapshot
from broadcast._sqlite import SqliteDisk
from broadcast._storage import DiskDamaged, DiskRefused, Stored
from membership._protocol.configurations import Agreed
from membership._protocol.view import Configuration, Promise

GROUPS = ("bank", "room")
DATABASE, JOURNAL, MARKS = "log.sqlite3", "log.sqlite3-wal", "log.marks"
FRAME = 4096 + 24
COMPACTED_MAX = 30  # index up to which logs are

Found = tuple[Stored, ...]


@dataclass
class Dead:
    """A node that was killed: its files, and what it had stored after each of its last transactions."""

    data: Path
    files: dict[str, bytes]
    stored: list[Found]

    def put_back(self, **changed: bytes) -> None:
        for name, content in (self.files | changed).items():
            (self.data / name).write_bytes(content)  # the same inode

    def open(self) -> Found | None:
        """What is found; None for a refusal, mostly for damage, which must be met again the next time."""
        disk = SqliteDisk(self.data)
        try:
            return tuple(disk.open_group(group) for group in GROUPS)
        except (DiskDamaged, DiskRefused):
            return None
        finally:
            disk.close()

    def found_with(self, **changed: bytes) -> Found | None:
        self.put_back(**changed)
        found = self.open()
        assert self.open() == found
        return found


def batch(number: int, size: int) -> Batch:
    return Batch(
        1 + number // 10, (1 + (number - 1) // 10) if number > 1 else 0, number, 1, number, number, bytes(size)
    )


def live(data: Path, checkpoint_after: int, stop_after: int) -> Dead:
    """Two groups, transactions of one to many pages; the first of them are in the database, the rest in the journal."""
    disk = SqliteDisk(data)
    stored: list[Found] = []
    for group in GROUPS:
        disk.open_group(group)
    for number in range(1, stop_after + 1):
        size = (30, 200, 9000, 30)[number % 4]
        writes = [("bank", Persist(number, batches=(batch(number, size),)))]
        if number % 3 == 0:
            writes.append(("room", Persist(number, batches=(batch(number // 3, 400),))))
        if number % 5 == 0:
            writes.append(("bank", Persist(number, promise=Promise(number, "a"))))
        disk.write(writes)
        if number == checkpoint_after:
            disk._journal_pages = 10**6  # pyright: ignore[reportPrivateUsage]
            disk.tend()
        if number == checkpoint_after or number >= stop_after - 1:
            stored.append(tuple(disk.open_group(group) for group in GROUPS))
    files = {name: (data / name).read_bytes() for name in (DATABASE, JOURNAL, MARKS)}
    disk.close()
    return Dead(data, files, stored)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite, "JOURNAL_SIZE", 20 * FRAME)
    monkeypatch.setattr(_sqlite, "BALLAST_SIZE", 0)


@pytest.fixture
def dead(tmp_path: Path) -> Dead:
    return live(tmp_path / "data", checkpoint_after=24, stop_after=36)


def old_marks(dead: Dead) -> bytes:
    """The marks as they were when the groups were begun."""
    dead.put_back()
    written = dead.files[MARKS]
    storages = iter([stored.storage for stored in dead.stored[-1]])
    fresh = SqliteDisk(dead.data.parent / "fresh", entropy=lambda size: next(storages))
    for group in GROUPS:
        fresh.open_group(group)
    fresh.close()
    old = (dead.data.parent / "fresh" / MARKS).read_bytes()
    assert len(old) == len(written)
    assert old != written
    return old


def journal_end(journal: bytes) -> int:
    """Where the frames of the current generation end."""
    offset = 32
    while journal[offset + 8 : offset + 16] == journal[16:24]:
        offset += FRAME
    return offset


def flips(content: bytes, end: int, chance: random.Random, count: int) -> Iterator[tuple[int, bytes]]:
    """Bytes changed at random, in headers of frames and pages more often than elsewhere."""
    for _ in range(count):
        offset = chance.randrange(end)
        if chance.random() < 0.5:
            offset = min(offset - (offset - 32) % FRAME + chance.randrange(60), end - 1)
        changed = bytearray(content)
        changed[offset] ^= chance.choice([1, 0x80, 0xFF])
        yield offset, bytes(changed)


def test_a_killed_node_finds_everything(dead: Dead) -> None:
    assert dead.found_with() == dead.stored[-1]
    assert dead.found_with(**{MARKS: old_marks(dead)}) == dead.stored[-1]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_byte_of_the_journal(dead: Dead, seed: int) -> None:
    journal = dead.files[JOURNAL]
    end = journal_end(journal)
    assert end > 20 * FRAME
    found_damaged = 0
    for offset, changed in flips(journal, end, random.Random(seed), 60):
        found = dead.found_with(**{JOURNAL: changed})
        assert found in (None, dead.stored[-1]), offset
        found_damaged += found is None
    assert found_damaged == 60  # within the frames in use there is no byte that does not matter


def test_any_byte_of_the_journal_when_the_marks_are_lost_too(dead: Dead) -> None:
    journal, marks = dead.files[JOURNAL], old_marks(dead)
    seen: set[int] = set()
    for offset, changed in flips(journal, journal_end(journal), random.Random(4), 120):
        found = dead.found_with(**{JOURNAL: changed, MARKS: marks})
        assert found in (None, dead.stored[-1], dead.stored[-2]), offset  # not less than the last but one
        seen.add(0 if found is None else dead.stored.index(found))
    assert {0, 1} <= seen


@pytest.mark.parametrize("seed", [5, 6, 7])
@pytest.mark.parametrize("marks_are_lost", [False, True])
def test_any_byte_of_the_database(tmp_path: Path, seed: int, marks_are_lost: bool) -> None:
    dead = live(tmp_path / "data", checkpoint_after=30, stop_after=30)
    dead.files[JOURNAL] = b""
    marks = old_marks(dead) if marks_are_lost else dead.files[MARKS]
    database = dead.files[DATABASE]
    chance = random.Random(seed)
    found_damaged = 0
    for _ in range(70):
        offset = chance.randrange(len(database))
        if chance.random() < 0.5:
            offset = offset - offset % 4096 + chance.randrange(110)  # where structure lies
        changed = bytearray(database)
        changed[offset] ^= chance.choice([1, 0x80, 0xFF])
        found = dead.found_with(**{DATABASE: bytes(changed), MARKS: marks})
        assert found in (None, dead.stored[-1]), offset
        found_damaged += found is None
    assert found_damaged > 30


def test_a_row_that_is_cut_from_its_page_when_the_marks_are_lost_too(tmp_path: Path) -> None:
    """The last row of each leaf in turn is not counted by its page any more: only the page's own structure tells."""
    dead = live(tmp_path / "data", checkpoint_after=30, stop_after=30)
    dead.files[JOURNAL] = b""
    database, marks = dead.files[DATABASE], old_marks(dead)
    leaves = [page for page in range(4096, len(database), 4096) if database[page] == 0x0D]
    assert len(leaves) > 3
    for page in leaves:
        changed = bytearray(database)
        changed[page + 4] -= 1
        assert dead.found_with(**{DATABASE: bytes(changed), MARKS: marks}) is None, page


def test_any_byte_of_the_marks(dead: Dead) -> None:
    """Of a group's two, one may be torn by a death in the midst of it: what the database has is known all the same."""
    for offset in range(3 * 64):
        changed = bytearray(dead.files[MARKS])
        changed[offset] ^= 0x10
        is_title, is_empty = offset < 32, 32 <= offset < 64
        found = dead.found_with(**{MARKS: bytes(changed)})
        assert found == (None if is_title else dead.stored[-1]), offset
        if not is_title and not is_empty:
            changed[offset ^ 32] ^= 0x10
            assert dead.found_with(**{MARKS: bytes(changed)}) is None, offset


def test_a_journal_cut_at_any_length(dead: Dead) -> None:
    journal = dead.files[JOURNAL]
    end = journal_end(journal)
    chance = random.Random(8)
    lengths = [*range(32, end, FRAME), *(chance.randrange(end) for _ in range(30)), 0, 1, 31]
    for length in lengths:
        assert dead.found_with(**{JOURNAL: journal[:length]}) is None, length
    assert dead.found_with(**{JOURNAL: journal[:end]}) == dead.stored[-1]


def test_a_journal_that_was_removed(dead: Dead) -> None:
    dead.put_back()
    (dead.data / JOURNAL).unlink()
    assert dead.open() is None


def test_a_database_cut_at_any_page(dead: Dead) -> None:
    database = dead.files[DATABASE]
    for length in range(0, len(database), 4096):
        found = dead.found_with(**{DATABASE: database[:length]})
        assert found in (None, dead.stored[-1]), length


@pytest.mark.parametrize("size", [512, 4096, FRAME, 3 * FRAME])
def test_zeros_anywhere(dead: Dead, size: int) -> None:
    chance = random.Random(size)
    for name in (JOURNAL, DATABASE):
        content = dead.files[name]
        end = journal_end(content) if name == JOURNAL else len(content)
        for _ in range(15):
            offset = chance.randrange(end) // 512 * 512
            changed = content[:offset] + bytes(size) + content[offset + size :]
            assert dead.found_with(**{name: changed[: len(content)]}) in (None, dead.stored[-1]), (name, offset)


def test_a_page_of_another_file_or_of_another_place_or_of_another_time(dead: Dead, tmp_path: Path) -> None:
    other = live(tmp_path / "other", checkpoint_after=24, stop_after=36)
    early = live(tmp_path / "early", checkpoint_after=12, stop_after=24)
    chance = random.Random(9)
    for name, start, page in ((DATABASE, 0, 4096), (JOURNAL, 32, FRAME)):
        content = dead.files[name]
        count = ((journal_end(content) if name == JOURNAL else len(content)) - start) // page
        for _ in range(30):
            donor = chance.choice([content, other.files[name], early.files[name]])
            there, here = (start + page * chance.randrange(count) for _ in range(2))
            if chance.random() < 0.5 and donor is not content:
                there = here
            changed = content[:here] + donor[there : there + page].ljust(page, b"\0") + content[here + page :]
            assert dead.found_with(**{name: changed}) in (None, dead.stored[-1]), (name, here, there)


def test_a_page_of_the_database_that_never_reached_the_disk(tmp_path: Path) -> None:
    """Each page in turn is still what it was some transactions ago: every checksum is right, and the marks tell."""
    dead = live(tmp_path / "data", checkpoint_after=30, stop_after=30)
    dead.files[JOURNAL] = b""
    final, marks = dead.files[DATABASE], dead.files[MARKS]
    dead.put_back()
    disk = SqliteDisk(dead.data)
    for group in GROUPS:
        disk.open_group(group)
    for number in range(31, 36):
        room = Persist(number, batches=(batch(number - 20, 400),))
        disk.write([("bank", Persist(number, batches=(batch(number, 30),))), ("room", room)])
    stored = tuple(disk.open_group(group) for group in GROUPS)
    disk.close()
    later = Dead(dead.data, {n: (dead.data / n).read_bytes() for n in (DATABASE, MARKS)} | {JOURNAL: b""}, [stored])
    assert later.found_with() == stored
    assert marks != later.files[MARKS]
    changed_pages = 0
    for offset in range(0, len(later.files[DATABASE]), 4096):
        new, old = later.files[DATABASE], final[offset : offset + 4096]
        if old == new[offset : offset + 4096]:
            continue
        changed_pages += 1
        mixed = new[:offset] + old.ljust(4096, b"\0") + new[offset + 4096 :]
        found = later.found_with(**{DATABASE: mixed})
        assert found is None, offset
    assert changed_pages >= 2  # of each group


def test_any_page_taken_back_to_any_version_it_had(tmp_path: Path) -> None:
    """Promises, cuts, compaction and appends of many batches, over some lives; each page is as after one of them."""
    chance = random.Random(12)
    pages_back = 0
    for trial in range(4):
        data = tmp_path / str(trial)
        logs: dict[str, list[Batch]] = {group: [] for group in GROUPS}
        starts: dict[str, Position] = dict.fromkeys(GROUPS, START)
        epochs: dict[str, int] = dict.fromkeys(GROUPS, 0)
        versions: list[dict[str, bytes]] = []
        stored: Found = ()
        for _ in range(4):
            disk = SqliteDisk(data)
            for group in GROUPS:
                disk.open_group(group)
            for number in range(1, chance.randrange(3, 12)):
                group = chance.choice(GROUPS)
                disk.write([(group, any_persist(chance, number, logs[group], epochs, starts, group))])
            stored = tuple(disk.open_group(group) for group in GROUPS)
            disk.close()
            versions.append({name: (data / name).read_bytes() for name in (DATABASE, MARKS)})
        dead = Dead(data, versions.pop() | {JOURNAL: b""}, [stored])
        assert dead.open() == stored
        new = dead.files[DATABASE]
        for old in {version[DATABASE] for version in versions}:
            for here in range(0, len(old), 4096):
                if any(old[here : here + 4096]) and old[here : here + 4096] != new[here : here + 4096]:
                    pages_back += 1
                    mixed = new[:here] + old[here : here + 4096] + new[here + 4096 :]
                    dead.put_back(**{DATABASE: mixed})
                    assert dead.open() in (None, stored), (trial, here)
    assert pages_back > 30


def any_persist(
    chance: random.Random,
    number: int,
    log: list[Batch],
    epochs: dict[str, int],
    starts: dict[str, Position],
    group: str,
) -> Persist:
    promise = truncate = snapshot = None
    if not epochs[group] or chance.random() < 0.3:
        epochs[group] += 1
        promise = Promise(epochs[group], chance.choice("abc"))
    if log and chance.random() < 0.2:
        truncate = chance.choice(log).first
        log[:] = [batch for batch in log if batch.first < truncate]
    if log and starts[group].index < COMPACTED_MAX and chance.random() < 0.2:
        snapshot = Snapshot(log[0].end, 0, 0, Agreed.formed(Configuration(())), 1, b"d" * 32)
        starts[group] = log.pop(0).end
    batches: list[Batch] = []
    for _ in range(chance.choice([0, 1, 1, 3])):
        end = log[-1].end if log else starts[group]
        previous, first = end.epoch, end.index + 1
        entries = chance.randbytes(chance.choice([10, 300, 6000]))
        batches.append(Batch(epochs[group], previous, first, 1, first, first, entries))
        log.append(batches[-1])
    commit = compact = starts[group].index
    return Persist(number, promise, None, truncate, tuple(batches), commit, snapshot, compact if snapshot else 0)


SNAPSHOT = Snapshot(Position(1, 1), 0, 0, Agreed.formed(Configuration(())), 1, b"d" * 32)
COMPACTION = Persist(3, snapshot=SNAPSHOT, compact=1, commit=1)
BEFORE_IT = (Persist(1, promise=Promise(1, "a")), Persist(2, batches=(batch(1, 30), batch(2, 30))))


@pytest.mark.parametrize(
    ("lost", "rest"),
    [
        (Persist(3, promise=Promise(2, "b")), Persist(4, batches=(batch(3, 30),))),
        (Persist(3, truncate=2), Persist(4, promise=Promise(2, "b"))),
        (Persist(3, batches=(batch(3, 30),)), Persist(4, promise=Promise(2, "b"))),
    ],
    ids=["a promise before a batch", "a cut before a promise", "a batch before a promise"],
)
def test_what_is_lost_while_something_later_is_there_is_found_without_the_marks(
    tmp_path: Path, lost: Persist, rest: Persist
) -> None:
    """As after a power cut, at a disk that says that it has written what it has not."""
    table = "groups" if lost.promise is not None else "batches_1"
    assert "stored" in met_with_an_older_page_of(table, tmp_path / "data", lost, rest)


@pytest.mark.parametrize(("table", "said"), [("groups", "continue index 0"), ("batches_1", "is there again")])
def test_a_compaction_of_which_a_part_is_lost_is_found_without_the_marks(tmp_path: Path, table: str, said: str) -> None:
    """Neither rows that had gone nor a record that knows nothing of it are taken for what is there."""
    rest = Persist(4, batches=(batch(3, 30),))
    assert said in met_with_an_older_page_of(table, tmp_path / "data", COMPACTION, rest)


def met_with_an_older_page_of(table: str, data: Path, lost: Persist, rest: Persist) -> str:
    """What is said where that table's page is what it was before `lost` and `rest`, and the marks are too."""
    disk = SqliteDisk(data)
    disk.open_group("bank")
    for persist in BEFORE_IT:
        disk.write([("bank", persist)])
    disk.close()
    old, marks = (data / DATABASE).read_bytes(), (data / MARKS).read_bytes()
    disk.open_group("bank")
    disk.write([("bank", lost)])
    disk.write([("bank", rest)])
    disk.close()
    new = (data / DATABASE).read_bytes()
    with closing(sqlite3.connect(data / DATABASE)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    start, end = (page - 1) * 4096, page * 4096
    (data / DATABASE).write_bytes(new[:start] + old[start:end] + new[end:])
    (data / MARKS).write_bytes(marks)
    with pytest.raises(DiskDamaged) as damaged:
        disk.open_group("bank")
    disk.close()
    (data / DATABASE).write_bytes(new)
    disk.open_group("bank")
    disk.close()
    return damaged.value.what


def test_the_check_of_the_journal_is_what_finds_it(dead: Dead, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite alone forgets silently: without the scan and the marks the tests above would fail."""
    marks = old_marks(dead)
    silently: Callable[[Path], None] = lambda path: None  # noqa: E731
    monkeypatch.setattr(_sqlite, "scan_journal", silently)
    journal = bytearray(dead.files[JOURNAL])
    journal[32 + 2 * FRAME + 1000] ^= 1
    dead.put_back(**{JOURNAL: bytes(journal), MARKS: marks})
    found = dead.open()
    assert found is not None
    assert len(found[0].batches) < len(dead.stored[-2][0].batches)
