"""What an actor wants told by its context while it is entered or left, or ends, or where there is no link."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import structlog.testing
import trio
from boxes import Box, Small, instance_of, lone_node
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import Actor, ActorCrashed, ActorRef, Supervision, command, open_node
from actors.testing import MemoryNetwork


@pytest.fixture(autouse=True)
def from_the_first_on() -> None:
    Teller.entered = 0


class Teller(Box):
    """Tells another that it has come, and that it goes; fails at the lives that it is told."""

    entered = 0

    def __init__(self, other: ActorRef[Box], failing: tuple[int, ...] = (), *, wait: bool = False) -> None:
        super().__init__()
        self.other, self.failing, self.wait = other, failing, wait

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        Teller.entered += 1
        life = Teller.entered
        self.context.tell(self.other, Box.keep, f"+{life}")
        self.context.after(1, Box.keep, f"of {life}")
        if life in self.failing:
            raise OSError("it cannot be entered")
        try:
            async with trio.open_nursery():  # a crash leaves it in a group
                yield
        finally:
            self.context.tell(self.other, Box.keep, f"-{life}")
            self.context.after(1, Box.keep, "never")
            if -life in self.failing:
                raise OSError("it cannot be left")
            if self.wait:
                await trio.lowlevel.checkpoint()


async def crash(ref: ActorRef[Teller]) -> None:
    with pytest.raises(ActorCrashed):
        await ref.ask(Box.crash)


async def test_an_entry_that_fails_has_no_effects(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        team = node.supervised(Supervision(restarts_max=10, backoff_min=0.1))
        teller = await team.spawn("teller", Teller, box, (2, 3))
        with structlog.testing.capture_logs():
            await crash(teller)
            await trio.sleep(5)
        assert await teller.ask(Box.all) == ["of 4"]
        assert await box.ask(Box.all) == ["+1", "-1", "+4"]


async def test_an_exit_that_fails_has_none_either(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        teller = await node.supervised(Supervision(on_crash="stop")).spawn("teller", Teller, box, (-1,))
        with structlog.testing.capture_logs():
            await teller.stop()
        assert await box.ask(Box.all) == ["+1"]


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_what_is_told_at_the_end_is_told(way: str, wait: bool, autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        teller = await node.spawn("teller", Teller, box, wait=wait)
        await wait_all_tasks_blocked()
        await getattr(teller, way)()
        assert await box.ask(Box.all) == ["+1", "-1"]
        assert node.actor_statistics().dead_letters == 0


@pytest.mark.parametrize("who", ["itself", "its sibling"])
async def test_a_life_has_told_that_it_goes_before_the_next_comes(who: str, autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        team = node.supervised(Supervision("one-for-all", backoff_min=0))
        teller, sibling = await team.spawn("teller", Teller, box), await team.spawn("sibling", Box)
        await trio.sleep(2)
        with structlog.testing.capture_logs(), pytest.raises(ActorCrashed):
            await (teller if who == "itself" else sibling).ask(Box.crash)
        await trio.sleep(5)
        assert await box.ask(Box.all) == ["+1", "-1", "+2"]
        assert await teller.ask(Box.all) == ["of 2"]


async def test_who_stops_waits_for_room_to_tell_it_and_who_is_killed_does_not(autojump_clock: MockClock) -> None:
    async with lone_node() as node, trio.open_nursery() as nursery:
        box = await node.spawn("box", Small)
        tellers = [await node.spawn(name, Teller, box) for name in ("one", "other")]
        await wait_all_tasks_blocked()
        held = instance_of(node, "box")
        await box.tell(Box.hold)
        await wait_all_tasks_blocked()
        for _ in range(2):
            await box.tell(Box.keep, "x")
        nursery.start_soon(tellers[0].stop)
        await wait_all_tasks_blocked()
        with structlog.testing.capture_logs() as logs:
            await tellers[1].kill()
        assert [(line["event"], line["reason"]) for line in logs] == [
            ("dead letter", "the mailbox of a/box is full, with 2 messages: try again later")
        ]
        held.gate.set()
        await wait_all_tasks_blocked()
        assert held.kept == ["+1", "+2", "x", "x", "-1"]
        assert node.actor_statistics().actors == 1


async def test_what_was_still_to_be_told_when_it_was_killed_is_a_dead_letter(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box, other = await node.spawn("box", Box), await node.spawn("other", Small)
        await other.tell(Box.hold)
        await box.tell(Box.pass_on, other, ["1", "2", "3", "4"])
        await wait_all_tasks_blocked()
        with structlog.testing.capture_logs():
            await box.kill()
        assert node.actor_statistics().dead_letters == 2
        instance_of(node, "other").gate.set()
        assert await other.ask(Box.all) == ["1", "2"]


class Planning(Box):
    @command
    def plan(self, other: ActorRef[Box]) -> None:
        self.context.tell(other, Box.keep, "told")
        self.context.after(1, Box.keep, "never")


async def test_what_is_still_to_be_told_is_told_in_the_next_life_and_timers_end(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        team = node.supervised(Supervision("one-for-all", backoff_min=0))
        planning, sibling = await team.spawn("planning", Planning), await team.spawn("sibling", Box)
        other = await node.spawn("other", Small)
        await other.tell(Box.hold)
        await wait_all_tasks_blocked()
        for _ in range(2):
            await other.tell(Box.keep, "x")
        await planning.tell(Planning.plan, other)
        await wait_all_tasks_blocked()
        with structlog.testing.capture_logs(), pytest.raises(ActorCrashed):
            await sibling.ask(Box.crash)
        await wait_all_tasks_blocked()
        instance_of(node, "other").gate.set()
        await trio.sleep(5)
        assert await other.ask(Box.all) == ["x", "x", "told"]
        assert await planning.ask(Box.all) == []


class Far(Actor):
    @command
    def greet(self, text: str) -> None:
        self.context.tell(self.context.node.ref("b/box", Box), Box.keep, text)


async def test_what_is_told_to_a_node_without_a_link_holds_nobody_up(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with open_node("a", listen="a:1", peers={"b": "b:1"}, network=network.host("a")) as a:
        far = await a.spawn("far", Far)
        with trio.fail_after(1), structlog.testing.capture_logs() as logs:
            for text in "xy":
                await far.ask(Far.greet, text)
            await far.stop()
        [line] = [line for line in logs if line["event"] == "dead letter"]
        assert (line["actor"], line["reason"]) == ("b/box", "nothing was sent to node b: there is no link")
        assert a.actor_statistics().dead_letters == 2
