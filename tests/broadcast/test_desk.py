"""Where sessions end at a replica: who hears what, and what is answered without a new entry."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol.desk import FORGOTTEN_MAX, SESSIONS_MAX, Desk
from broadcast._protocol.entries import Commands, SessionAsked, SessionEnded, SessionKept, Submittable
from broadcast._protocol.reports import Answers, Expired, Kept, Missing, Opened, Report, Resend
from broadcast._protocol.sessions import Sessions


class Hearer:
    def __init__(self, name: str = "owner") -> None:
        self.name = name
        self.heard: list[Report] = []

    def report(self, report: Report) -> None:
        self.heard.append(report)


def run(number: int, count: int = 1, session: int = 3) -> Commands:
    return Commands(session, number, count, 0, 0, 0, b"")


def opened(nonce: int, session: int) -> Opened:
    return Opened(nonce.to_bytes(16), "owner", session)


def desk_with(*answers: bytes) -> tuple[Desk, Sessions]:
    """With the sessions 3 and 4 open, these answers in the former, and all up to 10 applied."""
    sessions = Sessions(term=100, sessions_max=10)
    for number in (3, 4):
        sessions.open(number, number.to_bytes(16), "owner", 0)
    session = sessions.get(3)
    assert session is not None
    session.answered(answers)
    desk = Desk(sessions)
    desk.route([], 10)
    return desk, sessions


def test_what_is_applied_already_is_answered_from_the_table() -> None:
    desk, _ = desk_with(b"A", b"B")
    owner = Hearer()
    new: tuple[Submittable, ...] = (run(2, 2), run(4))
    assert desk.submit(owner, (run(1, 2), *new)) == new  # only a run that is applied as a whole
    assert owner.heard == [Answers(3, 1, [b"A", b"B"])]


def test_what_is_unknown_here_goes_into_the_log() -> None:
    desk, _ = desk_with()
    entries = (SessionAsked(b"n" * 16, "owner"), SessionKept(3, 0), run(1, session=4), SessionEnded(3))
    assert desk.submit(Hearer(), entries) == entries


def test_a_session_that_is_not_there_any_more_is_told_without_a_new_entry() -> None:
    desk, _ = desk_with()
    owner = Hearer()
    assert desk.submit(owner, (run(1, session=9), SessionKept(10, 0), SessionEnded(8))) == ()
    assert owner.heard == [Expired(9), Expired(10)]


def test_what_is_said_for_a_session_too_early_is_to_be_said_again() -> None:
    """Its opening is not applied here yet, so nobody knows whose it is."""
    desk, sessions = desk_with()
    owner, gone = Hearer(), Hearer()
    assert desk.submit(owner, (run(1, session=12),)) == ()
    assert desk.submit(owner, (run(2, session=12),)) == ()
    assert desk.submit(gone, (run(1, session=12),)) == ()
    desk.leave(gone)
    desk.route([], 11)
    assert owner.heard == []
    sessions.open(12, b"x" * 16, "owner", 0)
    desk.route([], 12)
    desk.route([], 13)
    assert (owner.heard, gone.heard) == ([Resend()], [])
    assert desk.submit(owner, (run(1, session=12),)) == (run(1, session=12),)


def test_nobody_speaks_for_another_s_session() -> None:
    desk, _ = desk_with()
    thief = Hearer("thief")
    for entry in (run(1), SessionKept(3, 0), SessionEnded(3), SessionAsked(b"n" * 16, "owner")):
        with pytest.raises(RemoteProtocolError, match="thief speaks for a session of owner"):
            desk.submit(thief, (SessionAsked(b"m" * 16, "thief"), entry))
    desk.route([Kept(3), Opened(b"n" * 16, "owner", 11), Opened(b"m" * 16, "thief", 12)], 12)
    assert thief.heard == []


def test_what_is_kept_of_owners_is_bounded() -> None:
    """An owner asks for one session at a time, and those that have expired are forgotten."""
    desk, _ = desk_with()
    heard = 0
    for number in range(20, 20 + 3 * FORGOTTEN_MAX):
        owner = Hearer()
        desk.submit(owner, (SessionAsked(number.to_bytes(16), "owner"),))
        desk.submit(owner, (SessionAsked((number + 1).to_bytes(16), "owner"),))
        desk.route([opened(number, number), opened(number + 1, number)], number)
        heard += len(owner.heard)
    assert heard == 6 * FORGOTTEN_MAX
    assert len(desk._owners) <= FORGOTTEN_MAX + 2  # pyright: ignore[reportPrivateUsage]


def test_reports_go_to_whoever_spoke_for_the_session_last() -> None:
    desk, _ = desk_with()
    first, second = Hearer(), Hearer()
    desk.submit(first, (run(1),))
    desk.submit(second, (run(1),))
    desk.route([Answers(3, 1, [b"A"]), Missing(4, 1, 0), Kept(5)], 10)
    assert (first.heard, second.heard) == ([], [Answers(3, 1, [b"A"])])


def test_a_new_session_belongs_to_who_asked_for_it() -> None:
    desk, _ = desk_with()
    owner, other = Hearer(), Hearer("other")
    desk.submit(owner, (SessionAsked(b"n" * 16, "owner"),))
    desk.submit(other, (SessionAsked(b"m" * 16, "other"),))
    desk.route([Opened(b"n" * 16, "owner", 7), Opened(b"x" * 16, "owner", 8), Kept(7)], 10)
    assert (owner.heard, other.heard) == ([Opened(b"n" * 16, "owner", 7), Kept(7)], [])


def test_who_copies_another_s_nonce_takes_nothing_from_it() -> None:
    desk, _ = desk_with()
    owner, thief = Hearer(), Hearer("thief")
    desk.submit(owner, (SessionAsked(b"n" * 16, "owner"),))
    desk.submit(thief, (SessionAsked(b"n" * 16, "thief"),))
    desk.route([Opened(b"n" * 16, "owner", 11), Opened(b"n" * 16, "thief", None), Kept(11)], 12)
    assert owner.heard == [Opened(b"n" * 16, "owner", 11), Kept(11)]
    assert thief.heard == [Opened(b"n" * 16, "thief", None)]


def test_all_are_told_once_when_the_leader_may_have_lost_something() -> None:
    desk, _ = desk_with()
    owner = Hearer()
    desk.submit(owner, (run(1), run(1, session=4), SessionAsked(b"n" * 16, "owner")))
    desk.lost()
    assert owner.heard == [Resend()]


def test_who_has_left_or_ended_hears_nothing_more() -> None:
    desk, _ = desk_with()
    gone, done = Hearer(), Hearer()
    desk.submit(gone, (run(1), SessionAsked(b"n" * 16, "owner")))
    desk.submit(done, (run(1, session=4), SessionEnded(4)))
    desk.leave(gone)
    desk.route([Kept(3), Opened(b"n" * 16, "owner", 5), Kept(4)], 10)
    desk.lost()
    assert (gone.heard, done.heard) == ([], [])


def test_an_owner_has_so_many_sessions_here_and_no_more() -> None:
    desk, sessions = desk_with()
    owner = Hearer()
    for number in range(20, 20 + SESSIONS_MAX):
        desk.submit(owner, (SessionAsked(number.to_bytes(16), "owner"),))
        sessions_left = sessions.open(number, number.to_bytes(16), "owner", 0)
        desk.route([opened(number, sessions_left or number)], number)
    with pytest.raises(RemoteProtocolError, match="owner asks for 17 sessions here"):
        desk.submit(owner, (SessionAsked(b"n" * 16, "owner"),))
    assert desk.submit(Hearer(), (SessionAsked(b"m" * 16, "owner"),)) == (SessionAsked(b"m" * 16, "owner"),)


def test_what_was_applied_is_told_once_however_often_one_asks_at_a_time() -> None:
    desk, _ = desk_with(b"A", b"B", b"C")
    owner = Hearer()
    assert desk.submit(owner, (run(1, 2), run(1, 2), run(2, 2), run(1, 3))) == ()
    assert owner.heard == [Answers(3, 1, [b"A", b"B"]), Answers(3, 3, [b"C"])]


def steps_of(call: Callable[[], object]) -> int:
    """How many steps the interpreter takes for this: no clock, and the same each time."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Callable[..., object]:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    gc.collect()
    gc.disable()  # or what other tests have left is finalized in between, and its steps counted
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def steps_beside(others: int) -> list[int]:
    """Of what an owner does here and hears, where so many others have a session, and ask for another."""
    sessions = Sessions(term=100, sessions_max=2 * others + 2)
    desk, owner, newcomer = Desk(sessions), Hearer(), Hearer()
    for number in range(20, 20 + others):
        other, nonce = Hearer(), number.to_bytes(16)
        desk.submit(other, (SessionAsked(nonce, "owner"),))
        sessions.open(number, nonce, "owner", 0)
        desk.route([opened(number, number)], number)
        desk.submit(other, (SessionAsked((number + others).to_bytes(16), "owner"), run(1, session=2**40)))
    sessions.open(10, bytes(16), "owner", 0)
    desk.submit(owner, (run(1, session=10),))
    return [
        steps_of(lambda: desk.submit(owner, (run(1, session=10),))),
        steps_of(lambda: desk.submit(newcomer, (SessionAsked(b"n" * 16, "owner"),))),
        steps_of(lambda: desk.submit(newcomer, (run(1, session=2**41),))),
        steps_of(lambda: desk.submit(owner, (SessionEnded(10),))),
        steps_of(lambda: desk.leave(newcomer)),
    ]


def test_what_one_owner_does_takes_as_long_among_many_as_among_few() -> None:
    assert steps_beside(1_000) == steps_beside(10)
