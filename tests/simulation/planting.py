"""What the tests of planted bugs share: what one is, the options under which it is looked for, and the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from broadcast._simulation.history import run
from broadcast._simulation.invariants import Violation
from broadcast._simulation.options import MILLISECOND, SECOND, Options
from broadcast._simulation.play import Play

SEEDS = 100  # within which each is found; most are in the first few
HARSH = Options(
    replicas=3,
    clients=3,
    duration=4 * SECOND,
    idle=60 * MILLISECOND,
    loss=0.02,
    duplication=0.1,
    reordering=0.2,
    delay=100 * MILLISECOND,
    disk_latency=20 * MILLISECOND,
    stall=0.01,
    strike_interval=150 * MILLISECOND,
    election_timeout=100 * MILLISECOND,
)
ALONE = replace(HARSH, replicas=1, disk_latency=60 * MILLISECOND, cuts=0)
FIVE = replace(HARSH, replicas=5, duplication=0.5, cuts=8, crashes=2)
LOSSY = replace(
    HARSH,
    clients=2,
    duration=6 * SECOND,
    faults_from=500 * MILLISECOND,
    loss=0.3,
    disk_latency=5 * MILLISECOND,
    crashes=8,
    pauses=0,
)
PARTED = replace(
    HARSH,
    clients=4,
    duration=5 * SECOND,
    idle=60 * MILLISECOND,
    loss=0,
    duplication=0,
    reordering=0,
    disk_latency=MILLISECOND,
    stall=0,
    strike_interval=700 * MILLISECOND,
    crashes=0,
    power_cuts=0,
    pauses=0,
    election_timeout=250 * MILLISECOND,
)
SLOW = replace(
    HARSH,
    clients=6,
    duration=3 * SECOND,
    idle=20 * MILLISECOND,
    loss=0.1,
    duplication=0,
    reordering=0.3,
    latency=10 * MILLISECOND,
    delay=60 * MILLISECOND,
    disk_latency=MILLISECOND,
    stall=0,
    strike_interval=0,
    election_timeout=250 * MILLISECOND,
)
LATE = replace(
    HARSH,
    clients=6,
    faults_from=300 * MILLISECOND,
    idle=20 * MILLISECOND,
    burst=2,
    loss=0,
    duplication=0,
    reordering=0.5,
    delay=600 * MILLISECOND,
    disk_latency=MILLISECOND,
    stall=0,
    strike_interval=400 * MILLISECOND,
    crashes=0,
    power_cuts=0,
    pauses=0,
    cuts=10,
)
PAUSED = replace(
    SLOW,
    loss=0,
    reordering=0.4,
    delay=300 * MILLISECOND,
    latency=2 * MILLISECOND,
    strike_interval=200 * MILLISECOND,
    crashes=0,
    power_cuts=0,
    pauses=6,
    cuts=1,
    election_timeout=100 * MILLISECOND,
)
WRONG_CLOCKS = replace(HARSH, clock_error=3600 * SECOND, clock_jumps=4)
STALLING = replace(HARSH, stall=0.1)
HANGING = replace(HARSH, stall=0.2, cuts=10, crashes=0, pauses=0, disk_latency=40 * MILLISECOND)
FOUR = replace(HARSH, replicas=4, cuts=20, crashes=1, pauses=0)
WIPING = replace(HARSH, wipes=10, crashes=2)
COPYING = replace(HARSH, old_copies=10, crashes=2)
FAILING = replace(HARSH, failed_syncs=10, crashes=0, pauses=0)
EXPIRING = replace(HARSH, session_term=300 * MILLISECOND, idle=300 * MILLISECOND, clock_error=SECOND)
COPIED = replace(HARSH, copied_nonces=True)
CROWDED = replace(HARSH, clients=5, sessions_max=2, session_term=1500 * MILLISECOND)
NARROW = replace(HARSH, idle=20 * MILLISECOND, stall=0.1)


@dataclass(frozen=True)
class Mutant:
    """What to plant; the claim that it breaks first; and under which options, from which seed on, it is looked for.

    options: None for those that follow from the seed, as in CI's histories.
    """

    plant: Callable[[pytest.MonkeyPatch], None]
    claim: str
    options: Options | None = HARSH
    first: int = 0
    play: Callable[[], Play] | None = None


def name(mutant: Mutant) -> str:
    return f"{mutant.plant.__name__}: {mutant.claim}"


def options_of(mutants: Sequence[Mutant]) -> list[Options]:
    """All that these are looked for under."""
    return list({id(mutant.options): mutant.options for mutant in mutants if mutant.options}.values())


def is_found(mutant: Mutant, seed: int) -> bool:
    """Does this history break the mutant's claim, before any other?

    Whatever else it raises is raised: a plant that no longer fits the code would be looked for in vain.
    """
    try:
        run(seed, options=mutant.options, play=mutant.play() if mutant.play else None, again="with this play")
    except Violation as violation:
        return mutant.claim in str(violation).splitlines()[0]
    return False


def is_found_soon(mutant: Mutant) -> bool:
    """Within so many seeds?"""
    return any(is_found(mutant, seed) for seed in range(mutant.first, mutant.first + SEEDS))


def planted(mutants: Sequence[Mutant], *, histories: int = 2) -> tuple[Callable[..., None], Callable[..., None]]:
    """The tests of a file's planted bugs: each is found by what it is a bug of; and nothing is found without one, in so
    many histories under each of the same options."""

    @pytest.mark.parametrize("mutant", mutants, ids=name)
    def test_planted(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
        mutant.plant(monkeypatch)
        assert is_found_soon(mutant)

    @pytest.mark.parametrize("options", options_of(mutants))
    def test_unbroken(options: Options) -> None:
        for seed in range(histories):
            run(seed, options=options)

    return test_planted, test_unbroken
