"""Actors as ordinary classes, and what can be marked as a message."""

from __future__ import annotations

import abc
import copy
import dataclasses
import functools
import inspect
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from actors._actor import Actor, Marked, command, give_context, marked_methods, query
from actors._context import Context
from actors._protocol.clock import Timestamp


class Counter(Actor):
    def __init__(self) -> None:
        self.total = 0

    @command
    def add(self, amount: int, *, twice: bool = False) -> int:
        """Add to the total."""
        self.total += 2 * amount if twice else amount
        return self.total

    @command(tag="zero", idempotent=True)
    def reset(self) -> None:
        self.total = 0

    @query
    def value(self) -> int:
        return self.total

    @query(tag="is")
    async def equals(self, other: int) -> bool:
        return self.total == other

    def helper(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Place:
    epoch: int
    index: int


def a_context(position: Place | None = None, time: int = 0) -> Context:
    context = Context()
    context.begin("alice", Timestamp(7, "a"), position, 1, time)
    return context


def test_without_framework_it_is_an_ordinary_class() -> None:
    counter = Counter()
    assert counter.add(2) == 2
    assert counter.add(amount=2, twice=True) == 6
    assert counter.value() == 6
    counter.reset()
    assert vars(counter) == {"total": 0}


async def test_async_methods_are_accepted() -> None:
    assert await Counter().equals(0)


def test_on_the_class_a_marked_method_names_its_message() -> None:
    assert isinstance(Counter.add, Marked)
    assert (Counter.add.kind, Counter.add.tag, Counter.add.idempotent) == ("command", "add", False)
    assert (Counter.reset.kind, Counter.reset.tag, Counter.reset.idempotent) == ("command", "zero", True)
    assert (Counter.value.kind, Counter.value.tag, Counter.value.idempotent) == ("query", "value", True)
    assert (Counter.equals.kind, Counter.equals.tag) == ("query", "is")
    assert repr(Counter.add) == "<command Counter.add>"


def test_help_and_signature_are_those_of_the_method() -> None:
    assert inspect.getdoc(Counter.add) == "Add to the total."
    assert Counter.add.__name__ == "add"  # type: ignore[attr-defined]  # there, for tools that look


def test_only_marked_methods_are_messages() -> None:
    assert {tag: name for tag, (name, _) in marked_methods(Counter).items()} == {
        "add": "add",
        "zero": "reset",
        "value": "value",
        "is": "equals",
    }


# -- what cannot be marked ----------------------------------------------------------------------------------------


def generator(self: Actor) -> Iterator[int]:
    yield 1


def test_a_generator_is_refused() -> None:
    with pytest.raises(TypeError, match=r"generator: a query gives one answer, so it cannot yield"):
        query(generator)


@pytest.mark.parametrize("wrong", [staticmethod(generator), property(generator), 1, int, functools.partial(generator)])
def test_only_a_plain_function_can_be_marked(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"@command marks a plain method \(def or async def\), not a "):
        command(wrong)


def test_parameters_that_have_no_name_are_refused() -> None:
    def several(self: Actor, *amounts: int) -> None: ...
    def named(self: Actor, **amounts: int) -> None: ...

    with pytest.raises(TypeError, match=r"several: a command names each of its parameters; replace \*amounts"):
        command(several)
    with pytest.raises(TypeError, match=r"named: a command names each of its parameters; replace \*\*amounts"):
        command(named)  # type: ignore[arg-type]  # the mistake under test


def test_a_method_without_self_is_refused() -> None:
    def nothing() -> None: ...
    def only_named(*, self: Actor) -> None: ...

    for wrong in (nothing, only_named):
        with pytest.raises(TypeError, match=r"its first parameter is self"):
            command(wrong)  # type: ignore[arg-type]  # the mistake under test


def test_marking_twice_is_refused() -> None:
    with pytest.raises(TypeError, match=r"<command Counter.helper> is marked twice"):
        query(command(Counter.helper))  # type: ignore[call-overload]  # the mistake under test


@pytest.mark.parametrize("tag", ["", "a\nb", "x" * 129, 5, b"a"])
def test_a_tag_is_short_and_printable(tag: Any) -> None:
    with pytest.raises(TypeError, match=r"is no tag: 1 to 128 printable characters"):
        command(tag=tag)(Counter.helper)


def test_a_lambda_needs_a_tag() -> None:
    nameless: Callable[[Actor], None] = lambda self: None  # noqa: E731
    with pytest.raises(TypeError, match=r"'<lambda>' is no tag"):
        command(nameless)
    assert command(tag="named")(nameless).marked.tag == "named"


@pytest.mark.parametrize("wrap", [staticmethod, classmethod, property])
def test_a_marked_method_cannot_be_wrapped(wrap: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match=f"a {wrap.__name__} cannot be reached by a message"):
        type("Wrong", (Actor,), {"add": wrap(command(Counter.helper))})


def test_a_name_of_actor_itself_is_refused() -> None:
    with pytest.raises(TypeError, match=r"context has a meaning of its own in Actor"):
        type("Wrong", (Actor,), {"context": command(Counter.helper)})


# -- tags over inheritance ----------------------------------------------------------------------------------------


def test_two_methods_with_one_tag_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"Wrong: one and two have one tag, 'one'"):

        class Wrong(Actor):
            @command
            def one(self) -> None: ...
            @query(tag="one")
            def two(self) -> None: ...


