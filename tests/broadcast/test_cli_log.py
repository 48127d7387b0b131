"""`troupe log verify`: what it says of a directory, and that it leaves that as it is."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from counts import Count

from actors import open_node
from broadcast import join
from broadcast._protocol.output import Persist
from broadcast._protocol.snapshots import Divergence
from broadcast._sqlite import SqliteDisk
from broadcast.cli import main
from broadcast.cli.log import command as log

DATABASE, JOURNAL, MARKS = "log.sqlite3", "log.sqlite3-wal", "log.marks"


def verify(data: Path) -> Result:
    return CliRunner().invoke(log, ["verify", str(data)])


def content(data: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(data.rglob("*")) if path.is_file()}


async def live(data: Path, groups: tuple[str, ...] = ("bank", "room"), count: int = 3) -> None:
    async with open_node("a", listen="127.0.0.1:0", peers={}, data=data) as node:
        for name in groups:
            async with join(node, name, Count) as group:
                for _ in range(count):
                    await group.ask(Count.add, 1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Of a node with two groups, stopped; and then gone on with, so that there is something beyond the snapshots."""
    trio.run(live, tmp_path / "data")
    disk = SqliteDisk(tmp_path / "data")
    stored = disk.open_group("bank")
    assert stored.snapshot is not None
    disk.close()
    return tmp_path / "data"


def damage_of(data: Path) -> str:
    before = content(data)
    said = verify(data)
    assert said.exit_code == 1, said.output
    assert content(data) == before
    (line,) = [line for line in said.output.splitlines() if "damaged: " in line]
    return line.partition("damaged: ")[2]


def test_what_is_as_it_was_written_is_said_to_be_and_stays_so(data: Path) -> None:
    before = content(data)
    said = verify(data)
    assert said.exit_code == 0, said.output
    lines = said.output.splitlines()
    assert lines[0] == "node a"
    held = r"entries 1 to \d, committed up to \d at least, promise of epoch 1, snapshot at index \d, of \d+ bytes"
    assert re.fullmatch(f"group bank: {held}", lines[1])
    assert lines[2].startswith("group room: ")
    assert lines[3] == "all of it is as it was written"
    assert content(data) == before


def test_what_is_in_the_journal_only_is_looked_at_too(data: Path) -> None:
    """As after a kill: the files as they are while a process has them open."""
    disk = SqliteDisk(data)
    disk.open_group("a third")
    files = {name: (data / name).read_bytes() for name in (DATABASE, JOURNAL, MARKS)}
    disk.close()
    for name, kept in files.items():
        (data / name).write_bytes(kept)  # the same inode
    before = content(data)
    assert "group a third: it has not formed" in verify(data).output.splitlines()
    assert content(data) == before
    changed = bytearray(files[JOURNAL])
    changed[32 + 24 + 100] ^= 1
    (data / JOURNAL).write_bytes(changed)
    assert "has lost the groups with the numbers [3]" in damage_of(data)  # the marks tell: it was there


def test_a_state_that_a_majority_does_not_have_is_told(data: Path) -> None:
    disk = SqliteDisk(data)
    disk.open_group("bank")
    disk.write([("bank", Persist(1, divergence=Divergence(5, 2)))])
    disk.close()
    said = verify(data)
    assert said.exit_code == 1
    (line,) = [line for line in said.output.splitlines() if "diverged: " in line]
    assert "group bank: at index 5 a majority of the voters has another state" in line
    assert "as it was written" not in said.output


def snapshot_of(data: Path, group: int = 1) -> Path:
    (path,) = (data / "snapshots").glob(f"{group}-*")
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 4
    path.write_bytes(changed)


@pytest.mark.parametrize(
    ("change", "said"), [(Path.unlink, "is gone"), (cut, "bytes, and"), (flip, "fails its checksum")]
)
def test_a_damaged_snapshot_is_told_and_the_other_group_is_well(
    data: Path, change: Callable[[Path], None], said: str
) -> None:
    change(snapshot_of(data))
    told = damage_of(data)
    assert "the snapshot of group 'bank' at index" in told
    assert said in told
    assert "group room: entries 1 to" in verify(data).output


def test_a_damaged_batch_is_told(data: Path) -> None:
    with closing(sqlite3.connect(data / DATABASE)) as connection, connection:
        connection.execute("UPDATE batches_2 SET entries = x'00' WHERE first = 2")
    assert "group 'room': the batch after index 1 fails its checksum" in damage_of(data)


@pytest.mark.parametrize("name", [DATABASE, MARKS])
def test_a_file_that_is_gone_is_told(data: Path, name: str) -> None:
    (data / name).unlink()
    if name == DATABASE:
        (data / JOURNAL).write_bytes(b"")
    assert f"has lost its {name}" in damage_of(data)


def test_a_database_of_another_directory_is_told(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in data.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    said = verify(copy)
    assert said.exit_code == 2
    assert "is a copy" in said.output


async def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    async with open_node("a", listen="127.0.0.1:0", peers={}, data=tmp_path / "a") as node, join(node, "bank", Count):
        said = verify(tmp_path / "a")
    assert said.exit_code == 2
    assert "is in use by process" in said.output


async def test_a_node_without_a_group_and_what_is_no_node(tmp_path: Path) -> None:
    async with open_node("a", listen="127.0.0.1:0", peers={}, data=tmp_path / "a"):
        pass
    said = verify(tmp_path / "a")
    assert (said.exit_code, said.output.splitlines()[1]) == (0, "it has joined no group")
    (tmp_path / "b").mkdir()
    other = verify(tmp_path / "b")
    assert other.exit_code == 2
    assert "is no data directory of a node" in other.output
    assert CliRunner().invoke(main, ["log", "verify", str(tmp_path / "none")]).exit_code == 2


def test_without_its_lock_nobody_knows_whether_it_is_in_use_and_a_start_makes_it_anew(data: Path) -> None:
    (data / "lock").unlink()
    before = content(data)
    said = verify(data)
    assert said.exit_code == 2
    assert re.fullmatch(r"Error: .* has lost its file 'lock', .*: start the node, .*, and stop it again\n", said.output)
    assert content(data) == before
    trio.run(live, data)
    assert verify(data).exit_code == 0
