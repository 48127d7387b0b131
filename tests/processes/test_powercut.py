"""The power cut itself, and the SQLite disk under it: what was acknowledged is there; a disk that lies is found out.

Seeds name the moment of the cut and what survives of the unsynced; they are printed by a failing test.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import powercut
import pytest

from broadcast._sqlite import SqliteDisk
from broadcast._storage import DiskDamaged

ROOT = Path(__file__).parents[2]


class World:
    """A directory that can lose power, and processes in it."""

    def __init__(self, library: Path, at: Path) -> None:
        self.library = library
        self.data = at / "data"
        self.undo = at / "undo"

    def start(self, program: str, *arguments: str, lie: bool = False, sync_ms: int = 0) -> subprocess.Popen[str]:
        environment = powercut.environment(self.library, self.data, self.undo, lie=lie, sync_ms=sync_ms)
        environment["PYTHONPATH"] = str(ROOT)
        return subprocess.Popen(
            [sys.executable, "-c", program, str(self.data), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )

    def run_until_killed(self, program: str, *arguments: str, lie: bool = False, sync_ms: int = 0) -> list[str]:
        """Run a program until it says "kill"; what it said before."""
        said: list[str] = []
        with self.start(program, *arguments, lie=lie, sync_ms=sync_ms) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if line == "kill\n":
                        break
                    said.append(line.strip())
                else:
                    raise AssertionError(f"it ended by itself: {process.wait()}")
            finally:
                process.kill()
        return said

    def cut(self, seed: int | None = None) -> None:
        powercut.cut(self.data, self.undo, seed)


@pytest.fixture
def world(library: Path, tmp_path: Path) -> World:
    return World(library, tmp_path)


BEGIN = """
import os, sys, time
from pathlib import Path
data = Path(sys.argv[1])
def die():
    print("kill", flush=True)
    time.sleep(60)
def sync(path):
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)
"""


# -- the power cut ------------------------------------------------------------------------------------------------


def test_only_what_was_synced_is_left(world: World) -> None:
    program = """
file = os.open(data / "f", os.O_RDWR | os.O_CREAT)
os.write(file, b"synced")
os.fsync(file)
sync(data)
os.write(file, b" and not")
os.pwrite(file, b"S", 0)
die()
"""
    world.run_until_killed(BEGIN + program)
    assert (world.data / "f").read_bytes() == b"Synced and not"
    world.cut()
    assert (world.data / "f").read_bytes() == b"synced"


@pytest.mark.parametrize("call", ["os.fsync", "os.fdatasync"])
def test_a_sync_that_lies_leaves_nothing(world: World, call: str) -> None:
    program = f"""
file = os.open(data / "f", os.O_RDWR)
os.write(file, b"new")
{call}(file)
die()
"""
    world.data.mkdir()
    (world.data / "f").write_bytes(b"old content")
    world.run_until_killed(BEGIN + program)
    world.cut()
    assert (world.data / "f").read_bytes() == b"new content"
    world.run_until_killed(BEGIN + program.replace("new", "NEWER"), lie=True)
    assert (world.data / "f").read_bytes() == b"NEWERontent"
    world.cut()
    assert (world.data / "f").read_bytes() == b"new content"


def test_a_sync_that_is_not_over_leaves_nothing(world: World) -> None:
    program = """
file = os.open(data / "f", os.O_RDWR)
os.write(file, b"new")
print("kill", flush=True)
os.fsync(file)
os.fsync(file)
"""
    world.data.mkdir()
    (world.data / "f").write_bytes(b"old")
    world.run_until_killed(BEGIN + program, sync_ms=60_000)
    world.cut()
    assert (world.data / "f").read_bytes() == b"old"


def test_a_record_that_the_kill_cut_off_counts_for_nothing(world: World) -> None:
    program = """
file = os.open(data / "f", os.O_RDWR)
os.write(file, b"new")
die()
"""
    world.data.mkdir()
    (world.data / "f").write_bytes(b"old")
    world.run_until_killed(BEGIN + program)
    (log,) = world.undo.glob("log-*")
    whole = log.read_bytes()
    records = list(powercut.read(whole))
    assert records
    for size in range(1, len(whole)):
        read = list(powercut.read(whole[:size]))
        assert read == records[: len(read)]
        assert len(read) < len(records)


def test_every_way_to_write_is_taken_back(world: World) -> None:
    program = """
import sqlite3
with open(data / "f", "r+b", buffering=0) as file:
    file.write(b"write")
    os.pwrite(file.fileno(), b"pwrite", 10)
    os.writev(file.fileno(), [b"write", b"v"])
    os.pwritev(file.fileno(), [b"pwrite", b"v"], 50)
    os.ftruncate(file.fileno(), 60)
    os.posix_fallocate(file.fileno(), 0, 5000)
