"""Values as users write them, taken down to what CBOR can carry as it is.

What is plain: None, bool, int of 64 bits, float, str, bytes, list, and dict with str or bytes as keys. What
`to_plain` accepts comes back from `from_plain` when the annotation says what it was. Untyped, it arrives as
its plain form: tuples and sets as lists, dataclasses as dicts, keys of dicts as text.

msgspec knows the plain form of most single values. Containers are walked here: it gives sets in an order that
differs between processes, or else sorts dicts, whose order is part of their value; and it sets no bounds.

A class of the user's may say what it likes of itself, by `__int__`, `__ge__`, `items` and their like. So what was
looked at is what is sent: of a scalar what the type below it holds, of a container what one pass over it gave.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeVar, get_args, get_origin
from uuid import UUID

import cbor2
import msgspec

from actors._protocol.codec import COUNT_MAX, INTEGER_MAX, INTEGER_MIN, check_count
from actors._protocol.errors import InvalidMessage

T = TypeVar("T")

DEPTH_MAX: Final = 12
"""Containers inside one another. A cycle is refused by this too."""

_SCALARS: Final = frozenset({type(None), bool, float, str, bytes})
_KEYS: Final = (str, int, float, enum.Enum, UUID, date, time, timedelta, Decimal)
"""What msgspec can write as text and read back, as the key of a dict. (A datetime is a date.)"""


class Reference:
    """Base of what travels as a text that names something, and is opened for whoever it comes to: see `Ref`."""

    def to_text(self) -> str:
        """The text. Raises TypeError with the reason if this one cannot be sent."""
        raise TypeError(f"a {type(self).__qualname__} cannot be sent")

    @classmethod
    def from_text(cls, text: str, parameters: tuple[Any, ...], here: object) -> Reference:
        """What the text names, `cls[*parameters]` being wanted. here: see `from_plain`. Raises ValueError."""
        raise TypeError(f"a {cls.__qualname__} cannot be received")


class _UnfitError(Exception):
    """Why a value has no plain form, and the path to it, innermost step first."""

    def __init__(self, why: str, *path: str) -> None:
        super().__init__(why)
        self.why = why
        self.path = list(path)


def to_plain(value: object, name: str = "value") -> object:
    """The plain form of `value`, sharing no container with it.

    `InvalidMessage`, with the path to the culprit beginning with `name`, if it has none.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    try:
        return _plain(value, 0)
    except _UnfitError as unfit:
        raise InvalidMessage(f"{name}{''.join(reversed(unfit.path))}: {unfit.why}") from None


def from_plain(plain: object, annotation: type[T], name: str = "value", here: object = None) -> T:
    """What `plain` is as an `annotation`; nothing is guessed.

    here: what the references in it are to be used from; None if they are only kept.
    `InvalidMessage`, with the path to the culprit beginning with `name`, if it is none.
    """
    try:
        return msgspec.convert(
            plain,
            annotation,
            builtin_types=(bytes,),
            str_keys=True,
            dec_hook=_open_reference if here is None else partial(_open_reference, here=here),
        )
    except msgspec.ValidationError as error:
        what, at, path = str(error).rpartition(" - at `")
        if not at:
            raise InvalidMessage(f"{name}: {error}") from error
        where = path.rpartition("$")[2].rstrip("`")  # of "$[0].field`", or of "key` in `$[0].field`"
        raise InvalidMessage(f"{name}{where}: {what}" + (" as a key" if path.startswith("key`") else "")) from error
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # of a __post_init__ of the user's
        raise InvalidMessage(f"{name}: {type(error).__name__}: {error}") from error


def _open_reference(kind: Any, plain: object, here: object = None) -> object:
    """msgspec asks about the types that it does not know."""
    origin = get_origin(kind) or kind
    if not issubclass(origin, Reference):
        return plain  # `object`
    if not isinstance(plain, str):
        raise TypeError(f"Expected `{origin.__name__}`, got `{type(plain).__name__}`")
    return origin.from_text(plain, get_args(kind), here)


def encode_plain(plain: object) -> bytes:
    """What `encode` gives, without looking again at what `to_plain` made. `ValueError` beyond its limits."""
    try:
        data = cbor2.dumps(plain)
    except UnicodeEncodeError as error:
        raise ValueError(f"text with half a surrogate pair cannot be sent ({error})") from error
    if len(data) > COUNT_MAX:  # else there cannot be too many: each takes a byte at least
        check_count(data)
    return data


def _plain(value: object, depth: int) -> object:
    kind = type(value)
    if kind in _SCALARS:
        return value
    return _way(kind)(value, depth)


def _whole(value: Any, depth: int) -> object:
    whole = int.__int__(value)
    if not INTEGER_MIN <= whole <= INTEGER_MAX:
        raise _UnfitError(f"{whole.bit_length()} bits, and an int may have 63 and a sign; send it as str or bytes")
    return whole


def _single(value: Any, depth: int) -> object:
    """By msgspec: dates and times in ISO 8601, UUID and Decimal as text, an enum's member as its value."""
    try:
        return _plain(msgspec.to_builtins(value, builtin_types=(bytes,)), depth + 1)
    except (TypeError, ValueError) as error:
        raise _UnfitError(str(error)) from None


