"""What users write has the types that they expect. Both checkers read this file; nothing runs it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar, assert_type

import outcome

from actors import (
    Actor,
    ActorRef,
    ActorStatistics,
    End,
    Mailbox,
    Node,
    Ref,
    Spawner,
    Supervision,
    command,
    open_node,
    query,
)
from actors._actor import Marked
from broadcast import (
    Consistency,
    Deliveries,
    Delivery,
    Group,
    GroupRef,
    LocalGroup,
    Pipeline,
    Status,
    connect,
    local_group,
    open_group,
)
from membership import Flexible, Grid, Majority, QuorumSystem, Weighted

P = ParamSpec("P")
A = TypeVar("A", bound=Actor)


@dataclass
class Item:
    name: str


class Counter(Actor):
    def __init__(self) -> None:
        self.total = 0

    @command
    def add(self, amount: int, times: int = 1) -> int:
        self.total += amount * times
        return self.value()

    @command(tag="zero", idempotent=True)
    def reset(self, *, to: int = 0) -> None:
        self.total = to

    @query
    def value(self) -> int:
        return self.total

    @query(tag="all")
    async def items(self, name: str) -> list[Item]:
        return [Item(name)]

    @command
    async def forget(self) -> None: ...


class Doubling(Counter):
    version = 2

    @command(since=2)
    def triple(self, *, times: int = 1) -> int:
        return self.context.version * times

    @query(tag="half", since=2)
    def halved(self) -> int:
        return self.total // 2

    @command
    def add(self, amount: int, times: int = 1) -> int:
        return super().add(2 * amount, times)

    @query
    def twice(self) -> int:
        return 2 * self.value()


async def asked(counter: Ref[Counter]) -> None:
    assert_type(await counter.ask(Counter.add, 1), int)
    assert_type(await counter.ask(Counter.add, 1, 2), int)
    assert_type(await counter.ask(Counter.add, amount=1), int)
    assert_type(await counter.ask(Counter.value), int)
    assert_type(await counter.ask(Counter.items, "a"), list[Item])
    await counter.ask(Counter.reset, to=3)
    await counter.ask(Counter.forget)
    await counter.tell(Counter.add, 1)
    await counter.tell(Counter.items, "a")


def called(counter: Counter) -> None:
    assert_type(counter.add(1), int)
    assert_type(counter.add(amount=1, times=2), int)
    counter.reset(to=3)


async def awaited(counter: Counter) -> None:
    assert_type(await counter.items("a"), list[Item])


def named() -> None:
    assert_type(Counter.value, Marked[Counter, [], int])
    assert_type(Doubling.twice, Marked[Doubling, [], int])
    assert_type(Doubling.halved, Marked[Doubling, [], int])
    assert_type(Doubling.version, int)


async def upgraded(doubling: Ref[Doubling]) -> None:
    assert_type(await doubling.ask(Doubling.triple, times=2), int)
    assert_type(Counter.add.tag, str)


async def derived(doubling: Ref[Doubling]) -> None:
    """A derived actor takes the messages of its base, and is one wherever the base is wanted."""
    assert_type(await doubling.ask(Counter.add, 1), int)
    assert_type(await doubling.ask(Doubling.add, 1), int)
    assert_type(await doubling.ask(Doubling.twice), int)
    await asked(doubling)


def opened(make: Callable[[], A]) -> Ref[A]:
    raise NotImplementedError


async def from_the_class() -> None:
    counter = opened(Counter)
    assert_type(counter, Ref[Counter])
    assert_type(await counter.ask(Counter.add, 1), int)


class Tally(Actor):
    """One that can be replicated."""

    def __init__(self) -> None:
        self.total = 0

    @command
    def add(self, amount: int, times: int = 1) -> int:
        self.total += amount * times
        return self.total

    def snapshot(self) -> int:
        return self.total

    def restore(self, state: int) -> None:
        self.total = state

    @command
    def reset(self, *, to: int = 0) -> None:
        self.total = to

    @query
    def value(self) -> int:
        return self.total


async def replicated() -> None:
    """The class that is given to `open_group` says what may be asked."""
    members = {"a": "127.0.0.1:7101"}
    async with open_group("tally", Tally, node="a", members=members, data=Path("data")) as group:
        assert_type(group, Group[Tally])
        assert_type(await group.ask(Tally.add, 1, times=2), int)
        assert_type(group.status(), Status)
        async for delivery in group.deliveries(from_index=7):
            assert_type(delivery, Delivery)
            assert_type(delivery.position.index, int)
        async for view in group.membership.views():
            assert_type(view.leader, str)
        await as_ref(group)
    async with connect("tally", Tally, members=members, name="me") as client:
        assert_type(client, GroupRef[Tally])
        assert_type(client.deliveries(), Deliveries)
        async for delivery in client.deliveries(from_index=7):
            assert_type(delivery, Delivery)
        async with aclosing(client.deliveries()) as deliveries:
            assert_type(await anext(deliveries), Delivery)
        await as_ref(client)
    async with local_group(Tally, replicas=5) as here:
        assert_type(here, LocalGroup[Tally])
        assert_type(await anext(here.deliveries()), Delivery)
        assert_type(here.replicas, tuple[Group[Tally], ...])
        await as_ref(here)


async def decided_by(any_of_these: QuorumSystem) -> None:
    """Each of the systems may be chosen."""
    choices: list[QuorumSystem] = [
        Majority(),
        Flexible(elect=4, commit=2),
        Weighted({"a": 2, "b": 1}),
        Grid((("a", "b"), ("c", "d"))),
        any_of_these,
    ]
    for quorum in choices:
        async with open_group("tally", Tally, node="a", members={"a": "127.0.0.1:7101"}, quorum=quorum):
            pass


async def as_ref(tally: Ref[Tally]) -> None:
    """Wherever it is: who uses it need not know."""
    assert_type(await tally.ask(Tally.value), int)
    await tally.ask(Tally.reset, to=3)
    await tally.tell(Tally.add, 1)


async def read(tally: GroupRef[Tally]) -> None:
    local = tally.reading(Consistency.LOCAL)
    assert_type(local, GroupRef[Tally])
    assert_type(await local.ask(Tally.value), int)
    for level in Consistency:
        assert_type(await tally.reading(level).ask(Tally.value), int)
    assert_type(await tally.reading(Consistency.LOG).ask(Tally.add, 1), int)


async def sent(tally: GroupRef[Tally]) -> None:
    async with tally.pipeline(window=100) as pipe:
        assert_type(pipe, Pipeline[Tally])
        await pipe.send(Tally.add, 1)
        await pipe.send(Tally.add, amount=1, times=2)
        await pipe.send(Tally.reset, to=3)
        pipe.end()
        async for answer in pipe:
            assert_type(answer, outcome.Value[object] | outcome.Error)
            assert_type(answer.unwrap(), object)


async def of_a_derived_actor(doubling: GroupRef[Doubling]) -> None:
    base: GroupRef[Counter] = doubling
    async with doubling.pipeline() as pipe:
        await pipe.send(Counter.add, 1)
        await pipe.send(Doubling.add, 1)
    await asked(base)


class Greeter(Actor, mailbox=Mailbox(10, "drop-oldest"), keeps_state=True):
    """One on a node."""

    def __init__(self, greeting: str, times: int = 1) -> None:
        self.greeting = greeting
        self.times = times

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        assert_type(self.context.node, Node)
        assert_type(await self.context.spawn("child", Greeter, self.greeting), ActorRef[Greeter])
        yield

    @command
    async def greet(self, name: str, other: Ref[Greeter] | None = None) -> str:
        if other is not None:
            assert_type(await other.ask(Greeter.greet, name), str)
            self.context.tell(other, Greeter.greet, name, other=other)
        self.context.after(1.5, Greeter.greet, name)
        return f"{self.greeting}, {name}"

    @command
    def look_after(self, counter: ActorRef[Counter]) -> Ref[Counter]:
        self.context.watch(counter, Greeter.ended)
        self.context.tell(counter, Counter.add, 1)
        return counter

    @command
    def ended(self, end: End) -> None:
        assert_type(end.address, str)
        assert_type(self.context.ref(Greeter), ActorRef[Greeter])
        self.context.stop()


class Timed(Actor):
    """Replicated."""

    def __init__(self) -> None:
        self.group: Ref[Timed] | None = None

    @command
    def plan(self, greeter: ActorRef[Greeter], counter: Ref[Counter], seconds: float) -> None:
        self.context.after(seconds, Timed.plan, greeter, counter, seconds=2 * seconds)
        self.context.after(1, Timed.done)
        self.context.tell(greeter, Greeter.greet, "bob")
        self.context.tell(counter, Counter.add, 1)
        self.context.tell(self.context.group(Timed), Timed.done)
        self.group = self.context.group(Timed)

    @command
    def done(self) -> None: ...


async def on_a_node() -> None:
    async with open_node("a") as node:
        greeter = await node.spawn("greeter", Greeter, "hello")
        assert_type(greeter, ActorRef[Greeter])
        await node.spawn("other", Greeter, greeting="hello", times=2)
        assert_type(await greeter.ask(Greeter.greet, "bob"), str)
        assert_type(await greeter.ask(Greeter.greet, "bob", other=greeter), str)
        greeter.tell_nowait(Greeter.greet, "bob")
        assert_type(await greeter.watch(), End)
        await greeter.stop()
        await greeter.kill()
        team = node.supervised(Supervision("rest-for-one", restarts_max=5))
        place: Spawner = team
        assert_type(await place.spawn("third", Greeter, "hi"), ActorRef[Greeter])
        far = node.ref("b/counter", Counter)
        assert_type(far, ActorRef[Counter])
        assert_type(await greeter.ask(Greeter.look_after, far), Ref[Counter])
        assert_type(node.actor_statistics(), ActorStatistics)
        await asked(far)
        assert_type({far: 1}, dict[ActorRef[Counter], int])
