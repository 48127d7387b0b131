"""Reads within a session and by a lease, in the replica's step (rule 20)."""

from __future__ import annotations

import pytest
from test_replica_steps import ASKED, FLOOR, One, batch, leading, sent

from broadcast._protocol.consistency import Consistency
from broadcast._protocol.messages import Append, AppendReply, Heartbeat, HeartbeatReply, ReadIndex
from broadcast._protocol.output import Applied, ReadAsked, ReadReady, Submitted, Tick, Wanted
from broadcast._protocol.position import START, Position
from membership._protocol.messages import HandOver, VoteReply, VoteRequest


def session(token: int, seen: int) -> ReadAsked:
    return ReadAsked(token, Consistency.SESSION, seen)


def leased(token: int = 5) -> ReadAsked:
    return ReadAsked(token, Consistency.LEASE)


def leading_with_lease() -> One:
    """Its first round was answered by a quorum."""
    one = leading(leases=True)
    one.hear("b", HeartbeatReply(1, 1))
    assert one.replica.holds_lease(one.moment())
    return one


def test_a_session_s_read_asks_nobody_and_waits_for_what_its_asker_has_seen() -> None:
    one = One()
    one.hear("b", Append(1, START, (batch(1, 1), batch(1, 2)), 2))
    output = one.step(session(5, 0))
    assert (output.send, output.settle) == ([], [ReadReady(5)])
    output = one.step(session(6, 2))
    assert (output.send, output.settle) == ([], [])
    assert one.step(Applied(1)).settle == []
    assert one.step(Applied(2)).settle == [ReadReady(6)]
    assert one.step(session(7, 2)).settle == [ReadReady(7)]


def test_a_restarted_replica_answers_a_session_only_from_what_it_has_again_learnt_is_committed() -> None:
    """Though its log holds the entry, and its disk says that it was committed (rule 1)."""
    one = One("abc", batch(1, 1), batch(1, 2), commit=2)
    assert ReadReady(5) not in one.step(session(5, 2)).settle
    one.hear("b", Heartbeat(1, 2, 1, 0))
    assert [each.last for each in one.hear("b", Append(1, Position(1, 2), (), 2)).deliver] == [1, 2]
    assert one.step(Applied(2)).settle == [ReadReady(5)]


def test_a_read_by_lease_is_answered_at_once_and_without_a_round() -> None:
    output = leading_with_lease().step(leased())
    assert (output.send, output.persist, output.settle) == ([], [], [ReadReady(5)])


def test_a_read_by_lease_waits_until_all_that_is_committed_is_applied() -> None:
    one = leading_with_lease()
    one.step(Submitted((ASKED,)))
    one.written()
    one.hear("b", AppendReply(1, 2))
    assert one.step(leased()).settle == []
    assert one.step(Applied(2)).settle == [ReadReady(5)]


def test_a_read_by_lease_needs_a_round_once_the_lease_is_over() -> None:
    one = leading_with_lease()
    one.now += FLOOR * 9 // 10
    assert not one.replica.holds_lease(one.moment())
    output = one.step(leased())
    assert output.settle == []
    ((_, beat), *_) = sent(output, Heartbeat)
    assert isinstance(beat, Heartbeat)
    assert one.hear("b", HeartbeatReply(1, beat.round)).settle == [ReadReady(5)]
    assert one.replica.holds_lease(one.moment())


def test_no_lease_is_held_before_the_epoch_start_entry_is_committed() -> None:
    one = One("abc", batch(1, 1), leases=True)
    one.lead()
    one.written()
    one.hear("b", HeartbeatReply(2, 1))
    assert not one.replica.holds_lease(one.moment())
    one.hear("b", AppendReply(2, 2))
    assert one.replica.holds_lease(one.moment())


def test_a_lease_is_void_for_the_rest_of_the_epoch_once_a_hand_over_was_tried() -> None:
    """Its heir may stand late, and is granted by who still hears us."""
    one = leading_with_lease()
    one.hear("b", HeartbeatReply(1, 1))
    one.step(Wanted(1, HandOver("b")))
    assert not one.replica.holds_lease(one.moment())
    one.now += FLOOR  # it has come to nothing
    output = one.step(Tick())
    rounds = [message.round for _, message in sent(output, Heartbeat) if isinstance(message, Heartbeat)]
    one.hear("b", HeartbeatReply(1, rounds[0]))
    assert one.replica.role == "leader"
    assert not one.replica.holds_lease(one.moment())


def test_who_has_lost_what_it_acknowledged_gives_no_lease() -> None:
    one = leading_with_lease()
    one.hear("b", AppendReply(1, 0, rejected=1, conflict=1))
    assert not one.replica.holds_lease(one.moment())


def test_there_are_no_leases_unless_they_are_asked_for() -> None:
    one = leading()
    one.hear("b", HeartbeatReply(1, 1))
    assert not one.replica.holds_lease(one.moment())
    assert [to for to, _ in sent(one.step(leased()), Heartbeat)] == ["b", "c"]


def test_a_follower_s_read_by_lease_goes_the_way_of_any_other() -> None:
    one = One(leases=True)
    one.hear("b", Heartbeat(1, 0, 1, 0))
    assert len(sent(one.step(leased()), ReadIndex)) == 1


def test_a_read_is_asked_anew_when_the_same_member_leads_a_later_epoch() -> None:
    """What it was asked in the earlier one died with that."""
    one = One()
    one.hear("b", Heartbeat(1, 0, 1, 0))
    ((_, first),) = sent(one.step(ReadAsked(5, Consistency.LINEARIZABLE)), ReadIndex)
    ((to, again),) = sent(one.hear("b", Heartbeat(2, 0, 1, 0)), ReadIndex)
    assert isinstance(first, ReadIndex)
    assert isinstance(again, ReadIndex)
    assert (to, again.epoch) == ("b", 2)
    assert again.number > first.number


@pytest.mark.parametrize("leases", [False, True])
def test_only_a_restart_has_a_voter_refrain(leases: bool) -> None:
    """Where there are leases: it may have been counted on a moment ago, and has forgotten."""
    one = One(epoch=3, leases=leases)
    one.hear("b", VoteRequest(4, (0, 0), pre=True))
    ((_, reply),) = sent(one.hear("b", VoteRequest(4, (0, 0), pre=True)), VoteReply)
    assert isinstance(reply, VoteReply)
    assert reply.granted is not leases
    one.now += FLOOR
    ((_, reply),) = sent(one.hear("b", VoteRequest(4, (0, 0), pre=True)), VoteReply)
    assert isinstance(reply, VoteReply)
    assert reply.granted
