"""Effects in a real group: timers over restarts and leaders, and actors on nodes that are told (rules 12, 21)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from msgspec.structs import replace

import broadcast
from actors import Actor, ActorRef, Node, Ref, command, open_node, query
from actors.testing import MemoryNetwork
from broadcast import Delivery, Group, LocalGroup, _replica, local_group, open_group
from membership import Limits

SECONDS_MAX = 30  # of a test: on real time
NAMES = "abc"
PEERS = {name: f"{name}:1" for name in NAMES}


class Bell(Actor):
    """On a node."""

    def __init__(self) -> None:
        self.rung: list[tuple[int, str]] = []

    @command
    def ring(self, number: int) -> None:
        self.rung.append((number, self.context.sender))

    @query
    def heard(self) -> list[tuple[int, str]]:
        return self.rung


class Tower(Actor):
    """Replicated."""

    def __init__(self) -> None:
        self.bell: ActorRef[Bell] | None = None
        self.chimed: list[int] = []

    @command
    def hang(self, bell: ActorRef[Bell]) -> None:
        self.bell = bell

    @command
    def plan(self, number: int, seconds: float) -> None:
        self.context.after(seconds, Tower.chime, number)

    @command
    def plan_all(self, seconds: list[float]) -> None:
        for number, each in enumerate(seconds, 1):
            self.plan(number, each)

    @command
    def plan_at_once(self, numbers: list[int]) -> None:
        for number in numbers:
            self.plan(number, 0)

    @command
    def chime(self, number: int) -> None:
        self.chimed.append(number)
        if number < 0:
            raise ArithmeticError
        if self.bell is not None:
            self.context.tell(self.bell, Bell.ring, number)

    @query
    def chimes(self) -> list[int]:
        return self.chimed


async def chimed(group: Group[Tower] | LocalGroup[Tower], *numbers: int) -> None:
    """Until it has chimed just these."""
    while await group.ask(Tower.chimes) != list(numbers):
        pass


async def chimes(group: Group[Tower], count: int) -> list[Delivery]:
    """The first so many of these, as they are delivered."""
    return await delivered(group, count, "chime")


async def delivered(group: Group[Tower], count: int, *tags: str) -> list[Delivery]:
    """The first so many of all, or of those with these tags."""
    found: list[Delivery] = []
    async with aclosing(group.deliveries()) as deliveries:
        async for each in deliveries:
            found += [each] * (not tags or each.tag in tags)
            if len(found) == count:
                break
    return found


async def heard(bell: Ref[Bell], count: int) -> list[tuple[int, str]]:
    """What a bell has heard, once it is so much."""
    while len(rung := await bell.ask(Bell.heard)) < count:  # noqa: ASYNC110 - it does not tell
        await trio.sleep(0.001)
    return rung


async def leading(groups: dict[str, Group[Tower]]) -> str:
    view = await groups["a"].membership.wait_view()
    return view.leader


class Rig:
    """Three nodes, all of the group, and a network between them that can be cut."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.nodes: dict[str, Node] = {}
        self.groups: dict[str, Group[Tower]] = {}

    def cut_off(self, name: str) -> None:
        for other in NAMES:
            if other != name:
                self.network.cut(name, other)
                self.network.cut(other, name)

    def heal(self, name: str) -> None:
        for other in NAMES:
            if other != name:
                self.network.heal(name, other)
                self.network.heal(other, name)


@dataclass
class Wall:
    """The clock on the wall of every replica in this process, in microseconds. It stands still unless told: then a
    group's time goes on only while it lives."""

    time: int


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    real = _replica.now
    wall = Wall(10**15)
    monkeypatch.setattr(_replica, "now", lambda: replace(real(), wall=wall.time))
    return wall


@asynccontextmanager
async def rig() -> AsyncGenerator[Rig]:
    made = Rig(MemoryNetwork(random=Random(1), latency=0.001))
    with trio.fail_after(SECONDS_MAX), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            for name in NAMES:
                await nursery.start(_live, made, name)
            yield made
            scope.cancel()  # who leaves last has no quorum to wait for


async def _live(made: Rig, name: str, task_status: trio.TaskStatus[None]) -> None:
    async with (
        open_node(name, peers=PEERS, network=made.network.host(name)) as node,
        broadcast.join(node, "tower", Tower, members=PEERS) as group,
    ):
        made.nodes[name], made.groups[name] = node, group
        task_status.started()
        await trio.sleep_forever()


