"""A group that has lost its majority for good begins anew with what one member is left with (`troupe recover`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from random import Random
from shutil import rmtree
from typing import Any, cast

import pytest
import structlog
import trio
from click.testing import CliRunner, Result
from counts import Count

from actors.testing import MemoryNetwork
from broadcast import Group, open_group
from broadcast._disks import StoppedDisk, stopped_disk
from broadcast._protocol import own
from broadcast._protocol.output import Persist
from broadcast._protocol.snapshots import Divergence
from broadcast._recovery import CannotRecover, _refound  # pyright: ignore[reportPrivateUsage]
from broadcast._storage import Stored
from broadcast.cli.recover import command as recover
from membership._protocol.view import Configuration, Formation, Member, Promise

SECONDS_MAX = 30
MEMBERS = {name: f"{name}:1" for name in "abc"}


class House:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.network = MemoryNetwork(random=Random(3), latency=0.001)

    def data(self, name: str) -> Path:
        return self.directory / name

    @asynccontextmanager
    async def member(self, name: str) -> AsyncGenerator[Group[Count]]:
        network = self.network.host(name)
        data = self.data(name)
        async with open_group("count", Count, node=name, members=MEMBERS, data=data, network=network) as group:
            yield group


@asynccontextmanager
async def house(directory: Path) -> AsyncGenerator[House]:
    """Three members that have counted to 5, and are gone."""
    it = House(directory)
    with trio.fail_after(SECONDS_MAX):
        async with AsyncExitStack() as stack:
            groups = [await stack.enter_async_context(it.member(name)) for name in MEMBERS]
            assert await groups[0].ask(Count.add, 5) == 5
            for group in groups:
                async with aclosing(group.deliveries()) as deliveries:
                    assert (await anext(deliveries)).tag == "add"
        yield it


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(recover, list(map(str, arguments)))


@pytest.mark.parametrize("kept_size", [0, own.KEPT_SIZE_MAX], ids=["a snapshot alone", "the log too"])
async def test_one_goes_on_with_what_it_has_and_takes_others_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_size: int
) -> None:
    monkeypatch.setattr(own, "KEPT_SIZE_MAX", kept_size)
    monkeypatch.setattr(own, "HELD_SIZE_MAX", kept_size)
    async with house(tmp_path) as it:
        told = run(it.data("b"), "--node", "b", "--group", "count", "--accept-data-loss")
        assert told.exit_code == 0, told.output
        assert "b is the only voter of 'count' now" in told.output
        assert "with a, b, c" in told.output
        async with it.member("b") as left:
            assert await left.ask(Count.add, 1) == 6
            view = left.membership.view
            assert view is not None
            assert (view.voters, view.leader) == (("b",), "b")
            rmtree(it.data("c"))
            async with it.member("c") as new:
                await left.membership.add("c", "c:1")
                assert await new.ask(Count.add, 1) == 7


async def test_who_was_a_voter_last_is_told_though_that_has_gone_into_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "KEPT_SIZE_MAX", 0)
    monkeypatch.setattr(own, "HELD_SIZE_MAX", 0)
    async with house(tmp_path) as it:
        async with it.member("a") as one, it.member("b"):
            await one.membership.remove("c")
        told = run(it.data("a"), "--node", "a", "--group", "count", "--accept-data-loss")
        assert "with a, b.\n" in told.output


async def test_who_comes_back_from_the_old_group_takes_no_part(tmp_path: Path) -> None:
    said = trio.Event()

    def listen(_: object, level: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if "takes part in another cluster's group 'count'" in str(line["event"]):
            said.set()
        raise structlog.DropEvent

    async with house(tmp_path) as it:
        assert run(it.data("b"), "--node", "b", "--group", "count", "--accept-data-loss").exit_code == 0
        structlog.configure(processors=[listen])
        try:
            async with it.member("b") as left, it.member("a") as old:
                begun_with = old.status().applied
                assert await left.ask(Count.add, 1) == 6
                await said.wait()
                assert old.status().role != "leader"
                assert old.status().applied == begun_with
        finally:
            structlog.reset_defaults()


async def test_what_cannot_be_recovered_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        data = it.data("b")
        assert "say that you accept that" in run(data, "--node", "b", "--group", "count").output
        accepted = ("--accept-data-loss",)
        assert (
            "holds nothing of a group 'sum', but count" in run(data, "--node", "b", "--group", "sum", *accepted).output
        )
        assert "belongs to node 'b', not to 'x'" in run(data, "--node", "x", "--group", "count", *accepted).output
        (tmp_path / "empty").mkdir()
        assert (
            "is no data directory of a node"
            in run(tmp_path / "empty", "--node", "b", "--group", "count", *accepted).output
        )
        async with it.member("b"):
            in_use = run(data, "--node", "b", "--group", "count", *accepted)
            assert in_use.exit_code != 0
            assert "in use" in in_use.output


def diverge(data: Path) -> None:
    disk = stopped_disk(data)
    disk.open_group("count")
    disk.write([("count", Persist(1, divergence=Divergence(3, 0)))])
    disk.close()


def lose_the_snapshot(data: Path) -> None:
    (path,) = (data / "snapshots").iterdir()
    path.unlink()


def spoil_the_snapshot(data: Path) -> None:
    (path,) = (data / "snapshots").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (diverge, "at index 3 a majority of the voters had another state"),
        (lose_the_snapshot, "is gone"),
        (spoil_the_snapshot, "fails its checksum"),
        (lambda data: (data / "log.marks").unlink(), "has lost its log.marks"),
    ],
)
async def test_what_no_replica_could_go_on_with_is_refused_and_stays_as_it_is(
    tmp_path: Path, change: Callable[[Path], None], why: str
) -> None:
    async with house(tmp_path) as it:
        data = it.data("b")
        change(data)
        before = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
        told = run(data, "--node", "b", "--group", "count", "--accept-data-loss")
        assert told.exit_code == 1
        assert why in told.output
        assert "take another member that is left" in told.output
        assert {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()} == before


async def test_a_group_that_has_never_formed_cannot_be_recovered(tmp_path: Path) -> None:
    it = House(tmp_path)
    async with it.member("a"):
        pass
    told = run(it.data("a"), "--node", "a", "--group", "count", "--accept-data-loss")
    assert "has never formed on this disk" in told.output


def test_a_disk_that_is_not_the_member_s_cannot_be_recovered() -> None:
    """What it holds may be anything."""
    formation = Formation("count", b"c" * 16, Configuration((Member("b", b"b" * 16),)))
    stored = Stored(b"x" * 16, formation, Promise(), [])
    with pytest.raises(CannotRecover, match="the group 'count' knows 'b' by another disk than this one"):
        _refound(cast("StoppedDisk", None), stored, "b", "count")


def test_the_new_group_goes_by_the_version_that_the_old_one_was_formed_with() -> None:
    """Its log is applied from the beginning, where that was in force (rule 29)."""
    formation = Formation("count", b"c" * 16, Configuration((Member("b", b"b" * 16),)), 2)
    written = list[Persist]()

    class Disk:
        def refound(self, group: str, persist: Persist) -> None:
            written.append(persist)

    _refound(cast("StoppedDisk", Disk()), Stored(b"b" * 16, formation, Promise(), []), "b", "count")
    (persist,) = written
    assert persist.formation is not None
    assert persist.formation.version == 2
