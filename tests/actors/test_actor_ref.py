"""What `ask` and `tell` hand to whoever knows the way to the actor."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from actors._actor import Actor, command, query
from actors._interface import Interface, Method
from actors._protocol.codec import decode
from actors._protocol.errors import InvalidMessage
from actors._ref import ActorRef, Ref


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


# -- references to actors of nodes, as values -------------------------------------------------------------------------


class Keeper(Actor):
    @command
    def keep(self, ref: Ref[Adder], more: list[ActorRef[Adder]], best: Ref[Adder] | None = None) -> Ref[Adder]:
        return ref

    @query
    def none(self) -> Ref[Adder] | None:
        return None


KEEP = Interface.of(Keeper).methods["keep"]


def test_a_reference_is_equal_to_each_of_the_same_name() -> None:
    one, same = ActorRef("a/x", Adder), ActorRef("a/x", Doubler)
    others = [ActorRef("b/x", Adder), ActorRef("a/y", Adder), ActorRef("a/x/x", Adder)]
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same, *others}) == 4
    assert one not in others
    assert one != "a/x"
    assert (one.node, one.name, str(one)) == ("a", "x", "a/x")


def test_a_copy_of_a_reference_is_the_reference() -> None:
    ref = ActorRef("a/x", Adder)
    assert copy.copy(ref) is ref
    assert copy.deepcopy([ref])[0] is ref


def test_a_reference_travels_as_its_address_and_the_annotation_makes_it_one_again() -> None:
    ref = ActorRef("a/x/y", Adder)
    packed = KEEP.pack((ref, [ref]), {})
    assert decode(packed) == ["keep", "a/x/y", ["a/x/y"], None]
    arrived, [more], best = KEEP.unpack(["a/x/y", ["a/x/y"], "a/z"])
    assert arrived == more == ref
    assert best == ActorRef("a/z", Adder)
    assert KEEP.unpack_answer(KEEP.pack_answer(ref)) == ref
    assert Interface.of(Keeper).methods["none"].unpack_answer(b"\xf6") is None


@pytest.mark.parametrize(
    "wrong", ["", "/", "a/", "/x", "a//x", "a/x/", "a b/x", "a/x y", "a/" + "x" * 300, "a/" + "x/" * 40 + "x"]
)
def test_what_is_no_address_is_no_reference(wrong: str) -> None:
    with pytest.raises(InvalidMessage, match=r"Keeper.keep: ref: .*(cannot be|is no address)"):
        KEEP.unpack([wrong, []])
    with pytest.raises(ValueError, match=r"cannot be|is no address"):
        ActorRef(wrong, Adder)


@pytest.mark.parametrize("wrong", [1, None, ["a/x"], b"a/x", {"a": "x"}])
def test_what_is_no_text_is_no_reference(wrong: object) -> None:
    with pytest.raises(InvalidMessage, match=r"Keeper.keep: ref: Expected `Ref`, got"):
        KEEP.unpack([wrong, []])


async def test_a_reference_that_belongs_to_no_node_is_a_name_only() -> None:
    """In a replicated actor, for one."""
    ref, *_ = KEEP.unpack(["a/x", []])
    assert isinstance(ref, ActorRef)
    with pytest.raises(RuntimeError, match=r"node.ref\('a/x', ...\) says from which node it is used"):
        await ref.ask(Adder.add, 1)
    with pytest.raises(RuntimeError, match="is a name only"):
        await ref.watch()


def test_other_references_do_not_travel() -> None:
    with pytest.raises(InvalidMessage, match=r"Keeper.keep: ref: a Direct cannot be sent"):
        KEEP.pack((Direct(Adder()), []), {})
