"""An upgrade of real replicas, in this process: there, back as long as there is a way back, and who stops where."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from actors import Actor, InvalidMessage, command, query
from broadcast import CannotApply, Consistency, Group, Outdated, WrongClass, connect, open_group
from broadcast import _replica as shell
from broadcast._joining import Role
from broadcast._protocol import own
from broadcast._protocol.entries import Submittable
from membership import Limits

SECONDS_MAX = 60
LIMITS = Limits(election_timeout=100_000)
OFTEN = Limits(election_timeout=100_000, snapshot_entries=10)


class Purse(Actor):
    fee: int = 0  # a class attribute: no part of the state before version 2 sets it

    def __init__(self) -> None:
        self.coins = 0

    @command
    def put(self, coins: int) -> int:
        self.coins += coins
        return self.coins

    @query
    def content(self) -> int:
        return self.coins

    @query
    def in_force(self) -> int:
        return self.context.version


class Later(Purse):
    version = 2

    @command
    def put(self, coins: int) -> int:
        if self.context.version >= 2:
            self.fee += 1
            coins -= 1
        return super().put(coins)

    @command(since=2)
    def empty(self) -> int:
        coins, self.coins = self.coins, 0
        return coins

    @query(since=2)
    def fees(self) -> int:
        return self.fee


class Unmarked(Purse):
    """What somebody wrote who has not read how to upgrade a class, or who took another group's name."""

    @command
    def empty(self) -> int:
        coins, self.coins = self.coins, 0
        return coins


class Wordy(Purse):
    """The same messages, by their names."""

    @command
    def put(self, coins: int | str) -> int:
        return super().put(len(coins) if isinstance(coins, str) else coins)


class Wrong(Purse):
    version = 0


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - nobody tells of what a replica is like
        await trio.sleep(0.001)


def in_force(group: Group[Any]) -> int:
    return group.status().version


class Trio:
    """Three replicas, each of which is started with one class or another."""

    def __init__(self, data: Path, limits: Limits) -> None:
        self.groups: dict[str, Group[Any]] = {}
        self.ended: dict[str, Exception] = {}
        self._stops: dict[str, trio.Event] = {}
        self._gone: dict[str, trio.Event] = {}
        self._data = data
        self._limits = limits
        self.members: dict[str, str] = {}
        self.voters: dict[str, str] = {}
        self.nursery: trio.Nursery

    async def start(self, name: str, actor: type[Actor], role: Role = "voter") -> None:
        """Returns once it listens, or has ended."""
        await self.nursery.start(self._live, name, actor, role)

    async def stop(self, name: str) -> None:
        self._stops[name].set()
        await self._gone[name].wait()

    async def restart(self, name: str, actor: type[Actor]) -> None:
        await self.stop(name)
        await self.start(name, actor)

    async def ends(self, name: str) -> Exception:
        """What ended this replica, by itself."""
        await self._gone[name].wait()
        return self.ended.pop(name)

    def end(self) -> None:
        for stop in self._stops.values():
            stop.set()

    async def _live(self, name: str, actor: type[Actor], role: Role, *, task_status: trio.TaskStatus[None]) -> None:
        stop, gone = trio.Event(), trio.Event()
        self._stops[name], self._gone[name] = stop, gone
        members = {each: self.members[each] for each in {"a", "b", name}} if role == "observer" else self.voters
        try:
            async with open_group(
                "purses", actor, node=name, members=members, data=self._data / name, limits=self._limits, role=role
            ) as group:
                self.groups[name] = group
                task_status.started()
                await stop.wait()
        except* (CannotApply, WrongClass) as errors:
            self.ended[name] = leaf(errors)
        finally:
            began = self.groups.pop(name, None)
            gone.set()
        if began is None:
            task_status.started()


def leaf(error: BaseException) -> Exception:
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, Exception)
    return error


@asynccontextmanager
async def replicas(data: Path, *actors: type[Actor], limits: Limits = LIMITS) -> AsyncGenerator[Trio]:
    three = Trio(data, limits)
    listeners = [await trio.open_tcp_listeners(0, host="127.0.0.1") for _ in "abc"]
    for name, (listener,) in zip("abc", listeners, strict=True):
        three.members[name] = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        await listener.aclose()
    three.voters = {name: three.members[name] for name in "abc"[: len(actors)]}
    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as three.nursery:
            for name, actor in zip("abc", actors, strict=False):
                await three.start(name, actor)
            yield three
            three.end()


