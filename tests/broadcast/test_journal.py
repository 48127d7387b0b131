"""The journal's scan: what was synced and is bad is damage, whatever a power cut can leave is none.

The journals are SQLite's own, with pages of 512 bytes so that every single byte can be tried.
"""

from __future__ import annotations

import io
import random
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from broadcast._journal import Clean, Damage, TornTail, Verdict, scan

PAGE = 512
FRAME = PAGE + 24
SECTOR = 512


def judge(journal: bytes) -> Verdict:
    return scan(io.BytesIO(journal))


class Journal:
    """A database whose journal is looked at while it is open."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "x.sqlite3"
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.connection.executescript(
            f"PRAGMA page_size={PAGE}; PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
            "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB)"
        )

    def append(self, size: int) -> None:
        self.connection.execute("INSERT INTO t (b) VALUES (?)", (bytes([65 + size % 26]) * size,))

    def restart(self) -> None:
        """Bring the journal into the database: the next transaction begins it anew, over the old frames."""
        assert self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0] == 0

    @property
    def content(self) -> bytes:
        return Path(f"{self.path}-wal").read_bytes()

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path)) as journal:
        yield journal


def commits(content: bytes) -> list[int]:
    """Offsets at which the transactions of one generation end, the header first."""
    salts = content[16:24]
    frames = range(32, len(content) - FRAME + 1, FRAME)
    mine = [offset for offset in frames if content[offset + 8 : offset + 16] == salts]
    return [32] + [offset + FRAME for offset in mine if content[offset + 4 : offset + 8] != bytes(4)]


def test_an_empty_and_a_zeroed_journal_are_clean() -> None:
    assert judge(b"") == Clean()
    assert judge(bytes(100_000)) == Clean()


def test_a_journal_of_sqlite_is_clean_also_when_it_is_begun_anew_and_has_zeros_behind_it(journal: Journal) -> None:
    for size in (10, 2000, 10):
        journal.append(size)
        assert judge(journal.content) == Clean()
    journal.restart()
    journal.append(10)
    assert len(commits(journal.content)) == 2  # of many frames, only the new generation's
    assert judge(journal.content) == Clean()
    assert judge(journal.content + bytes(5000)) == Clean()


@pytest.mark.parametrize("sizes", [(10, 10, 10, 10), (10, 1500, 1500, 10), (1500, 10, 700, 1500)])
def test_every_flipped_byte_is_found_and_only_the_last_transaction_passes_for_torn(
    journal: Journal, sizes: tuple[int, ...]
) -> None:
    for size in sizes:
        journal.append(size)
    whole = journal.content
    last = commits(whole)[-2]
    for offset in range(len(whole)):
        flipped = bytearray(whole)
        flipped[offset] ^= 0xFF
        verdict = judge(flipped)
        if offset < last:
            assert isinstance(verdict, Damage), offset
            assert verdict.offset <= offset
        else:  # damage as well, where the flip makes a frame say that it ends a transaction
            assert isinstance(verdict, TornTail | Damage), offset
            assert verdict.offset >= last


def test_a_bit_that_is_flipped_anywhere_before_the_last_transaction_is_found_in_an_old_file_too(
    journal: Journal,
) -> None:
    for _ in range(12):
        journal.append(400)
    journal.restart()
    for size in (10, 900, 10, 10):
        journal.append(size)
    whole = journal.content
    last = commits(whole)[-2]
    chance = random.Random(2)
    for _ in range(1500):
        flipped = bytearray(whole)
        offset = chance.randrange(last)
        flipped[offset] ^= 1 << chance.randrange(8)
        assert isinstance(judge(flipped), Damage), offset


def test_a_bad_frame_of_an_older_generation_means_nothing(journal: Journal) -> None:
    for _ in range(12):
        journal.append(400)
    journal.restart()
    journal.append(10)
    whole = journal.content
    for offset in range(commits(whole)[-1], len(whole), 37):
        flipped = bytearray(whole)
        flipped[offset] ^= 0xFF
        assert judge(flipped) == Clean()


def test_a_journal_cut_short_is_torn_where_it_was_cut(journal: Journal) -> None:
    for size in (10, 900, 10):
        journal.append(size)
    whole = journal.content
    ends = commits(whole)
    for length in range(len(whole)):
        verdict = judge(whole[:length])
        if length in (0, *ends) or not any(whole[max([0, *(end for end in ends if end <= length)]) : length]):
            assert verdict == Clean()  # nothing in it tells that there was more: the marks do
        else:
            assert isinstance(verdict, TornTail)
            assert verdict.offset == max([0, *(end for end in ends if end <= length)])


def test_a_write_that_ended_at_any_byte_of_a_journal_filled_beforehand_is_no_damage(journal: Journal) -> None:
    """A frame's header cut off in front of its checksum has one of zeros, which the zeros behind it would continue."""
    for size in (10, 900, 10):
        journal.append(size)
    whole = journal.content
    for length in range(commits(whole)[-2], len(whole)):
        filled = whole[:length].ljust(len(whole) + 2 * FRAME, b"\0")
        assert not isinstance(judge(filled), Damage), length


