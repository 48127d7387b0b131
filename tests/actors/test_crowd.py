"""Clients that have more to say share a turn, and threads take short turns while several do."""

from __future__ import annotations

import sys

import pytest

from actors._crowd import THREAD_SECONDS, TURN_SECONDS, TURN_SECONDS_MIN, Crowd


def test_those_who_have_more_share_one_turn() -> None:
    crowd = Crowd()
    assert crowd.turn == TURN_SECONDS
    for who in "ab":
        crowd.has_more(who)
        crowd.has_more(who)
    assert crowd.turn == TURN_SECONDS / 2
    crowd.is_done("a")
    crowd.is_done("a")
    crowd.is_done("c")
    assert crowd.turn == TURN_SECONDS
    crowd.is_done("b")
    assert crowd.turn == TURN_SECONDS


def test_each_has_a_little_however_many_they_are() -> None:
    crowd = Crowd()
    for who in range(1_000):
        crowd.has_more(who)
    assert crowd.turn == TURN_SECONDS_MIN
    for who in range(1_000):
        crowd.is_done(who)


def test_threads_take_short_turns_while_several_have_more() -> None:
    before, crowd = sys.getswitchinterval(), Crowd()
    assert before > 2 * THREAD_SECONDS
    crowd.has_more("a")
    assert sys.getswitchinterval() == before
    for _ in range(2):
        crowd.has_more("b")
        assert sys.getswitchinterval() == pytest.approx(THREAD_SECONDS, abs=2e-6)
        crowd.has_more("c")
        crowd.is_done("a")
        assert sys.getswitchinterval() == pytest.approx(THREAD_SECONDS, abs=2e-6)
        crowd.is_done("b")
        assert sys.getswitchinterval() == pytest.approx(before, abs=2e-6)
        crowd.has_more("a")
        crowd.is_done("c")
    crowd.is_done("a")
