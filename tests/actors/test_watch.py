"""Watching: whoever wants to know is told of an end, once, and of nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager

import pytest
import structlog.testing
import trio
from boxes import Box, closing, instance_of, lone_node
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import Actor, ActorCrashed, ActorRef, End, Mailbox, Node, Supervision, command, query


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    with structlog.testing.capture_logs():
        yield


class Widow(Actor, mailbox=Mailbox(1)):
    """Watches from its lifespan on, or when told to."""

    def __init__(self, other: ActorRef[Box] | None = None) -> None:
        self.other = other
        self.heard: list[str] = []
        self.gate = trio.Event()

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        if self.other is not None:
            self.context.watch(self.other, Widow.ended)
        yield

    @command
    def ended(self, end: End) -> None:
        self.heard.append(f"{end.address} {end.how} {self.context.sender}")

    @command
    def watch(self, other: ActorRef[Box]) -> None:
        self.context.watch(other, Widow.ended)

    @command
    async def hold(self) -> None:
        await self.gate.wait()

    @command
    def note(self, text: str) -> None:
        self.heard.append(text)

    @command
    def crash(self) -> None:
        raise ZeroDivisionError

    @query
    def all(self) -> list[str]:
        return self.heard


@asynccontextmanager
async def watched() -> AsyncGenerator[tuple[Node, ActorRef[Box], list[End]]]:
    """A node, an actor, and its ends, as told to a task that watches it."""
    ends: list[End] = []
    async with lone_node() as node, trio.open_nursery() as nursery:
        box = await node.supervised(Supervision(restarts_max=1, on_crash="restart", backoff_min=0)).spawn("box", Box)

        async def watch() -> None:
            ends.append(await box.watch())

        nursery.start_soon(watch)
        await wait_all_tasks_blocked()
        yield node, box, ends
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_an_end_is_told_with_how_it_came(how: str, autojump_clock: MockClock) -> None:
    async with watched() as (_, box, ends):
        await (box.stop() if how == "stopped" else box.kill())
        await wait_all_tasks_blocked()
        assert ends == [End("a/box", how)]  # type: ignore[arg-type]
        assert await box.watch() == End("a/box", "missing")


async def test_a_restart_is_no_end(autojump_clock: MockClock) -> None:
    async with watched() as (_, box, ends):
        with pytest.raises(ActorCrashed):
            await box.ask(Box.crash)
        await trio.sleep(1)
        assert await box.ask(Box.keep, "x") == 1
        assert ends == []


async def test_a_crash_that_nobody_sees_to_is_an_end(autojump_clock: MockClock) -> None:
    ends: list[End] = []

    async def watch(box: ActorRef[Box]) -> None:
        ends.append(await box.watch())

    async with trio.open_nursery() as nursery:

        async def crash(node: Node) -> None:
            box = await node.spawn("box", Box)
            nursery.start_soon(watch, box)
            await wait_all_tasks_blocked()
            await box.tell(Box.crash)

        await closing(crash)
    assert ends == [End("a/box", "crashed")]


async def test_who_watches_no_more_is_forgotten(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        for _ in range(3):
            with trio.move_on_after(1):
                await box.watch()
        cell = node._cells.get("box")
        assert cell is not None
        assert not cell._watchers


async def test_who_watches_no_more_is_found_among_many(autojump_clock: MockClock) -> None:
    """Without a look at each of the others."""
    looks = 0

    class Tell:
        def __call__(self, end: End) -> None: ...

        def __eq__(self, other: object) -> bool:
            nonlocal looks
            looks += 1
            return self is other

        __hash__ = object.__hash__

    async with lone_node() as node:
        await node.spawn("box", Box)
        cell = node._cells.get("box")
        assert cell is not None
        tells = [Tell() for _ in range(100)]
        for tell in tells:
            cell.on_end(tell)
        for tell in reversed(tells):
            cell.forget_on_end(tell)
        assert not cell._watchers
        assert looks < len(tells)


async def test_an_actor_is_told_by_a_message_that_overtakes(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        widow = await node.spawn("widow", Widow)
        await widow.ask(Widow.watch, box)
        await widow.tell(Widow.hold)
        await wait_all_tasks_blocked()
        await widow.tell(Widow.note, "waits")  # and the mailbox is full
        await box.stop()
        await wait_all_tasks_blocked()
        cell = node._cells.get("widow")
        assert cell is not None
        assert isinstance(cell.actor, Widow)
        cell.actor.gate.set()
        assert await widow.ask(Widow.all) == ["a/box stopped a/box", "waits"]
        await wait_all_tasks_blocked()


async def test_a_watch_ends_with_the_life_that_began_it(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        widow = await node.supervised(Supervision(backoff_min=0)).spawn("widow", Widow)
        await widow.ask(Widow.watch, box)
        with pytest.raises(ActorCrashed):
            await widow.ask(Widow.crash)
        await wait_all_tasks_blocked()
        await box.stop()
        await wait_all_tasks_blocked()
        assert await widow.ask(Widow.all) == []


async def test_a_lifespan_watches_again_after_a_restart(autojump_clock: MockClock) -> None:
    """And has begun to before it handles the next message."""
    for _ in range(10):
        async with lone_node() as node:
            box = await node.spawn("box", Box)
            widow = await node.supervised(Supervision(backoff_min=0)).spawn("widow", Widow, box)
            with pytest.raises(ActorCrashed):
                await widow.ask(Widow.crash)
            assert await widow.ask(Widow.all) == []
            await box.kill()
            await wait_all_tasks_blocked()
            assert await widow.ask(Widow.all) == ["a/box killed a/box"]


async def test_who_was_never_there_is_told_at_once(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        assert await node.ref("nobody", Box).watch() == End("a/nobody", "missing")
        box = await node.spawn("box", Box)
        assert instance_of(node, "box").kept == []
        await box.stop()
