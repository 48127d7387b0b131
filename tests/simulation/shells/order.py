"""All that is chance in a run, taken from one seed: the order of tasks, the clocks, the random numbers."""

from __future__ import annotations

import contextvars
import os
import random
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from random import Random

import pytest
import trio
from trio._core import _run as scheduler

WALL_START = 1_700_000_000.0
wall_error: contextvars.ContextVar[float] = contextvars.ContextVar("wall_error", default=0.0)
"""By how much the wall clock of the process that the current task belongs to is wrong, in seconds."""


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Around a `trio.run`: its tasks are scheduled in an order that follows from the seed, in each round a new one.

    Trio's public interface has no seed for it. Its test plug-ins set these two names, and they alone are private here.
    """
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate(), random.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before[0]  # type: ignore[misc]
        scheduler._r.setstate(before[1])
        random.setstate(before[2])


def inject(patch: pytest.MonkeyPatch, chance: Random) -> None:
    """Inside a run: the wall clock is Trio's, and what is random follows from `chance`."""

    def wall() -> float:
        return WALL_START + trio.current_time() + wall_error.get()

    class Seeded(Random):
        def __init__(self) -> None:
            super().__init__(chance.getrandbits(64))

    patch.setattr(time, "time_ns", lambda: int(wall() * 1_000_000_000))
    patch.setattr(os, "urandom", chance.randbytes)
    patch.setattr(secrets, "token_hex", lambda size: chance.randbytes(size).hex())
    patch.setattr(random, "SystemRandom", Seeded)
    patch.setattr("actors._node.Random", Seeded)
