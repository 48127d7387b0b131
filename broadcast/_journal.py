"""Is SQLite's write-ahead journal whole, torn at its end, or damaged? Asked before SQLite sees it (rule 27).

When SQLite opens a journal it takes the frames up to the first bad one, and of these the transactions that are
complete. What follows it forgets, without a word. After a power cut that is right: the last transaction may not have
reached the disk. After a flipped bit it drops every transaction from there on, acknowledged or not.

What can be bad without damage? Each commit is synced before the next transaction begins (`synchronous=FULL`), so that
only frames of the *last* transaction can be missing, partly written, or written while earlier ones of the same
transaction are not: disks keep no order within a sync. Hence the question to a journal with a bad frame: did anything
follow a commit that lies at or beyond it? A frame's checksum goes on from that of the frame before it, so a frame that
continues the checksum *stored in* a commit frame was written after that commit was synced, whatever came before the
commit: then a synced transaction is bad, and that is damage.

The rest of what a journal may hold:

* Frames of older generations. A journal whose frames are all in the database is begun anew from its start, under new
  salts, its header synced before any frame. Older frames stay behind the new ones; their salts tell. They were in the
  database, synced, before the new header was written, so nothing is lost with them.
* Frames of a transaction that was rolled back because the disk was full. They have current salts, no commit among
  them, and continue no commit that is still there once another transaction has overwritten their beginning.
* Zeros, where the file was made longer beforehand.
* A bad header. Its 32 bytes lie in one sector, so a power cut leaves the old or the new one; the old one's frames are
  all in the database. So a header that is neither, with anything behind it, is damage.

What this cannot tell: the loss of the last transaction (it looks torn; the marks of `_marks.py` tell, unless a power
cut took those as well), and of the last two, if the header of the frame that ended the first of them is gone too.

Format: https://sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

HEADER = struct.Struct(">8I")  # magic, format, page size, checkpoint number, salts (2), checksum (2)
FRAME_HEADER = struct.Struct(">6I")  # page, size of the database in pages if this ends a transaction, salts, checksum
WORD_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}  # by magic: how the summed words are read
FORMAT = 3007000

Sums = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Clean:
    """Every transaction of this generation is complete."""


@dataclass(frozen=True, slots=True)
class TornTail:
    """The transaction at `offset` is not complete, and can be a last one that was never synced."""

    offset: int
    why: str


@dataclass(frozen=True, slots=True)
class Damage:
    """What begins at `offset` is bad, and had been synced."""

    offset: int
    why: str


Verdict = Clean | TornTail | Damage


@dataclass(frozen=True, slots=True)
class _Frame:
    offset: int
    page: int
    ends_transaction: bool
    salts: Sums
    sums: Sums
    summed: bytes

    def follows(self, sums: Sums, order: str) -> bool:
        """Does this frame continue the checksum of a frame before it?

        Zeros do not: they would continue a checksum of zeros, which is what a header has that was cut off before it.
        """
        return self.page != 0 and _add(self.summed, sums, order) == self.sums


def scan(journal: BinaryIO) -> Verdict:
    """Read a journal from its start to its end. An absent journal is an empty one."""
    head = journal.read(HEADER.size)
    opened = _open_header(head)
    if opened is None:
        return _without_header(head, journal)
    order, page_size, salts, sums = opened
    begun = offset = HEADER.size  # of the transaction that is being read, and of the frame
    while isinstance(frame := _read_frame(journal, offset, page_size), _Frame):
        if frame.salts != salts or not frame.follows(sums, order):
            return _beyond(journal, frame, begun, page_size, salts, sums, order)
        sums = frame.sums
        offset += FRAME_HEADER.size + page_size
        if frame.ends_transaction:
            begun = offset
    return TornTail(begun, "the last transaction is not complete") if begun < offset or any(frame) else Clean()


def _open_header(head: bytes) -> tuple[str, int, Sums, Sums] | None:
    """(order of words, page size, salts, checksum) of a journal; None if this is no good header."""
    if len(head) < HEADER.size:
        return None
    magic, version, page_size, _, salt_1, salt_2, sum_1, sum_2 = HEADER.unpack(head)
    order = WORD_ORDERS.get(magic)
    if order is None or version != FORMAT or _add(head[:24], (0, 0), order) != (sum_1, sum_2):
        return None
    return order, page_size, (salt_1, salt_2), (sum_1, sum_2)


def _without_header(head: bytes, journal: BinaryIO) -> Verdict:
    if _any_left(journal):
        return Damage(0, "its header is bad, and it is not empty")
    return TornTail(0, "its header is bad, and nothing follows it") if any(head) else Clean()


def _read_frame(journal: BinaryIO, offset: int, page_size: int) -> _Frame | bytes:
    """The next frame; what is left of the file, if that is less."""
    read = journal.read(FRAME_HEADER.size + page_size)
    if len(read) < FRAME_HEADER.size + page_size:
        return read
    page, size_after, salt_1, salt_2, sum_1, sum_2 = FRAME_HEADER.unpack_from(read)
    summed = read[:8] + read[FRAME_HEADER.size :]
    return _Frame(offset, page, size_after != 0, (salt_1, salt_2), (sum_1, sum_2), summed)


def _beyond(
    journal: BinaryIO, bad: _Frame, begun: int, page_size: int, salts: Sums, before: Sums, order: str
) -> Verdict:
    """Judge a bad frame by what comes after it.

    begun: where its transaction begins. before: the checksum that it should have continued.
    """
    expected = _add(bad.summed, before, order)
    current = bad.salts == salts or bad.sums == expected  # in the second case it is its salts that are bad
    # What a next transaction would continue, if this ends one: the checksum stored in the bad frame, or, if that is
    # what is bad, the right one.
    commits = [bad.sums, expected] if bad.ends_transaction and current else []
    torn = current or begun < bad.offset
    offset = bad.offset + FRAME_HEADER.size + page_size
    while isinstance(frame := _read_frame(journal, offset, page_size), _Frame):
        if any(frame.follows(sums, order) for sums in commits):
            return Damage(bad.offset, f"a frame is bad, and a later transaction follows it at byte {offset}")
        current = frame.salts == salts
        commits = [frame.sums] if frame.ends_transaction and current else []
        torn = torn or current
        offset += FRAME_HEADER.size + page_size
    return TornTail(begun, "the last transaction is not complete") if torn else Clean()


def _add(data: bytes, sums: Sums, order: str) -> Sums:
    """The journal's checksum, continued over `data`, whose size is a multiple of 8 bytes."""
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


def _any_left(journal: BinaryIO) -> bool:
    while chunk := journal.read(2**16):
        if any(chunk):
            return True
    return False
