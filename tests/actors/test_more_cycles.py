"""Cycles of those who wait for an end, for a start, or for a sibling that is started again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
import structlog.testing
import trio
from boxes import Box, closing, lone_node
from test_ask_cycles import Hop
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import Actor, ActorCrashed, ActorRef, AskCycle, Node, Ref, Supervision, command, query


class Waiter(Hop):
    """Waits in its handlers for whatever it is told, and tells of cycles."""

    @command
    async def watch(self, other: ActorRef[Actor]) -> str:
        try:
            return (await other.watch()).how
        except AskCycle as cycle:
            return " -> ".join(cycle.chain)

    @command
    async def stop(self, other: ActorRef[Actor]) -> str:
        try:
            await other.stop()
        except AskCycle as cycle:
            return " -> ".join(cycle.chain)
        return "stopped"

    @command
    async def hold_and_ask(self, other: Ref[Hop]) -> str:
        await self.gate.wait()
        return await self.pass_on([other])

    @command
    async def raise_child(self, name: str) -> Ref[Waiter]:
        return await self.context.spawn(name, Waiter)


async def child_of(parent: ActorRef[Waiter], name: str = "child") -> ActorRef[Waiter]:
    return cast("ActorRef[Waiter]", await parent.ask(Waiter.raise_child, name))


def open_gate(node: Node, name: str) -> None:
    cell = node._cells.get(name)
    assert cell is not None
    assert isinstance(cell.actor, Hop)
    cell.actor.gate.set()


@pytest.mark.parametrize("way", [Waiter.watch, Waiter.stop])
async def test_nobody_waits_for_its_own_end(way: Callable[..., object], autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        x = await node.spawn("x", Waiter)
        assert await x.ask(way, x) == "a/x -> a/x"  # type: ignore[call-overload]
        assert await x.ask(Hop.here) == "here"


@pytest.mark.parametrize("way", [Waiter.watch, Waiter.stop])
async def test_nor_for_that_of_its_parent_which_ends_after_it(
    way: Callable[..., object], autojump_clock: MockClock
) -> None:
    async with lone_node() as node:
        x = await node.spawn("x", Waiter)
        child = await child_of(await child_of(x))
        chain = "a/x/child/child -> a/x -> a/x/child -> a/x/child/child"
        assert await child.ask(way, x) == chain  # type: ignore[call-overload]
        assert await x.ask(Hop.here) == "here"
        await x.stop()


@pytest.mark.parametrize("way", [Waiter.watch, Waiter.stop])
async def test_who_waits_for_an_end_is_asked_nothing_before_it(
    way: Callable[..., object], autojump_clock: MockClock
) -> None:
    """Neither by that actor, nor by a child of it."""
    async with lone_node() as node, trio.open_nursery() as nursery:
        x, y = await node.spawn("x", Waiter), await node.spawn("y", Waiter)
        child = await child_of(y)
        told: list[str] = []

        async def hold_and_ask(who: ActorRef[Waiter]) -> None:
            told.append(await who.ask(Waiter.hold_and_ask, x))

        for who in (y, child):
            nursery.start_soon(hold_and_ask, who)
            await wait_all_tasks_blocked()
        nursery.start_soon(x.ask, way, y)  # type: ignore[arg-type]
        await wait_all_tasks_blocked()
        open_gate(node, "y/child")
        await wait_all_tasks_blocked()
        open_gate(node, "y")
        await wait_all_tasks_blocked()
        assert told == ["a/y/child -> a/x -> a/y -> a/y/child", "a/y -> a/x -> a/y"]
        await y.stop()
        await wait_all_tasks_blocked()
        assert len(node._cells.waits) == 0


async def test_an_end_that_comes_is_waited_for(autojump_clock: MockClock) -> None:
    async with lone_node() as node, trio.open_nursery() as nursery:
        x, y = await node.spawn("x", Waiter), await node.spawn("y", Waiter)
        nursery.start_soon(x.ask, Waiter.watch, y)
        await wait_all_tasks_blocked()
        assert await y.ask(Waiter.stop, await child_of(y)) == "stopped"
        await y.stop()
        assert await x.ask(Waiter.watch, y) == "missing"


# -- lifespans --------------------------------------------------------------------------------------------------------


class Asking(Hop):
    """While its lifespan is entered, or left, or beside its messages, a task of it asks the other to ask it."""

    def __init__(self, other: Ref[Waiter], when: str) -> None:
        super().__init__()
        self.other, self.when = other, when
        self.told: list[str] = []

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        async with trio.open_nursery() as lasting:
            if self.when == "entered":
                await self._ask_in_a_nursery()
            elif self.when == "beside":
                lasting.start_soon(self._ask)
                await wait_all_tasks_blocked()
            yield
        if self.when == "left":
            await self._ask_in_a_nursery()

    async def _ask_in_a_nursery(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask)

    async def _ask(self) -> None:
        self.told.append(await self.other.ask(Waiter.hold_and_ask, self.context.ref(Hop)))

    @query
    def heard(self) -> list[str]:
        return self.told

    @command
    def crash(self) -> None:
        raise ZeroDivisionError


async def test_tasks_of_an_entry_are_waited_for(autojump_clock: MockClock) -> None:
    async with lone_node() as node, trio.open_nursery() as nursery:
        other = await node.spawn("other", Waiter)
        nursery.start_soon(node.spawn, "asking", Asking, other, "entered")
        await wait_all_tasks_blocked()
        open_gate(node, "other")
        await wait_all_tasks_blocked()
        assert await node.ref("asking", Asking).ask(Asking.heard) == ["a/other -> a/asking -> a/other"]


async def test_tasks_that_outlast_an_entry_are_not(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        other = await node.spawn("other", Waiter)
        asking = await node.spawn("asking", Asking, other, "beside")
        open_gate(node, "other")
        await wait_all_tasks_blocked()
        assert await asking.ask(Asking.heard) == ["a/other"]
        assert len(node._cells.waits) == 0


class Grim(Asking, keeps_state=True):
    """Leaves in peace although it has crashed."""

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        try:
            async with trio.open_nursery():
                yield
        finally:
            if not self.told:  # for the first time
                await self._ask_in_a_nursery()


async def test_tasks_of_an_exit_are_waited_for(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        other = await node.spawn("other", Waiter)
        open_gate(node, "other")
        grim = await node.supervised(Supervision(backoff_min=0)).spawn("grim", Grim, other, "left")
        with structlog.testing.capture_logs():
            with pytest.raises(ActorCrashed):
                await grim.ask(Asking.crash)
            assert await grim.ask(Asking.heard) == ["a/other -> a/grim -> a/other"]


# -- teams ------------------------------------------------------------------------------------------------------------


class Sibling(Box):
    """Asks another while it is entered, if that is there yet."""

    heard: list[str] = []  # noqa: RUF012 - shared on purpose

    def __init__(self, other: str, *, between: str = "") -> None:
        super().__init__()
        self.other, self.between = other, between

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        if self.context.node._cells.get(self.other) is not None:
            other = self.context.node.ref(self.other, Box)
            try:
                if self.between:
                    await self.context.node.ref(self.between, Box).ask(Box.ask_for, other)
                else:
                    await other.ask(Box.all)
                self.heard.append("answered")
            except AskCycle as cycle:
                self.heard.append(" -> ".join(cycle.chain))
        yield


async def test_a_sibling_that_is_started_again_later_cannot_be_asked(autojump_clock: MockClock) -> None:
    Sibling.heard.clear()
    async with lone_node() as node:
        team = node.supervised(Supervision("one-for-all", backoff_min=1))
        await team.spawn("x", Sibling, "y")
        y, z = await team.spawn("y", Sibling, "x"), await team.spawn("z", Box)
        with structlog.testing.capture_logs():
            with pytest.raises(ActorCrashed):
                await z.ask(Box.crash)
            await wait_all_tasks_blocked()
            assert await y.ask(Box.all) == []
        assert Sibling.heard == ["answered", "a/x -> a/y -> a/x", "answered"]


async def test_nor_by_way_of_another(autojump_clock: MockClock) -> None:
    Sibling.heard.clear()

    async def crash(node: Node) -> None:
        await node.spawn("between", Box)
        team = node.supervised(Supervision("one-for-all", backoff_min=1))
        x, y = await team.spawn("x", Sibling, "y", between="between"), await team.spawn("y", Box)
        with pytest.raises(ActorCrashed):
            await y.ask(Box.crash)
        await wait_all_tasks_blocked()
        await x.ask(Box.all)

    with structlog.testing.capture_logs():
        group = await closing(crash)  # for between has a handler that does not see to it
    matched, _ = group.split(AskCycle)
    assert matched is not None
    assert "a/between -> a/y -> a/x -> a/between" in str(matched.exceptions[0])
