"""Many small things in messages of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

COUNT_MAX = 1_000  # things in one message
SIZE_MAX = 1024 * 1024  # bytes of things in one message; a single larger one makes one alone

T = TypeVar("T")


def portions(things: Iterable[T], size: Callable[[T], int]) -> Iterator[tuple[T, ...]]:
    """The things in their order, in portions that a message holds by number and by bytes."""
    part: list[T] = []
    taken = 0
    for thing in things:
        more = size(thing)
        if part and (len(part) == COUNT_MAX or taken + more > SIZE_MAX):
            yield tuple(part)
            part, taken = [], 0
        part.append(thing)
        taken += more
    if part:
        yield tuple(part)


def is_portion(sizes: Iterable[int]) -> bool:
    """Is what has these sizes no more than one message should hold?"""
    count = total = 0
    for size in sizes:
        count, total = count + 1, total + size
    return count <= 1 or (count <= COUNT_MAX and total <= SIZE_MAX)
