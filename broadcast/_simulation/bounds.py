"""Bounds of the core that no short history would meet: some are drawn tight, for the time of one history.

They are constants of the core's modules, looked up when they are used, and no part of any replica's state; so a history
may set them for itself. All replicas of a history have the same. None of them keeps a single thing out that is larger.

What a follower takes before its disk has it is eight times what may be in flight to it, as in the product, or at least
eight batches: then it has no room now and then. With room for less than a message it would drop most of each one, and
get on by a batch each time that the leader's patience ends.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

from broadcast import _base as base
from broadcast._protocol import effects, leader, log, outgoing, own, pending, progress, submitter
from broadcast._protocol.position import FRAME_SIZE
from broadcast._protocol.snapshots import PART_SIZE_MAX

Bounds: TypeAlias = tuple[tuple[str, int], ...]
"""(name, value) of those that are not as the core has them."""

TIGHT = 0.2  # chance that a bound is drawn
TIGHT_TOGETHER = 0.5  # chance that those are which have to fit each other
UNSYNCED_BATCHES = own.UNSYNCED_SIZE_MAX // progress.IN_FLIGHT_MAX


@dataclass(frozen=True, slots=True)
class _Bound:
    """Where it stands, and what it may be, if that is drawn for itself."""

    modules: Sequence[ModuleType]
    choices: Sequence[int] = ()


_BOUNDS: Mapping[str, _Bound] = {
    "BATCH_ENTRIES_MAX": _Bound((pending,), (2, 10)),
    "BATCH_SIZE_MAX": _Bound((pending, leader), (FRAME_SIZE + 140, FRAME_SIZE + 1_900)),
    "SEALED_AT_ONCE_MAX": _Bound((leader,), (1, 1_000)),
    "UNCOMMITTED_SIZE_MAX": _Bound((leader,), (1, 20 * FRAME_SIZE)),
    "HEARTBEATS_PER_TIMEOUT": _Bound((leader,), (3, 8)),
    "READ_COUNT_MAX": _Bound((log,), (1, 5)),
    "IN_FLIGHT_MAX": _Bound((progress,), (1, 1_000)),
    "UNSYNCED_SIZE_MAX": _Bound((own,)),
    "RUN_COUNT_MAX": _Bound((submitter,), (3, 10)),
    "RUN_SIZE_MAX": _Bound((submitter,), (100, 1_000)),
    "UNDER_WAY_SIZE_MAX": _Bound((submitter,), (300, 2_000)),
    "UNACKNOWLEDGED_SIZE_MAX": _Bound((submitter,), (1, 40)),
    "HELD_AT_ONCE_MAX": _Bound((effects,), (1, 2)),
    "DUE_AT_ONCE_MAX": _Bound((effects,), (1, 3)),
    "COUNT_MIN": _Bound((base,), (20, 100)),
    "KEPT_SIZE_MAX": _Bound((own,)),
    "HELD_SIZE_MAX": _Bound((own,)),
    "REMOVED_SIZE_MAX": _Bound((own,)),
    "PART_SIZE_MAX": _Bound((outgoing,)),
    "UNDER_WAY_MAX": _Bound((outgoing,)),
}


_IN_FLIGHT = (
    (FRAME_SIZE + 140, 1),
    (FRAME_SIZE + 140, FRAME_SIZE + 140),
    (FRAME_SIZE + 900, FRAME_SIZE + 900),
    *[(FRAME_SIZE + 40, progress.IN_FLIGHT_MAX)] * 3,
)
"""(size of a batch, what may be in flight)"""


def draw_for_snapshots(chance: random.Random) -> Bounds:
    """What is kept of a log below a snapshot, and how it is sent: nothing of a short history would be cut otherwise."""
    kept, held = chance.choice(((0, 0), (0, 4_000), (1_000, 1_000), (1_000, 16_000), (20_000, 2**25)))
    part = chance.choice((50, 500, PART_SIZE_MAX))
    under_way = part * chance.choice((1, 4))
    return (
        ("KEPT_SIZE_MAX", kept),
        ("HELD_SIZE_MAX", held),
        ("REMOVED_SIZE_MAX", 8 * part),
        ("PART_SIZE_MAX", part),
        ("UNDER_WAY_MAX", under_way),
    )


def draw(chance: random.Random) -> Bounds:
    """Some of them, tight."""
    drawn = {
        name: chance.choice(bound.choices)
        for name, bound in _BOUNDS.items()
        if bound.choices and chance.random() < TIGHT
    }
    if chance.random() < TIGHT_TOGETHER:
        batch, in_flight = chance.choice(_IN_FLIGHT)
        drawn.update(BATCH_SIZE_MAX=batch, IN_FLIGHT_MAX=in_flight, UNSYNCED_SIZE_MAX=UNSYNCED_BATCHES * batch)
    return tuple(drawn.items())


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