async def test_a_group_begins_with_the_version_that_it_was_formed_with(tmp_path: Path) -> None:
    async with replicas(tmp_path, Later) as three:
        assert await three.groups["a"].ask(Later.put, 5) == 4
        assert await three.groups["a"].ask(Later.in_force) == 2
        assert (three.groups["a"].status().version, three.groups["a"].status().newest) == (2, 2)


async def test_it_is_in_force_once_all_have_it_and_there_is_a_way_back_until_then(tmp_path: Path) -> None:
    async with replicas(tmp_path, Purse, Purse, Purse) as three:
        await three.groups["a"].ask(Purse.put, 10)
        await three.restart("b", Later)
        await three.restart("c", Later)
        assert await three.groups["c"].ask(Later.put, 10) == 20
        with pytest.raises(InvalidMessage, match="not in force yet"):
            await three.groups["c"].ask(Later.empty)
        with pytest.raises(InvalidMessage, match="not in force yet"):
            await three.groups["b"].reading(Consistency.LOG).ask(Later.fees)
        assert await three.groups["b"].ask(Later.in_force) == 1
        index = three.groups["b"].status().applied
        await until(lambda: bool(three.ended) or three.groups["a"].status().applied >= index)
        assert three.ended == {}  # nobody met what its class does not have
        await three.restart("b", Purse)
        assert await three.groups["b"].ask(Purse.put, 10) == 30
        with capture_logs() as logs:
            await three.restart("b", Later)
            await three.restart("a", Later)
            for group in three.groups.values():
                await until(lambda: in_force(group) == 2)  # noqa: B023 - called here and now
        assert any(each["event"] == "version of the class in force" for each in logs)
        assert await three.groups["a"].ask(Later.put, 10) == 39
        assert await three.groups["b"].reading(Consistency.LOG).ask(Later.fees) == 1
        assert await three.groups["c"].ask(Later.empty) == 39
        assert await three.groups["a"].ask(Later.in_force) == 2


async def upgraded(three: Trio) -> None:
    for name in "abc":
        await three.restart(name, Later)
    for group in three.groups.values():
        await until(lambda: in_force(group) == 2)  # noqa: B023 - called here and now


