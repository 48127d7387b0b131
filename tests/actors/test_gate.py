"""The gate is shut while a mark cannot be kept: for a while where there is no room, for good where the disk failed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import structlog.testing
import trio
import trio.testing

from actors._gate import Gate
from actors._identity import DataDirectoryError, MemoryIdentity
from actors._protocol.clock import LamportClock


class TroubledDisk(MemoryIdentity):
    """An identity whose next marks cannot be kept, for these reasons."""

    def __init__(self, *troubles: int) -> None:
        super().__init__(1)
        self.troubles = list(troubles)
        self.marks: list[int] = []

    def reserve(self, mark: int) -> None:
        if self.troubles:
            number = self.troubles.pop(0)
            raise OSError(number, os.strerror(number))
        self.marks.append(mark)


def stamped(disk: TroubledDisk) -> tuple[LamportClock, Gate]:
    """A clock that has counted beyond its mark, and the gate that this shuts."""
    clock = LamportClock("a", 8, 8)
    clock.tick()
    return clock, Gate(clock, disk, Path("there"))


async def test_a_full_disk_shuts_it_until_there_is_room_and_is_told_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    disk = TroubledDisk(errno.ENOSPC, errno.EDQUOT, errno.ENOSPC)
    clock, gate = stamped(disk)
    with structlog.testing.capture_logs() as lines:
        with trio.move_on_after(1.5):  # the connection that came first is lost meanwhile, and another takes its turn
            await gate.open()
        assert not gate.is_open
        await gate.open()
        assert gate.is_open
        assert disk.marks == [clock.reserved]
        clock.advance(clock.reserved + 1)
        disk.troubles = [errno.ENOSPC]
        await gate.open()  # full again is news again
    assert [(line["log_level"], line["node"], line["data"]) for line in lines] == [("warning", "a", "there")] * 2
    assert "make room" in lines[0]["event"]


async def test_a_disk_that_fails_stops_the_node_and_the_text_says_which_file_and_what_to_do() -> None:
    disk = TroubledDisk(errno.EIO)
    _, gate = stamped(disk)
    with pytest.raises(DataDirectoryError, match=r"'node' in there cannot be written .*start the node again") as caught:
        await gate.open()
    assert isinstance(caught.value.__cause__, OSError)
    assert not gate.is_open
    assert disk.marks == []


async def test_stamps_counted_while_a_mark_was_written_wait_for_the_next_one() -> None:
    class Slow(TroubledDisk):
        def reserve(self, mark: int) -> None:
            if not self.marks:
                trio.from_thread.run_sync(clock.advance, mark + 1)
            super().reserve(mark)

    disk = Slow()
    clock, gate = stamped(disk)
    await gate.open()
    assert gate.is_open
    assert disk.marks[-1] == clock.reserved >= clock.counter
    assert len(disk.marks) == 2
