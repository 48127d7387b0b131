"""Who is silent for longer than the network explains: one test for each sentence of the detector's contract."""

from __future__ import annotations

import pytest

from actors._protocol.errors import InvariantViolation
from membership._protocol.detector import LOOKS_MAX, PER_DEVIATION, THRESHOLD, WINDOW, Detector

EXPECTED = 1_000
HOLD = 3_000
LOOK = 100
KNOWN = "bcd"


class Watch:
    """A detector whose owner looks all the time."""

    def __init__(self, *, hold: int = HOLD, reachable: bool = True) -> None:
        self.now = 50_000
        self.detector = Detector(expected_interval=EXPECTED, hold=hold, now=self.now)
        for name in KNOWN:
            self.detector.watch(name, self.now, reachable=reachable)
            if reachable:
                self.detector.heard(name, self.now)

    def passes(self, span: int) -> tuple[str, ...]:
        """Time passes; returns who is reachable then."""
        end = self.now + span
        while self.now < end:
            self.now = min(self.now + LOOK, end)
            self.detector.reachable(self.now)
        return self.detector.reachable(self.now)

    def hears(self, *intervals: int, names: str = "b") -> None:
        """After each of these intervals."""
        for interval in intervals:
            self.passes(interval)
            for name in names:
                self.detector.heard(name, self.now)

    def suspicion(self, after: int = 0, name: str = "b") -> int:
        return self.detector.suspicion(name, self.now + after)

    def suspect_after(self, name: str = "b") -> int:
        """The silence that is needed."""
        began = self.now
        while self.suspicion(name=name) < THRESHOLD and self.now < began + 1_000_000:
            self.passes(LOOK)
        return self.now - began