def test_one_method_under_two_names_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Wrong: one and two have one tag, 'one'"):

        class Wrong(Actor):
            @command
            def one(self) -> None: ...

            two = one


def test_a_subclass_cannot_take_the_tag_of_its_base() -> None:
    with pytest.raises(TypeError, match=r"Wrong: reset and clear have one tag, 'zero'"):

        class Wrong(Counter):
            @command(tag="zero")
            def clear(self) -> None: ...


def test_an_override_keeps_the_tag_marked_or_not() -> None:
    class Marks(Counter):
        @command
        def reset(self) -> None:
            super().reset()
            self.total -= 1

    class Plain(Counter):
        def reset(self) -> None:
            super().reset()
            self.total -= 2

    for actor, total in ((Marks, -1), (Plain, -2)):
        name, marked = marked_methods(actor)["zero"]
        assert (name, marked.kind) == ("reset", "command")
        assert list(marked_methods(actor)) == list(marked_methods(Counter))
        instance = actor()
        instance.reset()
        assert instance.total == total
        assert marked.function is not Counter.reset.function
    assert marked_methods(Plain)["zero"][1].idempotent
    assert not Marks.reset.idempotent


def test_an_override_cannot_change_tag_or_kind_or_stop_being_a_method() -> None:
    with pytest.raises(TypeError, match=r"overrides <command Counter.reset> and so keeps its tag 'zero'"):
        type("Wrong", (Counter,), {"reset": command(tag="other")(Counter.helper)})
    with pytest.raises(TypeError, match=r"overrides <query Counter.value>: keep it a query"):
        type("Wrong", (Counter,), {"value": command(Counter.helper)})
    with pytest.raises(TypeError, match=r"Wrong.value hides <query Counter.value>"):
        type("Wrong", (Counter,), {"value": 3})


@pytest.mark.parametrize("idempotent", [0, -1, "2", 1.0, None, 1_000_001])
def test_what_is_idempotent_is_so_from_a_version_on(idempotent: Any) -> None:
    with pytest.raises(TypeError, match=r"helper: idempotent=.* is no version of a class from which on it is; "):
        command(idempotent=idempotent)(Counter.helper)
    assert command(idempotent=2)(Counter.helper).marked.idempotent == 2


@pytest.mark.parametrize("since", [0, -1, True, "2", 1.0, 1_000_001])
def test_a_message_comes_with_a_version_of_its_class(since: Any) -> None:
    with pytest.raises(TypeError, match=f"since={since!r} is no version of a class"):

        class Early(Actor):
            @command(since=since)
            def put(self) -> None: ...


def test_an_override_comes_with_the_version_of_what_it_overrides() -> None:
    class Base(Actor):
        version = 3

        @command(since=2)
        def put(self) -> None: ...

    class Silent(Base):
        def put(self) -> None: ...

    class Later(Base):
        @command(since=3)
        def put(self) -> None: ...

    assert [kind.put.since for kind in (Base, Silent, Later)] == [2, 2, 3]
    with pytest.raises(TypeError, match="which came with version 2: say since= too"):

        class Forgotten(Base):
            @command
            def put(self) -> None: ...


