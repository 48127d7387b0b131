"""What the tables of public errors share: a row, what a row is held to, and which errors a package shows."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from actors import OutcomeUnknown, Rejected

Patch = pytest.MonkeyPatch


class Fate(Enum):
    """What an error says of the message that it is the end of."""

    NOT_APPLIED = "definite: nothing was applied, and nothing will be"
    UNDONE = "definite: it raised, and nothing of it stayed"
    APPLIED = "definite: it was applied, once"
    RAISED = "it was begun, and raised: what it did outside of its actor stays"
    UNKNOWN = "it may have been applied, or may still be"
    NO_MESSAGE = "it is about no message: it ends a replica, a start, a look back, or a link"


class Seen(NamedTuple):
    """applied: of the message that the error was raised for, as was seen afterwards; None if there was none."""

    error: BaseException
    applied: bool | None = None


Provoke = Callable[[Path, Patch], Awaitable[Seen]]


@dataclass(frozen=True)
class Row:
    """says: what its text must match, which names the thing, and says what to do. Several ways may come to one kind."""

    kind: type[BaseException]
    fate: Fate
    says: str
    provoke: Provoke


def name(row: Row) -> str:
    return f"{row.kind.__name__}: {getattr(row.provoke, '__name__', row.fate.name)}"


def check(row: Row, seen: Seen) -> None:
    """Is it of its class, of its text, and definite or not as the row says?"""
    assert type(seen.error) is row.kind or seen.error.__class__.__base__ is row.kind, repr(seen.error)
    assert re.search(row.says, str(seen.error)), str(seen.error)
    assert isinstance(seen.error, Rejected) is (row.fate is Fate.NOT_APPLIED)
    assert isinstance(seen.error, OutcomeUnknown) is (row.fate is Fate.UNKNOWN)
    match row.fate:
        case Fate.NOT_APPLIED | Fate.UNDONE:
            assert seen.applied is False
        case Fate.APPLIED:
            assert seen.applied is True
        case Fate.RAISED | Fate.UNKNOWN:
            assert seen.applied is not None
        case Fate.NO_MESSAGE:
            assert seen.applied is None


def only(error: BaseException) -> BaseException:
    """The one that groups of one are made of."""
    return only(*error.exceptions) if isinstance(error, BaseExceptionGroup) else error


async def raised_by(awaited: Awaitable[object]) -> BaseException:
    try:
        await awaited
    except Exception as error:
        return only(error)
    raise AssertionError("nothing was raised")


def raised_in(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return only(error)
    raise AssertionError("nothing was raised")


async def came_to(kind: type[BaseException], rows: Iterable[Row], data: Path, patch: Patch) -> set[bool | None]:
    """What the messages came to for which the rows of this kind raise it."""
    return {(await row.provoke(data, patch)).applied for row in rows if row.kind is kind}


def shown(package: ModuleType) -> list[type[BaseException]]:
    """The errors that a package shows to its users."""
    every = [getattr(package, each) for each in package.__all__]
    return [each for each in every if isinstance(each, type) and issubclass(each, BaseException)]


def missing(package: ModuleType, rows: Sequence[Row], bases: Iterable[type[BaseException]]) -> list[str]:
    """What a package shows, and no row provokes. bases: those that only stand for others, which have rows."""
    provoked = {row.kind for row in rows}
    stands_for = {each for each in bases if any(issubclass(kind, each) for kind in provoked - {each})}
    return [each.__name__ for each in shown(package) if each not in provoked | stands_for]
