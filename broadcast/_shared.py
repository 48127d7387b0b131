"""What the instances of a class would share without a word: what can be changed, and lies in the class itself.

A command that changes it changes it for all replicas of the process at once. It is in no snapshot, is not undone, and
no digest tells of it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections import deque
from collections.abc import Iterator
from typing import Any, ClassVar, Final, cast, get_origin

import msgspec

from actors._actor import Actor

_CHANGEABLE: Final = (list, dict, set, bytearray, deque)
_MEANT: Final = re.compile(r"\s*(?:\w+\s*\.\s*)*(?:ClassVar|Final)\b")  # as an annotation that is text has it


def check_not_shared(instance: Actor) -> None:
    """Raise TypeError for what the instances of its class would share. `instance`: as one is made.

    What every instance has an attribute of its own for is only a default. What is annotated as `ClassVar` or `Final`
    is the user's word.
    """
    for base, name, value in _in_classes(type(instance)):
        if name not in vars(instance) and is_changeable(value) and not _is_meant(type(instance), name):
            raise TypeError(
                f"{base.__qualname__}.{name} is {_article(value)} that lies in the class: all replicas in a process "
                f"would share it, and what a command changes there is in no snapshot, and not undone. Make it in "
                f"__init__ (self.{name} = ...); or say {name}: ClassVar[...], if no command ever changes it"
            )


def is_changeable(value: object) -> bool:
    """Is this a container of data, or a record, that can be changed, or a tuple of such?"""
    kind = type(value)
    if isinstance(value, tuple):
        return any(map(is_changeable, cast("tuple[object, ...]", value)))
    if isinstance(value, msgspec.Struct):
        return not value.__struct_config__.frozen
    if dataclasses.is_dataclass(kind):
        return not cast(Any, kind).__dataclass_params__.frozen
    return isinstance(value, _CHANGEABLE)


def _in_classes(kind: type) -> Iterator[tuple[type, str, object]]:
    """The attributes of the user's classes that an instance sees, each with the class where it lies."""
    seen = set[str]()
    for base in kind.__mro__:
        if base in Actor.__mro__:
            continue
        for name, value in vars(base).items():
            is_ours = name.startswith("__") and name.endswith("__")
            if name not in seen and not is_ours and not isinstance(value, types.MemberDescriptorType):
                yield base, name, value
            seen.add(name)


def _is_meant(kind: type, name: str) -> bool:
    """Does a class say that this is its own, and not its instances'?"""
    for base in kind.__mro__:
        annotation: object = inspect.get_annotations(base).get(name)
        if isinstance(annotation, str):
            return _MEANT.match(annotation) is not None
        if annotation is not None:
            return any(each in (ClassVar, Final) for each in (annotation, get_origin(annotation)))
    return False


def _article(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
