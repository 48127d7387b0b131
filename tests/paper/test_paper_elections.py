"""Ongaro 2014 on epochs and elections, a sentence a test (3.2-3.4, 3.6.1, 3.8, 4.2.3, 6.2, 9.6; rules 1-4)."""

from __future__ import annotations

from itertools import permutations

import pytest
from stage import FLOOR, Stage

from broadcast._protocol.messages import (
    Append,
    AppendReply,
    Committed,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReadIndex,
)
from broadcast._protocol.position import START
from membership._protocol.messages import VoteReply, VoteRequest
from membership._protocol.view import Promise

FIRST = (9, 9)
"""A standing that everybody grants."""


def started(names: str = "abc", **logs: str) -> Stage:
    """All are there; `a="1 1:x"` is what the disk of a holds."""
    stage = Stage(names)
    for name, entries in logs.items():
        stage.holds(name, *entries.split())
    stage.start()
    return stage


def elected(names: str = "abc", leader: str = "a") -> Stage:
    stage = started(names)
    stage.tick(leader)
    stage.run(10)
    assert stage.replica(leader).role == "leader"
    return stage


def candidate(stage: Stage, name: str) -> None:
    """It has found that a quorum would grant, and asks for votes that have not arrived."""
    stage.tick(name)
    for other in stage.names:
        if other != name and stage.replica(name).role == "canvasser":
            stage.deliver(name, other)
            stage.deliver(other, name)
    assert stage.replica(name).role == "candidate"


# -- epochs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        Append(7, START, (), 0),
        Heartbeat(7, 0, 1, 0),
        Committed(7, 0),
        AppendReply(7, 0),
        HeartbeatReply(7, 0),
        VoteReply(7, 2, pre=False, granted=False),
    ],
    ids=lambda message: type(message).__name__,
)
@pytest.mark.parametrize("at", ["a", "b"])
def test_whoever_meets_a_newer_epoch_takes_it_over_and_follows(at: str, message: Message) -> None:
    """3.3: whatever message shows that somebody lives in a newer term, leader and follower alike go there at once."""
    stage = elected()
    stage.hear(at, "c", message)
    assert (stage.replica(at).role, stage.replica(at).epoch) == ("follower", 7)


