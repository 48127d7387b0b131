"""Bounds of the core that no short history would meet: some are drawn tight, for the time of one history.

They are constants of the core's modules, looked up when they are used, and no part of any replica's state; so a history
may set them for itself. All replicas of a history have the same. None of them keeps a single thing out that is larger.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

from broadcast._protocol import leader, log, own, pending, progress, submitter

Bounds: TypeAlias = tuple[tuple[str, int], ...]
"""(name, value) of those that are not as the core has them."""

TIGHT = 0.2  # chance that a bound is drawn


@dataclass(frozen=True, slots=True)
class _Bound:
    """Where it stands, and what it may be."""

    modules: Sequence[ModuleType]
    choices: Sequence[int]


_BOUNDS: Mapping[str, _Bound] = {
    "BATCH_ENTRIES_MAX": _Bound((pending,), (2, 10)),
    "BATCH_SIZE_MAX": _Bound((pending, leader), (200, 2_000)),
    "SEALED_AT_ONCE_MAX": _Bound((leader,), (1, 1_000)),
    "UNCOMMITTED_SIZE_MAX": _Bound((leader,), (1, 2_000)),
    "HEARTBEATS_PER_TIMEOUT": _Bound((leader,), (3, 8)),
    "READ_COUNT_MAX": _Bound((log,), (1, 5)),
    "UNSYNCED_SIZE_MAX": _Bound((own,), (1, 2_000)),
    "IN_FLIGHT_MAX": _Bound((progress,), (1, 1_000)),
    "RUN_COUNT_MAX": _Bound((submitter,), (3, 10)),
    "RUN_SIZE_MAX": _Bound((submitter,), (100, 1_000)),
    "UNDER_WAY_SIZE_MAX": _Bound((submitter,), (300, 2_000)),
}


def draw(chance: random.Random) -> Bounds:
    """Some of them, tight."""
    return tuple((name, chance.choice(bound.choices)) for name, bound in _BOUNDS.items() if chance.random() < TIGHT)


@contextmanager
def in_force(bounds: Bounds) -> Generator[None, None, None]:
    """While a history is played."""
    before = [(module, name, getattr(module, name)) for name, _ in bounds for module in _BOUNDS[name].modules]
    try:
        for name, value in bounds:
            for module in _BOUNDS[name].modules:
                setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
