"""For pytest: the fixture `simulated`, which plays histories of some seeds, new ones at each run.

In a `conftest.py`: `pytest_plugins = ["broadcast.pytest_plugin"]`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from broadcast.testing import Simulated, simulate

__all__ = ["simulated"]

SEEDS = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("trio-troupe", "simulated histories of replicated actors")
    group.addoption("--troupe-seeds", type=int, default=SEEDS, help=f"histories a test plays (default {SEEDS})")
    group.addoption("--troupe-seed", type=int, default=None, help="play just the history of this seed")


@pytest.fixture
def simulated(request: pytest.FixtureRequest) -> Callable[..., list[Simulated]]:
    """`simulated(Account, workload)`: `broadcast.testing.simulate` for some seeds; what came of each.

    `pytest --troupe-seed=N` plays the history of that seed again.
    """
    one: int | None = request.config.getoption("troupe_seed")
    count = int(request.config.getoption("troupe_seeds") or SEEDS)
    first = random.SystemRandom().randrange(2**32)

    def play(actor: type[Any], workload: Any, **others: Any) -> list[Simulated]:
        seeds = range(first, first + count) if one is None else [one]
        print(f"seeds {seeds[0]} to {seeds[-1]}; one of them again: pytest --troupe-seed=N")  # noqa: T201
        return [simulate(actor, workload, seed=seed, **others) for seed in seeds]

    return play
