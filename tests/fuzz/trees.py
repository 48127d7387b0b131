"""Frames as trees of plain values, and how to spoil them: at any depth, also within bytes that hold values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf, nan
from random import Random
from typing import Any, cast

import cbor2

from actors._protocol.codec import DecodeError, decode, encode


class Nested:
    """Bytes that hold an encoded value."""

    __slots__ = ("items",)

    def __init__(self, plain: object) -> None:
        self.items = [plain]


class Raw:
    """Bytes that stand in an encoding as they are."""

    __slots__ = ("data",)

    def __init__(self, data: str) -> None:
        self.data = bytes.fromhex(data)


def opened(plain: object) -> object:
    """A tree of a value, to be changed: bytes in it that are an encoded list are opened too."""
    match plain:
        case list() | tuple():
            return [opened(item) for item in cast("list[object]", plain)]
        case dict():
            return {key: opened(item) for key, item in cast("dict[object, object]", plain).items()}
        case bytes() if plain[:1] >= b"\x80":
            try:
                inside = decode(plain)
            except DecodeError:
                return plain
            return Nested(opened(inside)) if isinstance(inside, list) else plain
        case _:
            return plain


def encoded(tree: object) -> bytes:
    """The bytes of a tree. Raises ValueError for what even cbor2 does not write."""
    raws: list[bytes] = []

    def default(encoder: Any, value: object) -> None:
        if isinstance(value, Nested):
            encoder.encode(b"".join(map(encoded, value.items)))
            return
        assert isinstance(value, Raw)
        encoder.encode(_marker(len(raws)))
        raws.append(value.data)

    data = cbor2.dumps(tree, default=default)
    for number, raw in enumerate(raws):
        data = data.replace(encode(_marker(number)), raw)
    return data


def _marker(number: int) -> bytes:
    return b"<raw %d stands here>" % number


# -- spoiling a tree -------------------------------------------------------------------------------------------------


def _deep(depth: int) -> object:
    tree: object = 0
    for _ in range(depth):
        tree = [tree]
    return tree


def _itself(value: object) -> object:
    return value


_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, 1, 2, 5, 23, 24, -1, -(2**63), -(2**64), -(2**70)),
    *(2**31, 2**32, 2**50, 2**62, 2**62 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**70),
    *(0.0, -0.0, 1.0, 1.5, nan, inf, -inf, 1e300),
    *("", "a", "b", "me", "p", "x" * 129, "x" * 3_000, "\0", "a\nb", "\u2603", "a/b", "../../etc/passwd"),
    *("__init__", "__class__", "_put", "put", "lifespan", "context", "count", "127.0.0.1:1", "host:99999"),
    *(b"", b"\0", b"a" * 16, b"b" * 16, b"c" * 16, b"n" * 16, b"x" * 15, b"\xff" * 300, b"\x80", b"\xf6"),
    cbor2.undefined,
    cbor2.CBORSimpleValue(40),
)
STRANGE: tuple[Callable[[], object], ...] = (
    *(partial(_itself, value) for value in _VALUES),
    list,
    dict,
    lambda: [[]],
    lambda: [0] * 50,
    lambda: ["x"] * 2_000,
    lambda: {"a": 1},
    lambda: {1: 2},
    lambda: {b"a": 1, "a": 2},
    lambda: {str(number): number for number in range(50)},
    lambda: Nested([]),
    lambda: Nested([["put", [1]]]),
    lambda: Nested(0),
    lambda: _deep(14),
    lambda: _deep(16),
    lambda: _deep(17),
    lambda: _deep(200),
    lambda: cbor2.CBORTag(28, [1]),
    lambda: cbor2.CBORTag(29, 0),
    lambda: cbor2.CBORTag(35, "(a+)+b"),
    lambda: cbor2.CBORTag(4, [10**18, 1]),
    lambda: cbor2.CBORTag(55799, 1),
    lambda: Raw("a2616101616102"),  # a key twice
    lambda: Raw("9fff"),  # without a length
    lambda: Raw("5f4100ff"),
    lambda: Raw("bf616101ff"),
    lambda: Raw("1801"),  # longer than it need be
    lambda: Raw("1b0000000000000001"),
    lambda: Raw("9a00000000"),
    lambda: Raw("9b7fffffffffffffff"),  # more than there is
    lambda: Raw("5b7fffffffffffffff"),
    lambda: Raw("bb7fffffffffffffff"),
    lambda: Raw("9a00ffffff" + "80" * 64),
    lambda: Raw("62ffff"),  # no text
    lambda: Raw("63eda080"),
    lambda: Raw("ff"),
    lambda: Raw("1c"),
    lambda: Raw("f820"),
    lambda: Raw("d81c80"),
    lambda: Raw("d81d00"),
    lambda: Raw("c249010000000000000000"),
    lambda: Raw("f97e00"),
)

Slot = tuple[Any, Any]
"""A container, and where in it."""


def slots(tree: list[Any]) -> list[Slot]:
    """Every place in a tree."""
    found: list[Slot] = []
    waiting: list[Any] = [tree]
    while waiting:
        holder = waiting.pop()
        keys = holder if type(holder) is dict else range(len(holder))
        for key in keys:
            found.append((holder, key))
            item = holder[key]
            kind = type(item)
            if kind is list or kind is dict:
                waiting.append(item)
            elif kind is Nested:
                waiting.append(item.items)
    return found


def spoil(tree: list[Any], random: Random) -> None:
    """Change something in a tree."""
    places = slots(tree)
    if not places:
        tree.append(0)
        return
    holder, key = random.choice(places)
    _WAYS[int(random.random() * len(_WAYS))](holder, key, places, random)


def _strange(holder: Any, key: Any, places: list[Slot], random: Random) -> None:
    holder[key] = random.choice(STRANGE)()


def _nearby(holder: Any, key: Any, places: list[Slot], random: Random) -> None:
    value = holder[key]
    match value:
        case bool() | None:
            holder[key] = random.choice((True, False, None, 0, 1))
        case int():
            holder[key] = value + random.choice((-2, -1, 1, 2, 1_000, 2**40))
        case str():
            holder[key] = random.choice((value + "x", value[:-1], value.encode(), value.upper(), value * 3))
        case bytes():
            holder[key] = random.choice((value + b"\0", value[:-1], value.hex(), value[::-1]))
        case list():
            holder[key] = value * 2
        case _:
            holder[key] = [value]


def _elsewhere(holder: Any, key: Any, places: list[Slot], random: Random) -> None:
    """What stands elsewhere stands here, unless this is within that."""
    other, at = random.choice(places)
    if type(other[at]) in (int, str, bytes, bool, float, type(None)):
        holder[key] = other[at]


def _without(holder: Any, key: Any, places: list[Slot], random: Random) -> None:
    del holder[key]


def _twice(holder: Any, key: Any, places: list[Slot], random: Random) -> None:
    if type(holder) is list:
        holder.insert(key, holder[key])
    else:
        holder[f"{key}x" if isinstance(key, str) else "x"] = holder[key]


def _more(holder: Any, key: Any, places: list[Slot], random: Random) -> None:
    if type(holder) is list:
        holder.insert(key, random.choice(STRANGE)())


def _swapped(holder: Any, key: Any, places: list[Slot], random: Random) -> None:
    if type(holder) is list:
        other = random.randrange(len(holder))
        holder[key], holder[other] = holder[other], holder[key]


_WAYS = (*[_strange] * 3, *[_nearby] * 3, *[_elsewhere] * 2, _without, _twice, _more, _swapped)


# -- spoiling bytes --------------------------------------------------------------------------------------------------


def spoiled(data: bytes, random: Random) -> bytes:
    """The bytes, a few of them changed, removed, added or repeated."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(changed) + 1)
        way = int(random.random() * 6)
        if way == 0:
            changed[at : at + 1] = bytes((random.randrange(256),))
        elif way == 1 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        elif way == 2:
            del changed[at : at + 1 + random.randrange(8)]
        elif way == 3:
            changed[at:at] = random.randbytes(1 + random.randrange(4))
        elif way == 4:
            changed[at:at] = changed[at : at + random.randrange(32)]
        else:
            del changed[at:]
    return bytes(changed)
