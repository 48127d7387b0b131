"""Every kind of message, in every role, of an older epoch, the same and a newer one: what is a peer's fault?

The whole product is walked. What is not listed as illegal is taken or ignored, and never takes an epoch back.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from test_replica_steps import ASKED, One, batch, disk, formation
from test_snapshot_steps import snapshot

from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol.messages import (
    Append,
    AppendReply,
    Committed,
    Digested,
    Heartbeat,
    HeartbeatReply,
    Message,
    PartReply,
    ReadIndex,
    ReadIndexReply,
    SnapshotPart,
    Submit,
)
from broadcast._protocol.position import START, Position
from membership._protocol.change import Change
from membership._protocol.messages import (
    CampaignNow,
    ChangeWish,
    Dismissed,
    FormedNotice,
    Forming,
    HandOver,
    Joining,
    MemberAsked,
    Verdict,
    VoteReply,
    VoteRequest,
    WishAnswer,
    Wished,
)
from membership._protocol.quorum import Majority
from membership._protocol.view import Limits, Member

EPOCH = 5


def follower() -> One:
    one = One(epoch=EPOCH)
    one.hear("b", Heartbeat(EPOCH, 0, 1, 0))
    return one


def canvasser() -> One:
    one = One(epoch=EPOCH)
    one.tick()
    return one


def candidate() -> One:
    """Its promise, of this epoch, is on disk."""
    one = One(epoch=EPOCH - 1)
    one.tick()
    one.hear("b", VoteReply(EPOCH - 1, EPOCH, pre=True, granted=True))
    one.written()
    return one


def leader() -> One:
    one = One(epoch=EPOCH - 1)
    one.lead()
    one.written()
    return one


ROLES: dict[str, Callable[[], One]] = {
    "follower": follower,
    "canvasser": canvasser,
    "candidate": candidate,
    "leader": leader,
}
RELATIONS = {"older": -2, "same": 0, "newer": 2}
DISK_D = Member("d", disk("d"), "d:1")

MESSAGES: dict[type[Message], Callable[[int], Message]] = {
    VoteRequest: lambda epoch: VoteRequest(epoch, (9, 9), pre=False),
    VoteReply: lambda epoch: VoteReply(epoch, epoch, pre=False, granted=False),
    CampaignNow: CampaignNow,
    Forming: lambda epoch: Forming(tuple("abc"), Majority(), Limits()),
    FormedNotice: lambda epoch: FormedNotice(formation("abc"), formation("abc").configuration),
    Joining: lambda epoch: Joining(DISK_D, observer=False),
    MemberAsked: lambda epoch: MemberAsked(),
    Dismissed: lambda epoch: Dismissed(0, 0),
    Wished: lambda epoch: Wished(1, ChangeWish(Change(promote=("b",)))),
    WishAnswer: lambda epoch: WishAnswer(1, Verdict.WAITS),
    Append: lambda epoch: Append(epoch, START, (batch(epoch, 1, leader="c"),), 0),
    AppendReply: lambda epoch: AppendReply(epoch, 0),
    Heartbeat: lambda epoch: Heartbeat(epoch, 0, 2, 0),
    HeartbeatReply: lambda epoch: HeartbeatReply(epoch, 1),
    Committed: lambda epoch: Committed(epoch, 0),
    SnapshotPart: lambda epoch: SnapshotPart(epoch, snapshot(3, epoch), 0, b"x"),
    Digested: lambda epoch: Digested(Position(1, 3), 1, bytes(32)),
    PartReply: lambda epoch: PartReply(epoch, Position(1, 3), 1),
    Submit: lambda epoch: Submit((ASKED,)),
    ReadIndex: lambda epoch: ReadIndex(epoch, 7),
    ReadIndexReply: lambda epoch: ReadIndexReply(7, 0),
}

ILLEGAL = set(product(("follower", "leader"), (Append, Heartbeat, Committed, SnapshotPart), ("same",)))
"""An epoch has one leader: nobody else speaks as one in it, neither to the leader itself nor to who follows another."""


def test_no_kind_of_message_is_left_out() -> None:
    assert set(MESSAGES) == set(Message.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("role", ROLES)
def test_what_is_illegal_is_a_peer_s_fault_and_nothing_else(role: str, kind: type[Message], relation: str) -> None:
    """Said by c; b leads where anybody else does."""
    one = ROLES[role]()
    assert (one.replica.role, one.replica.epoch) == (role, EPOCH)
    message = MESSAGES[kind](EPOCH + RELATIONS[relation])
    if (role, kind, relation) in ILLEGAL:
        with pytest.raises(RemoteProtocolError, match="claims to lead epoch"):
            one.hear("c", message)
    else:
        one.hear("c", message)
    assert one.replica.epoch >= EPOCH


@pytest.mark.parametrize("role", ROLES)
def test_a_hand_over_may_be_wished_for_in_every_role(role: str) -> None:
    one = ROLES[role]()
    one.hear("b", Wished(1, HandOver()))
    assert one.replica.epoch == EPOCH