with open(data / "f", "ab") as file:
    file.write(b"appended")
with open(data / "g", "w") as file:
    file.write("truncated and written")
(data / "h").write_text("created")
(data / "i").unlink()
(data / "j").rename(data / "k")
(data / "l").rename(data / "m")
die()
"""
    before = {name: name.encode() * 100 for name in "fgijlm"}
    world.data.mkdir()
    for name, content in before.items():
        (world.data / name).write_bytes(content)
    world.run_until_killed(BEGIN + program)
    assert sorted(path.name for path in world.data.iterdir()) == list("fghkm")
    world.cut()
    assert {path.name: path.read_bytes() for path in world.data.iterdir()} == before


def test_names_are_permanent_once_their_directory_was_synced(world: World) -> None:
    program = """
(data / "a").write_text("a")
(data / "b").rename(data / "c")
(data / "d").unlink()
sync(data / "a")
sync(data)
(data / "c").rename(data / "e")
die()
"""
    world.data.mkdir()
    for name in "bd":
        (world.data / name).write_text(name)
    world.run_until_killed(BEGIN + program)
    world.cut()
    assert {path.name: path.read_text() for path in world.data.iterdir()} == {"a": "a", "c": "b"}


def test_with_a_seed_sectors_survive_on_their_own(world: World) -> None:
    program = """
file = os.open(data / "f", os.O_RDWR)
os.write(file, b"n" * 512 * 20)
die()
"""
    world.data.mkdir()
    outcomes: set[bytes] = set()
    for seed in range(5):
        (world.data / "f").write_bytes(b"o" * 512 * 20)
        world.run_until_killed(BEGIN + program)
        world.cut(seed)
        left = (world.data / "f").read_bytes()
        sectors = {left[begin : begin + 512] for begin in range(0, len(left), 512)}
        assert sectors <= {b"n" * 512, b"o" * 512}
        outcomes.add(left)
    assert len(outcomes) > 2


def test_without_a_compiler_it_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(powercut.CannotCut, match=r"apt-get install gcc libc6-dev\): there is no gcc"):
        powercut.build(tmp_path)
    compiler = tmp_path / "gcc"
    compiler.write_text("#!/bin/sh\necho stdio.h: No such file >&2\nexit 1\n")
    compiler.chmod(0o700)
    with pytest.raises(powercut.CannotCut, match=r"stdio\.h: No such file"):
        powercut.build(tmp_path)


# -- the disk -----------------------------------------------------------------------------------------------------

APPENDING = """
import random
from broadcast import _sqlite
from broadcast._sqlite import SqliteDisk
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from membership._protocol.view import Promise

_sqlite.CHECKPOINT_PAGES = 25
_sqlite.JOURNAL_SIZE = 40 * 4120
chance = random.Random(int(sys.argv[2]))
disk = SqliteDisk(data)
epoch = disk.open_group("bank").promise.epoch
first = sum(batch.count for batch in disk.open_group("bank").batches) + 1
disk.open_group("room")
print("began", flush=True)
for number in range(first, first + 10**6):
    epoch += chance.randrange(2)
    batch = Batch(1, 1 if number > 1 else 0, number, 1, 0, number, number.to_bytes(8, "big") * chance.choice([4, 3000]))
    disk.write([("bank", Persist(number, promise=Promise(epoch, "a"), batches=(batch,)))])
    print(number, epoch, flush=True)
    disk.tend()
"""


def lose_power(world: World, seed: int, *, lie: bool = False, torn: bool = True) -> tuple[int, int]:
    """Append until killed at a moment that the seed says, and cut. The last index and epoch that were acknowledged."""
    chance = random.Random(seed)
    number, epoch = 0, 0
    with world.start(BEGIN + APPENDING, str(seed), lie=lie) as process:
        assert process.stdout is not None
        try:
            for _ in range(chance.randrange(1, 80)):
                said = process.stdout.readline().split()
                if said != ["began"]:
                    number, epoch = map(int, said)
        finally:
            process.kill()
            for line in process.stdout.read().splitlines():  # acknowledged between the last line read and the kill
                if len(line.split()) == 2:
                    number, epoch = map(int, line.split())
    world.cut(seed if torn else None)
    return number, epoch


def found(world: World) -> tuple[int, int]:
    disk = SqliteDisk(world.data)
    try:
        stored = disk.open_group("bank")
    finally:
        disk.close()
    for batch in stored.batches:
        assert batch.entries[:8] == batch.first.to_bytes(8, "big")
    return len(stored.batches), stored.promise.epoch


@pytest.mark.parametrize("seed", range(20))
def test_what_was_acknowledged_is_there_after_every_power_cut(world: World, seed: int) -> None:
    for life in range(1 + seed % 2):
        number, epoch = lose_power(world, seed * 10 + life, torn=seed % 4 > 0)
        last, promised = found(world)
        assert last >= number
        assert promised >= epoch


@pytest.mark.parametrize("seed", range(10))
def test_a_power_cut_while_the_journal_is_filled_with_zeros_is_no_damage(world: World, seed: int) -> None:
    """Old frames between new zeros would look like damage: that the journal is empty is synced before."""
    number, _ = lose_power(world, 30)
    dying = """
