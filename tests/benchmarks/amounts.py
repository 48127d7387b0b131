"""How much of each is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Amounts:
    """asks, task_asks, pipelined: commands (or queries) of one case, one after another, by many tasks, in a window.

    slow_asks: of a system that takes a tenth of a second for each. appends, echoes: of the floors.
    """

    rounds: int
    trials: int
    asks: int = 1_000
    tasks: int = 100
    task_asks: int = 10_000
    pipelined: int = 100_000
    slow_asks: int = 30
    appends: int = 1_000
    echoes: int = 5_000


def full(rounds: int, trials: int) -> Amounts:
    """For figures that mean something."""
    return Amounts(rounds, trials)


def quick() -> Amounts:
    """For a look whether everything runs."""
    return Amounts(1, 1, asks=50, task_asks=500, pipelined=5_000, slow_asks=5, appends=50, echoes=200)
