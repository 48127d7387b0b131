"""What the replicas of a process would share is refused when the group opens, by class and attribute."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec
import pytest

from actors import Actor, command
from broadcast import local_group
from broadcast._shared import check_not_shared


@dataclass
class Loose:
    count: int = 0


@dataclass(frozen=True)
class Fixed:
    count: int = 0


class LooseStruct(msgspec.Struct):
    count: int = 0


class FixedStruct(msgspec.Struct, frozen=True):
    count: int = 0


class Basket(Actor):
    items: list[str] = []  # noqa: RUF012 - the slip

    @command
    def put(self, item: str) -> int:
        self.items.append(item)
        return len(self.items)


class Derived(Basket):
    pass


async def test_it_is_refused_when_the_group_opens() -> None:
    with pytest.raises(TypeError, match=r"Basket\.items is a list that lies in the class: .*__init__.*ClassVar"):
        async with local_group(Basket, replicas=1):
            pass


def made(value: object, annotation: object = None) -> Actor:
    """An instance of a class that has this as `kept`."""
    space: dict[str, Any] = {"kept": value} | ({} if annotation is None else {"__annotations__": {"kept": annotation}})
    return type("Keeper", (Actor,), space)()


CHANGEABLE: tuple[object, ...] = (
    [],
    {},
    set[int](),
    bytearray(),
    deque[int](),
    defaultdict[int, int](int),
    OrderedDict[int, int](),
    Counter[int](),
    Loose(),
    LooseStruct(),
    (1, ([],)),
)


@pytest.mark.parametrize("value", CHANGEABLE, ids=repr)
def test_whatever_can_be_changed_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"Keeper\.kept is an? \w+ that lies in the class"):
        check_not_shared(made(value))
    with pytest.raises(TypeError, match=r"Keeper\.kept"):
        check_not_shared(made(value, "list[ClassVar]"))  # says something else


FIXED: tuple[object, ...] = (0, "a", b"a", None, (1, (2,)), frozenset[int](), Fixed(), FixedStruct(), len, Loose)


@pytest.mark.parametrize("value", FIXED, ids=repr)
def test_what_cannot_be_changed_is_a_default_like_any_other(value: object) -> None:
    check_not_shared(made(value))


@pytest.mark.parametrize(
    "annotation",
    [ClassVar, ClassVar[list[int]], Final, "ClassVar[list[int]]", "typing.ClassVar", "Final", "t . Final[list[int]]"],
    ids=repr,
)
def test_what_the_user_says_is_the_class_s_own_is_believed(annotation: object) -> None:
    check_not_shared(made([], annotation))


def test_who_inherits_it_shares_it_too_and_who_makes_it_anew_does_not() -> None:
    class Made(Basket):
        def __init__(self) -> None:
            self.items = []

    class Hidden(Basket):
        items = ()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    class Said(Basket):
        items: ClassVar[list[str]] = []  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]

    class Again(Said):
        items = []  # noqa: RUF012 - see `Said`

    with pytest.raises(TypeError, match=r"Basket\.items"):
        check_not_shared(Derived())
    for kind in (Made, Hidden, Said, Again):
        check_not_shared(kind())
