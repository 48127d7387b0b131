"""Ongaro 2014 on clients, a sentence a test (6.2-6.4); VRR's client table (4.1); rules 18-20."""

from __future__ import annotations

import pytest
from stage import FLOOR, MILLISECOND, ReadAnswered, Sent, Stage, Told

from broadcast._protocol.entries import SessionKept
from broadcast._protocol.messages import Heartbeat, HeartbeatReply, ReadIndex, ReadIndexReply
from broadcast._protocol.output import Connected, Submitted
from broadcast._protocol.reports import Answers, Expired
from membership._protocol.view import Limits


def elected(names: str = "abc", limits: Limits | None = None) -> Stage:
    stage = Stage(names)
    stage.limits = limits or stage.limits
    stage.start()
    stage.tick("a")
    stage.run(10)
    assert stage.replica("a").role == "leader"
    return stage


def with_term(milliseconds: int) -> Stage:
    """A session that is not heard of for so long has expired."""
    return elected(limits=Limits(election_timeout=FLOOR, session_term=milliseconds * MILLISECOND))


def answers(stage: Stage) -> dict[str, list[str]]:
    return {event.what.label: event.what.words for event in stage.events if isinstance(event.what, ReadAnswered)}


def sessions(stage: Stage, name: str) -> dict[int, tuple[int, int]]:
    """A replica's table: session -> (last number, when it was heard of)."""
    machine = stage.cores[name].machine
    assert machine is not None
    return {number: (session.last, session.touched) for number, session in machine.sessions}


# -- once (6.3) ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_command_that_is_in_the_log_twice_is_applied_once_and_answered_alike(times: int) -> None:
    """6.3: whoever finds a number it has seen answers what it remembers, and does not run the command again."""
    stage = elected()
    stage.client("me", "a")
    stage.say("me", "x")
    stage.run(10)
    stage.say("me", "y")
    for at in "bcabc"[:times]:  # asked again elsewhere before any answer came
        stage.client("me", at)
    stage.run(10)
    assert [stage.words(name) for name in "abc"] == [["x", "y"]] * 3
    given = {
        report.outcomes[0]
        for event in stage.events
        if isinstance(event.what, Told) and isinstance(report := event.what.report, Answers) and report.number == 2
    }
    assert len(given) == 1
    assert stage.clients["me"].submitter.outstanding == 0


def test_once_only_holds_over_any_number_of_leaders() -> None:
    """6.3: the table of sessions is part of the state, so every later leader has it."""
    stage = elected()
    stage.client("me", "b")
    for word in "vwxyz":
        stage.run(400)
        (leader,) = (name for name in "abc" if stage.replica(name).role == "leader")
        at = next(name for name in "abc" if name != leader)
        stage.client("me", at)
        stage.say("me", word)
        stage.run(10)
        stage.crash(leader)
        stage.client("me", at)  # its link broke: what is not answered is sent again
        stage.run(500)
        stage.start(leader)
    stage.run(500)
    assert {tuple(stage.words(name)) for name in "abc"} == {tuple("vwxyz")}


def test_a_command_whose_forerunner_is_missing_is_not_applied() -> None:
    """Rule 18; VRR 4.1: numbers of a client are consecutive; 6.3: a later one says nothing about an earlier one."""
    stage = elected()
    stage.client("me", "b")
    stage.say("me", "x")
    stage.run(10)
    stage.say("me", "y")
    stage.drop("b", "a")
    stage.say("me", "z")
    stage.deliver("b", "a")
    while stage.words("c") == ["x"] and stage.flights:
        stage.arrive(stage.flights.pop(0))
    stage.run(10)
    assert [stage.words(name) for name in "abc"] == [["x", "y", "z"]] * 3


# -- sessions end ------------------------------------------------------------------------------------------------------