def _moment(value: Any, depth: int) -> object:
    # msgspec drops the seconds of an offset from UTC, and with them the instant.
    offset = value.utcoffset()
    if offset is not None and offset % timedelta(minutes=1):
        if isinstance(value, time):
            raise _UnfitError("its offset from UTC has seconds; send it without")
        try:
            value = value.astimezone(UTC)
        except OverflowError:
            why = "its offset from UTC has seconds, and in UTC it is beyond the years 1 to 9999; send it without"
            raise _UnfitError(why) from None
    return _single(value, depth)


def _items(values: Iterable[object], depth: int) -> list[object]:
    if depth >= DEPTH_MAX:
        raise _UnfitError(f"more than {DEPTH_MAX} containers inside one another")
    plain: list[object] = []
    try:
        for value in values:
            plain.append(value if type(value) in _SCALARS else _plain(value, depth + 1))  # noqa: PERF401 - its length tells where
    except _UnfitError as unfit:
        unfit.path.append(f"[{len(plain)}]")
        raise
    return plain


def _list(value: Any, depth: int) -> object:
    items: list[object] = list(value)
    if set(map(type, items)) <= _SCALARS and depth < DEPTH_MAX:
        return items
    return _items(items, depth)


def _set(value: Any, depth: int) -> object:
    """Sorted by encoded bytes, so that all processes and all replicas give the same."""
    items = _items(value, depth)
    try:
        return sorted(items, key=encode_plain)
    except ValueError as error:
        raise _UnfitError(str(error)) from None


def _fields(values: Mapping[Any, object], depth: int) -> dict[Any, object]:
    if depth >= DEPTH_MAX:
        raise _UnfitError(f"more than {DEPTH_MAX} containers inside one another")
    plain: dict[Any, object] = {}
    key: object = None
    try:
        for key, value in values.items():
            plain[key] = value if type(value) in _SCALARS else _plain(value, depth + 1)
    except _UnfitError as unfit:
        unfit.path.append(f"[{key!r}]")
        raise
    return plain


def _dict(value: dict[Any, object], depth: int) -> object:
    if type(value) is not dict:
        value = dict(value.items())
    if not set(map(type, value)) <= {str, bytes}:
        keyed = {_key(key): item for key, item in value.items()}
        if len(keyed) < len(value):
            raise _UnfitError("two of its keys have the same text")
        value = keyed
    return _fields(value, depth)


def _key(key: object) -> str | bytes:
    if isinstance(key, bytes):
        return bytes.__bytes__(key)
    if isinstance(key, bool) or not isinstance(key, _KEYS):
        raise _UnfitError(f"a {type(key).__qualname__} cannot be a key", f"[{key!r}]")
    plain = _plain(key, 0)
    if isinstance(plain, list | dict):  # an enum's member
        raise _UnfitError(f"a {type(key).__qualname__} that is a container cannot be a key", f"[{key!r}]")
    (text,) = msgspec.to_builtins({plain: None}, str_keys=True)
    return str(text)


def _reference(value: Reference, depth: int) -> object:
    try:
        return value.to_text()
    except TypeError as error:
        raise _UnfitError(str(error)) from None


def _dataclass(value: Any, depth: int) -> object:
    return _fields({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, depth)


def _struct(value: Any, depth: int) -> object:
    config = value.__struct_config__
    values = [getattr(value, name) for name in value.__struct_fields__]
    if config.array_like:
        return _items(values if config.tag is None else [config.tag, *values], depth)
    named = dict(zip(value.__struct_encode_fields__, values, strict=True))
    if config.tag is not None:
        named = {config.tag_field: config.tag, **named}
    return _fields({name: item for name, item in named.items() if item is not msgspec.UNSET}, depth)


_Way = Callable[[Any, int], object]

_WAYS: Final[Mapping[type, _Way]] = {
    enum.Enum: _single,
    bool: _whole,
    int: _whole,
    float: lambda value, depth: float.__float__(value),
    str: lambda value, depth: str.__str__(value),
    bytes: lambda value, depth: bytes.__bytes__(value),
    list: _list,
    tuple: _list,
    set: _set,
    frozenset: _set,
    dict: _dict,
    msgspec.Struct: _struct,
    datetime: _moment,
    time: _moment,
    date: _single,
    timedelta: _single,
    UUID: _single,
    Decimal: _single,
    Reference: _reference,
}
"""How to take a value of this type, or of one derived from it, down: the first that matches counts."""


_known: Final[dict[type, _Way]] = {}
"""What `_way` found so far."""


def _way(kind: type) -> _Way:
    found = _known.get(kind)
    if found is None:
        bases = (way for known, way in _WAYS.items() if issubclass(kind, known))
        found = next(bases, _dataclass if dataclasses.is_dataclass(kind) else _unknown)
        _known[kind] = found
    return found


def _unknown(value: object, depth: int) -> object:
    raise _UnfitError(f"a {type(value).__qualname__} cannot be sent; make it a dataclass, or send what it is made of")
