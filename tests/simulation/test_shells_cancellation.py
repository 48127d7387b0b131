"""Cancellation at every checkpoint (T12): wherever it strikes, nothing is applied twice, left over or stuck."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from shells.disk import GROUP, Life
from shells.history import level, run, start
from shells.work import Fate, Notes, Worker
from shells.world import MEMBERS, Options, World, under_test

from broadcast import GroupRef, connect, open_group
from broadcast._simulation.diary import Diary
from broadcast._simulation.invariants import check

CALM = Options(strike_interval=0, workers=0, tearing=0.3, refusals=0, buffer_size=1_000)
Action = Callable[[], Awaitable[None]]


async def cancelled_everywhere(
    world: World, action: Action, then: Action, *, stride: int = 1, of_all: bool = False
) -> int:
    """Run `action`, cancelled at its first, second, ... checkpoint, until it comes to its end; `then` after each.

    stride: of the checkpoints, one in so many, by chance. of_all: those of all tasks count, not only its own: so it is
    cancelled at every moment of its waiting too. Returns at how many it was cancelled.
    """
    at, count = 0, 0
    while True:
        at += world.chance.randint(1, stride)
        mark = object()
        before = under_test.set(mark)
        with trio.CancelScope() as scope:
            if of_all:
                world.steps.cancel_after(at, scope)
            else:
                world.steps.cancel_at_own(at, mark, scope)
            await action()
        under_test.reset(before)
        world.steps.cancel_at_own(0, None, scope)
        await then()
        if not scope.cancelled_caught:
            return count
        count += 1


async def formed(world: World, notes: Notes, ref: GroupRef[Diary]) -> Worker:
    """A worker whose first call was answered."""
    worker = Worker(world, notes, ref, "first")
    with trio.fail_after(30):
        await worker.ask()
    return worker


def settled(ref: GroupRef[Diary]) -> None:
    """A handle that has got all its answers holds nothing."""
    handle: Any = ref._handle
    held = (len(handle._takers), len(handle._readers), handle._submitter.outstanding, handle._queries.outstanding)
    check(held == (0, 0, 0, 0), "a handle that is answered holds nothing", held=held)


@pytest.mark.parametrize("of_all", [False, True], ids=["its own checkpoints", "those of all"])
@pytest.mark.parametrize("way", ["client", "replica"])
def test_calls(way: str, of_all: bool) -> None:
    counts: dict[str, int] = {}

    async def scenario(world: World, nursery: trio.Nursery) -> None:
        notes = Notes(world)
        processes = start(world, notes, nursery)

        async def strike_all(ref: GroupRef[Diary]) -> None:
            worker = await formed(world, notes, ref)

            async def go_on() -> None:
                with trio.fail_after(5):
                    await worker.ask()
                    await worker.read()
                settled(ref)

            for action in (worker.ask, worker.read, worker.tell, worker.pipe, worker.refused):
                name = action.__name__
                stride = 3 if of_all and name != "tell" else 1  # that one is short
                counts[name] = await cancelled_everywhere(world, action, go_on, stride=stride, of_all=of_all)
                for note, fate in notes.fates.items():
                    if fate is Fate.OPEN:
                        notes.fates[note] = Fate.CANCELLED

        if way == "client":
            host = world.network.host("client")
            async with connect(GROUP, Diary, members=MEMBERS, name="client", network=host) as ref:
                await strike_all(ref)
        else:
            while (group := processes["b"].group) is None:  # noqa: ASYNC110 - it does not tell
                await trio.sleep(0.01)
            await strike_all(group)
        await level(world, notes, processes)

    run(1, options=CALM, scenario=scenario)
    assert all(counts.values()), counts


@pytest.mark.parametrize("way", ["connect", "open_group"])
def test_openings(way: str) -> None:
    counts: list[int] = []

    async def scenario(world: World, nursery: trio.Nursery) -> None:
        notes = Notes(world)
        processes = start(world, notes, nursery)
        opening = world.network.host("c" if way == "open_group" else "visitor")

        async def by_connect() -> None:
            async with connect(GROUP, Diary, members=MEMBERS, name="visitor", network=opening) as group:
                await Worker(world, notes, group, "visitor").read()

        async def by_open_group() -> None:
            async with open_group(GROUP, Diary, node="c", members=MEMBERS, data="c", network=opening) as group:
                await Worker(world, notes, group, "visitor").read()

        async def go_on() -> None:
            """The others go on, and nothing is left of it: no task, no connection, no thread, no open disk."""
            with trio.fail_after(10):
                await worker.ask()
            with trio.move_on_after(10):
                while trio.lowlevel.current_statistics().tasks_living > tasks:  # noqa: ASYNC110
                    await trio.sleep(0.1)
            living = trio.lowlevel.current_statistics().tasks_living
            check(living <= tasks, "no task is left", before=tasks, living=living)
            check(not opening.streams, "no connection is left", streams=len(opening.streams))
            if way == "open_group":
                check(world.stores["c"].owner is None, "no disk is left open")
                check(world.stores["c"].identity is None, "no data directory is left open")
                check(world.threads.running == 2, "no thread is left", running=world.threads.running)

        host = world.network.host("client")
        async with connect(GROUP, Diary, members=MEMBERS, name="client", network=host) as ref:
            worker = await formed(world, notes, ref)
            if way == "open_group":
                processes["c"].down_for = 1e6
                processes["c"].stop()
                world.lives["c"] = Life()
            await trio.sleep(5)
            tasks = trio.lowlevel.current_statistics().tasks_living + (2 if way == "open_group" else 0)
            action = by_connect if way == "connect" else by_open_group
            counts.append(await cancelled_everywhere(world, action, go_on, stride=1 if way == "connect" else 12))

    run(2, options=CALM, scenario=scenario)
    assert counts[0] > 5