from broadcast import _sqlite
from broadcast._sqlite import SqliteDisk
_sqlite.JOURNAL_SIZE = 40 * 4120
pwrite = os.pwrite
def write_and_die(file, content, offset):
    pwrite(file, content, offset)
    if len(content) == _sqlite.JOURNAL_SIZE:
        die()
os.pwrite = write_and_die
SqliteDisk(data).open_group("bank")
"""
    world.run_until_killed(BEGIN + dying)
    world.cut(seed)
    assert found(world)[0] >= number


def test_a_disk_whose_syncs_do_nothing_is_found_out(world: World) -> None:
    lose_power(world, 1)
    losses = 0
    for seed in range(5):
        before = found(world)
        number, _ = lose_power(world, 100 + seed, lie=True)
        try:
            losses += found(world)[0] < number
        except DiskDamaged:
            losses += 1
            break
        assert found(world)[0] >= before[0]
    assert losses > 0


IN_TROUBLE = """
from broadcast import _sqlite
from broadcast._sqlite import SqliteDisk
from broadcast._storage import DiskFailed, DiskFull
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from membership._protocol.view import Promise

_sqlite.JOURNAL_SIZE = 0
_sqlite.BALLAST_SIZE = 200_000
_sqlite.BALLAST_EVERY = 5
undo = data.parent / "undo"
disk = SqliteDisk(data)
disk.open_group("bank")
def size():
    return sum(path.stat().st_size for path in data.iterdir())
def batch(number, size=30):
    return Persist(number, batches=(Batch(1, 1 if number > 1 else 0, number, 1, 0, number, bytes(size)),))
def written(persist):
    try:
        disk.write([("bank", persist)])
        disk.tend()
        return "written"
    except (DiskFull, DiskFailed) as error:
        return type(error).__name__
def indices():
    return [batch.first for batch in disk.open_group("bank").batches]
"""


def run(world: World, program: str) -> list[str]:
    return world.run_until_killed(BEGIN + IN_TROUBLE + program + "\ndie()\n")


def test_a_full_disk_refuses_cleanly_keeps_room_for_promises_and_heals(world: World) -> None:
    said = run(
        world,
        """
print(written(batch(1)))
(undo / "limit").write_text(str(size() + 10_000))
print(written(batch(2, 50_000)), written(batch(2, 50_000)), indices(), (data / "ballast").exists())
print(written(Persist(2, promise=Promise(5, "a"))), (data / "ballast").exists())
print(written(batch(2, 500_000)), indices())
print(written(Persist(2, promise=Promise(6, "a"))), disk.open_group("bank").promise.epoch)
(undo / "limit").unlink()
print(*[written(batch(number, 50_000)) for number in range(2, 9)], indices(), (data / "ballast").exists())
""",
    )
    assert said == [
        "written",
        "DiskFull DiskFull [1] True",
        "written True",  # there was room for that without
        "DiskFull [1]",
        "written 6",
        "written " * 7 + "[1, 2, 3, 4, 5, 6, 7, 8] True",
    ]
    world.cut()
    assert found_in_trouble(world) == list(range(1, 9))


def test_the_ballast_is_given_up_for_a_promise_alone_and_comes_back(world: World) -> None:
    said = run(
        world,
        """
print(written(batch(1)))
(undo / "limit").write_text(str(size()))
print(written(batch(2)), (data / "ballast").exists())
print(written(Persist(2, promise=Promise(5, "a"))), (data / "ballast").exists())
print(written(batch(2)))
(undo / "limit").unlink()
print(*[written(batch(number)) for number in range(3, 10)], (data / "ballast").exists())
""",
    )
    assert said == ["written", "DiskFull True", "written False", "written", "written " * 7 + "True"]


WITH_A_SNAPSHOT = """
from broadcast._protocol.position import Position
from broadcast._protocol.snapshots import Snapshot
from membership._protocol.configurations import Agreed
from membership._protocol.view import Configuration, Member

