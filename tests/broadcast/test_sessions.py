"""The table of sessions: expiry by log time, answers as long as they are needed (rule 18)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcast._protocol import sessions
from broadcast._protocol.sessions import Session, Sessions


@given(st.lists(st.tuples(st.sampled_from(["answer", "acknowledge", "ask"]), st.integers(0, 12), st.integers(0, 12))))
def test_answers_are_remembered_until_they_are_acknowledged(steps: list[tuple[str, int, int]]) -> None:
    session = Session("owner", 0)
    last = acknowledged = 0
    for step, one, other in steps:
        if step == "answer":
            last += 1
            session.answered([str(last).encode()])
        elif step == "acknowledge":
            session.acknowledge(one)
            acknowledged = max(acknowledged, min(one, last))
        else:
            first, answers = session.remembered(one + 1, one + other)
            known = [number for number in range(acknowledged + 1, last + 1) if one + 1 <= number <= one + other]
            assert answers == [str(number).encode() for number in known]
            assert not known or first == known[0]
        assert (session.last, session.acknowledged, len(session.answers)) == (last, acknowledged, last - acknowledged)
        assert session.size == sum(map(len, session.answers))


def nonce(number: int) -> bytes:
    return number.to_bytes(16)


def test_a_session_is_full_once_its_answers_take_what_is_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ANSWERS_SIZE_MAX", 5)
    session = Session("owner", 0, 2, 0, [b"two", b"2"])
    assert session.room == 1
    session.answered([b"1", b"22"])
    assert session.room == -2
    session.acknowledge(1)
    assert session.room == 1


def expired(sessions: Sessions, time: int) -> list[int]:
    return [number for number, _ in sessions.expire(time)]


def test_a_session_expires_when_its_term_has_passed_in_log_time() -> None:
    sessions = Sessions(term=100, sessions_max=10)
    assert sessions.open(1, nonce(1), "one", 0)
    assert sessions.open(2, nonce(2), "two", 50)
    assert expired(sessions, 99) == []
    assert expired(sessions, 100) == [1]
    assert sessions.touch(1, 100) is None
    assert sessions.touch(2, 140) is not None
    assert expired(sessions, 239) == []
    assert expired(sessions, 240) == [2]


def test_who_was_heard_of_later_expires_later_whoever_was_opened_first() -> None:
    sessions = Sessions(term=100, sessions_max=10)
    for number in (1, 2, 3):
        sessions.open(number, nonce(number), "owner", 0)
    sessions.touch(1, 60)
    assert expired(sessions, 120) == [2, 3]
    assert [number for number, _ in sessions] == [1]


def test_nothing_is_evicted_for_a_new_one() -> None:
    sessions = Sessions(term=100, sessions_max=2)
    assert sessions.open(1, nonce(1), "one", 0)
    assert sessions.open(2, nonce(2), "two", 0)
    assert not sessions.open(3, nonce(3), "three", 0)
    sessions.end(1)
    assert sessions.open(4, nonce(4), "four", 0)
    assert (len(sessions), sessions.get(3)) == (2, None)


def test_a_new_epoch_gives_all_their_full_term_again() -> None:
    sessions = Sessions(term=100, sessions_max=10)
    sessions.open(1, nonce(1), "one", 0)
    sessions.renew(99)
    assert expired(sessions, 198) == []
    assert expired(sessions, 199) == [1]


def test_a_session_asked_for_twice_is_one() -> None:
    """Its asker had heard nothing, and asked again; both came into the log."""
    sessions = Sessions(term=100, sessions_max=1)
    assert sessions.open(1, nonce(7), "one", 0) == 1
    assert sessions.open(2, nonce(7), "one", 50) == 1
    assert len(sessions) == 1
    assert sessions.open(3, nonce(7), "another", 50) is None, "a nonce is its owner's"
    assert expired(sessions, 100) == [], "it was heard of"
    sessions.end(1)
    assert sessions.open(4, nonce(7), "one", 200) == 4
    assert expired(sessions, 300) == [4]
    assert sessions.open(5, nonce(7), "one", 300) == 5


def test_a_nonce_is_its_owner_s() -> None:
    sessions = Sessions(term=100, sessions_max=10)
    assert sessions.open(1, b"n" * 16, "me", 0) == 1
    assert sessions.open(2, b"n" * 16, "you", 0) == 2
    assert sessions.open(3, b"n" * 16, "me", 0) == 1


def test_to_hear_of_one_and_to_look_for_expired_ones_costs_the_same_beside_many() -> None:
    def seconds(count: int) -> float:
        table = Sessions(term=10, sessions_max=count)
        for number in range(1, count + 1):
            table.open(number, str(number).encode(), "owner", 0)
        began = time.process_time()
        for step in range(20_000):
            table.touch(step % count + 1, 5)
            assert table.expire(6) == []
        return time.process_time() - began

    assert seconds(50_000) < 5 * seconds(10) + 0.05
