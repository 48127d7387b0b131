"""What a history runs: an actor, what clients ask of it, and what they may rely on."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Protocol

from actors._actor import Actor
from actors._interface import Interface
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants import Process


class Expectation(Protocol):
    """What askers may rely on, told of all that they ask and get. Raises `Violation` where it is broken.

    known: how far the order certainly is, by any answer so far; a floor for what is asked from now on.
    """

    known: int

    def offered(self, owner: str, ticket: int, tag: str) -> None:
        """An owner hands its session the call of this ticket."""
        ...

    def withdrawn(self, owner: str, ticket: int) -> None:
        """It was given up before it was sent: definitely never applied."""
        ...

    def answered(self, owner: str, ticket: int, outcome: bytes, session: int, number: int) -> None:
        """It has this outcome. session, number: what it was called in its session."""
        ...

    def unknown(self, owner: str, first: int, last: int) -> None:
        """The outcome of these will never be known."""
        ...

    def read(self, floor: int, call: bytes, outcome: bytes) -> None:
        """A linearizable query that began when `floor` was known has this outcome (6.4)."""
        ...

    def applied(self, process: Process, batch: Batch) -> None:
        """A replica has applied this."""
        ...

    def ended(self, processes: Mapping[str, Process]) -> None:
        """All is level, and nothing is open."""
        ...


class Play(Protocol):
    """Where a history's calls come from."""

    @property
    def actor(self) -> type[Actor]: ...
    @property
    def interface(self) -> Interface: ...

    def expectation(self) -> Expectation:
        """For one history."""
        ...

    def command(self, chance: random.Random, owner: str, number: int) -> tuple[str, bytes]:
        """The number-th call of an owner: its tag, and encoded."""
        ...

    def query(self, chance: random.Random) -> bytes | None:
        """An encoded query; None if the actor has none."""
        ...
