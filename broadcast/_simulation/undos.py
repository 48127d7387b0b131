"""Counts where undos begin: at the copy that an earlier one left, or that was made since (rule 24)."""

from __future__ import annotations

from collections import Counter

from actors._actor import Actor
from broadcast._base import Base


class CountedBase(Base):
    """As its class, with marks."""

    def __init__(self, marks: Counter[str]) -> None:
        super().__init__()
        self._marks = marks
        self._undoing = False

    def move_to(self, actor: Actor) -> int:
        index = super().move_to(actor)
        self._undoing = True
        self._marks["undos"] += 1
        self._marks["undos from a copy"] += index > 0
        return index

    def undone(self, actor: Actor, index: int) -> None:
        super().undone(actor, index)
        self._undoing = False

    def take(self, actor: Actor, index: int) -> None:
        super().take(actor, index)
        self._marks["copies made anew"] += not self._undoing
