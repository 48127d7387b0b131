"""In what two encoded values differ, for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import cast

import cbor2

SHOWN_MAX = 3  # differences
LENGTH_MAX = 100  # characters of a value
BETWEEN = "in one", "in the other"
IN_TIME = "before", "after"


def differences(name: str, one: bytes, other: bytes, *, which: tuple[str, str] = BETWEEN) -> list[str]:
    """The first places where they differ, each with what is there. name: of the whole. which: one is which."""
    found = islice(_between(name, cbor2.loads(one), cbor2.loads(other)), SHOWN_MAX)
    return [f"{what} {mine} {which[0]} and {others} {which[1]}" for what, mine, others in found]


def _between(path: str, one: object, other: object) -> Iterator[tuple[str, str, str]]:
    kind = type(one)
    if kind is dict and type(other) is dict:
        yield from _in_dicts(path, cast("dict[object, object]", one), cast("dict[object, object]", other))
    elif kind is list and type(other) is list:
        yield from _in_lists(path, cast("list[object]", one), cast("list[object]", other))
    elif one != other or kind is not type(other):
        yield f"{path} is", _shown(one), _shown(other)


def _in_dicts(path: str, one: dict[object, object], other: dict[object, object]) -> Iterator[tuple[str, str, str]]:
    if list(one) != list(other):
        how = "has its keys in the order" if one.keys() == other.keys() else "has the keys"
        yield f"{path} {how}", _shown(list(one)), _shown(list(other))
    for key in one:
        if key in other:
            yield from _between(f"{path}.{key}" if path == "self" else f"{path}[{key!r}]", one[key], other[key])


def _in_lists(path: str, one: list[object], other: list[object]) -> Iterator[tuple[str, str, str]]:
    if len(one) != len(other):
        yield f"{path} is", _shown(one), _shown(other)
        return
    for at, pair in enumerate(zip(one, other, strict=True)):
        yield from _between(f"{path}[{at}]", *pair)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LENGTH_MAX else f"{text[:LENGTH_MAX]}..."
