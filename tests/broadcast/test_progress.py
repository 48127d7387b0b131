"""The leader's picture of one follower (rule 10)."""

from __future__ import annotations

import pytest

from broadcast._protocol.position import Batch, Position
from broadcast._protocol.progress import IN_FLIGHT_MAX, Flow, Progress
from broadcast._protocol.snapshots import Snapshot
from membership._protocol.configurations import Agreed
from membership._protocol.view import Configuration, Member


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


def test_who_was_silent_is_asked_and_nothing_is_sent_again_before_it_has_answered() -> None:
    """It may all be on its way, behind much else."""
    progress = streaming(match=10, stamp=5)
    for first in (11, 12, 13):
        progress.sent(first - 1, (batch(first),), now=0)
    assert progress.ask(now=100) == 1
    assert (progress.flow, progress.next) == (Flow.STREAM, 14)
    progress.acknowledged(11, stamp=6, now=110)
    assert (progress.flow, progress.next) == (Flow.STREAM, 14), "that is no answer yet"
    progress.acknowledged(13, stamp=7, now=120, number=1)
    assert (progress.flow, progress.next, progress.overdue(10**9, 100)) == (Flow.STREAM, 14, False)


def test_what_is_missing_in_the_answer_is_sent_again() -> None:
    progress = streaming(match=10, stamp=5)
    for first in (11, 12, 13):
        progress.sent(first - 1, (batch(first, IN_FLIGHT_MAX // 3 + 1),), now=0)
    assert progress.ask(now=100) == 1
    assert not progress.may_send()
    progress.acknowledged(11, stamp=6, now=120, number=1)
    assert (progress.flow, progress.next, progress.may_send()) == (Flow.STREAM, 12, True)


def test_the_answer_to_an_earlier_question_shows_nothing_to_be_lost() -> None:
    progress = streaming(match=10, stamp=5)
    progress.sent(10, (batch(11),), now=0)
    assert (progress.ask(now=100), progress.ask(now=300)) == (1, 2)
    progress.acknowledged(10, stamp=6, now=310, number=1)
    assert progress.next == 12
    progress.acknowledged(10, stamp=7, now=320, number=2)
    assert progress.next == 11


def test_a_new_link_makes_an_answer_to_what_was_asked_before_it_worthless() -> None:
    progress = streaming(match=10, stamp=5)
    progress.sent(10, (batch(11),), now=0)
    assert progress.ask(now=100) == 1
    progress.probe()
    progress.sent(10, (), now=110)
    progress.acknowledged(10, stamp=6, now=120)
    progress.sent(10, (batch(11),), now=130)
    progress.acknowledged(10, stamp=7, now=140, number=1)
    assert progress.next == 12


def test_each_silence_about_a_snapshot_may_last_longer_and_each_word_makes_it_shorter() -> None:
    progress = Progress(1)
    agreed = Agreed.formed(Configuration((Member("a", b"a" * 16),)), 1)
    progress.restore(Snapshot(Position(1, 20), 0, 20, agreed, 100, bytes(32)), 20, now=0)
    lasted: list[int] = []
    now = 0

    def wait() -> None:
        nonlocal now
        begun = now
        while not progress.overdue(now, patience=10):
            now += 1
        progress.repeat(now)
        lasted.append(now - begun)

    for _ in range(6):
        wait()
    assert lasted == [10, 20, 40, 80, 160, 160]
    progress.confirmed(10, stamp=6, now=now)
    wait()
    assert lasted[-1] == 80


def test_who_is_silent_about_a_probe_gets_another_until_it_speaks() -> None:
    progress = Progress(11)
    progress.sent(10, (batch(11),), now=0)
    assert not progress.is_silent
    assert progress.ask(now=100) == 0
    assert (progress.flow, progress.may_send(), progress.is_silent) == (Flow.PROBE, True, True)
    progress.sent(10, (), now=100)
    progress.acknowledged(10, stamp=1, now=110)
    assert (progress.flow, progress.next, progress.is_silent) == (Flow.STREAM, 11, False)


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
