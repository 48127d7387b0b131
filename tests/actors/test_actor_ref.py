"""What `ask` and `tell` hand to whoever knows the way to the actor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from actors._actor import Actor, command, query
from actors._interface import Interface, Method
from actors._protocol.codec import decode
from actors._protocol.errors import InvalidMessage
from actors._ref import Ref


class Adder(Actor):
    def __init__(self) -> None:
        self.total = 0

    @command
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @query
    def total_of(self, names: list[str]) -> dict[str, int]:
        return dict.fromkeys(names, self.total)


class Doubler(Adder):
    @command
    def add(self, amount: int) -> int:
        return super().add(2 * amount)


class Direct(Ref[Adder]):
    """To an actor next door, by way of bytes."""

    def __init__(self, actor: Adder) -> None:
        super().__init__(type(actor))
        self.actor = actor
        self.told: list[bytes] = []

    async def _ask(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
        message: Any = decode(method.pack(args, kwargs))
        there = Interface.of(type(self.actor)).methods[message[0]]
        return method.unpack_answer(there.pack_answer(there.function(self.actor, *there.unpack(message[1:]))))

    async def _tell(self, method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        self.told.append(method.pack(args, kwargs))


async def test_ask_gives_what_a_call_gives() -> None:
    ref = Direct(Adder())
    assert await ref.ask(Adder.add, 2) == 2
    assert await ref.ask(Adder.add, amount=3) == 5
    assert await ref.ask(Adder.total_of, ["a", "b"]) == {"a": 5, "b": 5}


async def test_a_message_of_the_base_class_reaches_the_override() -> None:
    ref = Direct(Doubler())
    assert await ref.ask(Adder.add, 2) == 4


async def test_tell_waits_for_no_answer() -> None:
    ref = Direct(Adder())
    await ref.tell(Adder.add, 2)
    assert [decode(message) for message in ref.told] == [["add", 2]]
    assert ref.actor.total == 0


async def test_mistakes_are_told_before_anything_is_sent() -> None:
    ref = Direct(Adder())
    with pytest.raises(InvalidMessage, match=r"Adder.add: amount: Expected `int`, got `str`"):
        await ref.tell(Adder.add, "2")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(InvalidMessage, match=r"Adder has no message <command Doubler.add>"):
        await ref.ask(Doubler.add, 2)  # type: ignore[call-overload]  # the mistake under test
    assert ref.told == []


def test_a_ref_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Ref(Adder)  # type: ignore[abstract]  # the mistake under test
