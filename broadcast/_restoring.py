"""The reverse of `_state.py`: values made of their bytes. Nothing is imported for it, and nothing of a user's run.

(But for what a dict or a set asks of its own keys: their hash, and whether they are equal.)
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Flag
from fractions import Fraction
from typing import Any, ClassVar, Final, cast

from actors._actor import Actor
from actors._ref import ActorRef, GroupName
from broadcast._classes import SORTS, class_of, made
from broadcast._codes import ALIKE_MIN, CHUNK, DEPTH_MAX, FACTORIES, FORMAT, PART, SINGLES, Code
from broadcast._errors import CannotRestore
from broadcast._tokens import Frames


class Decoder:
    """Reads values that were written by one encoder. home: the module of the actor's class."""

    def __init__(self, frames: Frames, home: str) -> None:
        self._frames = frames
        self._home = home
        self._tokens: list[object] = []
        self._at = 0
        self._depth = 0
        self._shapes: list[tuple[Callable[[list[object]], object], int]] = []  # and the number of their values
        self._classes: dict[tuple[str, str], Any] = {}

    def value(self) -> Any:
        """The next value. Raises `CannotRestore`, whatever it is that goes wrong: nobody knows what damage comes to."""
        try:
            return self._value()
        except (CannotRestore, MemoryError):
            raise
        except Exception as error:
            raise CannotRestore(f"{type(error).__qualname__}: {error}") from error

    # -- tokens ----------------------------------------------------------------------------------------------------

    def _value(self) -> object:
        token: Any = self._token()
        return self._open(token) if type(token) is list else token  # pyright: ignore[reportUnknownArgumentType]

    def _token(self) -> object:
        while self._at == len(self._tokens):
            self._tokens, self._at = self._frames.read(), 0
        self._at += 1
        return self._tokens[self._at - 1]

    def _head(self) -> list[Any]:
        """Of the next value, if it has one."""
        token: Any = self._token()
        return cast(Any, token) if type(token) is list else [None]

    def _values(self, count: int) -> list[object]:
        """The next ones: not more than are written at once."""
        part = self._tokens[self._at : self._at + count]
        if len(part) == count and list not in set(map(type, part)):
            self._at += count
            return part
        if count >= ALIKE_MIN:
            return self._mixed(count)
        return [self._value() for _ in range(count)]

    def _mixed(self, count: int) -> list[object]:
        head = self._head()
        while head[0] == Code.SHAPE:
            self._learn(*head[1:])
            head = self._head()
        if head[0] == Code.ALIKE:
            return self._alike(head[1], count)
        self._at -= 1
        return [self._value() for _ in range(count)]

    def _alike(self, number: int, count: int) -> list[object]:
        make, size = self._shapes[number]
        rows = self._values(count * size)
        return [make(rows[at : at + size]) for at in range(0, count * size, size)]

    def _parts(self, count: int) -> Iterator[list[object]]:
        for at in range(0, count, CHUNK):
            yield self._values(min(CHUNK, count - at))

    def _open(self, head: list[Any]) -> object:
        code = head[0]
        if code in _SINGLES:
            return _SINGLES[code](*head[1:])
        self._depth += 1
        if self._depth > DEPTH_MAX + 1:
            raise CannotRestore(f"it is damaged: more than {DEPTH_MAX} containers inside one another")
        value = self._ways[code](self, *head[1:])
        self._depth -= 1
        return value

    # -- objects ---------------------------------------------------------------------------------------------------

    def _class(self, sort: str, name: str) -> Any:
        found = self._classes.get((sort, name))
        if found is None:
            found = class_of(name, self._home)
            if not SORTS[sort](found):
                raise CannotRestore(f"{name} was a {sort}, and is none here: start with the class it was taken of")
            self._classes[sort, name] = found
        return found

    def _learn(self, sort: str, name: str, *names: str) -> None:
        kind = self._class(sort, name)
        self._shapes.append((_MAKERS[sort](kind, names), len(names)))

    def _shape(self, *parts: str) -> object:
        self._learn(*parts)
        self._depth -= 1
        value = self._value()
        self._depth += 1
        return value

    def _object(self, number: int) -> object:
        make, size = self._shapes[number]
        return make(self._list(size))

    def _enum(self, name: str, member: str) -> object:
        return self._class("enum", name).__members__[member]

    def _flag(self, name: str) -> object:
        kind, value = self._class("enum", name), self._value()
        member = kind._value2member_map_.get(value)
        return cast(Any, Flag)._missing_.__func__(kind, value) if member is None else member

    def _reference(self, text: str, name: str) -> object:
        kind = self._class("actor", name)
        return ActorRef(text, kind) if "/" in text else GroupName(text, kind)

    # -- containers ------------------------------------------------------------------------------------------------

    def _list(self, count: int) -> list[object]:
        if count <= CHUNK:
            return self._values(count)
        values: list[object] = []
        for part in self._parts(count):
            values.extend(part)
        return values

    def _tuple(self, count: int) -> tuple[object, ...]:
        return tuple(self._list(count))

    def _deque(self, count: int, length_max: int | None) -> deque[object]:
        return deque(self._list(count), length_max)

    def _fill(self, mapping: dict[object, object], count: int) -> dict[object, object]:
        for at in range(0, count, CHUNK):
            some = min(CHUNK, count - at)
            keys = self._values(some)
            _update(mapping, zip(keys, self._values(some), strict=True))
        if len(mapping) != count:
            raise CannotRestore("two keys that differed are equal here: start with the class it was taken of")
        return mapping

    def _dict(self, count: int) -> object:
        return self._fill({}, count)

    def _ordered(self, count: int) -> object:
        mapping = OrderedDict[object, object]()
        for at in range(0, count, CHUNK):
            some = min(CHUNK, count - at)
            keys = self._values(some)
            mapping.update(zip(keys, self._values(some), strict=True))
        return mapping

    def _counter(self, count: int) -> object:
        return self._fill(cast("dict[object, object]", Counter[object]()), count)

    def _defaultdict(self, count: int, factory: str) -> object:
        return self._fill(defaultdict(_FACTORIES[factory]), count)

    def _set(self, count: int, apart: bool) -> set[object]:
        items = set[object]()
        for part in self._parts(count):
            items.update(map(self._apart, part) if apart else part)
        if len(items) != count:
            raise CannotRestore("two items that differed are equal here: start with the class it was taken of")
        return items

    def _apart(self, data: object) -> object:
        decoder = Decoder(Frames([cast(bytes, data)]), self._home)
        decoder._depth = self._depth
        return decoder._value()

    def _frozenset(self, count: int, apart: bool) -> object:
        return frozenset(self._set(count, apart))

    def _joined(self, size: int) -> Iterator[Any]:
        return (self._value() for _ in range(0, size, PART))

    def _str(self, size: int) -> object:
        return "".join(self._joined(size))

    def _bytes(self, size: int) -> object:
        return b"".join(self._joined(size))

    def _bytearray(self, size: int) -> object:
        return bytearray().join(self._joined(size))

    def _fraction(self) -> object:
        numerator, denominator = self._values(2)
        return Fraction(cast(int, numerator), cast(int, denominator))

    _ways: ClassVar[Mapping[int, Callable[..., object]]] = {
        Code.OBJECT: _object,
        Code.SHAPE: _shape,
        Code.LIST: _list,
        Code.TUPLE: _tuple,
        Code.DEQUE: _deque,
        Code.DICT: _dict,
        Code.ORDEREDDICT: _ordered,
        Code.COUNTER: _counter,
        Code.DEFAULTDICT: _defaultdict,
        Code.SET: _set,
        Code.FROZENSET: _frozenset,
        Code.STR: _str,
        Code.BYTES: _bytes,
        Code.BYTEARRAY: _bytearray,
        Code.ENUM: _enum,
        Code.FLAG: _flag,
        Code.FRACTION: _fraction,
        Code.REFERENCE: _reference,
    }


