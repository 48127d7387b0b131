"""Priorities in histories: a hint, followed where nothing strikes, under which all else holds (rules 5, 17)."""

from __future__ import annotations

from dataclasses import replace

from broadcast._simulation.history import run
from broadcast._simulation.options import MILLISECOND, SECOND, Options

CALM = Options(
    clients=1,
    duration=3 * SECOND,
    loss=0,
    duplication=0,
    reordering=0,
    stall=0,
    strike_interval=0,
    disk_latency=MILLISECOND,
    election_timeout=50 * MILLISECOND,
)
HARSH = replace(CALM, duration=4 * SECOND, loss=0.05, reordering=0.2, strike_interval=150 * MILLISECOND, cuts=6)


def test_in_calm_the_lead_goes_to_the_highest_priority_and_stays_there() -> None:
    """Within one history at most one hand-over from each of the others."""
    handed = [run(seed, options=replace(CALM, priorities=(0, 1, 2))).marks for seed in range(10)]
    assert any(marks["leaders that handed over"] for marks in handed)
    assert all(marks["elections"] <= 3 for marks in handed)


def test_where_all_are_alike_nobody_hands_over() -> None:
    """And nobody is elected but once, where timeouts are long against what a vote takes: else the first may collide."""
    for seed in range(5):
        marks = run(seed, options=replace(CALM, election_timeout=150 * MILLISECOND)).marks
        assert (marks["leaders that handed over"], marks["elections"]) == (0, 1)


def test_a_group_of_mixed_priorities_comes_through_what_strikes() -> None:
    for seed in range(10):
        run(seed, options=replace(HARSH, priorities=(-100, 0, 100)))
