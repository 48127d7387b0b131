"""Data directories that are damaged, deleted, exchanged or old between two runs of one process of a group.

What the replica had acknowledged is gone or changed then: it refuses to start, says what is damaged and what to do, and
the group goes on with the others. What shows only beside them is not counted by them. Put right, it takes part again.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from disks import flip
from rig import Member, Rig, open_rig, until
from store import Store
from wires import around, parted

from broadcast import GroupRef, connect

DATABASE, JOURNAL, MARKS, NODE = "log.sqlite3", "log.sqlite3-wal", "log.marks", "node"
PATIENCE_SECONDS = 60  # of the client, for one answer
ATTEMPTS = 5
FRAME_SIZE = 24 + 4096  # of SQLite's journal


class Writing:
    """A client that writes; written: what it had answered."""

    def __init__(self, client: GroupRef[Store]) -> None:
        self.written: dict[str, int] = {}
        self._client = client

    async def write(self, count: int) -> None:
        for _ in range(count):
            number = len(self.written)
            key = f"key number {number}"
            with trio.fail_after(PATIENCE_SECONDS):
                await self._client.ask(Store.write, key, number)
            self.written[key] = number


@asynccontextmanager
async def used(library: Path, at: Path) -> AsyncGenerator[tuple[Rig, Writing]]:
    """A group whose members have something in their databases, and nothing in their journals."""
    async with open_rig("store:Store", library, at) as rig:
        await rig.start()
        async with connect("group", Store, members=rig.addresses) as client:
            writing = Writing(client)
            await writing.write(150)
            await level(rig, writing)
            for member in rig.members.values():
                await member.kill()
            await rig.start()
            yield rig, writing


async def level(rig: Rig, writing: Writing) -> None:
    """All members run, and hold what was written."""
    assert await rig.wrongs() == []
    for member in rig.members.values():
        assert await member.read("local", "everything") == writing.written


# -- damage (T21, T33) -----------------------------------------------------------------------------------------------


def where(path: Path, content: bytes) -> int:
    """Where in a file this is."""
    return path.read_bytes().index(content)


def end_of(path: Path) -> int:
    """Where the last that is not zero in a file is."""
    return len(path.read_bytes().rstrip(b"\0")) - 1


def cut_off(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


@dataclass(frozen=True)
class Damage:
    """do: what happens to the directory. told: what the process says that it ends for."""

    name: str
    do: Callable[[Path], None]
    told: tuple[str, ...]


def in_row(data: Path, key: str) -> None:
    """Of the row, not of an older copy of its page: wherever it is found."""
    content = (data / DATABASE).read_bytes()
    at = content.find(key.encode())
    while at >= 0:
        flip(data / DATABASE, at)
        at = content.find(key.encode(), at + 1)


def in_marks(data: Path) -> None:
    """Of both that there are of the group: one alone may be what a death in the midst of it left."""
    for offset in (64, 96):
        flip(data / MARKS, offset)


DATABASE_DAMAGES = (
    Damage("head of the database", lambda data: flip(data / DATABASE, 0), (DATABASE,)),
    Damage("middle of the database", lambda data: in_row(data, "key number 3"), (DATABASE, "fails its checksum")),
    Damage("tail of the database", lambda data: cut_off(data / DATABASE, 4096), (DATABASE,)),
)

OTHER_DAMAGES = (
    Damage("head of the journal", lambda data: flip(data / JOURNAL, 20), (JOURNAL, "its header is bad")),
    Damage("first frame of the journal", lambda data: flip(data / JOURNAL, 32 + 100), (JOURNAL, "a frame is bad")),
    Damage(
        "middle of the journal",
        lambda data: flip(data / JOURNAL, where(data / JOURNAL, b"key number 170")),
        (JOURNAL, "a frame is bad"),
    ),
    Damage("tail of the journal", lambda data: flip(data / JOURNAL, end_of(data / JOURNAL)), ("writes were durable",)),
    Damage("journal cut off", lambda data: cut_off(data / JOURNAL, 32 + 8 * FRAME_SIZE), ("writes were durable",)),
    Damage("no journal", lambda data: (data / JOURNAL).unlink(), ("writes were durable",)),
    Damage("head of the marks", lambda data: flip(data / MARKS, 3), (MARKS,)),
    Damage("marks of the group", in_marks, (MARKS, "fails its checksum")),
    Damage("no marks", lambda data: (data / MARKS).unlink(), ("has lost its log.marks",)),
    Damage("identity of the node", lambda data: flip(data / NODE, 12), (NODE, "is damaged")),
    Damage("no identity of the node", lambda data: (data / NODE).unlink(), ("its identity was lost",)),
)


async def test_a_damaged_disk_is_refused_by_name_and_the_group_goes_on_without_it(
    library: Path, tmp_path: Path
) -> None:
    """The database is damaged while the journal is empty: what stands in the journal too is made good from there."""
    async with used(library, tmp_path) as (rig, writing):
        victim = rig.followers[0]
        misfits = [*await damaged(victim, writing, DATABASE_DAMAGES)]
        moved = (victim.disk.data / DATABASE).rename(tmp_path / "moved")
        assert "has lost its log.sqlite3" in str(await victim.refusal())
        moved.rename(victim.disk.data / DATABASE)
        await victim.start()
        await level(rig, writing)
        await writing.write(30)
        await level(rig, writing)
        misfits += await damaged(victim, writing, OTHER_DAMAGES)
        assert misfits == []
        await victim.start()
        await writing.write(2)
        await level(rig, writing)


async def damaged(victim: Member, writing: Writing, damages: Sequence[Damage]) -> list[str]:
    """Kill it, damage its directory in each of these ways, and put it right; what it did not refuse as it should."""
    await victim.kill()
    whole = victim.disk.contents()
    misfits: list[str] = []
    for damage in damages:
        damage.do(victim.disk.data)
        told = await victim.refusal()
        if told is None or any(part not in told for part in damage.told):
            misfits.append(f"{damage.name}: {told}")
        victim.disk.restore(whole)
        await writing.write(1)
    return misfits


# -- deleted, exchanged, old (T38) -----------------------------------------------------------------------------------


async def test_a_directory_that_was_deleted_is_told_and_not_counted(library: Path, tmp_path: Path) -> None:
    """An empty disk may start: nothing on it can be wrong. What it says counts for nothing, and it says why."""
    async with used(library, tmp_path) as (rig, writing):
        wiped, other = rig.followers
        await wiped.kill()
        shutil.rmtree(wiped.disk.data)
        await wiped.start()
        await writing.write(5)
        await told(wiped, f"knows '{wiped.name}' by another disk")
        assert "bring the old data back, or remove and add the member" in wiped.process.log.read_text()
        with parted(around(rig.wires, other.name)):
            assert not await answers(rig, writing)
        await writing.write(5)


async def test_what_was_copied_from_another_node_is_refused(library: Path, tmp_path: Path) -> None:
    async with used(library, tmp_path) as (rig, writing):
        victim, other = rig.followers
        for member in (victim, other):
            await member.kill()
        whole = victim.disk.contents()
        shutil.rmtree(victim.disk.data)
        shutil.copytree(other.disk.data, victim.disk.data)
        refusal = await victim.refusal()
        assert f"belongs to node '{other.name}', not to '{victim.name}'" in str(refusal)
        assert "start the node under its own name, or give it another directory" in str(refusal)
        (victim.disk.data / NODE).write_bytes(whole[victim.disk.data / NODE])
        assert "is a copy" in str(await victim.refusal())
        await other.start()
        await writing.write(5)


async def test_an_old_backup_is_refused(library: Path, tmp_path: Path) -> None:
    async with used(library, tmp_path) as (rig, writing):
        victim = rig.followers[0]
        await victim.kill()
        shutil.copytree(victim.disk.data, tmp_path / "backup")
        await victim.start()
        await writing.write(5)
        await level(rig, writing)
        await victim.kill()
        shutil.rmtree(victim.disk.data)
        shutil.copytree(tmp_path / "backup", victim.disk.data)
        refusal = str(await victim.refusal())
        assert "is a copy" in refusal
        assert "Start this node with an empty directory, and have it added again" in refusal
        await writing.write(5)


async def test_an_older_state_of_database_and_journal_is_refused(library: Path, tmp_path: Path) -> None:
    """For the marks beside them know better."""
    async with used(library, tmp_path) as (rig, writing):
        victim = rig.followers[0]
        old = await older_state(rig, writing, victim)
        await written_since(rig, writing, victim)
        victim.disk.restore(old | {victim.disk.data / MARKS: (victim.disk.data / MARKS).read_bytes()})
        assert "writes were durable" in str(await victim.refusal())
        await writing.write(5)


@pytest.mark.alone  # it needs a leader that stays
async def test_an_older_state_of_the_whole_volume_is_found_out_by_the_leader(library: Path, tmp_path: Path) -> None:
    """Nothing on it can tell. The leader that was told more finds out, and counts it no more; another one could not."""
    for attempt in range(ATTEMPTS):
        async with used(library, directory(tmp_path, attempt)) as (rig, writing):
            victim, other = rig.followers
            old = await older_state(rig, writing, victim)
            leader, epoch = rig.leader, rig.epoch
            await written_since(rig, writing, victim)
            victim.disk.restore(old)
            await victim.start()
            await writing.write(5)
            says = f"{victim.name} has lost entries that it had acknowledged: it is not counted any more"
            await until(lambda: says in leader.process.log.read_text() or rig.epoch != epoch)  # noqa: B023
            with parted(around(rig.wires, other.name)):
                if not await answers(rig, writing) and rig.epoch == epoch:
                    return
            assert rig.epoch != epoch, "it is counted still"
    pytest.fail("this machine has its leaders replaced too often")


def directory(at: Path, attempt: int) -> Path:
    (at / str(attempt)).mkdir()
    return at / str(attempt)


async def older_state(rig: Rig, writing: Writing, victim: Member) -> dict[Path, bytes]:
    """What is on its disk now, some of which it has acknowledged."""
    await writing.write(5)
    await level(rig, writing)
    await victim.kill()
    old = victim.disk.contents()
    await victim.start()
    return old


async def written_since(rig: Rig, writing: Writing, victim: Member) -> None:
    """It acknowledges more, and is killed."""
    await writing.write(30)
    await level(rig, writing)
    await victim.kill()


async def told(member: Member, text: str) -> None:
    await until(lambda: text in member.process.log.read_text())


async def answers(rig: Rig, writing: Writing) -> bool:
    """Does the group take commands now?"""
    async with connect("group", Store, members=rig.addresses) as client:
        with trio.move_on_after(2) as waiting:
            await client.ask(Store.write, "does it answer?", 1)
    writing.written["does it answer?"] = 1
    return not waiting.cancelled_caught
