"""Handlers may ask; a cycle of those who wait for one another is refused, and nothing else is."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio
from boxes import lone_node
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import Actor, AskCycle, Mailbox, Node, Overloaded, Ref, command, query
from actors._ref import ActorRef
from actors._waits import Waits


class Hop(Actor, mailbox=Mailbox(2)):
    """Passes a question on."""

    def __init__(self) -> None:
        self.gate = trio.Event()

    @command
    async def pass_on(self, way: list[Ref[Hop]]) -> str:
        """Ask the first of them to ask the others."""
        if not way:
            return self.context.sender
        try:
            return await way[0].ask(Hop.pass_on, way[1:])
        except AskCycle as cycle:
            return " -> ".join(cycle.chain)

    @command
    async def pass_on_in_a_nursery(self, way: list[Ref[Hop]]) -> str:
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await way[0].ask(Hop.pass_on, way[1:]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
        return answers[0]

    @command
    async def pass_on_twice(self, one: Ref[Hop], other: Ref[Hop]) -> None:
        """At the same time, the first of them until a moment has passed."""
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(1):
                await one.ask(Hop.hold)
            nursery.start_soon(other.ask, Hop.pass_on, [one])

    @command
    async def hold(self) -> None:
        await self.gate.wait()

    @command
    async def flood(self, other: Ref[Hop]) -> int:
        """Tell it more than it has room for; how many it took."""
        for number in range(10):
            try:
                await other.tell(Hop.release)
            except Overloaded:
                return number
        return 10

    @command
    async def stop_itself(self) -> str:
        try:
            await self.context.ref(Hop).stop()
        except AskCycle as cycle:
            return " -> ".join(cycle.chain)
        return "stopped"

    @command
    async def raise_anxious_child(self) -> str:
        try:
            await self.context.spawn("child", Anxious, self.context.ref(Hop))
        except AskCycle as cycle:
            return " -> ".join(cycle.chain)
        return "raised"

    @command
    def release(self) -> None:
        self.gate.set()

    @query
    def here(self) -> str:
        return "here"


class Anxious(Hop):
    """Asks before it is there."""

    def __init__(self, other: Ref[Hop]) -> None:
        super().__init__()
        self.other = other

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        await self.other.ask(Hop.here)
        yield


class Lasting(Hop):
    """Asks from beside its messages."""

    def __init__(self, other: Ref[Hop]) -> None:
        super().__init__()
        self.other = other
        self.answers: list[str] = []

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            yield
            nursery.cancel_scope.cancel()

    @command
    async def start_asking(self, own: Ref[Hop]) -> None:
        """A task of its own asks the other to ask this one: nothing is held up by it."""
        self.nursery.start_soon(self._ask, own)

    async def _ask(self, own: Ref[Hop]) -> None:
        self.answers.append(await self.other.ask(Hop.pass_on, [own]))

    @query
    def answered(self) -> list[str]:
        return self.answers


async def hops(node: Node, names: str) -> list[ActorRef[Hop]]:
    return [await node.spawn(name, Hop) for name in names]


async def test_a_line_of_asks_is_no_cycle(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        x, y, z = await hops(node, "xyz")
        assert await x.ask(Hop.pass_on, [y, z]) == "a/y"
        assert len(node._cells.waits) == 0


@pytest.mark.parametrize(("way", "chain"), [("xx", "a/x -> a/x"), ("xyx", "a/y -> a/x -> a/y")])
async def test_a_cycle_is_refused_with_its_chain(way: str, chain: str, autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        named = {hop.name: hop for hop in await hops(node, "xyz")}
        assert await named["x"].ask(Hop.pass_on, [named[name] for name in way[1:]]) == chain
        assert await named["z"].ask(Hop.pass_on, [named[name] for name in way]) == chain
        assert len(node._cells.waits) == 0


async def test_a_long_cycle_is_told_in_full(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        x, y, z = await hops(node, "xyz")
        assert await x.ask(Hop.pass_on, [y, z, x]) == "a/z -> a/x -> a/y -> a/z"
        assert await x.ask(Hop.pass_on, [y, z, y]) == "a/z -> a/y -> a/z"


def test_what_is_refused_says_what_to_do() -> None:
    told = (
        "these would wait for one another for ever: a/x -> a/y -> a/x. Tell instead of ask, or wait outside of a "
        "handler, in a task of the lifespan"
    )
    assert str(AskCycle(["a/x", "a/y", "a/x"])) == told


async def test_who_waits_for_a_child_to_start_cannot_answer_it(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        [x] = await hops(node, "x")
        assert await x.ask(Hop.raise_anxious_child) == "a/x/child -> a/x -> a/x/child"


async def test_what_the_tasks_of_a_handler_ask_it_waits_for(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        x, y = await hops(node, "xy")
        assert await x.ask(Hop.pass_on_in_a_nursery, [y, x]) == "a/y -> a/x -> a/y"


async def test_who_has_given_up_waits_no_more(autojump_clock: MockClock) -> None:
    """x asked y and gave up; y is still at it. Then x asks z, and z asks y: that takes long, but is no cycle."""
    async with lone_node() as node, trio.open_nursery() as nursery:
        x, y, z = await hops(node, "xyz")
        nursery.start_soon(x.ask, Hop.pass_on_twice, y, z)
        await trio.sleep(5)
        cell = node._cells.get("y")
        assert cell is not None
        assert isinstance(cell.actor, Hop)
        cell.actor.gate.set()


async def test_a_task_beside_the_messages_holds_nothing_up(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        other = await node.spawn("other", Hop)
        lasting = await node.spawn("lasting", Lasting, other)
        await lasting.ask(Lasting.start_asking, lasting)
        await wait_all_tasks_blocked()
        assert await lasting.ask(Lasting.answered) == ["a/other"]


async def test_from_outside_of_actors_nothing_is_a_cycle(autojump_clock: MockClock) -> None:
    async with lone_node() as node, trio.open_nursery() as nursery:
        [x] = await hops(node, "x")
        nursery.start_soon(x.ask, Hop.hold)
        await wait_all_tasks_blocked()
        nursery.start_soon(x.ask, Hop.here)
        await wait_all_tasks_blocked()
        await x.tell(Hop.release)
        cell = node._cells.get("x")
        assert cell is not None
        assert isinstance(cell.actor, Hop)
        cell.actor.gate.set()


async def test_two_that_wait_for_room_at_each_other_are_told(autojump_clock: MockClock) -> None:
    async with lone_node() as node, trio.open_nursery() as nursery:
        x, y = await hops(node, "xy")
        taken: dict[str, int] = {}

        async def flood(one: ActorRef[Hop], other: ActorRef[Hop]) -> None:
            taken[one.name] = await one.ask(Hop.flood, other)

        nursery.start_soon(flood, x, y)
        nursery.start_soon(flood, y, x)
        await trio.sleep(10)
        assert sorted(taken.values()) == [2, 10]
        assert len(node._cells.waits) == 0


async def test_an_actor_that_waits_for_its_own_end_is_told(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        [x] = await hops(node, "x")
        assert await x.ask(Hop.stop_itself) == "a/x -> a/x"
        assert await x.ask(Hop.here) == "here"


# -- the graph --------------------------------------------------------------------------------------------------------


def nothing_else(_: str) -> tuple[str, ...]:
    return ()


def test_of_other_nodes_the_chain_tells() -> None:
    waits = Waits("a", nothing_else)
    with waits.waiting("a/x", "b/y"):
        assert waits.cycle(["a/x", "b/y"], "a/x") == ["b/y", "a/x", "b/y"]
        assert waits.cycle(["a/w", "b/y", "b/z"], "a/x") == ["b/z", "a/x", "b/y", "b/z"]
        assert waits.cycle(["b/v"], "a/x") is None
    # x has given up since
    assert waits.cycle(["a/x", "b/y"], "a/x") is None
    assert len(waits) == 0


NAMES = [f"a/{name}" for name in "stuvw"]
EDGES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=12)


@given(EDGES)
def test_a_cycle_is_found_if_and_only_if_there_is_one(edges: list[tuple[str, str]]) -> None:
    """Beside the transitive closure: every edge that is let in leaves the graph without a cycle."""
    waits = Waits("a", nothing_else)
    reached: dict[str, set[str]] = {name: {name} for name in NAMES}
    with ExitStack() as all_of_them:
        for waiter, target in edges:
            cycle = waits.cycle([waiter], target)
            assert (cycle is not None) == (waiter in reached[target])
            if cycle is not None:
                assert cycle[0] == cycle[-1] == waiter
                assert cycle[1] == target
                continue
            all_of_them.enter_context(waits.waiting(waiter, target))
            for name in NAMES:
                if waiter in reached[name]:
                    reached[name] |= reached[target]
    assert len(waits) == 0
