"""A refusal reaches its asker as what was raised: the same class, arguments, text and attributes."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from machine_scene import begun, calls

from actors._actor import Actor, command, query
from actors._interface import Interface
from actors._protocol.codec import DecodeError, encode
from actors._protocol.errors import Refused
from broadcast._outcomes import pack_refusal, unpack_outcome
from broadcast._protocol.reports import Answers
from broadcast._protocol.sessions import Outcome


class NotFound(Refused):
    pass


class TooPoor(Refused):
    def __init__(self, need: int, *, have: int = 0) -> None:
        super().__init__(f"needs {need}, has {have}")
        self.need, self.have = need, have


class Gone(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is gone")


@dataclass
class Price:
    amount: int


class Dear(Refused):
    """Its constructor cannot do with the plain form of what it takes."""

    def __init__(self, price: Price) -> None:
        super().__init__(f"costs {price.amount}")
        self.price = price


class Closed(Refused):
    """What it is made with cannot travel at all."""

    def __init__(self, door: object) -> None:
        super().__init__("closed for today")
        self.door = door


class Own(Refused):
    def __new__(cls, *args: Any) -> Any:
        return Exception.__new__(cls, *args)


def module(name: str) -> Any:
    made: Any = types.ModuleType(name)
    exec("from actors import Refused\nclass NotFound(Refused): pass\nclass Elsewhere(Refused): pass", vars(made))
    return made


shop, bank = module("shop"), module("bank")
main: Any = types.ModuleType("__main__")
exec("from actors import Refused\nclass Started(Refused): pass", vars(main))

REFUSALS: dict[str, Any] = {
    "plain": lambda: Refused("no", 5),
    "nothing": lambda: NotFound(),
    "class": lambda: NotFound,
    "same name here": lambda: NotFound("x"),
    "same name in a shop": lambda: shop.NotFound("x"),
    "same name in a bank": lambda: bank.NotFound("x"),
    "of what was started": lambda: main.Started("x"),
    "constructor": lambda: TooPoor(5, have=3),
    "default": lambda: TooPoor(5),
    "one argument": lambda: Gone("bob"),
    "dataclass": lambda: Dear(Price(7)),
    "object": lambda: Closed(object()),
    "not our __new__": lambda: Own("x"),
    "not a number": lambda: NotFound(float("nan")),
}


class Door(Actor):
    @command
    def enter(self, how: str) -> int:
        raise REFUSALS[how]()

    @query
    def look(self, how: str) -> int:
        raise REFUSALS[how]()


def told(how: str) -> list[Refused]:
    """What the askers of a command and of a query get."""
    scene, methods = begun(Door), Interface.of(Door).methods
    (answers,) = scene.apply(calls(1, ["enter", how]))
    assert isinstance(answers, Answers)
    came: list[Refused] = []
    for tag, outcome in (("enter", answers.outcomes[0]), ("look", scene.machine.query(encode(["look", how]), "me"))):
        with pytest.raises(Refused) as caught:
            unpack_outcome(methods[tag], outcome)
        came.append(caught.value)
    return came


@pytest.mark.parametrize("how", list(REFUSALS))
def test_what_was_raised_arrives(how: str) -> None:
    raised = REFUSALS[how]()
    raised = raised if isinstance(raised, Refused) else raised()
    for came in told(how):
        assert type(came) is type(raised)
        assert (str(came), repr(came)) == (str(raised), repr(raised))


def test_attributes_of_a_constructor_arrive() -> None:
    for came in told("constructor"):
        assert isinstance(came, TooPoor)
        assert (came.need, came.have) == (5, 3)


ENTER = Interface.of(Door).methods["enter"]


def unpacked(*parts: object) -> Refused:
    with pytest.raises(Refused) as caught:
        unpack_outcome(ENTER, encode([Outcome.REFUSED.value, *parts]))
    return caught.value


def test_a_class_that_has_moved_is_found_by_its_name_if_there_is_one_such_only() -> None:
    assert type(unpacked("old_home:TooPoor", ["needs 5, has 0"], [5], {})) is TooPoor
    unsure = unpacked("old_home:Elsewhere", ["x"])
    assert (type(unsure), unsure.args) == (Refused, ("Elsewhere", "x"))


def test_a_class_that_is_not_known_here_is_told_by_name() -> None:
    unknown = unpacked("new:Unheard", ["x", 5])
    assert (type(unknown), unknown.args) == (Refused, ("Unheard", "x", 5))


def test_another_version_of_a_constructor_changes_no_text() -> None:
    other = unpacked(":TooPoor", ["poor, by 2"], [1, 2, 3], {})
    assert (type(other), other.args) == (TooPoor, ("poor, by 2",))


def test_what_replicas_tell_does_not_depend_on_which_module_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pack_refusal(ENTER, NotFound("x"))

    class Started(Door):
        __module__ = "__main__"

    monkeypatch.setattr(NotFound, "__module__", "__main__")
    assert pack_refusal(Interface.of(Started).methods["enter"], NotFound("x")) == before


def bad() -> Iterator[list[object]]:
    yield []
    yield [5, []]
    yield [":NotFound"]
    yield [":NotFound", 5]
    yield [":NotFound", [], 5]
    yield [":NotFound", [], [], 5]
    yield [":NotFound", [], [], {}, 5]


@pytest.mark.parametrize("parts", list(bad()))
def test_what_is_no_refusal_of_ours_is_told_as_such(parts: list[object]) -> None:
    with pytest.raises(DecodeError):
        unpack_outcome(ENTER, encode([Outcome.REFUSED.value, *parts]))
