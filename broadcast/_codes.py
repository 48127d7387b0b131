"""The codes of what a snapshot holds; the bounds; and how the single values are taken apart, and put together.

They stay what they are: a snapshot is read by later versions, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import IntEnum
from typing import Any, Final, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from broadcast._tokens import INT, TEXT

FORMAT: Final = 1
"""Of all that stands in a snapshot."""

CHUNK: Final = 2**10  # items of a container that are written, and read, at once
PART: Final = 2**16  # characters, or bytes, of what is written at once
ALIKE_MIN: Final = 8  # objects of one class that are written at once
NAMES_MAX: Final = 64  # attributes that each of them has, at most
DEPTH_MAX: Final = 100  # containers inside one another


class Code(IntEnum):
    TEXT = TEXT
    INT = INT
    LIST = 1
    TUPLE = 2
    DEQUE = 3
    DICT = 4
    ORDEREDDICT = 5
    COUNTER = 6
    DEFAULTDICT = 7
    SET = 8
    FROZENSET = 9
    STR = 10
    BYTES = 11
    BYTEARRAY = 12
    SHAPE = 13
    OBJECT = 14
    ENUM = 15
    FLAG = 16
    DATETIME = 17
    DATE = 18
    TIME = 19
    TIMEDELTA = 20
    TIMEZONE = 21
    ZONE = 22
    DECIMAL = 23
    UUID = 24
    FRACTION = 25
    REFERENCE = 26
    ALIKE = 27


FACTORIES: Final[Mapping[Any, str]] = {
    None: "",
    **{kind: kind.__name__ for kind in (int, float, str, bytes, list, dict, set, tuple, frozenset, bool)},
}
"""What a defaultdict may make its defaults with."""


@dataclass(frozen=True, slots=True)
class Single:
    """A type whose values have a few parts. make: the reverse of `parts`."""

    code: Code
    parts: Callable[[Any], tuple[object, ...]]
    make: Callable[..., object]


def _zone_parts(zone: tzinfo | None) -> object:
    if zone is None:
        return None
    if type(zone) is timezone:
        offset, *name = cast(Any, zone).__getinitargs__()
        return [offset.days, offset.seconds, offset.microseconds, *name]
    if type(zone) is ZoneInfo and zone.key:
        return zone.key
    raise TypeError(zone)


def _zone(parts: Any) -> tzinfo | None:
    if parts is None:
        return None
    if isinstance(parts, str):
        return ZoneInfo(parts)
    days, seconds, microseconds, *name = parts
    return timezone(timedelta(days, seconds, microseconds), *name)


def _datetime(text: str, fold: int, zone: object) -> datetime:
    return datetime.fromisoformat(text).replace(fold=fold, tzinfo=_zone(zone))


def _time(text: str, fold: int, zone: object) -> time:
    return time.fromisoformat(text).replace(fold=fold, tzinfo=_zone(zone))


def _uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


def _moment_parts(value: Any) -> tuple[object, ...]:
    return value.replace(tzinfo=None).isoformat(), value.fold, _zone_parts(value.tzinfo)


SINGLES: Final[Mapping[type, Single]] = {
    datetime: Single(Code.DATETIME, _moment_parts, _datetime),
    date: Single(Code.DATE, lambda value: (value.toordinal(),), date.fromordinal),
    time: Single(Code.TIME, _moment_parts, _time),
    timedelta: Single(Code.TIMEDELTA, lambda value: (value.days, value.seconds, value.microseconds), timedelta),
    timezone: Single(Code.TIMEZONE, lambda value: (_zone_parts(value),), _zone),
    ZoneInfo: Single(Code.ZONE, lambda value: (_zone_parts(value),), _zone),
    Decimal: Single(Code.DECIMAL, lambda value: (str(value),), Decimal),
    UUID: Single(Code.UUID, lambda value: (value.bytes,), _uuid),
}
