"""Numbers that whoever starts the tests may give in the environment. One that is none is told in a sentence."""

from __future__ import annotations

import math
import os

import pytest


def number_wanted(name: str, default: float = 1) -> float:
    """Greater than 0. Raises pytest.UsageError."""
    return _wanted(name, default, float, "a number greater than 0, like 0.5 or 30", math.ulp(0.0))


def count_wanted(name: str, default: int = 1) -> int:
    """1 or more. Raises pytest.UsageError."""
    return int(_wanted(name, default, int, "a whole number from 1 on", 1))


KINDS = {
    "MINUTES": number_wanted,
    "SECONDS": number_wanted,
    "SEED": count_wanted,
    "ROUNDS": count_wanted,
    "RUNS": count_wanted,
    "TRIALS": count_wanted,
    "DEATHS": count_wanted,
    "CUTS": count_wanted,
}


def check_wanted() -> None:
    """Before anything begins. Raises pytest.UsageError."""
    for name, kind in KINDS.items():
        kind(name)


def _wanted(name: str, default: float, kind: type[int | float], what: str, least: float) -> float:
    given = os.environ.get(name, "")
    if not given:
        return default
    try:
        found = kind(given)
    except ValueError:
        found = math.nan
    if not least <= found < math.inf:
        raise pytest.UsageError(f"{name} must be {what}, and is {given!r}.")
    return found
