"""The leader's picture of one follower (rule 10)."""

from __future__ import annotations

import pytest

from broadcast._protocol.position import Batch
from broadcast._protocol.progress import IN_FLIGHT_MAX, Flow, Progress


def batch(first: int, size: int = 1) -> Batch:
    return Batch(1, 1, first, 1, 0, first, b"x" * size)


def streaming(match: int = 10, stamp: int = 5) -> Progress:
    progress = Progress(match + 1)
    progress.sent(match, (), now=0)
    progress.acknowledged(match, stamp, now=0)
    assert (progress.flow, progress.next) == (Flow.STREAM, match + 1)
    return progress


def test_a_probe_goes_alone_and_a_stream_does_not_wait() -> None:
    progress = Progress(11)
    assert progress.may_send()
    progress.sent(10, (batch(11),), now=0)
    assert not progress.may_send()
    progress.acknowledged(11, stamp=1, now=1)
    assert progress.next == 12
    progress.sent(11, (batch(12),), now=2)
    progress.sent(12, (batch(13),), now=2)
    assert (progress.next, progress.may_send()) == (14, True)


def test_what_is_in_flight_is_bounded() -> None:
    progress = streaming()
    progress.sent(10, (batch(11, IN_FLIGHT_MAX),), now=0)
    assert not progress.may_send()
    progress.acknowledged(11, stamp=6, now=1)
    assert progress.may_send()


def test_an_acknowledgement_that_does_not_answer_the_probe_starts_no_stream() -> None:
    progress = Progress(101)
    progress.sent(100, (), now=0)
    progress.acknowledged(40, stamp=1, now=1)  # what it knew to be committed before it saw the probe
    assert (progress.flow, progress.match, progress.next) == (Flow.PROBE, 40, 101)
    progress.acknowledged(100, stamp=2, now=2)
    assert (progress.flow, progress.next) == (Flow.STREAM, 101)


def test_silence_about_what_was_sent_is_noticed_and_ends_with_an_answer() -> None:
    progress = streaming()
    assert not progress.overdue(now=10**9, patience=100)  # nothing is under way
    progress.sent(10, (batch(11),), now=0)
    progress.sent(11, (batch(12),), now=50)
    assert (progress.overdue(99, 100), progress.overdue(100, 100)) == (False, True)
    progress.acknowledged(11, stamp=6, now=90)
    assert (progress.overdue(189, 100), progress.overdue(190, 100)) == (False, True)
    progress.acknowledged(12, stamp=7, now=100)
    assert not progress.overdue(10**9, 100)


def test_who_says_the_same_again_and_again_does_not_get_on() -> None:
    progress = streaming(match=10, stamp=5)
    progress.sent(10, (batch(11),), now=0)
    progress.acknowledged(10, stamp=6, now=90)
    assert progress.overdue(100, 100)


def test_who_says_less_than_before_has_started_anew_and_is_shown_its_log_again() -> None:
    progress = streaming(match=10, stamp=5)
    progress.acknowledged(0, stamp=6, now=0)
    assert (progress.flow, progress.match, progress.next) == (Flow.PROBE, 10, 11)
    progress = streaming(match=10, stamp=5)
    progress.acknowledged(0, stamp=4, now=0)  # held back by the network
    assert progress.flow is Flow.STREAM


def test_a_rejection_leads_back_to_where_the_logs_part() -> None:
    progress = streaming(match=10)
    progress.sent(10, (batch(11),), now=0)
    progress.rejected(rejected=30, conflict=20, stamp=6)
    assert (progress.flow, progress.next, progress.may_send()) == (Flow.PROBE, 20, True)


def test_a_hint_below_what_is_acknowledged_is_no_loss() -> None:
    """A whole epoch's entries are doubtful to the follower, some of which it has acknowledged (found by reading)."""
    progress = streaming(match=10)
    progress.rejected(rejected=11, conflict=5, stamp=6)
    assert (progress.lost, progress.flow, progress.next) == (False, Flow.PROBE, 11)


@pytest.mark.parametrize(("stamp", "lost"), [(4, False), (6, True)])
def test_who_rejects_what_it_acknowledged_has_lost_it_unless_that_is_old_news(stamp: int, lost: bool) -> None:
    progress = streaming(match=10, stamp=5)
    progress.rejected(rejected=10, conflict=8, stamp=stamp)
    assert (progress.lost, progress.flow) == (lost, Flow.STREAM)


def test_the_answer_to_an_earlier_probe_changes_nothing() -> None:
    progress = Progress(31)
    progress.sent(30, (), now=0)
    progress.rejected(rejected=30, conflict=20, stamp=1)
    progress.sent(19, (), now=1)
    progress.rejected(rejected=30, conflict=25, stamp=2)
    assert progress.next == 20