_sqlite.CHECKPOINT_PAGES = _sqlite.CHECKPOINT_PAGES_TIGHT = 10
_sqlite.LENT_MARGIN = 20_000
disk.close()
disk = SqliteDisk(data)
disk.open_group("bank")
agreed = Agreed.formed(Configuration((Member("a", b"a" * 16),)), 1)
for number in range(1, 21):
    written(batch(number, 20_000))
written(Persist(21, snapshot=Snapshot(Position(1, 20), 20, 20, agreed, 10, b"0" * 32), commit=20))
def part(number, size, compact):
    last = disk.open_group("bank").batches[-1].last + 1
    return Persist(number, batches=(Batch(1, 1, last, 1, 0, last, bytes(size)),), compact=compact)
"""


def test_what_makes_the_log_shorter_is_lent_the_ballast_which_stays_for_promises(world: World) -> None:
    """Parts of the log go with what is appended: neither they nor that may take the room of a promise (rule 25)."""
    said = run(
        world,
        WITH_A_SNAPSHOT
        + """
(undo / "limit").write_text(str(size()))
print({written(part(21 + number, 15_000, number)) for number in range(1, 16)}, (data / "ballast").exists())
print(indices())
while written(part(40, 3_000, 0)) == "written":
    pass
print((data / "ballast").exists(), size() <= int((undo / "limit").read_text()))
print(written(Persist(40, promise=Promise(5, "a"))))
""",
    )
    assert said == ["{'written'} True", str(list(range(16, 36))), "True True", "written"]
    world.cut()
    assert found_in_trouble(world)[:20] == list(range(16, 36))


def test_what_is_too_large_for_a_full_disk_is_refused_and_the_part_that_goes_with_it_goes(world: World) -> None:
    said = run(
        world,
        WITH_A_SNAPSHOT
        + """
(undo / "limit").write_text(str(size()))
print(written(part(22, 600_000, 5)), indices(), (data / "ballast").exists())
print(written(part(22, 600_000, 5)), (data / "ballast").exists())
print(written(Persist(22, compact=8)), indices(), (data / "ballast").exists())
print(written(part(23, 20_000, 8)), indices()[-1])
(undo / "limit").unlink()
print(written(part(24, 600_000, 5)), indices())
""",
    )
    assert said == [
        f"DiskFull {[*range(6, 21)]} True",
        "DiskFull True",
        f"written {[*range(9, 21)]} True",
        "written 21",
        f"written {[*range(9, 23)]}",
    ]
    world.cut()
    assert found_in_trouble(world) == list(range(9, 23))


def test_the_ballast_is_not_lent_where_it_would_not_come_back(world: World) -> None:
    """The journal holds more than it, all of it new."""
    said = run(
        world,
        WITH_A_SNAPSHOT
        + """
for number in range(21, 26):
    disk.write([("bank", batch(number, 50_000))])
(undo / "limit").write_text(str(size()))
print(written(part(27, 50_000, 5)), indices(), (data / "ballast").exists())
(undo / "limit").unlink()
print(written(part(27, 50_000, 5)), indices(), (data / "ballast").exists())
""",
    )
    assert said == [f"DiskFull {[*range(1, 26)]} True", f"written {[*range(6, 27)]} True"]
    world.cut()
    assert found_in_trouble(world) == list(range(6, 27))


def test_a_sync_that_fails_once_stops_the_disk_for_good(world: World) -> None:
    said = run(
        world,
        """
print(written(batch(1)))
(undo / "fail-sync").touch()
print(written(batch(2)))
(undo / "fail-sync").unlink()
print(written(batch(2)), written(Persist(2, promise=Promise(5, "a"))))
try:
    disk.open_group("bank")
except DiskFailed as error:
    print(error)
""",
    )
    assert said[:3] == ["written", "DiskFailed", "DiskFailed DiskFailed"]
    assert "look after the disk" in said[3]
    world.cut()
    assert found_in_trouble(world) == [1]


def test_a_sync_that_fails_in_a_checkpoint_stops_the_disk_and_loses_nothing(world: World) -> None:
    said = run(
        world,
        """
print(written(batch(1)), written(batch(2)))
(undo / "fail-sync").touch()
disk._journal_pages = 10**6
try:
    disk.tend()
except DiskFailed:
    print("failed")
(undo / "fail-sync").unlink()
print(written(batch(3)))
""",
    )
    assert said == ["written written", "failed", "DiskFailed"]
    world.cut()
    assert found_in_trouble(world) == [1, 2]


def found_in_trouble(world: World) -> list[int]:
    assert os.listdir(world.data)
    disk = SqliteDisk(world.data)
    try:
        return [batch.first for batch in disk.open_group("bank").batches]
    finally:
        disk.close()
