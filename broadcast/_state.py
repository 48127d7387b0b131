"""An actor's state as bytes, exactly, and back: equal states give equal bytes, and what comes back is what there was.

Types have codes of our own, and nothing of a user's class is run. Order is kept, but in sets, which are sorted. Values
are written as a stream of tokens (see `_tokens.py`): a single value is a token, or a *head* that holds it; a container
is a head with the number of its items, and those follow. Nothing refers back to what came before: whether two equal
tuples are one object is no part of the state, and where it would be, of two equal lists, it is refused.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Flag
from fractions import Fraction
from itertools import chain, islice
from typing import Any, ClassVar, Final, cast

import msgspec

from actors._actor import Actor
from actors._ref import ActorRef, GroupName
from broadcast._classes import attributes_of, kind_of, name_of, slots_of
from broadcast._codes import ALIKE_MIN, CHUNK, DEPTH_MAX, FACTORIES, FORMAT, NAMES_MAX, PART, SINGLES, Code
from broadcast._errors import CannotCapture
from broadcast._tokens import FRAME_SIZE, SCALARS, SIZED, TOKENS_MAX, frame

_TAKEN: Final = object()
"""Stands for many items of a container, which were written at once."""

_HINT = "keep it out of the attributes, or override snapshot() and restore()"
_ONCE = "keep it once, and a key to it elsewhere; or override snapshot() and restore()"

_Items = Iterator[object] | None
"""The items of a container that are still to be written, if any."""


class _UnfitError(Exception):
    """Why something cannot be written."""


@dataclass(slots=True)
class _Shape:
    """Instances of a class that have these attributes, and where they stand among all that was met. known: written."""

    names: tuple[str, ...]
    head: list[object]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What there is to know of a user's class. slots: what its instances keep outside of their `__dict__`."""

    sort: str
    name: str
    slots: tuple[str, ...]
    frozen: bool