@pytest.mark.parametrize("limits", [LIMITS, OFTEN], ids=["log", "snapshots"])
async def test_an_older_class_stops_and_the_others_go_on(
    tmp_path: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its log, by its own snapshot, or by one that it is given: its disk stays as good as it was."""
    monkeypatch.setattr(own, "KEPT_SIZE_MAX", 0)
    monkeypatch.setattr(own, "HELD_SIZE_MAX", 0)
    async with replicas(tmp_path, Purse, Purse, Purse, limits=limits) as three:
        await three.groups["a"].ask(Purse.put, 100)
        await upgraded(three)
        await three.stop("c")
        await three.start("c", Purse)
        stopped = await three.ends("c")
        assert isinstance(stopped, Outdated)
        assert (stopped.in_force, stopped.known, stopped.group) == (2, 1, "purses")
        for _ in range(30):
            await three.groups["a"].ask(Later.put, 1)
        await three.start("c", Later)
        index = three.groups["a"].status().applied
        await until(lambda: three.groups["c"].status().applied >= index)
        assert three.groups["c"].state() == three.groups["a"].state()


async def test_one_that_is_given_a_snapshot_of_a_later_version_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An observer, which nobody waits for."""
    monkeypatch.setattr(own, "KEPT_SIZE_MAX", 0)
    monkeypatch.setattr(own, "HELD_SIZE_MAX", 0)
    async with replicas(tmp_path, Purse, Purse, limits=OFTEN) as three:
        await three.groups["a"].ask(Purse.put, 100)
        await three.start("c", Purse, "observer")
        await until(lambda: three.groups["c"].status().applied > 0)
        await three.stop("c")
        for name in "ab":
            await three.restart(name, Later)
        for _ in range(30):
            await three.groups["a"].ask(Later.put, 1)
        await until(lambda: in_force(three.groups["a"]) == 2)
        for _ in range(30):
            await three.groups["a"].ask(Later.put, 1)
        with capture_logs() as logs:
            await three.start("c", Purse, "observer")
            stopped = await three.ends("c")
        assert isinstance(stopped, Outdated)
        assert any(each["event"] == "snapshot sent" for each in logs)
        await three.start("c", Later, "observer")
        index = three.groups["a"].status().applied
        await until(lambda: three.groups["c"].status().applied >= index)
        assert three.groups["c"].state() == three.groups["a"].state()


async def test_another_class_is_refused_at_its_start_and_does_no_harm(tmp_path: Path) -> None:
    """A voter that was a member before, and an observer that was none: the second can know only once it is told."""
    async with replicas(tmp_path, Purse, Purse) as three:
        await three.groups["a"].ask(Purse.put, 10)
        await three.start("c", Unmarked, "observer")
        for name in "cb":
            if name == "b":
                await three.stop("b")
                await three.start("b", Unmarked)
            stopped = await three.ends(name)
            assert isinstance(stopped, WrongClass)
            assert (stopped.group, stopped.name) == ("purses", "Unmarked")
            assert "it takes command empty that the group does not, and lacks nothing" in str(stopped)
        await three.start("b", Purse)
        await three.start("c", Purse, "observer")
        assert await three.groups["b"].ask(Purse.put, 10) == 20
        assert await three.groups["c"].ask(Purse.put, 10) == 30


async def test_founders_with_different_classes_form_no_group_and_say_why(tmp_path: Path) -> None:
    async with replicas(tmp_path, Purse, Unmarked) as three:
        for name, told in (
            ("a", "(messages of the class: command empty there, nothing here)"),
            ("b", "(messages of the class: nothing there, command empty here)"),
        ):
            await until(lambda: told in (three.groups[name].status().waiting or ""))  # noqa: B023 - called here and now
        await three.restart("b", Purse)
        assert await three.groups["b"].ask(Purse.put, 10) == 10


async def test_what_another_member_s_class_takes_and_the_leader_s_does_not_is_not_sequenced(tmp_path: Path) -> None:
    async with replicas(tmp_path, Purse, Purse) as three:
        await three.groups["a"].ask(Purse.put, 10)
        await three.start("c", Wordy, "observer")
        assert await three.groups["c"].ask(Wordy.put, 10) == 20
        with pytest.raises(InvalidMessage, match="is their class another version than ours"):
            await three.groups["c"].ask(Wordy.put, "five")
        assert await three.groups["c"].ask(Wordy.put, 10) == 30
        assert three.ended == {}


async def test_of_a_member_that_is_known_to_have_the_same_class_nothing_is_looked_at_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = list[Submittable]()

    def sifted(entry: Submittable, *_: object) -> Submittable:
        looked.append(entry)
        return entry

    monkeypatch.setattr(shell, "sifted", sifted)
    async with replicas(tmp_path, Purse, Purse, Purse) as three:
        for group in three.groups.values():
            await group.ask(Purse.put, 10)
        leader = three.groups["a"].status().leader
        host = three.groups[str(leader)]._host  # pyright: ignore[reportPrivateUsage]
        await until(lambda: host.replica is not None and all(map(host.replica.is_alike, "abc")))
        looked.clear()
        for group in three.groups.values():
            await group.ask(Purse.put, 10)
        assert looked == []


async def test_a_client_with_a_newer_class_is_told_so_by_an_old_replica(tmp_path: Path) -> None:
    async with replicas(tmp_path, Purse) as three, connect("purses", Later, members=three.voters) as client:
        assert await client.ask(Later.put, 5) == 5
        with pytest.raises(InvalidMessage, match="not in force yet"):
            await client.ask(Later.empty)
        assert await client.ask(Later.content) == 5


async def test_a_version_that_is_none_is_refused_when_the_group_opens(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"Wrong\.version is 0: the version of a class is one of 1, 2, 3"):
        async with open_group("purses", Wrong, node="a", members={"a": "127.0.0.1:0"}, data=tmp_path):
            pass
