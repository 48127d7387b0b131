"""What a history runs: an actor, what clients ask of it, and what they may rely on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from actors._actor import Actor
from actors._interface import Interface
from broadcast._simulation.calls import Calls
from broadcast._simulation.invariants import Judge

Expectation = Calls
"""What clients tell of what they ask and get."""


class Play(Protocol):
    """Where a history's calls come from."""

    @property
    def actor(self) -> type[Actor]: ...
    @property
    def later(self) -> Sequence[type[Actor]]:
        """Later versions of it, that processes may be started with instead."""
        ...

    @property
    def interface(self) -> Interface: ...

    def expectation(self) -> Judge:
        """Of one history: what its askers may rely on, besides what all may."""
        ...

    def command(self, chance: random.Random, owner: str, number: int) -> tuple[str, bytes]:
        """The number-th call of an owner: its tag, and encoded."""
        ...

    def plan(self, owner: str, number: int) -> tuple[str, bytes, int] | None:
        """A call as `command` gives one, of which something comes after so many microseconds; None if there is none."""
        ...

    def query(self, chance: random.Random) -> bytes | None:
        """An encoded query; None if the actor has none."""
        ...
