"""Where sessions end at a replica: who hears what, and what is answered without a new entry."""

from __future__ import annotations

from broadcast._protocol.desk import Desk
from broadcast._protocol.entries import Commands, SessionAsked, SessionEnded, SessionKept, Submittable
from broadcast._protocol.reports import Answers, Kept, Missing, Opened, Report, Resend
from broadcast._protocol.sessions import Sessions


class Hearer:
    def __init__(self) -> None:
        self.heard: list[Report] = []

    def report(self, report: Report) -> None:
        self.heard.append(report)


def run(number: int, count: int = 1, session: int = 3) -> Commands:
    return Commands(session, number, count, 0, 0, 0, b"")


def desk_with(*answers: bytes) -> tuple[Desk, Sessions]:
    """With session 3 open, and these answers in it."""
    sessions = Sessions(term=100, sessions_max=10)
    sessions.open(3, "owner", 0)
    session = sessions.get(3)
    assert session is not None
    for answer in answers:
        session.answered(answer)
    return Desk(sessions), sessions


def test_what_is_applied_already_is_answered_from_the_table() -> None:
    desk, _ = desk_with(b"A", b"B")
    owner = Hearer()
    new: tuple[Submittable, ...] = (run(2, 2), run(4))
    assert desk.submit(owner, (run(1, 2), *new)) == new  # only a run that is applied as a whole
    assert owner.heard == [Answers(3, 1, [b"A", b"B"])]


def test_what_is_unknown_here_goes_into_the_log() -> None:
    desk, _ = desk_with()
    entries = (SessionAsked(b"n" * 16, "owner"), SessionKept(3), run(1, session=9), SessionEnded(3))
    assert desk.submit(Hearer(), entries) == entries


def test_reports_go_to_whoever_spoke_for_the_session_last() -> None:
    desk, _ = desk_with()
    first, second = Hearer(), Hearer()
    desk.submit(first, (run(1),))
    desk.submit(second, (run(1),))
    desk.route([Answers(3, 1, [b"A"]), Missing(4, 1, 0), Kept(5)])
    assert (first.heard, second.heard) == ([], [Answers(3, 1, [b"A"])])


def test_a_new_session_belongs_to_who_asked_for_it() -> None:
    desk, _ = desk_with()
    owner, other = Hearer(), Hearer()
    desk.submit(owner, (SessionAsked(b"n" * 16, "owner"),))
    desk.submit(other, (SessionAsked(b"m" * 16, "other"),))
    desk.route([Opened(b"n" * 16, 7), Opened(b"x" * 16, 8), Kept(7)])
    assert (owner.heard, other.heard) == ([Opened(b"n" * 16, 7), Kept(7)], [])


def test_all_are_told_once_when_the_leader_may_have_lost_something() -> None:
    desk, _ = desk_with()
    owner = Hearer()
    desk.submit(owner, (run(1), run(1, session=4), SessionAsked(b"n" * 16, "owner")))
    desk.lost()
    assert owner.heard == [Resend()]


def test_who_has_left_or_ended_hears_nothing_more() -> None:
    desk, _ = desk_with()
    gone, done = Hearer(), Hearer()
    desk.submit(gone, (run(1), SessionAsked(b"n" * 16, "gone")))
    desk.submit(done, (run(1, session=4), SessionEnded(4)))
    desk.leave(gone)
    desk.route([Kept(3), Opened(b"n" * 16, 5), Kept(4)])
    desk.lost()
    assert (gone.heard, done.heard) == ([], [])
