"""Snapshots of a real replica: taken while it runs and when it stops, begun with, sent to who has missed too much."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from shelf_scene import LIMITS, SECONDS_MAX, Shelf, events, keep_nothing, put, taken, three, until
from structlog.testing import capture_logs

from actors import command
from broadcast import Compacted, Group, _applying, connect, local_group, open_group
from broadcast import _snapshot_files as snapshot_files
from broadcast import _snapshots as keeping
from broadcast import _taking as taking
from broadcast._storage import DiskDamaged, DiskFailed, DiskFull, Written
from membership import Limits

NEVER = Limits(snapshot_entries=10**6)
TOLD = "no snapshot could be taken: the log stays as it is"


class Opaque(Shelf):
    """Keeps what cannot be put in a snapshot."""

    @command
    def spoil(self) -> None:
        self.lock = object()


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_nothing(monkeypatch)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """No state is small enough to be encoded here; which children were begun."""
    begun: list[int] = []
    fork = os.fork

    def counted() -> int:
        pid = fork()
        begun.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", counted)
    monkeypatch.setattr(taking, "AT_ONCE_SIZE_MAX", 0)
    return begun


@asynccontextmanager
async def one(data: Path, limits: Limits = LIMITS, actor: type[Shelf] = Shelf) -> AsyncGenerator[Group[Any]]:
    with trio.fail_after(SECONDS_MAX):
        async with open_group(
            "shelf", actor, node="a", members={"a": "127.0.0.1:0"}, data=data / "a", limits=limits
        ) as group:
            yield group


def hang(draft: object, machine: object, parent: int) -> bytes:
    signal.pause()
    return b""


def die(draft: object, machine: object, parent: int) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def assert_no_child_is_left() -> None:
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


async def test_a_replica_begins_with_its_snapshot_and_goes_on_from_there(tmp_path: Path) -> None:
    async with one(tmp_path) as group:
        await put(group, 35)
        await taken(group, 30)
        assert group.status().first > 20
        state, views = group.state(), group.membership.view
    async with one(tmp_path) as group:
        assert group.state() == state
        assert group.membership.view == views
        await put(group, 35, first=35)
        assert (await group.ask(Shelf.content)).items() >= {f"{n}": 10 for n in range(7)}.items()
        await taken(group, 60)
        await until(lambda: len(list((tmp_path / "a" / "snapshots").iterdir())) == 1)  # the older ones go


async def test_a_replica_in_memory_takes_them_too() -> None:
    limits = Limits(snapshot_entries=5)
    with trio.fail_after(SECONDS_MAX):
        async with open_group(
            "shelf", Shelf, node="a", members={"a": "127.0.0.1:0"}, data=None, limits=limits
        ) as group:
            await put(group, 20)
            await until(lambda: group.status().snapshot >= 15)
            assert await group.ask(Shelf.put, "more") == 1


async def test_a_local_group_takes_them_too() -> None:
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Shelf, limits=Limits(snapshot_entries=5)) as group:
            for number in range(20):
                await group.ask(Shelf.put, f"{number}")
            await until(lambda: all(replica.status().snapshot >= 15 for replica in group.replicas))


async def test_a_clean_stop_takes_one_if_anything_was_applied_since_the_last(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with one(tmp_path, NEVER) as group:
            await put(group, 3)
            assert group.status().snapshot == 0
            applied = group.status().applied
    assert len(events(logs, "snapshot taken")) == 1
    with capture_logs() as logs:
        async with one(tmp_path, NEVER) as group:
            status = group.status()
            assert status.snapshot == status.applied >= applied
            left = status.applied
            await until(lambda: group.status().applied > left)  # its epoch has begun
    assert len(events(logs, "snapshot taken")) == 1
    async with one(tmp_path, NEVER) as group:
        assert group.status().snapshot > left


async def test_a_stop_waits_for_a_snapshot_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "LAST_SECONDS_MAX", 0.01)
    monkeypatch.setattr(taking, "AT_ONCE_SIZE_MAX", 0)
    monkeypatch.setattr(taking, "_in_child", hang)
    async with one(tmp_path, NEVER) as group:
        await put(group, 3)
    assert_no_child_is_left()
    monkeypatch.undo()
    async with one(tmp_path, NEVER) as group:
        assert await group.ask(Shelf.content) == {"0": 1, "1": 1, "2": 1}


async def test_a_large_state_is_written_by_a_child_as_it_was_at_the_marker(tmp_path: Path, children: list[int]) -> None:
    with capture_logs() as logs:
        async with one(tmp_path) as group:
            await group.ask(Shelf.fill, 1000)
            await put(group, 30)
            await taken(group, 30)
            state = group.state()
    assert len(children) > 2
    assert events(logs, TOLD) == []
    async with one(tmp_path) as group:
        assert group.state() == state
    assert_no_child_is_left()


async def test_a_child_that_hangs_is_ended_and_the_next_marker_is_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[int]
) -> None:
    monkeypatch.setattr(taking, "CHILD_SECONDS_MAX", 0.01)
    with capture_logs() as logs:
        async with one(tmp_path) as group:
            with monkeypatch.context() as patch:
                patch.setattr(taking, "_in_child", hang)
                await put(group, 12)
            await until(lambda: bool(events(logs, TOLD)))
            monkeypatch.setattr(taking, "CHILD_SECONDS_MAX", SECONDS_MAX)
            await put(group, 12)
            assert await taken(group, 10) >= 20
    assert "for more than 0 s, and was ended" in events(logs, TOLD)[0]["reason"]
    assert_no_child_is_left()


async def test_what_is_left_of_one_that_the_disk_does_not_let_go_of_ends_the_replica(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(draft: object) -> None:
        raise DiskFailed("no good")

    monkeypatch.setattr(taking, "AT_ONCE_SIZE_MAX", 0)
    monkeypatch.setattr(taking, "_in_child", die)
    monkeypatch.setattr(snapshot_files._FileDraft, "discard", fail)  # pyright: ignore[reportPrivateUsage]

    async def live() -> None:
        async with one(tmp_path) as group:
            await put(group, 12)
            await trio.sleep_forever()

    with capture_logs() as logs, pytest.raises(ExceptionGroup) as raised:
        await live()
    assert raised.group_contains(DiskFailed, match="no good")
    assert events(logs, "the disk failed: this replica stops")


def test_a_child_whose_parent_is_gone_opens_nothing(tmp_path: Path) -> None:
    files = snapshot_files.FileSnapshots(tmp_path, 1, "shelf")
    draft = files.draft()
    pid = os.fork()
    if pid == 0:
        try:
            taking._in_child(draft, cast(Any, None), os.getpid())  # pyright: ignore[reportPrivateUsage]
        finally:
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert list(tmp_path.iterdir()) == []


async def test_what_grows_beyond_what_was_thought_is_given_to_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[int]
) -> None:
    monkeypatch.setattr(taking, "AT_ONCE_SIZE_MAX", 5000)
    async with one(tmp_path) as group:
        await put(group, 12)
        await taken(group, 10)
        assert children == []
        await group.ask(Shelf.fill, 1000)
        await put(group, 12)
        await taken(group, 20)
        assert children


async def test_a_child_that_is_killed_costs_its_snapshot_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(taking, "AT_ONCE_SIZE_MAX", 0)
        patch.setattr(taking, "_in_child", die)
        async with one(tmp_path) as group:
            await put(group, 12)
            await until(lambda: bool(events(logs, TOLD)))
            patch.undo()
            await put(group, 12)
            assert await taken(group, 10) >= 20
    assert "status -9" in events(logs, TOLD)[0]["reason"]


@pytest.mark.parametrize("by_child", [False, True])
async def test_where_there_is_no_room_the_group_goes_on_and_the_next_marker_is_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_child: bool
) -> None:
    is_full = True
    write = snapshot_files._FileDraft.write  # pyright: ignore[reportPrivateUsage]

    def full(self: snapshot_files._FileDraft, pieces: Iterator[bytes]) -> Written:  # pyright: ignore[reportPrivateUsage]
        if is_full:
            self.path.write_bytes(b"half of it")
            raise DiskFull("no room")
        return write(self, pieces)

    monkeypatch.setattr(snapshot_files._FileDraft, "write", full)  # pyright: ignore[reportPrivateUsage]
    if by_child:
        monkeypatch.setattr(taking, "AT_ONCE_SIZE_MAX", 0)
    with capture_logs() as logs:
        async with one(tmp_path) as group:
            await put(group, 12)
            await until(lambda: bool(events(logs, TOLD)))
            await until(lambda: not list((tmp_path / "a" / "snapshots").iterdir()))
            assert group.status().snapshot == 0
            is_full = False
            await put(group, 12)
            await taken(group, 20)


async def test_a_state_that_cannot_be_captured_is_told_and_the_group_goes_on(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with one(tmp_path, actor=Opaque) as group:
            await group.ask(Opaque.spoil)
            await put(group, 20)
            assert group.status().snapshot == 0
    told = events(logs, TOLD)
    assert "lock" in told[0]["reason"]


async def test_a_damaged_snapshot_is_not_begun_with(tmp_path: Path) -> None:
    async with one(tmp_path) as group:
        await put(group, 12)
    *_, path = sorted((tmp_path / "a" / "snapshots").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    content = path.read_bytes()
    for damaged, said in ((content[:-1] + b"?", "fails its checksum"), (content[1:], "bytes"), (None, "is gone")):
        path.unlink(missing_ok=True)
        if damaged is not None:
            path.write_bytes(damaged)
        with pytest.raises(DiskDamaged, match=f"{said}.*added again"):
            async with one(tmp_path):
                pass
    path.write_bytes(content)
    async with one(tmp_path) as group:
        assert await group.ask(Shelf.put, "one more") == 1


async def test_a_crash_is_undone_after_a_restart_from_the_snapshot(tmp_path: Path) -> None:
    async with one(tmp_path) as group:
        await put(group, 25)
    async with one(tmp_path) as group:
        before = await group.ask(Shelf.content)
        with pytest.raises(Exception, match="ZeroDivisionError"):
            await group.ask(Shelf.fail)
        assert await group.ask(Shelf.content) == before


async def test_a_crash_is_undone_from_a_snapshot_that_was_taken_meanwhile(tmp_path: Path) -> None:
    """Of the log before it nothing is left."""
    async with one(tmp_path) as group:
        await put(group, 25)
        await taken(group, 20)
        before = await group.ask(Shelf.content)
        with pytest.raises(Exception, match="ZeroDivisionError"):
            await group.ask(Shelf.fail)
        assert await group.ask(Shelf.content) == before


async def test_a_marker_that_is_met_while_one_is_under_way_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[int]
) -> None:
    monkeypatch.setattr(taking, "_in_child", hang)
    monkeypatch.setattr(keeping, "LAST_SECONDS_MAX", 0.01)
    async with one(tmp_path) as group:
        await put(group, 35)
        assert len(children) == 1
    assert_no_child_is_left()


async def test_what_a_snapshot_holds_is_delivered_no_more_and_said_so(tmp_path: Path) -> None:
    async with one(tmp_path) as group:
        await put(group, 45)
        await taken(group, 40)
        async with aclosing(group.deliveries(1)) as deliveries:
            with pytest.raises(Compacted) as compacted:
                await anext(deliveries)
        async with aclosing(group.deliveries(compacted.value.first_index)) as deliveries:
            assert (await anext(deliveries)).position.index >= compacted.value.first_index


# -- three of them ----------------------------------------------------------------------------------------------------


async def test_who_has_missed_what_is_compacted_gets_a_snapshot(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with three(tmp_path) as rig:
            await rig.leave_behind("c")
            await rig.start("c")
            late = rig.groups["c"]
            await put(rig.groups["a"], 1)
            await until(lambda: late.status().applied == rig.groups["a"].status().applied)
            assert late.state() == rig.groups["a"].state()
            assert late.membership.view == rig.groups["a"].membership.view
            assert await late.ask(Shelf.put, "by c") == 1
            assert late.status().first > 30
    installed = events(logs, "snapshot installed")
    assert len(installed) == 1
    assert installed[0].keys() >= {"index", "bytes", "seconds", "group"}
    assert "c" in {each["to"] for each in events(logs, "snapshot sent")}


async def test_sessions_at_a_replica_that_was_given_a_snapshot_go_on(tmp_path: Path) -> None:
    """A client whose only member was cut off; it hears what came of what it had asked for before."""
    async with three(tmp_path) as rig:
        late = rig.groups["c"]
        async with connect("shelf", Shelf, members=rig.addresses) as client:
            assert await client.ask(Shelf.put, "client's") == 1
            assert await late.ask(Shelf.put, "c's") == 1
            await rig.stop("c")
            await put(rig.groups["a"], 60)
            await rig.start("c")
            await put(rig.groups["b"], 20)
            assert await client.ask(Shelf.put, "client's") == 2
            assert await rig.groups["c"].ask(Shelf.put, "c's") == 2


async def test_who_is_behind_applies_by_and_by_and_everybody_has_turns_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take_none(keeper: object) -> None:
        """So that all of it is applied anew."""
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(keeping.SnapshotKeeper, "take_last", take_none)
    async with one(tmp_path, NEVER) as group:
        await put(group, 20)
        state, applied = group.state(), group.status().applied
    turn, applied_in = 0, list[int]()
    end = _applying.Applier[Any]._end

    def end_and_note(applier: _applying.Applier[Any], done: Any) -> None:
        applied_in.append(turn)
        end(applier, done)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            await trio.lowlevel.checkpoint()
            turn += 1

    monkeypatch.setattr(_applying, "APPLYING_SECONDS_MAX", 0)
    monkeypatch.setattr(_applying.Applier, "_end", end_and_note)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        async with one(tmp_path, NEVER) as group:
            await until(lambda: group.status().applied > applied)
            assert len(applied_in) > 20
            assert len(set(applied_in)) >= len(applied_in) // 2  # two turns in a row may be counted as one
            assert group.state() == state
        nursery.cancel_scope.cancel()