class Encoder:
    """Writes values one after the other. home: the module of the actor's class."""

    def __init__(self, home: str, depth: int = 0, seen: set[int] | None = None) -> None:
        self._home = home
        self._depth = depth  # containers around the value
        self._seen = set[int]() if seen is None else seen  # what can be changed, by id
        self._tokens: list[object] = []
        self._size = 0
        self._kinds: dict[type, _Kind] = {}
        self._shapes: dict[tuple[type, tuple[str, ...]], _Shape] = {}
        self._latest: dict[type, _Shape] = {}

    def pieces(self, value: object, path: str = "", *, attributes: bool = False) -> Iterator[bytes]:
        """The bytes of `value`, made as they are taken: it must not change meanwhile.

        path: to it, for people; attributes: it is what holds those of an object. Raises `CannotCapture`, with the path
        to the culprit.
        """
        around: list[object] = []
        below: list[Iterator[object]] = [iter((value,))]
        item: object = None
        try:
            while below:
                for item in below[-1]:
                    kind = type(item)
                    if kind in SCALARS and (kind not in SIZED or len(cast(Any, item)) <= PART):
                        self._tokens.append(item)
                        if kind in SIZED:
                            self._size += len(cast(Any, item))
                    elif item is not _TAKEN:
                        items = self._enter(item, kind)
                        if items is not None:
                            if len(around) + self._depth >= DEPTH_MAX:
                                raise _UnfitError(f"lies in more than {DEPTH_MAX} containers; {_HINT}")
                            around.append(item)
                            below.append(items)
                            break
                    if len(self._tokens) >= TOKENS_MAX or self._size >= FRAME_SIZE:
                        yield self._frame()
                else:
                    below.pop()
                    if around:
                        around.pop()
        except _UnfitError as unfit:
            steps = [_step(holder, held) for holder, held in zip(around, [*around, item][1:], strict=True)]
            if attributes and steps:
                steps[0] = f".{next(name for name, held in cast(Any, value).items() if held is [*around, item][1])}"
            raise CannotCapture(f"{path}{''.join(steps)} {unfit}") from None
        if self._tokens:
            yield self._frame()

    def _frame(self) -> bytes:
        made = frame(self._tokens)
        self._tokens.clear()
        self._size = 0
        return made

    # -- values ----------------------------------------------------------------------------------------------------

    def _enter(self, value: object, kind: type) -> _Items:
        """Write what is no token, or its head and some of its items; returns the rest."""
        way = self._ways.get(kind)
        if way is not None:
            return way(self, value)
        single = SINGLES.get(kind)
        if single is not None:
            try:
                self._tokens.append([single.code, *single.parts(value)])
            except TypeError:
                raise _UnfitError("has a tzinfo that cannot be put in a snapshot; use UTC or a zoneinfo") from None
            return None
        return self._object(value, kind)

    def _object(self, value: object, kind: type) -> _Items:
        known = self._kinds.get(kind)
        if known is None:
            known = self._kinds[kind] = self._learn(value, kind)
        if known.sort == "enum":
            return self._member(value, known)
        if not known.frozen:
            self._once(value)
        attributes = self._attributes(value, known)
        return self._shaped(kind, known, tuple(attributes), [*attributes.values()])

    def _attributes(self, value: object, known: _Kind) -> Mapping[str, object]:
        if known.sort == "namedtuple":
            return dict(zip(known.slots, cast("tuple[object, ...]", value), strict=True))
        return attributes_of(value, known.slots)

    def _shaped(self, kind: type, known: _Kind, names: tuple[str, ...], values: Sequence[object]) -> _Items:
        shape = self._latest.get(kind)
        if shape is None or shape.names != names:
            shape = self._shape(kind, known, names)
        self._tokens.append(shape.head)
        return self._items(values)

    def _shape(self, kind: type, known: _Kind, names: tuple[str, ...]) -> _Shape:
        """Written when it is met for the first time."""
        shape = self._shapes.get((kind, names))
        if shape is None:
            shape = self._shapes[kind, names] = _Shape(names, [Code.OBJECT, len(self._shapes)])
            self._tokens.append([Code.SHAPE, known.sort, known.name, *names])
        self._latest[kind] = shape
        return shape

    def _member(self, value: Any, known: _Kind) -> _Items:
        if isinstance(value, Flag):
            self._tokens.append([Code.FLAG, known.name])
            return iter((value.value,))
        self._tokens.append([Code.ENUM, known.name, value.name])
        return None

    def _learn(self, value: object, kind: type) -> _Kind:
        sort = kind_of(kind)
        if sort is None or sort == "actor":
            raise _UnfitError(f"is a {kind.__qualname__}, which cannot be put in a snapshot; {_HINT}")
        if sort == "struct":
            if hasattr(kind, "__post_init__"):
                raise _UnfitError(f"is a {kind.__qualname__}, a Struct with a __post_init__; make it a dataclass")
            if hasattr(value, "__dict__"):
                raise _UnfitError(f"is a {kind.__qualname__}, a Struct with a __dict__; make it a dataclass")
        return _Kind(sort, self._name_of(kind), _SLOTS[sort](kind), _is_frozen(sort, kind))

    def _name_of(self, kind: type) -> str:
        try:
            return name_of(kind, self._home)
        except LookupError as error:
            raise _UnfitError(f"cannot be put in a snapshot: {error}") from None

    def _once(self, value: object) -> None:
        """What can be changed is reached on one way only: of what is restored, no two would be one."""
        if id(value) in self._seen:
            raise _UnfitError(f"is reached twice, and would be two things when it is restored: {_ONCE}")
        self._seen.add(id(value))

    # -- containers ------------------------------------------------------------------------------------------------

    def _items(self, values: Sequence[object]) -> _Items:
        if len(values) > CHUNK:
            return self._chunks(values)
        return None if self._take(values) else iter(values)

    def _chunks(self, values: Sequence[object]) -> Iterator[object]:
        for at in range(0, len(values), CHUNK):
            part = values[at : at + CHUNK]
            if self._take(part):
                yield _TAKEN
            else:
                yield from part

    def _take(self, values: Sequence[object]) -> bool:
        """Write them at once, if they are tokens all, and not too large."""
        kinds = set(map(type, values))
        if not kinds <= SCALARS:
            return len(kinds) == 1 and len(values) >= ALIKE_MIN and self._take_alike(values, kinds.pop())
        if kinds & SIZED:
            size = sum(len(each) for each in values if type(each) is str or type(each) is bytes)
            if size > FRAME_SIZE:
                return False
            self._size += size
        self._tokens.extend(values)
        return True

    def _take_alike(self, values: Sequence[object], kind: type) -> bool:
        """Write objects of one class at once, if they have the same attributes, tokens all: most large states do."""
        known, seen = self._kinds.get(kind), self._seen
        if known is None or known.sort == "enum":
            return False
        first = self._attributes(values[0], known)
        names = tuple(first)
        if not 1 <= len(names) <= NAMES_MAX or not set(map(type, first.values())) <= SCALARS:
            return False
        rows = [self._attributes(value, known) for value in values]
        ids: set[int] = set() if known.frozen else set(map(id, values))
        if any(tuple(row) != names for row in rows) or len(ids) not in (0, len(values)) or not seen.isdisjoint(ids):
            return False
        number = self._shape(kind, known, names).head[1]
        self._tokens.append([Code.ALIKE, number])
        if not self._take([item for row in rows for item in row.values()]):
            self._tokens.pop()
            return False
        seen.update(ids)
        return True

    def _list(self, value: Any) -> _Items:
        self._once(value)
        self._tokens.append([Code.LIST, len(value)])
        return self._items(value)

    def _tuple(self, value: Any) -> _Items:
        self._tokens.append([Code.TUPLE, len(value)])
        return self._items(value)

    def _deque(self, value: Any) -> _Items:
        self._once(value)
        self._tokens.append([Code.DEQUE, len(value), value.maxlen])
        return self._items([*value])

    def _dict(self, value: Any) -> _Items:
        self._once(value)
        self._tokens.append([_MAPPINGS[type(value)], len(value)])
        return self._pairs(value)

    def _defaultdict(self, value: Any) -> _Items:
        self._once(value)
        factory = FACTORIES.get(value.default_factory)
        if factory is None:
            known = ", ".join(filter(None, FACTORIES.values()))
            raise _UnfitError(f"is a defaultdict of another default than {known}; {_HINT}")
        self._tokens.append([Code.DEFAULTDICT, len(value), factory])
        return self._pairs(value)

    def _pairs(self, value: dict[object, object]) -> _Items:
        """In turn some keys, and as many values."""
        if len(value) <= CHUNK:
            keys, values = [*value], [*value.values()]
            if self._take(keys):
                return None if self._take(values) else iter(values)
            return chain(keys, values)
        return self._many_pairs(value)

    def _many_pairs(self, value: dict[object, object]) -> Iterator[object]:
        keys, values = iter(value), iter(value.values())
        while part := [*islice(keys, CHUNK)]:
            for half in (part, [*islice(values, CHUNK)]):
                if self._take(half):
                    yield _TAKEN
                else:
                    yield from half

    def _set(self, value: Any) -> _Items:
        """Sorted by the bytes of each item: those of a token, or else all that are written for it alone."""
        code = _SETS[type(value)]
        if code is Code.SET:
            self._once(value)
        if set(map(type, value)) <= SCALARS:
            try:
                items = sorted(value, key=msgspec.msgpack.encode)
                self._tokens.append([code, len(value), False])
                return self._items(items)
            except (OverflowError, UnicodeEncodeError):  # of a large integer, say
                pass
        apart = sorted(map(self._apart, value))
        self._tokens.append([code, len(value), True])
        return self._items(apart)

    def _apart(self, item: object) -> bytes:
        if self._depth >= DEPTH_MAX:
            raise _UnfitError(f"lies in more than {DEPTH_MAX} containers; {_HINT}")
        try:
            return b"".join(Encoder(self._home, self._depth + 1, self._seen).pieces(item, "an item of it"))
        except CannotCapture as error:
            raise _UnfitError(f"cannot be put in a snapshot: {error}") from None

    def _large(self, value: Any) -> _Items:
        if type(value) is bytearray:
            self._once(value)
        self._tokens.append([_LARGE[type(value)], len(value)])
        return (self._part(value[at : at + PART]) for at in range(0, len(value), PART))

    def _part(self, part: Any) -> object:
        return bytes(part) if type(part) is bytearray else part

    def _fraction(self, value: Any) -> _Items:
        self._tokens.append([Code.FRACTION])
        return iter((value.numerator, value.denominator))

    def _reference(self, value: Any) -> _Items:
        self._tokens.append([Code.REFERENCE, value.to_text(), self._name_of(value.interface.actor)])
        return None

    _ways: ClassVar[Mapping[type, Callable[..., _Items]]] = {
        list: _list,
        tuple: _tuple,
        deque: _deque,
        dict: _dict,
        OrderedDict: _dict,
        Counter: _dict,
        defaultdict: _defaultdict,
        set: _set,
        frozenset: _set,
        str: _large,
        bytes: _large,
        bytearray: _large,
        Fraction: _fraction,
        ActorRef: _reference,
        GroupName: _reference,
    }


