"""A session from its owner's side: numbers, resending, and what may be said about an outcome (rules 18, 19, 22)."""

from __future__ import annotations

import pytest

from actors._protocol.codec import decode, encode
from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol.entries import Commands, SessionAsked, SessionEnded, SessionKept
from broadcast._protocol.patience import FAR, SILENCE_MIN
from broadcast._protocol.reports import Answers, Expired, Kept, Missing, Opened, Resend
from broadcast._protocol.submitter import (
    RUN_COUNT_MAX,
    RUN_SIZE_MAX,
    UNACKNOWLEDGED_SIZE_MAX,
    UNDER_WAY_SIZE_MAX,
    Answered,
    Submitter,
    Unknown,
)

TERM = 600_000_000
NONCE = b"n" * 16


CLUSTER = b"c" * 16
WINDOW = 10_000


def submitter(*, term: int = TERM, window: int = WINDOW) -> Submitter:
    """One that has a way to its group."""
    one = Submitter(owner="me", nonce=NONCE)
    one.enter(CLUSTER, term=term, window=window, now=0)
    return one


def opened(*calls: str, session: int = 5, window: int = WINDOW) -> Submitter:
    """One whose session is open, with these calls offered."""
    one = submitter(window=window)
    for call in calls or ("first",):
        one.offer(encode([call]))
    assert one.take(0, 0) == [SessionAsked(NONCE, "me")]
    one.receive(Opened(NONCE, "me", session), 0)
    return one


def sent(one: Submitter, now: int = 0, stamp: int = 0) -> list[tuple[int, int, int]]:
    """(number, count, attempt) of the runs that it sends."""
    entries = one.take(stamp, now)
    assert all(isinstance(entry, Commands) for entry in entries)
    return [(entry.number, entry.count, entry.attempt) for entry in entries if isinstance(entry, Commands)]


def test_a_session_is_asked_for_when_there_is_something_to_send() -> None:
    one = submitter()
    assert (one.take(0, 0), one.deadline) == ([], FAR)
    one.offer(b"\x80")
    assert one.take(0, 0) == [SessionAsked(NONCE, "me")]
    assert one.take(0, 0) == []
    one.tick(SILENCE_MIN)
    assert one.take(0, SILENCE_MIN) == [SessionAsked(NONCE, "me")]


def test_another_s_session_is_not_taken() -> None:
    one = submitter()
    one.offer(b"\x80")
    one.take(0, 0)
    one.receive(Opened(b"m" * 16, "me", 9), 0)
    one.receive(Opened(NONCE, "another", 9), 0)
    assert one.session is None
    one.receive(Opened(NONCE, "me", 9), 0)
    one.receive(Opened(NONCE, "me", 12), 0)  # of an asking that was sent twice
    assert one.session == 9


def test_what_was_offered_together_travels_together_and_new_calls_do_not_wait() -> None:
    one = opened("a", "b")
    (run,) = one.take(stamp=7, now=0)
    assert isinstance(run, Commands)
    assert (run.session, run.number, run.count, run.acknowledged, run.stamp) == (5, 1, 2, 0, 7)
    assert decode(run.calls) == [["a"], ["b"]]
    assert one.offer(encode(["c"])) == 3
    assert sent(one) == [(3, 1, 0)]


def test_a_run_is_bounded() -> None:
    one = opened(*["x"] * (RUN_COUNT_MAX + 1))
    assert sent(one) == [(1, RUN_COUNT_MAX, 0), (RUN_COUNT_MAX + 1, 1, 0)]


def test_answers_come_in_order_once_and_are_acknowledged() -> None:
    one = opened("a", "b", "c")
    sent(one)
    one.receive(Answers(5, 1, [b"A", b"B"]), 0)
    one.receive(Answers(5, 1, [b"A", b"B", b"C"]), 0)
    one.receive(Answers(5, 2, [b"B"]), 0)
    assert one.take_results() == [Answered(1, [b"A", b"B"]), Answered(3, [b"C"])]
    assert one.outstanding == 0
    one.offer(encode(["d"]))
    (run,) = one.take(0, 0)
    assert isinstance(run, Commands)
    assert (run.number, run.acknowledged) == (4, 3)


