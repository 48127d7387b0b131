"""What users write has the types that they expect. Both checkers read this file; nothing runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, assert_type

from actors._actor import Actor, Marked, command, query
from actors._ref import Ref

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
    assert_type(Counter.add.tag, str)


async def derived(doubling: Ref[Doubling]) -> None:
    """A derived actor takes the messages of its base, and is one wherever the base is wanted."""
    assert_type(await doubling.ask(Counter.add, 1), int)
    assert_type(await doubling.ask(Doubling.add, 1), int)
    assert_type(await doubling.ask(Doubling.twice), int)
    await asked(doubling)


class Pipeline:
    """How another way to send is typed."""

    async def send(self, method: Marked[Counter, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None: ...


async def sent(pipeline: Pipeline) -> None:
    await pipeline.send(Counter.add, 1)
    await pipeline.send(Counter.items, name="a")


def opened(make: Callable[[], A]) -> Ref[A]:
    raise NotImplementedError


async def from_the_class() -> None:
    counter = opened(Counter)
    assert_type(counter, Ref[Counter])
    assert_type(await counter.ask(Counter.add, 1), int)