_MAPPINGS: Final[Mapping[type, Code]] = {dict: Code.DICT, OrderedDict: Code.ORDEREDDICT, Counter: Code.COUNTER}
_SETS: Final[Mapping[type, Code]] = {set: Code.SET, frozenset: Code.FROZENSET}
_LARGE: Final[Mapping[type, Code]] = {str: Code.STR, bytes: Code.BYTES, bytearray: Code.BYTEARRAY}


_SLOTS: Final[Mapping[str, Callable[[Any], tuple[str, ...]]]] = {
    "enum": lambda kind: (),
    "namedtuple": lambda kind: kind._fields,
    "struct": lambda kind: kind.__struct_fields__,
    "dataclass": slots_of,
}


def _is_frozen(sort: str, kind: Any) -> bool:
    if sort == "dataclass":
        return bool(kind.__dataclass_params__.frozen)
    return sort != "struct" or bool(kind.__struct_config__.frozen)


def _step(holder: Any, held: object) -> str:
    """How one gets from a container to what it holds."""
    slots = slots_of(cast(object, holder).__class__)
    fields: Sequence[str] = getattr(holder, "_fields", ())
    if isinstance(holder, dict):
        found = (f"[{key!r}]" for key, item in cast("dict[object, object]", holder).items() if item is held)
        return next(found, f" (the key {held!r})")
    if isinstance(holder, list | tuple | deque) and not fields:
        items = enumerate(cast("Iterable[object]", holder))
        return next((f"[{at}]" for at, item in items if item is held), "")
    names = [*fields, *getattr(cast(object, holder), "__dict__", ()), *slots]
    return next((f".{name}" for name in names if getattr(cast(object, holder), name, None) is held), "")


# -- of an actor -------------------------------------------------------------------------------------------------------


def encode_state(actor: Actor) -> Iterator[bytes]:
    """What `actor.snapshot()` gives, as bytes, behind the number of their format. Raises `CannotCapture`."""
    name = type(actor).__qualname__
    try:
        state = actor.snapshot()
    except Exception as error:
        raise CannotCapture(f"{name}.snapshot() raised {type(error).__qualname__}: {error}") from error
    plain = state is vars(actor)
    yield frame([FORMAT])
    encoder = Encoder(type(actor).__module__)
    yield from encoder.pieces(state, f"{name}: {'self' if plain else 'snapshot()'}", attributes=plain)


def check_capturable(actor: Actor) -> None:
    """Raise `CannotCapture` unless this state can be put in a snapshot."""
    for _ in encode_state(actor):
        pass
