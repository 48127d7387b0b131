"""Restart intensity: never more than so many in a period, wherever it is laid; and pauses that double."""

from __future__ import annotations

from effort import CI
from hypothesis import given
from hypothesis import strategies as st

from actors._protocol.restart import Restarts, affected

COUNTS = st.integers(0, 5)
PERIODS = st.integers(1, 20)
GAPS = st.lists(st.integers(0, 15), max_size=40)


@CI
@given(COUNTS, PERIODS, GAPS)
def test_no_period_has_more_restarts_and_none_is_refused_needlessly(
    count_max: int, period: int, gaps: list[int]
) -> None:
    restarts = Restarts(count_max, period, 1, 8)
    granted: list[int] = []
    now = 0
    for gap in gaps:
        now += gap
        recent = [at for at in granted if now - at < period]
        pause = restarts.crashed(now)
        assert (pause is None) == (len(recent) >= count_max)
        if pause is not None:
            assert pause == min(2 ** len(recent), 8)
            granted.append(now)
    for at in granted:
        assert sum(at <= other < at + period for other in granted) <= count_max


@CI
@given(st.lists(st.integers(), min_size=1, unique=True), st.data())
def test_who_is_started_again_with_the_one_that_crashed(members: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(members) - 1))
    crashed = members[at]
    assert affected("one-for-one", members, crashed) == [crashed]
    assert affected("rest-for-one", members, crashed) == members[at:]
    assert affected("one-for-all", members, crashed) == members