def test_zeroed_frames_before_the_last_transaction_are_damage_when_something_tells(journal: Journal) -> None:
    for _ in range(6):
        journal.append(10)
    whole = journal.content
    ends = commits(whole)
    for begin, end in list(pairwise(ends))[:-2]:
        assert isinstance(judge(whole[:begin] + bytes(end - begin) + whole[end:]), Damage)


def test_a_page_of_another_file_is_damage(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with closing(Journal(tmp_path / "other")) as other:
        for _ in range(6):
            journal.append(10)
            other.append(300)
        whole, foreign = journal.content, other.content
    for begin in commits(whole)[:-2]:
        page = slice(begin + 24, begin + FRAME)
        if foreign[page] == whole[page]:
            continue
        assert isinstance(judge(whole[: page.start] + foreign[page] + whole[page.stop :]), Damage)


def test_a_bad_header_is_damage_unless_nothing_follows(journal: Journal) -> None:
    journal.append(10)
    whole = journal.content
    assert judge(b"\x37" + bytes(31)) == TornTail(0, "its header is bad, and nothing follows it")
    assert isinstance(judge(bytes(32) + whole[32:]), Damage)
    assert isinstance(judge(whole[:20] + b"\1\2\3\4" + whole[24:]), Damage)
    assert isinstance(judge(b"\1" + bytes(31) + bytes(1000)), TornTail)


# -- what a power cut can leave is never called damage ----------------------------------------------------------------


def torn(before: bytes, after: bytes, chance: random.Random) -> bytes:
    """What may be on disk when power is cut during a transaction: of each sector the old content or the new."""
    before = before.ljust(len(after), b"\0")
    survives = chance.random()
    sectors = range(0, len(after), SECTOR)
    mixed = b"".join((after if chance.random() < survives else before)[begin : begin + SECTOR] for begin in sectors)
    return mixed[: chance.randrange(len(mixed))] if chance.random() < 0.2 and not any(before[-FRAME:]) else mixed


@pytest.mark.parametrize("filled", [0, 60_000])
def test_a_power_cut_in_the_last_transaction_is_no_damage(journal: Journal, filled: int) -> None:
    chance = random.Random(3)
    seen: set[type[Verdict]] = set()
    for generation in range(4):
        for size in (10, 3000, 10, 1500, 6000):
            before = journal.content.ljust(filled, b"\0")
            journal.append(size)
            after = journal.content.ljust(filled, b"\0")
            if before[:32] == after[:32]:  # else it was begun anew: the header was synced before anything else
                for _ in range(60):
                    verdict = judge(torn(before, after, chance))
                    assert not isinstance(verdict, Damage), (generation, size, verdict)
                    seen.add(type(verdict))
        journal.restart()
    assert seen == {Clean, TornTail}


def test_frames_of_a_rolled_back_transaction_are_no_damage_whatever_came_after(tmp_path: Path) -> None:
    """On a full disk frames are left behind, with current salts; later transactions overwrite only some of them."""
    with closing(Journal(tmp_path)) as journal:
        for size in (10, 10):
            journal.append(size)
        kept, database = journal.content, journal.path.read_bytes()
        journal.append(9000)
        full = journal.content[: -2 * FRAME]  # the disk was full before the commit frame
        assert len(full) > len(kept) + 5 * FRAME
    chance = random.Random(4)
    journal.path.write_bytes(database)
    Path(f"{journal.path}-wal").write_bytes(full)
    assert isinstance(judge(full), TornTail)
    with closing(Journal.__new__(Journal)) as journal_2:
        journal_2.path = journal.path
        journal_2.connection = sqlite3.connect(journal.path, isolation_level=None)
        journal_2.connection.executescript("PRAGMA locking_mode=EXCLUSIVE; PRAGMA wal_autocheckpoint=0")
        assert journal_2.connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
        assert journal_2.content[: len(kept)] == kept
        for size in (10, 1500, 10, 2000):
            before = journal_2.content
            journal_2.append(size)
            after = journal_2.content
            assert not isinstance(judge(after), Damage)
            for _ in range(100):
                assert not isinstance(judge(torn(before, after, chance)), Damage)


def test_journals_of_either_byte_order_are_read() -> None:
    """SQLite writes the order of the machine, and reads both."""
    for magic, order in ((0x377F0682, "<"), (0x377F0683, ">")):
        content = one_frame(magic, order)
        assert judge(content) == Clean()
        assert isinstance(judge(content[:-1] + b"x"), TornTail)


def one_frame(magic: int, order: str) -> bytes:
    def add(data: bytes, one: int, other: int) -> tuple[int, int]:
        words = struct.unpack(f"{order}{len(data) // 4}I", data)
        for index in range(0, len(words), 2):
            one = (one + words[index] + other) % 2**32
            other = (other + words[index + 1] + one) % 2**32
        return one, other

    head = struct.pack(">6I", magic, 3007000, PAGE, 0, 11, 12)
    sums = add(head, 0, 0)
    head += struct.pack(">2I", *sums)
    page = bytes(range(256)) * 2
    place = struct.pack(">2I", 1, 1)
    return head + place + struct.pack(">4I", 11, 12, *add(place + page, *sums)) + page
