"""What messages a class takes, and how arguments and answers travel."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors._actor import Actor, Kind, command, query
from actors._interface import Interface, Method
from actors._protocol.codec import COUNT_MAX, DecodeError, decode, encode
from actors._protocol.errors import InvalidMessage

if TYPE_CHECKING:
    from uuid import UUID

T = TypeVar("T")


class Grade(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclasses.dataclass(frozen=True)
class Item:
    name: str
    price: Annotated[int, msgspec.Meta(ge=0)] = 0


class Shop(Actor):
    @command
    def add(self, amount: int) -> int:
        return amount

    @command(tag="s")
    def say(self, who: str, line: str = "hello") -> None: ...

    @command(idempotent=True)
    def stock(self, items: list[Item], *, at: dict[int, set[Grade]] | None = None, label: str) -> dict[str, Item]:
        return {item.name: item for item in items}

    @query
    def untyped(self, thing, other=None):  # type: ignore[no-untyped-def]  # allowed, and means object
        return (self, thing, other)

    @query
    def collected(self, into: list[object] = []) -> list[object]:  # noqa: B006 - what is tested
        return into

    @query
    async def later(self, scale: float = 1) -> float:
        return scale


def method(tag: str) -> Method:
    return Interface.of(Shop).methods[tag]


def sent(tag: str, *args: object, **kwargs: object) -> list[Any]:
    message: Any = decode(method(tag).pack(args, kwargs))
    assert message[0] == tag
    return list(message[1:])


def received(tag: str, *args: object, **kwargs: object) -> tuple[object, ...]:
    return method(tag).unpack(sent(tag, *args, **kwargs))


# -- what a class takes -------------------------------------------------------------------------------------------


def test_the_methods_of_a_class_by_tag() -> None:
    found: list[tuple[str, str, Kind, bool, bool]] = [
        (each.tag, each.name, each.kind, each.is_async, each.idempotent) for each in Interface.of(Shop).methods.values()
    ]
    assert found == [
        ("add", "add", "command", False, False),
        ("s", "say", "command", False, False),
        ("stock", "stock", "command", False, True),
        ("untyped", "untyped", "query", False, True),
        ("collected", "collected", "query", False, True),
        ("later", "later", "query", True, True),
    ]
    assert method("s").label == "Shop.say"
    assert repr(method("s")) == "<command Shop.say>"


def test_only_actors_have_an_interface() -> None:
    for wrong in (int, 3):
        with pytest.raises(TypeError, match=r"is not a class derived from Actor"):
            Interface.of(wrong)  # type: ignore[arg-type]  # the mistake under test


def test_an_interface_is_made_once() -> None:
    assert Interface.of(Shop) is Interface.of(Shop)
    assert Interface.of(Shop).actor is Shop


def test_the_method_for_what_ask_was_given() -> None:
    assert Interface.of(Shop).method_for(Shop.say) is method("s")


class SpecialShop(Shop):
    @command
    def add(self, amount: int) -> int:
        return 2 * amount


def test_the_method_of_a_base_class_means_its_override() -> None:
    special = Interface.of(SpecialShop)
    assert special.method_for(Shop.add) is special.method_for(SpecialShop.add) is special.methods["add"]
    assert special.methods["add"].function(SpecialShop(), 3) == 6
    assert special.method_for(Shop.say).label == "SpecialShop.say"


@pytest.mark.parametrize("wrong", [SpecialShop.add, Shop.__init__, "add", Shop().add, 3])
def test_what_is_no_message_of_the_class_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidMessage, match=r"^Shop has no message .*; its messages are those of its methods"):
        Interface.of(Shop).method_for(wrong)


def test_only_plain_methods_can_be_replicated() -> None:
    with pytest.raises(TypeError, match=r"^Shop cannot be replicated: async def later\. .* is a plain def"):
        Interface.of(Shop).replicable()

    class Plain(Actor):
        @command
        def one(self) -> None: ...

    Interface.of(Plain).replicable()


# -- arguments ----------------------------------------------------------------------------------------------------


@given(st.integers(-(2**63), 2**63 - 1), st.text(), st.text())
def test_scalars_travel(amount: int, who: str, line: str) -> None:
    assert received("add", amount) == (amount,)
    assert received("s", who, line) == (who, line)


def test_a_message_is_its_tag_and_all_its_arguments() -> None:
    assert method("s").pack(("bob", "hi"), {}) == encode(["s", "bob", "hi"])
    assert method("s").pack((), {"line": "hi", "who": "bob"}) == encode(["s", "bob", "hi"])
    assert method("s").pack(("bob",), {}) == encode(["s", "bob", "hello"])
    assert method("stock").pack(([],), {"label": "x"}) == encode(["stock", [], None, "x"])


def test_arguments_arrive_as_their_annotations_say() -> None:
    items = [Item("nut", 3), Item("bolt")]
    at = {1: {Grade.GOOD}, 2: {Grade.GOOD, Grade.BAD}}
    arguments = received("stock", items, at=at, label="L")
    assert arguments == (items, at, "L")
    assert repr(received("later", 2)) == repr(received("later", 2.0)) == "(2.0,)"


def test_the_function_takes_what_unpack_gives_in_its_order() -> None:
    items = [Item("nut", 3)]
    assert method("stock").function(Shop(), *received("stock", items, label="L")) == {"nut": items[0]}
    assert method("add").function(Shop(), *received("add", 3)) == 3


async def test_an_async_function_is_awaited_by_whoever_calls_it() -> None:
    pending: Any = method("later").function(Shop(), *received("later"))
    assert await pending == 1


def test_without_an_annotation_the_plain_form_arrives() -> None:
    assert received("untyped", (1, {2}), Item("nut")) == ([1, [2]], {"name": "nut", "price": 0})


def test_an_older_sender_gets_the_defaults_of_what_it_does_not_know() -> None:
    assert method("s").unpack(["bob"]) == ("bob", "hello")
    assert method("later").unpack([]) == (1.0,)
    with pytest.raises(InvalidMessage, match=r"Shop.say takes 2 arguments, and got 0"):
        method("s").unpack([])


def test_a_default_is_shared_by_no_two_messages() -> None:
    first: Any = method("collected").unpack([])
    first[0].append(1)
    assert method("collected").unpack([]) == ([],)


def test_a_default_that_is_not_last() -> None:
    with pytest.raises(InvalidMessage, match=r"Shop.stock takes 3 arguments, and got 1"):
        method("stock").unpack([[]])
    with pytest.raises(InvalidMessage, match=r"Shop.stock takes 3 arguments, and got 2"):
        method("stock").unpack([[], "L"])


WRONG: list[tuple[str, tuple[object, ...], dict[str, object], str]] = [
    ("add", ("1",), {}, "Shop.add: amount: Expected `int`, got `str`"),
    ("add", (True,), {}, "Shop.add: amount: Expected `int`, got `bool`"),
    ("add", (1.0,), {}, "Shop.add: amount: Expected `int`, got `float`"),
    ("add", (2**63,), {}, "Shop.add: amount: 64 bits, and an int may have 63 and a sign; send it as str or bytes"),
    ("add", (), {}, "Shop.add: missing a required argument: 'amount'"),
    ("add", (1, 2), {}, "Shop.add: too many positional arguments"),
    ("add", (1,), {"amount": 1}, "Shop.add: multiple values for argument 'amount'"),
    ("add", (1,), {"more": 1}, "Shop.add: got an unexpected keyword argument 'more'"),
    ("s", ("bob", b"hi"), {}, "Shop.say: line: Expected `str`, got `bytes`"),
    ("stock", ([Item("a"), Item("b", -1)],), {"label": "x"}, "Shop.stock: items[1].price: Expected `int` >= 0"),
    ("stock", ([object()],), {"label": "x"}, "Shop.stock: items[0]: a object cannot be sent; make it a dataclass, "
        "or send what it is made of"),
    ("stock", ([],), {"label": "x", "at": {1: [2]}}, "Shop.stock: at[...][0]: Expected `str`, got `int`"),
]  # fmt: skip


def test_what_is_taken_by_keyword_only_is_given_by_keyword() -> None:
    """Also where the arguments are of just the types that are annotated, and nothing else need be looked at."""

    class Marker(Actor):
        @command
        def mark(self, amount: int, *, urgent: bool) -> None: ...

    mark = Interface.of(Marker).methods["mark"]
    for give in (mark.pack, lambda args, kwargs: mark.carry(args, kwargs, None)):
        assert give((1,), {"urgent": True})
        with pytest.raises(InvalidMessage, match="too many positional arguments"):
            give((1, True), {})
    assert mark.unpack([1, True]) == (1, True)


@pytest.mark.parametrize(("tag", "args", "kwargs", "text"), WRONG)
def test_wrong_arguments_are_refused_where_they_are_packed(
    tag: str, args: tuple[object, ...], kwargs: Mapping[str, object], text: str
) -> None:
    with pytest.raises(InvalidMessage) as caught:
        method(tag).pack(args, kwargs)
    assert str(caught.value) == text
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("tag", "arguments", "text"),
    [
        ("add", ["1"], "Shop.add: amount: Expected `int`, got `str`"),
        ("add", [True], "Shop.add: amount: Expected `int`, got `bool`"),
        ("add", [1, 2], "Shop.add takes 1 arguments, and got 2"),
        ("add", [], "Shop.add takes 1 arguments, and got 0"),
        ("s", ["a", None], "Shop.say: line: Expected `str`, got `null`"),
        ("stock", [[{"name": "a", "price": "b"}], None, "x"], "Shop.stock: items[0].price: Expected `int`, got `str`"),
        ("stock", [[], {"a": []}, "x"], "Shop.stock: at: Expected `int`, got `str` as a key"),
    ],
)
def test_wrong_arguments_are_refused_where_they_are_unpacked(tag: str, arguments: list[object], text: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        method(tag).unpack(arguments)
    assert str(caught.value) == text


def test_text_that_cannot_be_encoded_is_refused_by_method() -> None:
    with pytest.raises(InvalidMessage, match=r"^Shop.say: text with half a surrogate pair"):
        method("s").pack(("\ud800",), {})
    with pytest.raises(InvalidMessage, match=rf"^Shop.untyped: more than {COUNT_MAX} values"):
        method("untyped").pack(([0] * COUNT_MAX,), {})


# -- answers ------------------------------------------------------------------------------------------------------


def test_answers_travel_as_their_annotation_says() -> None:
    answer = {"nut": Item("nut", 3)}
    assert method("stock").unpack_answer(method("stock").pack_answer(answer)) == answer
    assert method("add").unpack_answer(method("add").pack_answer(5)) == 5
    assert method("s").unpack_answer(method("s").pack_answer(None)) is None
    assert repr(method("later").unpack_answer(method("later").pack_answer(2))) == "2.0"
    assert method("untyped").unpack_answer(method("untyped").pack_answer((1, 2))) == [1, 2]


@pytest.mark.parametrize(
    ("tag", "answer", "text"),
    [
        ("add", "1", "Shop.add: its answer: Expected `int`, got `str`"),
        ("add", None, "Shop.add: its answer: Expected `int`, got `null`"),
        ("add", -(2**63) - 1, "Shop.add: its answer: 64 bits, and an int may have 63 and a sign; "
            "send it as str or bytes"),
        ("s", 0, "Shop.say: its answer: Expected `null`, got `int`"),
        ("stock", {"a": 1}, "Shop.stock: its answer[...]: Expected `object`, got `int`"),
        ("untyped", object(), "Shop.untyped: its answer: a object cannot be sent; make it a dataclass, "
            "or send what it is made of"),
        ("untyped", "\ud800", "Shop.untyped: its answer: text with half a surrogate pair cannot be sent "
            "('utf-8' codec can't encode character '\\ud800' in position 0: surrogates not allowed)"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_a_bug_of_the_class(tag: str, answer: object, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        method(tag).pack_answer(answer)
    assert type(caught.value) is TypeError  # not InvalidMessage: the asker did nothing wrong
    assert str(caught.value) == text


@pytest.mark.parametrize("data", [b"", b"\xff", encode("1"), encode([1]), encode(None)])
def test_bytes_that_are_no_answer_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        method("add").unpack_answer(data)


# -- annotations --------------------------------------------------------------------------------------------------


class Unknown: ...


class Node(msgspec.Struct):
    children: list[Node]
    secret: Unknown | None = None


@dataclasses.dataclass
class Tree:
    children: list[Tree]


def interface_of(function: Callable[..., object]) -> Interface:
    return Interface.of(type("Made", (Actor,), {function.__name__: command(function)}))


def test_an_annotation_that_cannot_be_resolved_is_refused_by_method_and_parameter() -> None:
    class Local: ...

    def local(self: Actor, fine: int, thing: Local) -> None: ...
    def checking(self: Actor, fine: int, thing: UUID) -> None: ...
    def answer(self: Actor) -> UUID: ...  # type: ignore[empty-body]  # only its annotation counts

    for function, text in (
        (local, r"^Made.local: thing: the annotation 'Local' cannot be resolved \(name 'Local' is not defined\)"),
        (checking, r"^Made.checking: thing: the annotation 'UUID' cannot be resolved"),
        (answer, r"^Made.answer: its answer: the annotation 'UUID' cannot be resolved"),
    ):
        with pytest.raises(TypeError, match=text):
            interface_of(function)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Unknown, "Unknown cannot be sent; use plain values"),
        (list[dict[str, Unknown]], "Unknown cannot be sent"),
        (tuple[int, Unknown], "Unknown cannot be sent"),
        (int | Unknown, "Unknown cannot be sent|may not"),
        (Node, "Unknown cannot be sent"),
        (Iterable[int], "Iterable cannot be sent"),
        (Callable[[], None], "Callable cannot be sent"),
        (complex, "complex cannot be sent"),
        (bytearray, "bytearray cannot be sent"),
        (memoryview, "memoryview cannot be sent"),
        (msgspec.Raw, "raw cannot be sent"),
        (bytes | str, "may not contain more than one str-like type"),
        (dict[tuple[int, int], int], "tuple cannot be the key of a dict that is sent; use a list of pairs"),
        (dict[bool, int], "bool cannot be the key of a dict"),
        (dict[int | str, int], "union cannot be the key of a dict"),
        (enum.Enum("Mixed", {"A": 1, "B": "b"}), "Enums must contain either all str or all int values"),
    ],
)
def test_a_type_that_cannot_travel_is_refused_by_method_and_parameter(annotation: Any, text: str) -> None:
    def takes(self: Actor, fine: int, thing: Any) -> None: ...
    def gives(self: Actor) -> Any: ...

    takes.__annotations__["thing"] = gives.__annotations__["return"] = annotation
    with pytest.raises(TypeError, match=f"^Made.takes: thing: .*({text})"):
        interface_of(takes)
    with pytest.raises(TypeError, match=f"^Made.gives: its answer: .*({text})"):
        interface_of(gives)


@pytest.mark.parametrize(
    "annotation",
    [
        object, Any, list, dict, list[object], dict[object, object], T, Tree, Tree | None, datetime, Grade, Item,
        Annotated[int, msgspec.Meta(ge=1)], Annotated[list[int], msgspec.Meta(extra={"a": 1})], dict[Grade, int],
        tuple[int, str], tuple[int, ...], frozenset[bytes],
    ],
)  # fmt: skip
def test_what_can_travel(annotation: Any) -> None:
    def takes(self: Actor, thing: Any) -> None: ...

    takes.__annotations__["thing"] = annotation
    assert list(interface_of(takes).methods) == ["takes"]


def test_the_bounds_in_an_annotation_hold() -> None:
    def takes(self: Actor, thing: Annotated[int, msgspec.Meta(ge=1)]) -> None: ...

    bounded = interface_of(takes).methods["takes"]
    assert bounded.unpack([1]) == (1,)
    with pytest.raises(InvalidMessage, match=r"^Made.takes: thing: Expected `int` >= 1"):
        bounded.pack((0,), {})


def test_a_default_has_to_fit_its_annotation() -> None:
    def takes(self: Actor, thing: int = None) -> None: ...  # type: ignore[assignment]  # the mistake under test  # noqa: RUF013
    def unsendable(self: Actor, thing: object = int) -> None: ...
    def half(self: Actor, thing: str = "\ud800") -> None: ...

    with pytest.raises(TypeError, match=r"^Made.takes: thing: Expected `int`, got `null` \(this is its default\)"):
        interface_of(takes)
    with pytest.raises(TypeError, match=r"^Made.unsendable: thing: a type cannot be sent.* \(this is its default\)"):
        interface_of(unsendable)
    with pytest.raises(
        TypeError, match=r"^Made.half: thing: text with half a surrogate pair .* \(this is its default\)"
    ):
        interface_of(half)


def test_generic_actors() -> None:
    class Store(Actor, Generic[T]):
        @command
        def put(self, thing: T) -> T:
            return thing

    put = Interface.of(Store).methods["put"]
    assert put.unpack(decode(put.pack(([1],), {}))[1:]) == ([1],)  # type: ignore[index]  # a list, as all messages


def test_a_class_with_a_lifespan_cannot_be_replicated() -> None:
    class Lasting(Actor):
        @asynccontextmanager
        async def lifespan(self) -> AsyncGenerator[None]:
            yield

    with pytest.raises(TypeError, match="Lasting cannot be replicated: it has a lifespan"):
        Interface.of(Lasting).replicable()


@pytest.mark.parametrize("version", [0, -1, True, "2", 1.5, None, 1_000_001])
def test_a_class_of_no_version_cannot_be_replicated(version: Any) -> None:
    kind = type("Odd", (Actor,), {"version": version})
    with pytest.raises(TypeError, match=r"Odd\.version is .*: the version of a class is one of 1, 2, 3"):
        Interface.of(kind).replicable()


def test_what_comes_with_a_later_version_than_the_class_has_is_refused() -> None:
    class Growing(Actor):
        version = 2

        @command(since=3)
        def put(self) -> None: ...

        @query(since=4)
        def look(self) -> int:
            return 0

    interface = Interface.of(Growing)
    assert (interface.version, interface.newest) == (2, 4)
    with pytest.raises(TypeError, match=r"Growing\.version is 2, .* a later one: put \(since=3\), look \(since=4\)"):
        interface.replicable()