def test_answers_that_left_some_out_make_it_ask_again() -> None:
    one = opened("a")
    sent(one)
    one.offer(encode(["b"]))
    sent(one)
    one.receive(Answers(5, 2, [b"B"]), 0)
    assert one.take_results() == []
    assert sent(one) == [(1, 1, 1), (2, 1, 1)]


def test_another_session_s_reports_are_none_of_its_business() -> None:
    one = opened("a")
    sent(one)
    one.receive(Answers(6, 1, [b"A"]), 0)
    one.receive(Expired(6), 0)
    assert (one.take_results(), one.session) == ([], 5)


def test_what_may_be_lost_is_sent_again_under_its_numbers() -> None:
    one = opened("a")
    sent(one)
    one.offer(encode(["b"]))
    one.receive(Resend(), 0)
    assert sent(one) == [(1, 1, 1), (2, 1, 1)]
    one.receive(Missing(5, 1, attempt=0), 0)  # about the first attempt: nothing new
    assert sent(one) == []
    one.receive(Missing(5, 1, attempt=1), 0)
    assert sent(one) == [(1, 1, 2), (2, 1, 2)]


def test_long_silence_makes_it_send_again_less_and_less_often() -> None:
    one = opened("a")
    sent(one)
    assert one.deadline == SILENCE_MIN
    one.tick(SILENCE_MIN - 1)
    assert sent(one, SILENCE_MIN - 1) == []
    one.tick(SILENCE_MIN)
    assert sent(one, SILENCE_MIN) == [(1, 1, 1)]
    assert one.deadline == 3 * SILENCE_MIN
    one.tick(3 * SILENCE_MIN)
    assert sent(one, 3 * SILENCE_MIN) == [(1, 1, 2)]
    one.receive(Answers(5, 1, [b"A"]), 3 * SILENCE_MIN)
    one.offer(encode(["b"]))
    sent(one, 3 * SILENCE_MIN)
    assert one.deadline == 4 * SILENCE_MIN


def test_what_was_not_sent_can_be_taken_back_and_keeps_its_number() -> None:
    one = opened("a", "b", "c")
    assert one.withdraw(2)
    (run,) = one.take(0, 0)
    assert isinstance(run, Commands)
    assert decode(run.calls) == [["a"], None, ["c"]]
    assert not one.withdraw(3)
    one.receive(Answers(5, 1, [b"A"]), 0)
    assert not one.withdraw(1)


def test_an_expired_session_leaves_open_what_was_sent_and_nothing_else() -> None:
    one = opened("a", "b")
    sent(one)
    one.receive(Answers(5, 1, [b"A"]), 0)
    one.offer(encode(["c"]))
    one.receive(Expired(5), 0)
    assert one.take_results() == [Answered(1, [b"A"]), Unknown(2, 2)]
    (asked,) = one.take(0, 0)
    assert isinstance(asked, SessionAsked)
    assert asked.nonce != NONCE  # the old one's late answer must not be taken for it
    one.receive(Opened(NONCE, "me", 8), 0)
    assert one.session is None
    one.receive(Opened(asked.nonce, "me", 9), 0)
    assert sent(one) == [(1, 1, 0)]
    one.receive(Answers(5, 1, [b"old"]), 0)
    one.receive(Answers(9, 1, [b"C"]), 0)
    assert one.take_results() == [Answered(3, [b"C"])]