@pytest.mark.parametrize(
    "message",
    [
        Append(3, START, (), 0),
        Heartbeat(3, 0, 99, 0),
        Committed(3, 1),
        AppendReply(3, 1),
        HeartbeatReply(3, 99),
        VoteRequest(3, FIRST, pre=False),
        VoteRequest(3, FIRST, pre=True),
        VoteReply(3, 3, pre=False, granted=True),
        ReadIndex(3, 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("at", ["a", "b"])
def test_what_was_said_in_an_older_epoch_changes_nothing(at: str, message: Message) -> None:
    """3.3, and VRR 4.1 of view numbers: messages of an older term are not acted on; at most the newer one is told."""
    stage = started(a="1 4", b="1 4", c="1 4")
    stage.tick("a")
    stage.run(10)
    before = stage.replica(at).promise, stage.replica(at).role, stage.replica(at).commit, stage.epochs(at)
    stage.events.clear()
    stage.hear(at, "c", message)
    assert (stage.replica(at).promise, stage.replica(at).role, stage.replica(at).commit, stage.epochs(at)) == before
    for flight in stage.flights:
        assert getattr(flight.message, "epoch", 5) == 5
        assert not getattr(flight.message, "granted", False)


def test_a_new_leader_s_epoch_is_above_every_one_that_a_quorum_has_promised() -> None:
    """3.4, and Zab of a prospective leader: its epoch is new to each of those who elect it."""
    stage = Stage("abcde")
    for name, promised in zip("abcde", (1, 4, 9, 2, 9), strict=True):
        stage.holds(name, "1", promise=Promise(promised, None))
    stage.start()
    stage.run(10 * FLOOR // 1_000)
    (leader,) = (name for name in stage.names if stage.replica(name).role == "leader")
    assert stage.replica(leader).epoch > 9


# -- votes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg"])
def test_it_takes_more_than_half_of_all_to_lead(names: str) -> None:
    """3.4: a candidate wins with the votes of a majority of the full cluster, its own among them."""
    stage = started(names)
    if len(names) > 1:
        candidate(stage, "a")
    else:
        stage.tick("a")
    votes = 1
    for name in names[1:]:
        if 2 * votes > len(names):
            break
        assert stage.replica("a").role == "candidate"
        stage.hear("a", name, VoteReply(1, 1, pre=False, granted=True))
        votes += 1
    assert (stage.replica("a").role, votes) == ("leader", len(names) // 2 + 1)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_no_epoch_has_two_leaders_whoever_is_heard_first(order: tuple[int, ...]) -> None:
    """3.2 (election safety), 3.4: each votes once in a term, first come first served."""
    stage = started("abcd")
    stage.wait(200)
    for one in "ad":
        stage.tick(one)
    for one, other in ("ab", "ac", "db", "dc"):
        stage.deliver(one, other)
        stage.deliver(other, one)
    for one, other in ("ad", "da"):
        stage.drop(one, other)
    assert {stage.replica(name).role for name in "ad"} == {"candidate"}
    asked = [("a", "b"), ("a", "c"), ("d", "b"), ("d", "c")]
    for at in order:
        stage.deliver(*asked[at])
    stage.run(10)
    leaders = {(stage.replica(name).epoch, name) for name in stage.names if stage.replica(name).role == "leader"}
    assert len(leaders) <= 1


def test_a_vote_outlives_the_voter_s_process() -> None:
    """3.4, 3.8: the vote is on disk before it is given, so that a voter that restarts does not vote twice."""
    stage = started("abcd")
    stage.wait(200)
    candidate(stage, "a")
    stage.deliver("a", "b")
    assert stage.sent(VoteReply, by="b")
    stage.crash("b")
    stage.start("b")
    stage.hear("b", "d", VoteRequest(1, FIRST, pre=False))
    assert [flight.message for flight in stage.sent(VoteReply, by="b") if flight.to == "d"] == [
        VoteReply(1, 1, pre=False, granted=False)
    ]


def test_who_stands_has_voted_for_itself() -> None:
    """3.4: a candidate's own vote is given, and nobody else gets it in that term."""
    stage = started()
    candidate(stage, "a")
    stage.hear("a", "c", VoteRequest(1, FIRST, pre=False))
    (vote,) = stage.sent(VoteReply, by="a")
    assert vote.message == VoteReply(1, 1, pre=False, granted=False)


@pytest.mark.parametrize(
    "message",
    [VoteRequest(5, FIRST, pre=False), Append(5, START, (), 0), Heartbeat(5, 0, 1, 0)],
    ids=lambda message: type(message).__name__,
)
def test_nothing_vouches_for_an_epoch_that_is_not_on_disk(message: Message) -> None:
    """3.2 (figure 3.1), 3.8: the current term is on stable storage before any request of it is answered."""
    stage = started()
    stage.slow.add("a")
    stage.hear("a", "b", message)
    assert stage.flights == []
    stage.persist("a")
    assert stage.flights
    assert {getattr(flight.message, "epoch", None) for flight in stage.flights} == {5}


def test_a_candidate_asks_for_votes_when_its_own_is_on_disk() -> None:
    """3.8: a candidate that dies and comes back knows what it stood for."""
    stage = started()
    stage.slow.add("a")
    stage.tick("a")
    stage.deliver("a", "b")
    stage.deliver("b", "a")
    assert not [flight for flight in stage.flights if flight.message == VoteRequest(1, (0, 0), pre=False)]
    stage.persist("a")
    stage.crash("a")
    stage.start("a")
    assert stage.replica("a").promise == Promise(1, "a")


def test_a_candidate_follows_a_leader_of_its_own_epoch_and_no_older_one() -> None:
    """3.4: a candidate that hears a leader of its term or a newer one gives way; one of an older term is refused."""
    stage = started(a="1 4", b="1 4", c="1 4")
    candidate(stage, "a")
    stage.hear("a", "c", Append(4, START, (), 0))
    assert (stage.replica("a").role, stage.replica("a").epoch) == ("candidate", 5)
    stage.hear("a", "c", Append(5, START, (), 0))
    assert (stage.replica("a").role, stage.replica("a").leader) == ("follower", "c")


@pytest.mark.parametrize("names", ["abc", "abcde"])
def test_who_has_won_says_so_at_once_to_all(names: str) -> None:
    """3.4: heartbeats establish a new leader's authority, and keep others from standing."""
    stage = started(names)
    candidate(stage, "a")
    stage.drop_all()
    for name in names[1 : len(names) // 2 + 1]:
        stage.hear("a", name, VoteReply(1, 1, pre=False, granted=True))
    assert {flight.to for flight in stage.sent(Heartbeat, by="a")} == set(names[1:])


def test_how_long_one_waits_is_drawn_anew_each_time() -> None:
    """3.4, 9.3: election timeouts are random, between a floor and twice that, so that votes are seldom split."""
    stage = started()
    waits = set()
    for round_ in range(60):
        stage.hear("a", "b", VoteRequest(round_ + 1, FIRST, pre=False))  # a grant begins a new wait
        waits.add(stage.replica("a").deadline - stage.now)
    assert len(waits) > 20
    assert all(FLOOR <= wait < 2 * FLOOR for wait in waits)


# -- who may win ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "holders"), [("abc", "ab"), ("abc", "bc"), ("abcde", "abc"), ("abcde", "bde"), ("abcd", "bcd")]
)
def test_who_lacks_what_a_majority_holds_is_not_elected(names: str, holders: str) -> None:
    """3.6.1: the vote is refused to a log that is behind, and every majority holds all that is committed."""
    logs = {name: "1 1:x" if name in holders else "1" for name in names}
    stage = started(names, **logs)
    for name in names:
        if name not in holders:
            stage.tick(name)
            stage.settle()
            assert stage.replica(name).role == "canvasser"
    stage.run(1_000)
    (leader,) = (name for name in names if stage.replica(name).role == "leader")
    assert leader in holders


@pytest.mark.parametrize(("longer", "newer"), [("1 1:p 1:q 1:r", "1 2"), ("1 2 2:p 2:q 2:r", "1 3"), ("1 2 2:p", "3")])
def test_of_two_logs_the_one_whose_end_is_newer_wins_not_the_longer(longer: str, newer: str) -> None:
    """3.6.1: of last entries the later term is more up to date; the length decides only between equal terms."""
    stage = started("ab", a=longer, b=newer)
    for name in "ab":
        stage.hear(name, "ba"["ab".index(name)], VoteRequest(9, (0, 0), pre=False))  # into one epoch
    stage.drop_all()
    stage.tick("a")
    stage.settle()
    assert stage.replica("a").role == "canvasser"
    stage.tick("b")
    stage.settle()
    assert stage.replica("b").role == "leader"


# -- who does not disturb --------------------------------------------------------------------------------------------


def test_who_is_cut_off_raises_no_epoch_however_long() -> None:
    """9.6: the term grows only when a majority would grant; alone, one asks again and again."""
    stage = elected()
    stage.cut("c", "ab")
    stage.run(5_000)
    assert stage.replica("c").promise == stage.replica("a").promise == Promise(1, "a")
    assert stage.replica("a").role == "leader"


def test_who_comes_back_does_not_depose_a_leader_that_works() -> None:
    """4.2.3, 9.6: those who hear the leader grant nothing, and the one that was away follows it."""
    stage = elected()
    stage.cut("c", "ab")
    stage.run(1_000)
    stage.heal()
    stage.run(1_000)
    assert [stage.replica(name).leader for name in "abc"] == ["a"] * 3
    assert stage.replica("c").epoch == 1


def test_a_vote_asked_of_who_hears_its_leader_does_not_even_change_its_epoch() -> None:
    """4.2.3: such a request is put aside, its newer term too; also by the leader, as long as it is in touch."""
    stage = elected()
    for name in "ab":
        stage.hear(name, "c", VoteRequest(50, FIRST, pre=False))
    assert {stage.replica(name).epoch for name in "ab"} == {1}
    stage.run(10)
    assert (stage.replica("a").role, stage.replica("c").epoch) == ("leader", 1)


def test_a_leader_without_a_majority_steps_down_and_fails_nobody() -> None:
    """6.2: after an election timeout without a majority it leads no more; what it sequenced may still be committed."""
    stage = elected()
    stage.client("me", "a")
    stage.cut("a", "bc")
    stage.say("me", "x")
    stage.run(2 * FLOOR // 1_000 + 50)
    assert stage.replica("a").role != "leader"
    assert stage.clients["me"].submitter.outstanding == 1


@pytest.mark.parametrize("names", ["abc", "abcde"])
def test_a_leader_that_a_majority_hears_stays_whoever_else_is_gone(names: str) -> None:
    """6.2: it needs answers of a majority, not of all."""
    stage = elected(names)
    for name in names[len(names) // 2 + 1 :]:
        stage.crash(name)
    stage.run(3_000)
    assert (stage.replica("a").role, stage.replica("a").epoch) == ("leader", 1)
