"""Any value of a message's type, within the bounds that the type itself states."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from actors._protocol.codec import INTEGER_MAX, INTEGER_MIN

TEXT = st.characters(exclude_categories=["Cs"])
MANY = 4  # items, where the type allows any number


def values(kind: Any) -> st.SearchStrategy[Any]:
    """A strategy for what `msgspec.convert(..., kind)` gives."""
    return _values(inspect.type_info(kind))


def _values(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.CustomType(cls=kind) if kind is object:  # whatever is plain
            return st.none() | st.integers(INTEGER_MIN, INTEGER_MAX) | st.text(TEXT, max_size=9) | st.binary(max_size=9)
        case inspect.IntType():
            least = INTEGER_MIN if info.ge is None else info.ge
            most = INTEGER_MAX if info.le is None else info.le
            return st.integers(least, most) | st.sampled_from((least, most))
        case inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern)
        case inspect.StrType():
            return st.text(TEXT, min_size=info.min_length or 0, max_size=min(info.max_length or 20, 20))
        case inspect.BytesType():
            least = info.min_length or 0
            return st.binary(min_size=least, max_size=max(least, min(info.max_length or 20, 20)))
        case inspect.ListType():
            return _lists(info)
        case inspect.VarTupleType():
            return _lists(info).map(tuple)
        case inspect.TupleType():
            return st.tuples(*map(_values, info.item_types))
        case inspect.DictType():
            return st.dictionaries(_values(info.key_type), _values(info.value_type), max_size=MANY)
        case inspect.EnumType():
            return st.sampled_from(info.cls)
        case inspect.UnionType():
            return st.one_of(*map(_values, info.types))
        case inspect.StructType():
            fields = {field.name: _values(field.type) for field in info.fields}
            return st.builds(partial(_made, info), **fields).filter(lambda made: made is not None)
        case _:
            raise TypeError(f"no values of {info}")


def _made(info: inspect.StructType, **fields: Any) -> Any:
    """Where fields do not go together, the optional ones are left out; if that does not help, another is drawn."""
    try:
        return info.cls(**fields)
    except ValueError:
        pass
    try:
        return info.cls(**{field.name: fields[field.name] for field in info.fields if field.required})
    except ValueError:
        return None


def _lists(info: inspect.ListType | inspect.VarTupleType) -> st.SearchStrategy[list[Any]]:
    return st.lists(_values(info.item_type), min_size=info.min_length or 0, max_size=MANY)


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with a few of them changed, removed, added or repeated."""
    at = st.integers(0, len(data))
    change = st.tuples(st.sampled_from(("set", "cut", "insert", "repeat", "end")), at, st.integers(0, 255))
    return st.lists(change, min_size=1, max_size=4).map(lambda changes: _apply(data, changes))


def _apply(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    for change, at, byte in changes:
        before, after = data[:at], data[at:]
        match change:
            case "set":
                data = before + bytes((byte,)) + after[1:]
            case "cut":
                data = before + after[1 + byte % 8 :]
            case "insert":
                data = before + bytes((byte,)) + after
            case "repeat":
                data = before + after[: byte % 32] * 2 + after
            case _:
                data = before
    return data


def struct_kinds(union: Any) -> list[type[msgspec.Struct]]:
    """The structs of a union of structs."""
    info = inspect.type_info(union)
    kinds = info.types if isinstance(info, inspect.UnionType) else (info,)
    return [kind.cls for kind in kinds if isinstance(kind, inspect.StructType)]
