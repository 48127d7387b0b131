"""Where an undo begins: the actor's state as it was a while ago (rule 24).

There is none before the first crash of a command, so that a class that never crashes pays nothing; that crash replays
the log. From then on the state is copied after each undo, and again whenever enough was applied since. What is copied
is no part of what replicas agree on: an undo comes to the same state wherever it begins.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sized

from actors._actor import Actor

COUNT_MIN = 2**12
"""Commands to apply, at least, before the state is copied again."""
VALUES_PER_COMMAND = 4
"""Values in the state for which one command more is applied first, so that copying never costs more than applying."""
NEVER = 2**63


class Base:
    """A copy of an actor's state. index: whose last entry it has seen. due: when to copy again."""

    def __init__(self) -> None:
        self.index = 0
        self.due = NEVER
        self._state: dict[str, object] | None = None  # None: as it is made

    def move_to(self, actor: Actor) -> int:
        """Give the copy to an instance that was just made; returns its index. It is here no more then."""
        if self._state is not None:
            vars(actor).clear()
            vars(actor).update(self._state)
        index, self.index, self._state = self.index, 0, None
        return index

    def take(self, actor: Actor, index: int) -> None:
        """Copy the state of `actor`, which is at `index`. If that cannot be done exactly, all stays as it is.

        After `move_to` that is no copy at all: the next undo runs everything again.
        """
        self.due = index + COUNT_MIN
        copies: dict[int, object] = {}
        try:
            state = copy.deepcopy(vars(actor), copies)
            count = _count(copies.values())
        except Exception:  # of whatever a class keeps
            return
        if _are_values(copies.values()):
            self._state, self.index = state, index
            self.due = index + max(COUNT_MIN, count // VALUES_PER_COMMAND)


def _are_values(copies: Collection[object]) -> bool:
    """Does none know its equal from itself? What something outside the state can tell by identity, a copy is not."""
    return all(type(each).__eq__ is not object.__eq__ for each in copies)


def _count(copies: Collection[object]) -> int:
    return len(copies) + sum(len(each) for each in copies if isinstance(each, Sized))
