"""Arguments that are as annotated already: of just those types, and within bounds. Most are, and need no walk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, Final, TypeAlias

from actors._protocol.codec import INTEGER_MAX, INTEGER_MIN

SCALARS: Final = (NoneType, bool, int, float, str, bytes)
"""What travels as it is."""

Check: TypeAlias = Callable[[Sequence[Any]], bool]
Opening: TypeAlias = Callable[[list[Any]], "tuple[Any, ...] | None"]


def exact(annotations: Sequence[Any]) -> Check:
    """Says of arguments whether they are exactly of these types: False where one is not a scalar.

    One argument has a check of its own, as it is the most frequent number, and this runs for each message.
    """
    if not all(annotation in SCALARS for annotation in annotations):
        return never
    if len(annotations) != 1:
        return _all(list(annotations))
    (annotation,) = annotations
    return _is_one_int if annotation is int else _one(annotation)


def opening(check: Check) -> Opening:
    """Gives the arguments of a call, `[tag, *arguments]`, where they pass the check, and None where they do not."""
    if check is _is_one_int:
        return _opened_one_int

    def opened(call: list[Any]) -> tuple[Any, ...] | None:
        arguments = tuple(call[1:])
        return arguments if check(arguments) else None

    return opened


def never(_arguments: Sequence[Any]) -> bool:
    """They have to be looked at."""
    return False


def _is_one_int(arguments: Sequence[Any]) -> bool:
    return len(arguments) == 1 and type(value := arguments[0]) is int and INTEGER_MIN <= value <= INTEGER_MAX


def _opened_one_int(call: list[Any]) -> tuple[Any, ...] | None:
    if len(call) == 2 and type(value := call[1]) is int and INTEGER_MIN <= value <= INTEGER_MAX:
        return (value,)
    return None


def _one(annotation: Any) -> Check:
    def check(arguments: Sequence[Any]) -> bool:
        return len(arguments) == 1 and type(arguments[0]) is annotation

    return check


def _all(annotations: list[Any]) -> Check:
    integers = [at for at, annotation in enumerate(annotations) if annotation is int]

    def check(arguments: Sequence[Any]) -> bool:
        if annotations != [*map(type, arguments)]:
            return False
        for at in integers:  # noqa: SIM110 - all(...) takes three times as long for one or two
            if not INTEGER_MIN <= arguments[at] <= INTEGER_MAX:
                return False
        return True

    return check
