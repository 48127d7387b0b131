"""A reference to a group, sent to actors: those on a node of the group can use it, others are told that they cannot."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from random import Random

import pytest
import trio
from counts import Count

import broadcast
from actors import Actor, ActorRef, InvalidMessage, Node, Ref, command, open_node, query
from actors._interface import Interface
from actors._ref import GroupName
from actors.testing import MemoryNetwork

PEERS = {"a": "a:1", "b": "b:1"}


class Clerk(Actor):
    """A plain actor that is given a counter, wherever that is."""

    def __init__(self) -> None:
        self.counter: Ref[Count] | None = None

    @command
    async def count(self, counter: Ref[Count], amount: int) -> int:
        self.counter = counter
        return await counter.ask(Count.add, amount)

    @query
    def kept(self) -> Ref[Count] | None:
        return self.counter

    @command
    def pass_on(self, amount: int) -> None:
        if self.counter is not None:
            self.context.tell(self.counter, Count.add, amount)

    @command
    def no_group(self, counter: ActorRef[Count]) -> None: ...


@asynccontextmanager
async def nodes() -> AsyncGenerator[tuple[Node, Node, broadcast.Group[Count]]]:
    """a and b, both of the group."""
    network = MemoryNetwork(random=Random(1), latency=0.001)
    with trio.fail_after(60), trio.CancelScope() as scope:
        async with (
            open_node("a", peers=PEERS, network=network.host("a")) as a,
            open_node("b", peers=PEERS, network=network.host("b")) as b,
            broadcast.join(a, "total", Count, members=PEERS) as group,
            broadcast.join(b, "total", Count, members=PEERS),
        ):
            yield a, b, group
            scope.cancel()  # who leaves last has no quorum to wait for


async def test_an_actor_of_another_node_of_the_group_uses_its_own_handle() -> None:
    async with nodes() as (a, b, group):
        await b.spawn("clerk", Clerk)
        clerk = a.ref("b/clerk", Clerk)
        assert await clerk.ask(Clerk.count, group, 2) == 2
        assert await clerk.ask(Clerk.count, group.reading(broadcast.Consistency.LOCAL), 3) == 5
        back = await clerk.ask(Clerk.kept)
        assert isinstance(back, broadcast.GroupRef)
        assert await back.ask(Count.value) == 5


async def test_next_door_too_and_as_one_to_tell() -> None:
    async with nodes() as (a, _, group):
        clerk = await a.spawn("clerk", Clerk)
        assert await clerk.ask(Clerk.count, group, 2) == 2
        await clerk.ask(Clerk.pass_on, 5)
        async with aclosing(group.deliveries()) as deliveries:
            assert [(await anext(deliveries)).arguments for _ in range(2)] == [(2,), (5,)]
        assert await group.ask(Count.value) == 7


async def test_who_takes_no_part_is_told() -> None:
    network = MemoryNetwork(random=Random(1), latency=0.001)
    with trio.fail_after(60):
        async with (
            open_node("a", peers={"a": "a:1", "c": "c:1"}, network=network.host("a")) as a,
            open_node("c", peers={"a": "a:1", "c": "c:1"}, network=network.host("c")) as c,
        ):
            await c.spawn("clerk", Clerk)
            clerk = a.ref("c/clerk", Clerk)
            async with broadcast.join(a, "total", Count, members={"a": "a:1"}) as group:
                with pytest.raises(InvalidMessage, match="node c takes no part in the group 'total'"):
                    await clerk.ask(Clerk.count, group, 2)
                near = await a.spawn("clerk", Clerk)
            with pytest.raises(InvalidMessage, match="node a takes no part in the group 'total'"):
                await near.ask(Clerk.count, group, 2)


async def test_it_is_no_actor_of_a_node() -> None:
    async with nodes() as (a, _, group):
        clerk = await a.spawn("clerk", Clerk)
        with pytest.raises(InvalidMessage, match="Expected a reference to an actor of a node, got the group 'total'"):
            await clerk.ask(Clerk.no_group, group)  # type: ignore[arg-type]  # the mistake under test


async def test_where_it_is_only_kept_it_is_a_name() -> None:
    """In a replicated actor, that is."""
    method = Interface.of(Clerk).methods["count"]
    (counter, _) = method.unpack(["total", 1])
    assert counter == GroupName("total", Count) != GroupName("other", Count)
    assert len({counter, GroupName("total", Count)}) == 1
    assert isinstance(counter, Ref)
    with pytest.raises(RuntimeError, match="the group total is a name only here"):
        await counter.ask(Count.value)
    with pytest.raises(RuntimeError, match="the group total is a name only here"):
        await counter.tell(Count.add, 1)
    assert method.pack((counter, 1), {}) == method.pack((GroupName("total", Count), 1), {})
