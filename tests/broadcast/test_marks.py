"""The marks file: what it takes and gives back."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from broadcast._marks import PAIR_SIZE, SLOT, Marks
from broadcast._storage import DiskDamaged

STORAGE = b"s" * 16


class Died(BaseException):
    """The process, in the midst of a write."""


def test_what_the_system_takes_in_small_pieces_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot that is only begun would look damaged at the next start."""
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: whole(file, data[:5], offset))
    marks = Marks(tmp_path / "log.marks")
    try:
        marks.begin()
        marks.set(1, b"s" * 16, 77)
        assert marks.read() == {1: (b"s" * 16, 77)}
    finally:
        marks.close()


@contextmanager
def dying_after(size: int) -> Generator[None]:
    """The next write ends the process when so many bytes of it are done."""
    whole = os.pwrite

    def write_and_die(file: int, data: bytes, offset: int) -> int:
        whole(file, data[:size], offset)
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", write_and_die)
        with pytest.raises(Died):
            yield


@pytest.mark.parametrize("earlier", range(4))
@pytest.mark.parametrize("size", range(SLOT.size))
def test_a_process_that_dies_in_the_midst_of_a_mark_leaves_the_one_before(
    tmp_path: Path, earlier: int, size: int
) -> None:
    """Whichever byte of whichever mark it was, also the first; and goes on from there, again and again."""
    path, last = tmp_path / "log.marks", 0xFFFF - earlier
    with closing(Marks(path)) as marks:
        marks.begin()
        for _ in range(earlier):
            last += 1
            marks.set(1, STORAGE, last)
    for _ in range(3):
        with closing(Marks(path)) as marks:
            marks.read()
            with dying_after(size):
                marks.set(1, STORAGE, last + 1)
    with closing(Marks(path)) as marks:
        assert marks.read() == ({1: (STORAGE, last)} if earlier else {})
        marks.set(1, STORAGE, last + 1)
        assert marks.read() == {1: (STORAGE, last + 1)}


def test_the_file_grows_with_the_groups(tmp_path: Path) -> None:
    with closing(Marks(tmp_path / "log.marks")) as marks:
        marks.begin()
        for number in range(1, 200):
            marks.set(number, STORAGE, number)
            assert marks.read()[number] == (STORAGE, number)
        assert len(marks.read()) == 199


@pytest.mark.parametrize("written", [1, 2, 3])
def test_marks_of_which_nothing_is_whole_are_damage(tmp_path: Path, written: int) -> None:
    path = tmp_path / "log.marks"
    with closing(Marks(path)) as marks:
        marks.begin()
        for serial in range(1, written + 1):
            marks.set(1, STORAGE, serial)
    content = bytearray(path.read_bytes())
    for offset in (PAIR_SIZE, PAIR_SIZE + SLOT.size):
        content[offset] ^= 0x10
    path.write_bytes(content)
    with closing(Marks(path)) as marks, pytest.raises(DiskDamaged, match=r"log\.marks fails its checksum"):
        marks.read()
