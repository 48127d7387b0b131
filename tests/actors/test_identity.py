"""A node's directory keeps its name, its lives and its stamps, for one process at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors import _identity
from actors._identity import DataDirectory, DataDirectoryError, DataDirectoryInUse
from actors._protocol.clock import COUNTER_BLOCK, LamportClock
from actors._protocol.errors import InvariantViolation
from actors._protocol.frames import frame


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "a"


def test_each_life_has_a_greater_incarnation_and_begins_at_the_mark(path: Path) -> None:
    first = DataDirectory.open(path, "a", first_incarnation=1_000)
    assert (first.incarnation, first.counter, first.reserved) == (1_000, 0, COUNTER_BLOCK)
    first.reserve(5_000_000)
    first.close()
    second = DataDirectory.open(path, "a", first_incarnation=7)
    assert (second.incarnation, second.counter, second.reserved) == (1_001, 5_000_000, 5_000_000 + COUNTER_BLOCK)
    second.close()


def test_a_life_that_died_at_once_counts_and_its_stamps_are_passed(path: Path) -> None:
    """What was sent under the mark of a life that was killed is below where the next one begins (T5)."""
    lives = [DataDirectory.open(path, "a")]
    clock = LamportClock("a", lives[-1].counter, lives[-1].reserved)
    sent = clock.tick()
    lives[-1].close()  # nothing is written by closing
    lives.append(DataDirectory.open(path, "a"))
    assert LamportClock("a", lives[-1].counter).tick() > sent
    assert lives[1].incarnation == lives[0].incarnation + 1
    lives[-1].close()


def test_the_directory_is_for_its_user_only(path: Path) -> None:
    DataDirectory.open(path, "a").close()
    assert path.stat().st_mode & 0o777 == 0o700
    assert {entry.name: entry.stat().st_mode & 0o777 for entry in path.iterdir()} == {"lock": 0o600, "node": 0o600}


def test_a_second_opening_is_refused_with_the_directory_and_the_process(path: Path) -> None:
    first = DataDirectory.open(path, "a")
    with pytest.raises(DataDirectoryInUse, match=f"{path} is in use by process {os.getpid()}: stop that one first"):
        DataDirectory.open(path, "a")
    first.close()
    first.close()
    DataDirectory.open(path, "a").close()


def test_another_process_is_refused_too_and_the_lock_goes_with_its_process(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from actors._identity import DataDirectory;"
        "held = DataDirectory.open(Path(sys.argv[1]), 'a'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(DataDirectoryInUse, match=f"process {process.pid}"):
            DataDirectory.open(path, "a")
        process.kill()
        process.wait()
        DataDirectory.open(path, "a").close()


def test_another_nodes_directory_is_refused_with_both_names(path: Path) -> None:
    DataDirectory.open(path, "a").close()
    with pytest.raises(DataDirectoryError, match="belongs to node 'a', not to 'b'"):
        DataDirectory.open(path, "b")
    DataDirectory.open(path, "a").close()  # the refusal let go of the lock


def test_any_damage_is_told_and_never_reset(path: Path) -> None:
    DataDirectory.open(path, "a").close()
    whole = (path / "node").read_bytes()
    damaged = [whole[:cut] for cut in range(len(whole))]
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    damaged += [whole + b"\x00", whole * 2, bytes(len(whole)), frame(b"\x80"), frame(b"\x84\x66node-9\x61a\x01\x01")]
    for content in damaged:
        (path / "node").write_bytes(content)
        with pytest.raises(DataDirectoryError, match="node is damaged"):
            DataDirectory.open(path, "a")
        assert (path / "node").read_bytes() == content


def test_a_directory_of_something_else_or_without_its_identity_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "log.sqlite3").write_bytes(b"x")
    with pytest.raises(DataDirectoryError, match=r"'log.sqlite3' but no file 'node'"):
        DataDirectory.open(path, "a")


def test_a_directory_that_takes_nothing_is_named_and_let_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DataDirectory.open(path, "a").close()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for call in ("write", "pwrite"):
        monkeypatch.setattr(os, call, full)
    with pytest.raises(DataDirectoryError, match=rf"{path}/node cannot be written \(No space left on device\)"):
        DataDirectory.open(path, "a")
    monkeypatch.undo()
    opened = DataDirectory.open(path, "a")
    assert opened.incarnation == 2
    opened.close()


def test_a_first_opening_that_was_cut_short_is_done_again(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "lock").write_bytes(b"1")
    (path / "node.new").write_bytes(b"half")
    for incarnation in (1, 2):
        opened = DataDirectory.open(path, "a")
        assert (opened.incarnation, (path / "node.new").exists()) == (incarnation, False)
        opened.close()


def test_the_record_is_synced_beside_then_renamed_then_the_directory_synced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = DataDirectory.open(path, "a")
    steps = list[str]()
    fsync, rename = os.fsync, Path.rename

    def note_sync(descriptor: int) -> None:
        steps.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        steps.append(f"rename {self.name} {target.name}")
        return rename(self, target)

    monkeypatch.setattr(_identity.os, "fsync", note_sync)
    monkeypatch.setattr(Path, "rename", note_rename)
    directory.reserve(directory.reserved + 1)
    assert steps == ["sync node.new", "rename node.new node", "sync a"]
    directory.close()


def test_every_directory_that_is_made_is_synced_into_the_one_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut takes the data directory away, and what was promised in it."""
    synced: list[Path] = []
    fsync = os.fsync

    def note_sync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note_sync)
    DataDirectory.open(tmp_path / "x" / "y" / "a", "a").close()
    assert synced[:3] == [tmp_path, tmp_path / "x", tmp_path / "x" / "y"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_what_is_no_place_for_a_directory_is_told_with_what_to_do(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match=f"{place} is no data directory.*name a directory"):
        DataDirectory.open(tmp_path / place, "a")


def test_a_mark_that_could_not_be_written_is_not_reserved(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = DataDirectory.open(path, "a")
    before = directory.reserved

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(_identity.os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            directory.reserve(before + 1)
    assert directory.reserved == before
    directory.close()


def test_a_mark_never_goes_back_and_a_closed_directory_is_not_written(path: Path) -> None:
    directory = DataDirectory.open(path, "a")
    with pytest.raises(InvariantViolation):
        directory.reserve(directory.reserved - 1)
    directory.close()
    with pytest.raises(InvariantViolation):
        directory.reserve(directory.reserved + 1)


def test_a_life_is_never_numbered_below_what_its_clock_says(tmp_path: Path) -> None:
    """So that a restart is newer than whoever claimed to be this node in between, and did not outrun the clock."""
    for first, expected in ((100, 100), (50, 101), (500, 500), (500, 501)):
        held = DataDirectory.open(tmp_path / "a", "a", first)
        assert held.incarnation == expected
        held.close()
