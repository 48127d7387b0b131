"""An actor that has nothing to do gives its task up; what comes while it does is not lost."""

from __future__ import annotations

import pytest
import structlog.testing
import trio
from boxes import Box, instance_of, lone_node
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import ActorRef, End, Node, _cells
from actors._cell import Cell

MOMENTS = range(12)


@pytest.fixture(autouse=True)
def few_stay_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cells, "WARM_MAX", 1)


async def let_go(node: Node, moments: int) -> tuple[ActorRef[Box], Box, Cell]:
    """An actor that has to give its task up for another that works, so many checkpoints after it is told so."""
    box, other = await node.spawn("box", Box), await node.spawn("other", Box)
    for each in (box, other):
        await each.ask(Box.keep_slowly, "before")
    for _ in range(moments):
        await trio.lowlevel.checkpoint()
    cell = node._cells.get("box")
    assert cell is not None
    return box, instance_of(node, "box"), cell


@pytest.mark.parametrize("moments", MOMENTS)
async def test_what_comes_before_a_stop_is_handled(moments: int, autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box, held, cell = await let_go(node, moments)
        box.tell_nowait(Box.keep_slowly, "x")
        cell.begin_stop()
        await cell.wait_ended()
        assert held.kept == ["before", "x"]


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("moments", MOMENTS)
async def test_who_is_killed_then_begins_nothing(told: bool, moments: int, autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        ends: list[End] = []
        box, held, cell = await let_go(node, moments)
        cell.on_end(ends.append)
        if told:
            box.tell_nowait(Box.keep_slowly, "never")
        with structlog.testing.capture_logs():
            cell.kill()
            await wait_all_tasks_blocked()
        assert ends == [End("a/box", "killed")]
        assert held.kept == ["before"]
        assert node.actor_statistics().dead_letters == told
