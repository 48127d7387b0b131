"""A snapshot whose file has changed since is sent to nobody: who has it stops, and another leads (rule 26)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from shelf_scene import events, keep_nothing, put, three, until
from structlog.testing import capture_logs
from test_transfers import captured, made_of

from broadcast._protocol.output import Input, ReadPart
from broadcast._protocol.position import START
from broadcast._snapshots import SnapshotKeeper
from broadcast._storage import DiskDamaged, MemorySnapshots, Stored
from broadcast._transfers import Unable
from membership._protocol.view import Promise


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_nothing(monkeypatch)


def spoil(snapshots: Path) -> None:
    """Flip a bit in the middle of each."""
    for path in snapshots.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


async def test_a_leader_whose_snapshot_is_rotten_stops_and_who_needs_one_gets_another_s(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with three(tmp_path) as rig:
            await rig.leave_behind("c")
            leader = rig.groups["a"].status().leader
            assert leader is not None
            other = "b" if leader == "a" else "a"
            spoil(tmp_path / leader / "snapshots")
            await rig.start("c")
            await until(lambda: leader in rig.damaged)
            assert "fails its checksum" in rig.damaged[leader]
            assert "Move the data directory away" in rig.damaged[leader]
            late = rig.groups["c"]
            await put(rig.groups[other], 1)
            await until(lambda: late.status().applied == rig.groups[other].status().applied)
            assert late.state() == rig.groups[other].state()
    assert [each["group"] for each in events(logs, "the disk is damaged: this replica stops")] == ["shelf"]
    assert len(events(logs, "snapshot sent")) == len(events(logs, "snapshot installed")) == 1
    assert not [each for each in logs if "cannot be used" in each["event"]]  # nobody got what is of no use


async def test_nothing_of_a_rotten_one_is_read() -> None:
    files = MemorySnapshots()
    snapshot, content = captured()
    told, failed = list[Input](), list[Unable]()
    keeper = SnapshotKeeper("purses", files, made_of, told.append, failed.append)
    await keeper.open(Stored(b"s" * 16, None, Promise(), [], start=START))
    files.whole[snapshot.position] = bytes([content[0] ^ 1]) + content[1:]
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for task in keeper.tasks:
                nursery.start_soon(task)
            keeper.perform(ReadPart("b", snapshot, 0, len(content)))
            await until(lambda: bool(failed))
            nursery.cancel_scope.cancel()
    assert told == []
    assert isinstance(failed[0], DiskDamaged)
