"""The calls of a run, from the bytes in the log to a method and its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from actors._actor import Kind
from actors._interface import Interface, Method
from actors._protocol.codec import DecodeError, decode, is_plain, parse
from actors._protocol.errors import InvalidMessage
from broadcast._protocol.entries import Commands, Due, Run, decode_entries, span
from broadcast._protocol.position import Batch

# Agreed, so that every replica draws the line at the same place: room for one call of the largest size that a
# configuration allows, and for the calls of the longest run that a submitter makes, should every byte be a value.
CALLS_SIZE_MAX = 2**23 + 2**10  # bytes of one run's calls
CALLS_COUNT_MAX = 2**18 + 1  # values in one run's calls
IN_RUN = 1  # container that a call lies in


def open_calls(entry: Commands) -> Sequence[object]:
    """The calls of a run, opened; their leaves are for `open_call` to check. What cannot be opened counts as a call
    that no class understands."""
    try:
        calls = parse(entry.calls, CALLS_SIZE_MAX, CALLS_COUNT_MAX)
    except DecodeError:
        calls = None
    if not isinstance(calls, list) or len(cast("list[object]", calls)) != entry.count:
        return [False] * entry.count
    return cast("list[object]", calls)


def open_effect(call: bytes) -> object:
    """One that was left for later, and is due. As a call of a run: what cannot be opened, no class understands."""
    try:
        return decode(call)
    except DecodeError:
        return False


def is_call(call: object) -> bool:
    """May a class understand this? What is not even a tag with plain arguments, none does, whatever its version."""
    if not isinstance(call, list) or not call:
        return False
    parts = cast("list[object]", call)
    return type(parts[0]) is str and is_plain(parts, IN_RUN)


def is_encoded_call(data: bytes) -> bool:
    """Is this one, encoded?"""
    try:
        return is_call(decode(data))
    except DecodeError:
        return False


def tag_of(call: object) -> str:
    """Of what `is_call`."""
    return cast("list[str]", call)[0]


def open_call(interface: Interface, call: object, kind: Kind | None = None) -> tuple[Method, tuple[object, ...]]:
    """The method and the typed arguments of a call. `InvalidMessage` if the class has none such of this kind."""
    parts: list[Any] = call if type(call) is list else []  # pyright: ignore[reportUnknownVariableType]  # a cast costs
    if not parts:
        raise InvalidMessage("a call is a list that begins with a tag")
    method = interface.methods.get(parts[0]) if type(parts[0]) is str else None
    if method is None or (kind is not None and kind != method.kind):
        raise InvalidMessage(f"there is no {kind or 'message'} with the tag {parts[0]!r}")
    opened = method.opened(parts)
    if opened is not None:
        return method, opened
    arguments = parts[1:]
    if not is_plain(arguments, IN_RUN):
        raise InvalidMessage(f"{method.label}: its arguments are not plain values")
    return method, method.unpack(arguments)


def runs_of(batch: Batch) -> Iterator[tuple[Run, int]]:
    """The runs of a batch, each with its first index."""
    index = batch.first
    for entry in decode_entries(batch.entries):
        if isinstance(entry, Commands | Due):
            yield entry, index
        index += span(entry)