def test_sessions_end_by_agreement_and_by_nobody_s_clock() -> None:
    """6.3: all state machines must drop the same session at the same entry; the leader's stamps are what tells time."""
    stage = with_term(300)
    for name in ("me", "you"):
        stage.client(name, "a")
        stage.say(name, name)
        stage.run(10)
    stage.run(5_000)
    assert [len(sessions(stage, name)) for name in "abc"] == [2, 2, 2], "no clock but the log's ends a session"
    stage.submit("a", "anything")
    stage.deliver("a", "b")
    stage.deliver("b", "a")
    assert (sessions(stage, "a"), len(sessions(stage, "c"))) == ({}, 2)
    stage.run(10)
    assert sessions(stage, "a") == sessions(stage, "b") == sessions(stage, "c") == {}


def test_a_session_that_is_kept_alive_stays() -> None:
    """6.3: a client that has nothing to ask says that it lives."""
    stage = with_term(300)
    stage.client("me", "a")
    stage.say("me", "x")
    stage.run(10)
    (session,) = sessions(stage, "a")
    for _ in range(5):
        stage.run(200)
        stage.step("a", Submitted((SessionKept(session, 0),)))
    stage.run(10)
    assert set(sessions(stage, "a")) == {session}


def test_a_command_of_a_session_that_is_gone_is_refused_not_run() -> None:
    """6.3: without the record nobody can tell whether it was run before, so it is not run; the client is told."""
    stage = with_term(300)
    stage.client("me", "b")
    stage.say("me", "x")
    stage.run(10)
    stage.say("me", "y")
    (flight,) = (each for each in stage.flights if each.sender == "b")
    stage.drop_all()
    stage.run(1_000)
    stage.submit("a", "time passes")
    stage.run(10)
    stage.arrive(flight)  # y comes late, and stands in the log behind the end of its session
    stage.run(10)
    assert [stage.words(name) for name in "abc"] == [["x"]] * 3
    told = [event.what.report for event in stage.events if isinstance(event.what, Told)]
    assert any(isinstance(report, Expired) for report in told)


# -- reads (6.4) -------------------------------------------------------------------------------------------------------


def with_word(names: str = "abc") -> Stage:
    stage = elected(names)
    stage.client("me", "a")
    stage.say("me", "x")
    stage.run(10)
    return stage


def test_a_leader_that_was_deposed_answers_no_read() -> None:
    """6.4: it may have been replaced without knowing; without word of a majority it must not answer, ever."""
    stage = with_word()
    stage.cut("a", "bc")
    stage.read("a", "stale")
    stage.run(1_000)
    stage.client("me", "b")
    stage.say("me", "y")
    stage.run(500)
    assert stage.words("b") == ["x", "y"]
    assert "stale" not in answers(stage)
    stage.heal()
    stage.run(1_000)
    assert answers(stage) == {"stale": ["x", "y"]}


