"""What is remembered of commands that were not simply applied: of a run that came to one outcome, next to nothing."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import pytest
from counts import Count
from hypothesis import given
from hypothesis import strategies as st
from machine_scene import Scene, begun, calls

from actors._protocol.errors import InvariantViolation
from broadcast._protocol.entries import Commands
from broadcast._protocol.position import Batch
from broadcast._protocol.sessions import Outcome
from broadcast._ranges import OutcomeRanges

NOTES = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(list(Outcome)[:4])))


@given(NOTES)
def test_each_index_has_the_outcome_that_was_noted_for_it(notes: list[tuple[int, int, Outcome]]) -> None:
    """`notes`: how many indices are left out, how many follow, and what they came to."""
    ranges, dumb, at = OutcomeRanges(), dict[int, Outcome](), 1
    for skipped, count, outcome in notes:
        ranges.note(at + skipped, count, outcome)
        dumb.update(dict.fromkeys(range(at + skipped, at + skipped + count), outcome))
        at += skipped + count
        for index in range(at + 3):
            assert ranges[index] is dumb.get(index, Outcome.APPLIED)


def test_what_was_noted_is_not_noted_again() -> None:
    ranges = OutcomeRanges()
    ranges.note(3, 2, Outcome.GAP)
    with pytest.raises(InvariantViolation, match="outcomes are noted in index order"):
        ranges.note(4, 1, Outcome.VOID)


def memory_of(scene: Scene[Count], runs: Iterable[Batch]) -> int:
    """Bytes that are taken to apply these, and not given back."""
    tracemalloc.start()
    try:
        for run in runs:
            scene.machine.apply(run)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("number", "session"), [(2, 2), (1, 7)], ids=["before its turn", "of a session that is not there"]
)
def test_many_runs_of_no_effect_take_no_memory_by_the_command(number: int, session: int) -> None:
    scene = begun(Count)
    runs = [scene.append(Commands(session, number, 65_536, 0, 0, 0, b"")) for _ in range(20)]
    assert memory_of(scene, runs) < 100_000


def test_a_repeated_run_takes_no_memory_by_the_command() -> None:
    scene = begun(Count)
    scene.apply(calls(1, *[["add", 1]] * 5_000))
    scene.apply(calls(5_001, ["add", 1], acknowledged=5_000))
    runs = [scene.append(calls(1, *[["add", 1]] * 5_000)) for _ in range(20)]
    assert memory_of(scene, runs) < 100_000
    assert scene.machine.actor.total == 5_001
