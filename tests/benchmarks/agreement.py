"""What must hold after each case: everybody counted the same, and that is what was answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio
from children import Child, Message

SETTLE_SECONDS_MAX = 60.0
SETTLE_PAUSE = 0.02  # seconds between two looks


class NotTheSame(Exception):
    """The state at the end is not what it must be."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one round of one system came to.

    figures: by name. answered: commands whose answer came, warming up included. values: what each replica's counter
    says at the end.
    """

    figures: dict[str, float]
    answered: int
    values: list[int]


async def agreed(members: Sequence[Child], alike: Callable[[list[Message]], bool]) -> list[Message]:
    """What the members say of themselves, once it is as it must be. Raises NotTheSame if that does not come."""
    told = [await each.ask("status", SETTLE_SECONDS_MAX) for each in members]
    with trio.move_on_after(SETTLE_SECONDS_MAX):
        while not alike(told):
            await trio.sleep(SETTLE_PAUSE)
            told = [await each.ask("status", SETTLE_SECONDS_MAX) for each in members]
    if not alike(told):
        raise NotTheSame(f"{', '.join(each.name for each in members)} are not as they must be: {told}")
    return told


def all_count(total: int) -> Callable[[list[Message]], bool]:
    """Does every counter say this?"""
    return lambda told: all(each["value"] == total for each in told)


def spent(before: Sequence[Message], after: Sequence[Message], what: str) -> float:
    """How much more of it there is, over all members."""
    return sum(float(end[what] - begin[what]) for begin, end in zip(before, after, strict=True))