@pytest.mark.parametrize("names", ["abc", "abcd", "abcde"])
def test_a_read_takes_a_round_of_a_majority(names: str) -> None:
    """6.4: heartbeats are exchanged with a majority before the answer; less does not do."""
    stage = with_word(names)
    stage.read("a", "r1")
    for name in names[1 : len(names) // 2 + 1]:
        assert answers(stage) == {}
        stage.deliver("a", name)
        stage.deliver(name, "a")
    assert answers(stage) == {"r1": ["x"]}


def test_an_answer_to_an_earlier_round_confirms_no_later_read() -> None:
    """6.4: the round must have begun after the read came; answers that were on their way say nothing about now."""
    stage = with_word("abcde")
    stage.read("a", "r1")
    for name in "bcde":
        stage.deliver("a", name)
    late = [stage.take(name, "a") for name in "de"]
    stage.deliver("b", "a")
    stage.deliver("c", "a")
    assert "r1" in answers(stage)
    stage.read("a", "r2")
    for flight in (*late, *late):
        stage.arrive(flight)
    assert "r2" not in answers(stage)
    stage.run(10)
    assert "r2" in answers(stage)


def test_one_round_serves_all_reads_that_wait() -> None:
    """6.4: the leader may collect reads and confirm itself once for all of them."""
    stage = with_word()
    stage.events.clear()
    stage.read("a", "r1")
    for label in ("r2", "r3", "r4", "r5"):
        stage.read("a", label)
    assert len(stage.sent(Heartbeat)) == 2
    stage.settle()
    assert set(answers(stage)) == {"r1", "r2", "r3", "r4", "r5"}
    sent = [event.what.flight.message for event in stage.events if isinstance(event.what, Sent)]
    rounds = {message.round for message in sent if isinstance(message, Heartbeat)}
    assert len(rounds) == 2, "one for the first, and one for the four that came meanwhile"


def test_a_new_leader_answers_no_read_before_it_knows_what_is_committed() -> None:
    """6.4: not before an entry of its own term is committed; then what an earlier leader had answered is in it."""
    stage = with_word()
    stage.say("me", "y")
    stage.deliver("a", "b")
    stage.deliver("b", "a")
    assert stage.words("a") == ["x", "y"], "y was answered"
    stage.crash("a")
    stage.drop_all()
    stage.suspect("b", "a")
    stage.suspect("c", "a")
    stage.tick("b")
    while stage.replica("b").role != "leader":
        stage.arrive(stage.flights.pop(0))
    stage.read("b", "r1")
    for number in range(1, 9):
        stage.hear("b", "c", HeartbeatReply(2, number))
        assert (stage.words("b"), answers(stage)) == (["x"], {})
    stage.run(10)
    assert answers(stage) == {"r1": ["x", "y"]}


def test_a_follower_asks_the_leader_and_answers_itself() -> None:
    """6.4: the leader gives the index after it has confirmed itself; the follower answers when it has applied that."""
    stage = with_word()
    stage.cut("c", "a")
    stage.say("me", "y")
    stage.run(10)
    stage.heal()
    assert (stage.words("a"), stage.words("c")) == (["x", "y"], ["x"])
    stage.read("c", "r1")
    stage.deliver("c", "a")
    assert not stage.sent(ReadIndexReply), "not before a round"
    stage.deliver("a", "b")
    stage.deliver("b", "a")
    (reply,) = stage.sent(ReadIndexReply)
    stage.flights.remove(reply)
    stage.arrive(reply)
    assert answers(stage) == {}, "what it has applied is older"
    stage.run(300)
    assert answers(stage) == {"r1": ["x", "y"]}


def test_the_answer_to_a_request_that_was_given_up_serves_no_later_read() -> None:
    """6.4; rule 20: the index was fresh for what was asked then; a read that came since may have to see more."""
    stage = with_word()
    stage.read("c", "r1")
    stage.deliver("c", "a")
    stage.deliver("a", "b")
    stage.deliver("b", "a")
    (old,) = stage.sent(ReadIndexReply)
    stage.drop_all()
    stage.cut("c", "ab")
    stage.say("me", "y")
    stage.run(10)
    stage.heal()
    stage.step("c", Connected("a"))  # the old link is gone, and what was asked on it
    stage.read("c", "r2")
    stage.arrive(old)
    stage.arrive(old)
    assert answers(stage) == {}
    numbers = [flight.message.number for flight in stage.sent(ReadIndex) if isinstance(flight.message, ReadIndex)]
    assert len(numbers) == len(set(numbers))
    stage.run(300)
    assert answers(stage) == {"r1": ["x", "y"], "r2": ["x", "y"]}


def test_a_read_sees_every_command_that_was_answered_before_it_whoever_is_asked() -> None:
    """6.4 (linearizability): at the leader and at every follower, also one that has not been told of the commit yet."""
    stage = with_word()
    stage.say("me", "y")
    while stage.clients["me"].submitter.outstanding:
        stage.arrive(stage.flights.pop(0))
    for name in "abc":
        stage.read(name, name)
    stage.run(300)
    assert answers(stage) == {name: ["x", "y"] for name in "abc"}
