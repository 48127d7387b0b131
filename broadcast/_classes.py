"""Classes by name, as a snapshot writes them down: found again only among modules that are there, and never imported.

A class of the actor's own module goes without the module's name, so that `python counter.py` and `import counter`
agree.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from actors._actor import Actor


def kind_of(kind: type) -> str | None:
    """What sort of class this is, of those that can be written down by name; None for all others."""
    return next((sort for sort, fits in SORTS.items() if fits(kind)), None)


def _is_object(kind: type) -> bool:
    """Are its instances no more than their attributes? Those of a class derived from a list, say, are."""
    try:
        object.__new__(kind)
    except TypeError:
        return False
    return dataclasses.is_dataclass(kind)


SORTS: Final[Mapping[str, Callable[[type], bool]]] = {
    "enum": lambda kind: issubclass(kind, enum.Enum),
    "namedtuple": lambda kind: kind.__bases__ == (tuple,) and "_fields" in vars(kind),
    "struct": lambda kind: issubclass(kind, msgspec.Struct),
    "dataclass": _is_object,
    "actor": lambda kind: issubclass(kind, Actor),
}


def name_of(kind: type, home: str) -> str:
    """Its name in the eyes of a class of the module `home`. Raises LookupError if it is not found by that."""
    name = kind.__qualname__ if kind.__module__ == home else f"{kind.__module__}:{kind.__qualname__}"
    if class_of(name, home) is not kind:
        raise LookupError(f"the class {kind.__module__}.{kind.__qualname__} is not what is found by that name")
    return name


def class_of(name: str, home: str) -> type:
    """The reverse. Raises LookupError."""
    module, _, path = name.rpartition(":")
    found: object = sys.modules.get(module or home)
    for step in path.split("."):
        space = vars(found) if isinstance(found, type | types.ModuleType) else cast("Mapping[str, object]", {})
        found = space.get(step)
    if not isinstance(found, type):
        raise LookupError(f"there is no class {module or home}.{path}: define it in a module that is imported")
    return found


# -- attributes --------------------------------------------------------------------------------------------------------


def slots_of(kind: type) -> tuple[str, ...]:
    """The names of what its instances keep outside of their `__dict__`."""
    return tuple(
        name
        for base in reversed(kind.__mro__)
        for name, member in vars(base).items()
        if isinstance(member, types.MemberDescriptorType)
    )


def attributes_of(value: object, slots: tuple[str, ...]) -> Mapping[str, object]:
    """All that it keeps, whatever its class makes of it."""
    kept: dict[str, object] = getattr(value, "__dict__", {})
    if not slots:
        return kept
    missing = object()
    held = {name: _slot(value, name, missing) for name in slots}
    return {name: item for name, item in held.items() if item is not missing} | kept


def _slot(value: object, name: str, missing: object) -> object:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return missing


def made(kind: type, names: tuple[str, ...], values: list[object]) -> object:
    """An instance with these attributes, without a call of anything of its class's."""
    instance: object = object.__new__(cast(Any, kind))
    for name, value in zip(names, values, strict=True):
        object.__setattr__(instance, name, value)
    return instance
