"""The failure detector on networks of any pace: it grows with silence, learns, finds, and is the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable

from effort import CI, FEW
from hypothesis import given
from hypothesis import strategies as st

from membership._protocol.detector import PER_DEVIATION, THRESHOLD, WINDOW, Detector

EXPECTED = 1_000
HOLD = 5_000
SUSPECT_DEVIATIONS = -(-THRESHOLD // PER_DEVIATION)
paces = st.integers(EXPECTED // 2, 50 * EXPECTED)
anything = st.lists(st.integers(0, 200 * EXPECTED), max_size=3 * WINDOW)


def detector(*, names: str = "b") -> Detector:
    one = Detector(expected_interval=EXPECTED, hold=HOLD, now=0)
    for name in names:
        one.watch(name, 0, reachable=True)
    return one


def silent(one: Detector, now: int, span: int) -> int:
    """Time passes, and is looked at; returns when that is over."""
    for at in range(now, now + span, EXPECTED):
        one.reachable(at)
    one.reachable(now + span)
    return now + span


def hear(one: Detector, now: int, intervals: Iterable[int]) -> int:
    for interval in intervals:
        now = silent(one, now, interval)
        one.heard("b", now)
    return now


@st.composite
def jittered(draw: st.DrawFn, count: int) -> tuple[int, int, list[int]]:
    """A pace, its jitter (at most half of it), and so many intervals of that."""
    pace = draw(paces)
    jitter = draw(st.integers(0, pace // 2))
    intervals = st.lists(st.integers(pace - jitter, pace + jitter), min_size=count, max_size=count)
    return pace, jitter, draw(intervals)


@CI
@given(anything, st.lists(st.integers(0, 20 * EXPECTED), max_size=20))
def test_suspicion_grows_with_silence_and_ends_with_it(intervals: list[int], steps: list[int]) -> None:
    one = detector()
    now = hear(one, 0, intervals)
    before = one.suspicion("b", now)
    if intervals:
        assert before == 0
    for step in steps:
        assert before <= one.suspicion("b", now + step)  # asked without looking
        now = silent(one, now, step)
        assert before <= one.suspicion("b", now)
        before = one.suspicion("b", now)
    one.heard("b", now)
    assert one.suspicion("b", now) == 0


@FEW
@given(jittered(3 * WINDOW))
def test_a_pace_that_it_has_learnt_is_never_suspect(given: tuple[int, int, list[int]]) -> None:
    """Whatever the pace, with any jitter of up to half of it, and however maliciously that is distributed."""
    _, _, intervals = given
    one = detector()
    now = hear(one, 0, intervals[: 2 * WINDOW])
    for interval in intervals[2 * WINDOW :]:
        now = silent(one, now, interval)
        assert one.suspicion("b", now) < THRESHOLD
        assert one.reachable(now) == ("b",)
        one.heard("b", now)


@FEW
@given(st.lists(st.integers(0, 5 * EXPECTED), max_size=3 * WINDOW))
def test_what_is_near_the_expected_interval_is_not_suspect_from_the_first_on(intervals: list[int]) -> None:
    one = detector()
    now = 0
    for interval in intervals:
        now = silent(one, now, interval)
        assert one.suspicion("b", now) < THRESHOLD
        one.heard("b", now)


@FEW
@given(jittered(2 * WINDOW))
def test_silence_is_found(given: tuple[int, int, list[int]]) -> None:
    """Once it has lasted for as many deviations as the threshold stands for, and was held.

    Of a pace below half the expected interval nothing is learnt, and what was made up in the beginning stays.
    """
    pace, jitter, intervals = given
    one = detector()
    now = hear(one, 0, intervals)
    longest = max(pace + jitter, EXPECTED)
    within = longest + SUSPECT_DEVIATIONS * max(2 * jitter, longest // 4 + 1, EXPECTED // 2)
    assert one.suspicion("b", silent(one, now, within)) >= THRESHOLD
    now = silent(one, now + within, HOLD + EXPECTED)
    assert one.reachable(now) == ()


@FEW
@given(paces, paces)
def test_a_change_of_pace_is_learnt(before: int, after: int) -> None:
    one = detector()
    now = hear(one, 0, [before] * WINDOW)
    now = hear(one, now, [after] * 2 * WINDOW)
    assert one.suspicion("b", silent(one, now, after + after // 4)) < THRESHOLD // 8


@CI
@given(anything, st.integers(10 * EXPECTED, 10**12))
def test_who_was_not_suspect_before_our_own_pause_is_not_after_it(intervals: list[int], pause: int) -> None:
    one = detector()
    now = hear(one, 0, [*intervals, *[EXPECTED] * WINDOW])
    assert one.suspicion("b", now + EXPECTED + pause) < THRESHOLD
    assert one.reachable(now + EXPECTED + pause) == ("b",)


@CI
@given(st.lists(st.tuples(st.sampled_from("bcd-"), st.integers(0, 9 * EXPECTED)), max_size=200))
def test_the_same_messages_give_the_same_verdicts_and_members_do_not_matter_to_each_other(
    messages: list[tuple[str, int]],
) -> None:
    together, again = detector(names="bcd"), detector(names="dbc")
    alone = {name: detector(names=name) for name in "bcd"}
    now = 0
    for sender, interval in messages:
        now += interval
        for one in (together, again, *alone.values()):
            one.heard(sender, now)
        verdict = together.reachable(now)
        assert verdict == again.reachable(now)
        assert verdict == tuple(name for name in "bcd" if alone[name].reachable(now))
        for name in "bcd":
            suspicion = together.suspicion(name, now)
            assert type(suspicion) is int
            assert suspicion == again.suspicion(name, now) == alone[name].suspicion(name, now)
