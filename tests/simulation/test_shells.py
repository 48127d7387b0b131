"""Seeded histories of the real shells: nothing breaks, everything comes to an end, and a seed says it all."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import trio
from shells.history import History, run
from trio.testing import MockClock

from broadcast._handle import monotonic

SEEDS = 30  # `python tests/simulation/shells --count n` plays more
CHUNK = 5
MARKS = (
    "answered",
    "cancelled",
    "unknown",
    "elections",
    "truncations",
    "repeated commands",
    "groups joined again",
    "writes that hung",
    "full disks",
    "failed writes",
    "gate shut",
    "epochs that began during a write",
    "kill",
    "stop",
    "lose",
    "cut",
)


@functools.cache
def history(seed: int) -> History:
    return run(seed)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_nothing_breaks_and_all_comes_to_an_end(first: int) -> None:
    for seed in range(first, first + CHUNK):
        history(seed)


def test_the_histories_meet_what_they_are_for() -> None:
    marks = sum((history(seed).marks for seed in range(SEEDS)), Counter[str]())
    assert [mark for mark in MARKS if not marks[mark]] == []


@pytest.mark.parametrize("seed", [3])
def test_a_seed_has_one_digest_whatever_python_hashes(seed: int) -> None:
    shells = str(Path(__file__).parent / "shells")
    told = [
        subprocess.run(
            [sys.executable, shells, "--seed", str(seed)],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.splitlines()[0]
        for hashes in ("1", "2")
    ]
    assert told[0] == told[1]
    assert history(seed).digest in told[0]


def test_who_sleeps_until_a_microsecond_wakes_at_it() -> None:
    """Or a replica that was woken for its deadline would find that it is not due yet, again and again."""

    async def sleep() -> None:
        for deadline in (250_889, 1_000_001, 4_503_599_627, 86_400_000_001):
            await trio.sleep_until(deadline / 1_000_000)
            assert monotonic() == deadline

    trio.run(sleep, clock=MockClock(autojump_threshold=0))
