"""What a method's annotations say, and whether values of such a type can travel."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec.inspect as shape

from actors._plain import Reference

_KEYS: Final = (
    shape.AnyType,
    shape.StrType,
    shape.BytesType,
    shape.IntType,
    shape.FloatType,
    shape.DateTimeType,
    shape.DateType,
    shape.TimeType,
    shape.TimeDeltaType,
    shape.UUIDType,
    shape.DecimalType,
    shape.EnumType,
    shape.LiteralType,
)
"""Types of values that can be the keys of a dict; they travel as text."""

_SINGLES: Final = (*_KEYS, shape.NoneType, shape.BoolType)
_COLLECTIONS: Final = (shape.ListType, shape.VarTupleType, shape.SetType, shape.FrozenSetType)
_RECORDS: Final = (shape.DataclassType, shape.StructType, shape.NamedTupleType, shape.TypedDictType)


def annotation_of(function: Callable[..., object], name: str, what: str) -> Any:
    """The resolved annotation of one parameter, or of "return"; `object` where there is none.

    `what` names it in the `TypeError` that is raised if it cannot be resolved, or its values cannot travel.
    """
    written = inspect.get_annotations(function).get(name, object)
    try:
        annotation = _resolve(function, written)
    except Exception as error:
        raise TypeError(
            f"{what}: the annotation {written!r} cannot be resolved ({error}); what it names has to be in "
            "the module while the program runs, not inside a function or under TYPE_CHECKING"
        ) from error
    try:
        _check(shape.type_info(annotation), set())
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from error
    return annotation


def _resolve(function: Callable[..., object], written: object) -> Any:
    """An annotation, with what is written as text looked up where the function was written."""

    def holder() -> None: ...

    holder.__annotations__ = {"value": written}
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    return typing.get_type_hints(holder, scope, include_extras=True)["value"]


def _check(kind: shape.Type, seen: set[int]) -> None:
    """`TypeError` unless values of this type can travel. `seen`: for types that contain themselves."""
    if isinstance(kind, _SINGLES) or id(kind) in seen:
        return
    seen.add(id(kind))
    for part in _parts(kind):
        _check(part, seen)


def _parts(kind: shape.Type) -> Sequence[shape.Type]:
    """The types that values of this type are made of."""
    if isinstance(kind, shape.Metadata):
        return (kind.type,)
    if isinstance(kind, _COLLECTIONS):
        return (kind.item_type,)
    if isinstance(kind, _RECORDS):
        return [field.type for field in kind.fields]
    if isinstance(kind, shape.TupleType):
        return kind.item_types
    if isinstance(kind, shape.UnionType):
        return kind.types
    if isinstance(kind, shape.DictType):
        if not isinstance(kind.key_type, _KEYS) and not _is_object(kind.key_type):
            raise TypeError(f"{_spelled(kind.key_type)} cannot be the key of a dict that is sent; use a list of pairs")
        return (kind.value_type,)
    if isinstance(kind, shape.CustomType) and (kind.cls is object or issubclass(kind.cls, Reference)):
        return ()
    raise TypeError(f"{_spelled(kind)} cannot be sent; use plain values, containers, dataclasses or msgspec.Struct")


def _is_object(kind: shape.Type) -> bool:
    return isinstance(kind, shape.CustomType) and kind.cls is object


def _spelled(kind: shape.Type) -> str:
    """A type as a user would call it."""
    if isinstance(kind, shape.CustomType):
        return kind.cls.__qualname__
    return type(kind).__name__.removesuffix("Type").lower()