def test_a_mixin_that_is_no_actor_may_bring_messages() -> None:
    class Named:
        name = "nobody"

        @query
        def called(self: Any) -> str:
            return str(self.name)

    class Both(Named, Counter): ...

    assert list(marked_methods(Both)) == ["add", "zero", "value", "is", "called"]
    assert Both().called() == "nobody"


def test_an_abstract_command() -> None:
    class Shape(Actor, abc.ABC):
        @command
        @abc.abstractmethod
        def grow(self) -> int: ...

    class Square(Shape):
        @command
        def grow(self) -> int:
            return 4

    with pytest.raises(TypeError, match="abstract"):
        Shape()  # type: ignore[abstract]  # the mistake under test
    assert Square().grow() == 4


# -- state and context --------------------------------------------------------------------------------------------


def test_slots_are_refused_because_state_is_the_attributes() -> None:
    with pytest.raises(TypeError, match=r"an actor's state is vars\(actor\), so it cannot have __slots__"):
        type("Wrong", (Actor,), {"__slots__": ("x",)})
    with pytest.raises(TypeError, match=r"__slots__"):
        dataclasses.dataclass(slots=True)(type("Wrong", (Actor,), {"__annotations__": {"x": int}, "x": 0}))


def test_the_context_is_no_part_of_the_state() -> None:
    counter = Counter()
    give_context(counter, a_context())
    assert vars(counter) == {"total": 0}
    assert weakref.ref(counter)() is counter
    assert copy.copy(counter).total == 0


@dataclasses.dataclass
class Account(Actor):
    balance: int = 0

    @query
    def sender(self) -> str:
        return self.context.sender


@dataclasses.dataclass(frozen=True)
class Constant(Actor):
    value: int = 0

    @query
    def sender(self) -> str:
        return self.context.sender


@pytest.mark.parametrize("actor", [Account, Constant])
def test_dataclasses_can_be_actors(actor: type[Account | Constant]) -> None:
    account = actor(5)
    give_context(account, a_context())
    assert account.sender() == "alice"
    assert list(vars(account).values()) == [5]
    assert account == actor(5)


def test_outside_of_a_message_there_is_no_context() -> None:
    counter = Counter()
    with pytest.raises(RuntimeError, match=r"Counter.context exists only while a message is handled"):
        _ = counter.context
    context = a_context()
    give_context(counter, context)
    assert counter.context is context
    context.end()
    with pytest.raises(RuntimeError, match=r"Counter.context exists only while a message is handled"):
        _ = counter.context


def test_the_context_tells_about_the_message() -> None:
    context = a_context(Place(3, 14), time=1_700_000_000_123_456)
    assert (context.sender, context.timestamp, context.version) == ("alice", (7, "a"), 1)
    assert context.position == Place(3, 14)
    assert context.time == datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)
    context.begin("bob", Timestamp(8, "b"), None, 2, 0)
    assert (context.sender, context.timestamp, context.version) == ("bob", (8, "b"), 2)
    assert context.position is None
    assert context.time == datetime(1970, 1, 1, tzinfo=UTC)


def draw(context: Context) -> list[float]:
    return [context.random.random() for _ in range(3)]


def test_chance_is_the_same_at_one_position_and_differs_between_positions() -> None:
    one, other = a_context(Place(1, 2)), a_context(Place(1, 2))
    drawn = draw(one)
    assert len(set(drawn)) == 3
    assert drawn == draw(other)
    one.begin("alice", Timestamp(9, "a"), Place(1, 3), 1, 0)
    assert draw(one) != drawn
    one.begin("alice", Timestamp(9, "a"), Place(1, 2), 1, 0)
    assert draw(one) == drawn
    assert draw(a_context(Place(12, 3))) != draw(a_context(Place(1, 23)))


def test_chance_does_not_depend_on_what_an_earlier_message_drew() -> None:
    one, other = a_context(Place(1, 2)), a_context(Place(1, 2))
    draw(one)
    for context in (one, other):
        context.begin("alice", Timestamp(9, "a"), Place(1, 3), 1, 0)
    assert draw(one) == draw(other)


def test_chance_is_agreed_between_processes_and_versions() -> None:
    assert a_context(Place(2, 5)).random.getrandbits(64) == 5155702254079442504


def test_where_nothing_is_replicated_chance_is_chance() -> None:
    assert draw(a_context()) != draw(a_context())