def test_each_deviation_beyond_the_mean_is_as_improbable_as_the_one_before() -> None:
    """Laplace's distribution: beyond its mean, the chance of a longer silence falls by e with each deviation."""
    watch = Watch()
    watch.hears(*[1_000, 3_000] * (WINDOW // 2))  # mean 2000, deviation 1000
    watch.passes(2_000)
    assert watch.suspicion() == 0
    for deviations in range(1, 20):
        watch.passes(1_000)
        assert watch.suspicion() == PER_DEVIATION * deviations
    assert watch.suspicion(after=500) == PER_DEVIATION * 39 // 2  # asking is no look, and changes nothing
    assert watch.suspicion() == PER_DEVIATION * 19


def test_nobody_is_suspect_within_the_mean() -> None:
    watch = Watch()
    watch.hears(*[5_000] * WINDOW)
    watch.passes(5_000)
    assert watch.suspicion() == 0
    watch.passes(100)
    assert watch.suspicion() > 0


def test_who_is_heard_is_not_suspect() -> None:
    watch = Watch()
    watch.suspect_after()
    watch.detector.heard("b", watch.now)
    assert watch.suspicion() == 0
    assert watch.suspicion(name="c") >= THRESHOLD


def test_a_slow_network_is_given_more_time_and_an_irregular_one_too() -> None:
    regular, slow, irregular = Watch(), Watch(), Watch()
    regular.hears(*[1_000] * WINDOW)
    slow.hears(*[3_000] * WINDOW)
    irregular.hears(*[500, 1_500] * (WINDOW // 2))
    needed = regular.suspect_after(), slow.suspect_after(), irregular.suspect_after()
    assert needed == (5_700, 16_900, 10_300)


def test_a_network_is_never_taken_for_quite_regular() -> None:
    """Else the first packet that is sent again would be a death."""
    watch = Watch()
    watch.hears(*[1_000] * 10 * WINDOW)
    watch.passes(2_500)
    assert watch.suspicion() < THRESHOLD // 2


def test_a_burst_does_not_make_it_nervous() -> None:
    """Neither by its pace, nor by pushing out of the window what is known of longer silences."""
    watch = Watch()
    watch.hears(*[500, 1_500] * (WINDOW // 2))
    for _ in range(10 * WINDOW):
        watch.now += 1
        watch.detector.heard("b", watch.now)
    assert watch.suspect_after() == 10_300


def test_a_member_that_says_more_than_expected_is_not_expected_to() -> None:
    watch = Watch()
    watch.hears(*[600] * WINDOW)
    assert watch.suspect_after() == 5_700


def test_before_anything_is_known_it_has_more_patience() -> None:
    watch = Watch()
    assert watch.suspect_after() == 10_300
    watch.hears(*[1_000] * (WINDOW + 1))
    assert watch.suspect_after() == 5_700


def test_only_the_last_intervals_count() -> None:
    watch = Watch()
    watch.hears(*[4_000] * WINDOW)
    watch.hears(*[1_000] * WINDOW)
    assert watch.suspect_after() == 5_700


def test_an_outage_is_no_pace() -> None:
    """Who was gone for long and died again is found nearly as soon as anybody."""
    watch = Watch()
    watch.hears(*[1_000] * WINDOW)
    watch.hears(1_000_000)
    assert watch.suspect_after() == 6_100


def test_a_network_that_has_become_slow_is_learnt() -> None:
    watch = Watch()
    watch.hears(*[1_000] * WINDOW)
    watch.hears(*[20_000] * 2 * WINDOW)
    watch.passes(20_000)
    assert watch.suspicion() == 0


# -- verdicts ----------------------------------------------------------------------------------------------------------


def test_silence_is_a_verdict_once_it_has_held() -> None:
    watch = Watch()
    watch.hears(*[1_000] * WINDOW, names="bcd")
    alive, silence = "bc", 5_700
    for at in range(1_000, silence + HOLD, 1_000):
        watch.hears(1_000, names=alive)
        assert watch.detector.reachable(watch.now) == ("b", "c", "d"), at
    watch.hears(1_000, names=alive)
    assert watch.detector.reachable(watch.now) == ("b", "c")


def test_a_verdict_that_flaps_is_not_told() -> None:
    """It was suspect nine times, and each time heard again before that counted."""
    watch = Watch()
    for _ in range(9):
        watch.suspect_after()
        assert "b" in watch.passes(HOLD - 2 * LOOK)
        watch.hears(LOOK)
        assert "b" in watch.detector.reachable(watch.now)
    watch.suspect_after()
    assert "b" in watch.passes(HOLD - LOOK)
    assert "b" not in watch.passes(LOOK)


def test_who_comes_back_is_believed_once_that_has_held() -> None:
    watch = Watch()
    watch.passes(100_000)
    watch.hears(*[1_000] * 4)
    assert watch.detector.reachable(watch.now) == ()
    assert watch.passes(LOOK) == ("b",)


def test_each_verdict_has_to_hold_for_itself() -> None:
    watch = Watch()
    watch.suspect_after()
    assert watch.passes(HOLD - LOOK) == ("b", "c", "d")
    watch.now += LOOK
    assert watch.detector.reachable(watch.now) == ()
    watch.detector.heard("b", watch.now)  # in that very moment
    assert watch.passes(LOOK) == ()


def test_one_late_message_is_no_return() -> None:
    watch = Watch(hold=20_000)
    watch.passes(100_000)
    watch.hears(1)
    for _ in range(100):
        assert "b" not in watch.passes(1_000)


def test_a_new_judge_begins_with_the_verdict_of_the_old_one() -> None:
    """A change of leader alone changes nothing, either way."""
    assert Watch(reachable=True).passes(13_200) == ("b", "c", "d")
    assert Watch(reachable=True).passes(13_300) == ()
    gone = Watch(reachable=False)
    assert gone.suspicion() == THRESHOLD
    assert gone.passes(0) == ()
    assert gone.passes(100_000) == ()
    gone.hears(*[1_000] * 4)
    assert gone.passes(LOOK) == ("b",)


def test_until_the_first_message_there_is_no_interval() -> None:
    watch = Watch(reachable=False)
    watch.hears(9_000)
    assert watch.suspect_after() == 10_300


def test_names_come_sorted_whatever_the_order_that_they_came_in() -> None:
    detector = Detector(expected_interval=EXPECTED, hold=HOLD, now=0)
    for name in ("c", "a", "d", "b"):
        detector.watch(name, 0, reachable=True)
    assert detector.reachable(0) == ("a", "b", "c", "d")


# -- whom it watches ---------------------------------------------------------------------------------------------------


def test_who_is_forgotten_is_not_told_of_any_more_and_a_late_message_changes_nothing() -> None:
    watch = Watch()
    watch.detector.forget("b")
    watch.detector.forget("nobody")
    watch.hears(1_000, names="b")
    assert watch.passes(0) == ("c", "d")
    with pytest.raises(KeyError):
        watch.suspicion()


def test_who_is_watched_again_begins_anew() -> None:
    watch = Watch()
    watch.hears(*[4_000] * WINDOW)
    watch.detector.watch("b", watch.now, reachable=True)
    assert watch.suspect_after() == 10_300


# -- its own pauses ----------------------------------------------------------------------------------------------------


def test_nobody_is_suspect_because_we_were_stopped_ourselves() -> None:
    """What came meanwhile waits unread."""
    watch = Watch(hold=0)
    watch.hears(*[1_000] * WINDOW, names=KNOWN)
    watch.now += 1_000_000
    assert watch.detector.reachable(watch.now) == ("b", "c", "d")
    assert watch.suspicion() == PER_DEVIATION * (LOOKS_MAX - 1) * 4
    assert watch.passes(3_000) == ("b", "c", "d")
    watch.hears(0)
    assert watch.passes(5_000) == ("b",)


def test_our_pause_does_not_let_a_verdict_hold() -> None:
    watch = Watch()
    watch.suspect_after()
    watch.now += 1_000_000
    assert watch.passes(0) == ("b", "c", "d")


def test_our_pause_is_no_interval_of_theirs() -> None:
    watch = Watch()
    watch.hears(*[1_000] * WINDOW)
    for _ in range(8):
        watch.now += 1_000_000
        watch.hears(0, *[1_000] * 7)
    assert watch.suspect_after() == 6_400  # of two intervals at most


def test_to_hear_somebody_is_to_look() -> None:
    watch = Watch()
    for _ in range(11):
        watch.now += 1_000
        watch.detector.heard("c", watch.now)
    assert watch.suspicion() >= THRESHOLD


def test_a_clock_that_goes_back_is_a_bug_of_ours() -> None:
    watch = Watch()
    with pytest.raises(InvariantViolation):
        watch.detector.heard("b", watch.now - 1)