_update: Final = cast("Callable[[dict[object, object], Iterable[tuple[object, object]]], None]", cast(Any, dict).update)
"""Also for a Counter, whose own adds."""


def _int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


_SINGLES: Final[Mapping[int, Callable[..., object]]] = {
    Code.INT: _int,
    Code.TEXT: _text,
    **{single.code: single.make for single in SINGLES.values()},
}

_FACTORIES: Final[Mapping[str, Any]] = {name: kind for kind, name in FACTORIES.items()}


def _object_maker(kind: type, names: tuple[str, ...]) -> Callable[[list[object]], object]:
    return lambda values: made(kind, names, values)


def _struct_maker(kind: Any, names: tuple[str, ...]) -> Callable[[list[object]], object]:
    """Its constructor, which runs nothing of the user's where there is no `__post_init__`."""
    if hasattr(kind, "__post_init__") or kind.__struct_fields__ != names:
        raise CannotRestore(f"{kind.__qualname__} had the fields {', '.join(names)}, and is another Struct here")
    return lambda values: kind(**dict(zip(names, values, strict=True)))


def _tuple_maker(kind: Any, names: tuple[str, ...]) -> Callable[[list[object]], object]:
    if kind._fields != names:
        raise CannotRestore(
            f"the NamedTuple {kind.__qualname__} had the fields {', '.join(names)}, and is another here"
        )
    return lambda values: cast(Any, tuple).__new__(kind, values)


_MAKERS: Final[Mapping[str, Callable[[Any, tuple[str, ...]], Callable[[list[object]], object]]]] = {
    "dataclass": _object_maker,
    "struct": _struct_maker,
    "namedtuple": _tuple_maker,
}


# -- of an actor -------------------------------------------------------------------------------------------------------


def restore_state(actor: Actor, pieces: Iterable[bytes]) -> Frames:
    """Have an instance that was just made `restore` a state; returns what comes after it. Raises `CannotRestore`."""
    frames = Frames(pieces)
    written = frames.read()
    if written != [FORMAT]:
        raise CannotRestore(f"it is written in the format {written}, and [{FORMAT}] is what this version reads")
    state = Decoder(frames, type(actor).__module__).value()
    try:
        actor.restore(state)
    except Exception as error:
        name = type(actor).__qualname__
        raise CannotRestore(f"{name}.restore() raised {type(error).__qualname__}: {error}") from error
    return frames