def test_an_idle_session_is_kept_alive() -> None:
    one = opened("a")
    sent(one)
    one.receive(Answers(5, 1, [b"A"]), 0)
    assert one.deadline == TERM // 4
    one.tick(TERM // 4)
    assert one.take(0, TERM // 4) == [SessionKept(5, 1)]
    assert one.deadline == TERM // 2


def test_what_keeps_a_session_acknowledges_what_it_has_handed_out_and_no_more() -> None:
    one = opened("a", "b", "c")
    sent(one)
    one.receive(Answers(5, 1, [b"A", b"B"]), 0)
    one.tick(TERM // 4)
    assert one.take(0, TERM // 4)[0] == SessionKept(5, 2)
    one.receive(Expired(5), TERM // 4)
    one.offer(encode(["d"]))
    (asked,) = one.take(0, TERM // 4)
    assert isinstance(asked, SessionAsked)
    one.receive(Opened(asked.nonce, "me", 9), TERM // 4)
    one.tick(TERM)
    assert one.take(0, TERM)[0] == SessionKept(9, 0)  # numbers begin again


def test_who_has_much_and_is_idle_says_so_at_once_and_until_it_was_heard() -> None:
    half = bytes(UNACKNOWLEDGED_SIZE_MAX // 2)
    one = opened("a", "b", "c")
    sent(one)
    one.receive(Answers(5, 1, [half, half]), 0)
    assert (one.is_due, one.take(0, 0)) == (False, [])  # not idle: the next command says so, or the last answer
    one.receive(Answers(5, 3, [b"C"]), 0)
    assert one.is_due
    assert one.take(0, 0) == [SessionKept(5, 3)]
    assert (one.is_due, one.take(0, 0)) == (False, [])
    one.receive(Resend(), 0)
    assert one.take(0, 0) == [SessionKept(5, 3)]
    one.receive(Kept(5), 0)
    one.receive(Resend(), 0)
    assert one.take(0, 0) == []


def test_a_command_says_so_as_well() -> None:
    one = opened("a")
    sent(one)
    one.receive(Answers(5, 1, [bytes(UNACKNOWLEDGED_SIZE_MAX - 1)]), 0)
    assert one.take(0, 0) == []
    one.offer(encode(["b"]))
    (run,) = one.take(0, 0)
    assert isinstance(run, Commands)
    assert run.acknowledged == 1
    one.receive(Answers(5, 2, [b"B"]), 0)
    assert one.take(0, 0) == []


def test_what_is_sent_again_is_not_sure_to_say_so() -> None:
    """The leader gives no second place to what has one, so that nobody applies what a copy tells."""
    one = opened("a")
    sent(one)
    one.offer(encode(["b"]))
    (run,) = one.take(0, 0)
    assert isinstance(run, Commands)
    assert run.acknowledged == 0
    one.receive(Answers(5, 1, [bytes(UNACKNOWLEDGED_SIZE_MAX)]), 0)
    one.receive(Resend(), 0)
    (copy,) = one.take(0, 0)
    assert isinstance(copy, Commands)
    assert (copy.number, copy.acknowledged) == (2, 1)
    one.receive(Answers(5, 2, [b"B"]), 0)
    assert one.take(0, 0) == [SessionKept(5, 2)]


def test_what_keeps_a_session_says_nothing_of_what_comes_after_it() -> None:
    one = opened("a", "b")
    sent(one)
    one.tick(TERM // 4)
    assert one.take(0, TERM // 4)[0] == SessionKept(5, 0)
    one.receive(Answers(5, 1, [bytes(UNACKNOWLEDGED_SIZE_MAX)]), TERM // 4)
    one.receive(Kept(5), TERM // 4)
    one.receive(Answers(5, 2, [b"B"]), TERM // 4)
    assert one.take(0, TERM // 4) == [SessionKept(5, 2)]
    one.receive(Kept(5), TERM // 4)
    one.receive(Resend(), TERM // 4)
    assert one.take(0, TERM // 4) == []


def test_after_a_long_sleep_it_asks_first_so_that_nothing_is_put_in_doubt() -> None:
    one = opened("a")
    sent(one)
    one.receive(Answers(5, 1, [b"A"]), 0)
    late = TERM // 2 + 1
    one.offer(encode(["b"]))
    assert one.take(0, late) == [SessionKept(5, 1)]
    assert one.take(0, late) == []
    one.receive(Expired(5), late)
    assert one.take_results() == [Answered(1, [b"A"])]  # nothing unknown
    one = opened("a")
    sent(one)
    one.receive(Answers(5, 1, [b"A"]), 0)
    one.offer(encode(["b"]))
    one.take(0, late)
    one.receive(Kept(5), late)
    assert sent(one, late) == [(2, 1, 0)]


def test_where_there_is_no_room_it_asks_again() -> None:
    one = submitter()
    one.offer(b"\x80")
    one.take(0, 0)
    one.receive(Opened(NONCE, "me", None), 0)
    assert (one.full, one.take(0, 0)) == (True, [])
    one.tick(SILENCE_MIN)
    assert one.take(0, SILENCE_MIN) == [SessionAsked(NONCE, "me")]
    one.receive(Opened(NONCE, "me", 4), SILENCE_MIN)
    assert (one.full, one.session) == (False, 4)


def test_who_is_done_says_so() -> None:
    one = opened("a")
    sent(one)
    one.receive(Answers(5, 1, [b"A"]), 0)
    one.end()
    assert one.take(0, 0) == [SessionEnded(5)]


def test_no_more_is_sent_than_the_group_lets_it_leave_open() -> None:
    one = opened(*"abcde", window=2)
    assert sent(one) == [(1, 2, 0)]
    assert sent(one) == []
    one.receive(Answers(5, 1, [b"A"]), 0)
    assert sent(one) == [(3, 1, 0)]
    one.receive(Answers(5, 2, [b"B", b"C"]), 0)
    assert sent(one) == [(4, 2, 0)]


def test_the_session_of_another_cluster_is_none_in_this_one() -> None:
    """The group was wiped and formed anew at the same addresses: numbers of the old one mean others' sessions now."""
    one = opened("a", "b")
    sent(one)
    one.receive(Answers(5, 1, [b"A"]), 0)
    one.enter(CLUSTER, term=TERM, window=WINDOW, now=0)  # the same group by another way
    assert (one.session, sent(one)) == (5, [(1, 2, 1)])
    one.offer(encode(["c"]))
    one.enter(b"d" * 16, term=TERM, window=WINDOW, now=0)
    assert one.take_results() == [Answered(1, [b"A"]), Unknown(2, 2)]
    (asked,) = one.take(0, 0)
    assert isinstance(asked, SessionAsked)
    assert asked.nonce != NONCE
    one.receive(Answers(5, 2, [b"of another"]), 0)
    assert one.take_results() == []


def test_how_long_a_session_lasts_is_the_group_s_to_say() -> None:
    one = submitter(term=2_000)
    one.offer(encode(["a"]))
    one.take(0, 0)
    one.receive(Opened(NONCE, "me", 5), 0)
    sent(one)
    one.receive(Answers(5, 1, [b"A"]), 0)
    one.offer(encode(["b"]))
    assert one.take(0, 1_001) == [SessionKept(5, 1)]  # half the term has passed: is it still there?


def test_silence_is_counted_until_something_is_heard_or_there_is_another_way() -> None:
    one = opened("a")
    for now in (0, SILENCE_MIN, 3 * SILENCE_MIN):
        one.tick(now)
        sent(one, now)
    assert one.silences == 2
    one.enter(CLUSTER, term=TERM, window=WINDOW, now=3 * SILENCE_MIN)
    assert one.silences == 0
    assert sent(one, 3 * SILENCE_MIN) == [(1, 1, 3)]
    assert one.deadline == 4 * SILENCE_MIN


def test_new_calls_do_not_put_off_the_end_of_patience() -> None:
    one = opened("a")
    sent(one)
    one.offer(encode(["b"]))
    sent(one, SILENCE_MIN // 2)
    assert one.deadline == SILENCE_MIN


def test_what_is_under_way_is_bounded_by_bytes_too() -> None:
    """What a link's lane would swallow had better wait here."""
    call = encode(["x", bytes(RUN_SIZE_MAX - 100)])
    one = submitter()
    for _ in range(100):
        one.offer(call)
    one.take(0, 0)
    one.receive(Opened(NONCE, "me", 5), 0)
    under_way = len(sent(one))
    assert UNDER_WAY_SIZE_MAX * 0.9 < under_way * len(call) <= UNDER_WAY_SIZE_MAX
    assert one.size == 100 * len(call)
    assert sent(one) == []
    one.receive(Answers(5, 1, [b"A"]), 0)
    assert one.size == 99 * len(call)
    assert len(sent(one)) == 1
    one.receive(Expired(5), 0)
    assert one.size == (99 - under_way) * len(call)


def test_a_call_of_any_size_goes_alone() -> None:
    one = submitter()
    one.offer(encode(["x", bytes(UNDER_WAY_SIZE_MAX)]))
    one.offer(b"\x80")
    one.take(0, 0)
    one.receive(Opened(NONCE, "me", 5), 0)
    assert sent(one) == [(1, 1, 0)]
    one.receive(Answers(5, 1, [b"A"]), 0)
    assert sent(one) == [(2, 1, 0)]
    one.receive(Answers(5, 2, [b"A"]), 0)
    assert one.size == 0


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_an_answer_to_what_was_not_sent_is_a_fault_of_the_other_side(number: int) -> None:
    one = opened("a")
    with pytest.raises(RemoteProtocolError, match="which was not sent"):
        one.receive(Answers(5, number, [b"A"]), 0)
    assert one.take_results() == []