async def test_what_was_planned_comes_at_its_time_and_the_same_on_every_replica() -> None:
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Tower) as group:
            await group.ask(Tower.plan_all, [0.2, 0.05])
            found = [await delivered(replica, 3) for replica in group.replicas]
            assert await group.ask(Tower.chimes) == [2, 1]
    assert found[0] == found[1] == found[2]
    plan, second, first = found[0]
    assert (first.arguments, second.arguments) == ((1,), (2,))
    assert {first.sender, second.sender} == {"local"}
    assert second.time >= plan.time + 50_000
    assert first.time >= plan.time + 200_000


@pytest.mark.parametrize("limits", [Limits(), Limits(snapshot_entries=2)])
async def test_what_was_planned_comes_after_a_restart_and_once(wall: Wall, tmp_path: Path, limits: Limits) -> None:
    @asynccontextmanager
    async def one() -> AsyncGenerator[Group[Any]]:
        members = {"a": "127.0.0.1:0"}
        async with open_group("tower", Tower, node="a", members=members, data=tmp_path, limits=limits) as group:
            yield group

    with trio.fail_after(SECONDS_MAX):
        async with one() as group:
            await group.ask(Tower.plan, 1, 60)
            await group.ask(Tower.plan, 2, 0)
            await chimed(group, 2)
        async with one() as group:
            assert await group.ask(Tower.chimes) == [2]
        wall.time += 60_000_000
        async with one() as group:
            await chimed(group, 2, 1)
        async with one() as group:
            assert await group.ask(Tower.chimes) == [2, 1]


async def test_what_was_planned_comes_once_although_its_leader_is_lost() -> None:
    async with rig() as made:
        lost = await leading(made.groups)
        others = [name for name in NAMES if name != lost]
        await made.groups[others[0]].ask(Tower.plan, 1, 0.4)
        made.cut_off(lost)
        found = [await chimes(made.groups[name], 1) for name in others]
        assert found[0] == found[1]
        made.heal(lost)
        await made.groups[others[0]].ask(Tower.plan, 2, 0)
        for name in NAMES:
            assert [each.arguments for each in await chimes(made.groups[name], 2)] == [(1,), (2,)]


async def test_an_actor_on_a_node_is_told_once_by_the_leader() -> None:
    async with rig() as made:
        for name in "ab":
            bell = await made.nodes[name].spawn("bell", Bell)
            await made.groups["c"].ask(Tower.hang, bell)
            leader = await leading(made.groups)
            for number in range(5):
                await made.groups["c"].ask(Tower.chime, number)
            assert await heard(bell, 5) == [(number, f"{leader}/tower") for number in range(5)]


async def test_a_restart_tells_nobody_again(tmp_path: Path) -> None:
    with trio.fail_after(SECONDS_MAX):
        async with open_node("b", listen="127.0.0.1:0", data=None) as far:
            bell = await far.spawn("bell", Bell)
            for number in range(3):
                async with (
                    open_node("a", listen="127.0.0.1:0", peers={"b": str(far.address)}, data=tmp_path) as node,
                    broadcast.join(node, "tower", Tower, members={"a": str(node.address)}) as group,
                ):
                    far.set_peers({"a": str(node.address)})
                    while not node.is_linked("b"):  # noqa: ASYNC110 - nobody tells
                        await trio.sleep(0.001)
                    await group.ask(Tower.hang, far.ref("b/bell", Bell))
                    await group.ask(Tower.chime, number)
                    assert await heard(bell, number + 1) == [(each, "a/tower") for each in range(number + 1)]


async def test_who_is_not_there_is_told_nothing_and_the_group_goes_on() -> None:
    with trio.fail_after(SECONDS_MAX):
        async with (
            open_node("a", listen="127.0.0.1:0", data=None) as node,
            broadcast.join(node, "tower", Tower) as group,
        ):
            for number, name in enumerate(("a/nobody", "far/away")):
                await group.ask(Tower.hang, node.ref(name, Bell))
                await group.ask(Tower.chime, number)
            assert await group.ask(Tower.chimes) == [0, 1]
            assert node.actor_statistics().dead_letters == 2


async def test_what_is_held_up_behind_crashes_comes_once_and_in_its_order() -> None:
    """Thirteen crash, of which eleven could be undone at once, and one each tenth of a second then."""
    good = list(range(200))
    with trio.fail_after(SECONDS_MAX):
        async with local_group(Tower, limits=Limits(undos_max=11, undo_interval=100_000)) as group:
            await group.ask(Tower.plan_at_once, [-1] * 12 + good[:100] + [-1] + good[100:])
            await chimed(group, *good)
            found = await delivered(group.replicas[0], len(good), "chime")
            assert [each.arguments for each in found] == [(number,) for number in good]
