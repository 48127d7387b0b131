"""For pytest: the fixture `simulated`, which plays histories of some seeds, new ones at each run.

In the topmost `conftest.py`: `pytest_plugins = ["broadcast.pytest_plugin"]`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from typing import Any

import pytest

from broadcast.testing import Simulated, Violation, simulate

__all__ = ["simulated"]

SEEDS = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("trio-troupe", "simulated histories of replicated actors")
    group.addoption("--troupe-seeds", type=_count, default=SEEDS, help=f"histories a test plays (default {SEEDS})")
    group.addoption("--troupe-seed", type=int, default=None, help="play just the history of this seed")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number of histories is at least 1, not {text!r}")
    return int(text)


@pytest.fixture
def simulated(request: pytest.FixtureRequest) -> Callable[..., list[Simulated]]:
    """`simulated(Account, workload)`: `broadcast.testing.simulate` for some seeds; what came of each.

    Other arguments are those of `simulate`. `pytest --troupe-seed=N` plays the history of that seed again.
    """
    one: int | None = request.config.getoption("troupe_seed")
    count: int = request.config.getoption("troupe_seeds") or SEEDS
    first = random.SystemRandom().randrange(2**32)

    def play(actor: type[Any], workload: Any, **others: Any) -> list[Simulated]:
        __tracebackhide__ = True
        seeds = range(first, first + count) if one is None else [one]
        print(f"seeds {seeds[0]} to {seeds[-1]}; one of them again: pytest --troupe-seed=N")  # noqa: T201
        histories: list[Simulated] = []
        for seed in seeds:
            try:
                histories.append(simulate(actor, workload, seed=seed, **others))
            except Violation as error:
                error.add_note(f"  or: pytest {request.node.nodeid} --troupe-seed={seed}")
                raise
        return histories

    return play
