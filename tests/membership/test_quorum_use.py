"""Which quorum is asked when (rule 6), in groups where it matters: the one for elections, or the one to commit."""

from __future__ import annotations

import pytest

from actors._protocol.clock import LamportClock
from broadcast._protocol.messages import AppendReply, Heartbeat, HeartbeatReply, Message
from broadcast._protocol.output import Applied, Input, Now, Output, Persisted, ReadAsked, ReadReady, Received, Tick
from broadcast._protocol.position import START, Batch
from broadcast._protocol.replica import Replica
from broadcast._protocol.snapshots import NOTHING, Snapshot
from membership import Configuration, Flexible, Limits, Member, QuorumSystem
from membership._protocol.formation import Plan
from membership._protocol.messages import VoteReply
from membership._protocol.view import Formation, Promise

FLOOR = 100_000
CLUSTER = b"c" * 16
NAMES = tuple("abcde")
LIMITS = Limits(election_timeout=FLOOR)
FEW = Flexible(elect=4, commit=2)
ALL = Flexible(elect=3, commit=5)


class Lowest:
    def randrange(self, stop: int, /) -> int:
        return 0


class Stored:
    def __init__(self, quorum: QuorumSystem) -> None:
        self.storage = disk("a")
        voters = tuple(Member(name, disk(name)) for name in NAMES)
        self.formation: Formation | None = Formation("bank", CLUSTER, Configuration(voters, (), quorum, LIMITS))
        self.promise = Promise()
        self.batches: list[Batch] = []
        self.commit = 0
        self.snapshot: Snapshot | None = None
        self.compared = NOTHING
        self.start = START


def disk(name: str) -> bytes:
    return name.encode() * 16


class One:
    """Replica `a` of five."""

    def __init__(self, quorum: QuorumSystem) -> None:
        self.now = 0
        self.written_up_to = 0
        self.stamp = 1_000
        self.replica = Replica(
            name="a",
            plan=Plan("bank", NAMES, quorum, LIMITS),
            found=Stored(quorum),
            cluster=CLUSTER,
            clock=LamportClock("a"),
            chance=Lowest(),
            now=Now(0, 0),
        )
        self.replica.take_output()

    @property
    def role(self) -> str:
        return self.replica.role

    def step(self, given: Input) -> Output:
        self.replica.step(given, Now(self.now, self.now))
        output = self.replica.take_output()
        self.written_up_to += len(output.persist)
        return output

    def hear(self, names: str, message: Message) -> Output:
        output = Output()
        for name in names:
            self.stamp += 1
            output = self.step(Received(name, CLUSTER, disk(name), self.stamp, message))
        return output

    def written(self) -> Output:
        return self.step(Persisted(self.written_up_to))

    def pass_time(self, span: int) -> None:
        until = self.now + span
        while self.replica.deadline <= until:
            self.now = max(self.now, self.replica.deadline)
            self.step(Tick())
            self.written()  # who is reachable is written, too
        self.now = until

    def canvass(self) -> One:
        self.now = self.replica.deadline
        self.step(Tick())
        return self

    def campaign(self) -> One:
        self.canvass().hear("bcde", VoteReply(0, 1, pre=True, granted=True))
        self.written()
        return self

    def lead(self) -> One:
        self.campaign().hear("bcd", VoteReply(1, 1, pre=False, granted=True))
        assert self.role == "leader"
        return self

    def serve(self) -> One:
        """Lead, with the epoch-start entry committed."""
        self.lead().written()
        self.hear("bcde", AppendReply(1, 1))
        self.step(Applied(1))
        assert self.replica.commit == 1
        return self


def test_a_pre_vote_asks_for_an_election_quorum() -> None:
    one = One(FEW).canvass()
    one.hear("bc", VoteReply(0, 1, pre=True, granted=True))
    assert one.replica.epoch == 0
    one.hear("d", VoteReply(0, 1, pre=True, granted=True))
    assert one.replica.epoch == 1


def test_a_vote_asks_for_an_election_quorum() -> None:
    one = One(FEW).campaign()
    one.hear("bc", VoteReply(1, 1, pre=False, granted=True))
    assert one.role == "candidate"
    one.hear("e", VoteReply(1, 1, pre=False, granted=True))
    assert one.role == "leader"


def test_a_campaign_that_cannot_win_an_election_quorum_ends() -> None:
    one = One(FEW).campaign()
    one.hear("b", VoteReply(1, 1, pre=False, granted=False))
    assert one.role == "candidate"
    one.hear("c", VoteReply(1, 1, pre=False, granted=False))
    assert one.role == "follower"


@pytest.mark.parametrize(("quorum", "short", "last"), [(FEW, "", "d"), (ALL, "bcd", "e")], ids=["few", "all"])
def test_an_entry_asks_for_a_commit_quorum(quorum: QuorumSystem, short: str, last: str) -> None:
    one = One(quorum).lead()
    one.written()
    one.hear(short, AppendReply(1, 1))
    assert one.replica.commit == 0
    one.hear(last, AppendReply(1, 1))
    assert one.replica.commit == 1


def test_it_may_be_committed_before_the_leader_s_own_disk_has_it() -> None:
    one = One(FEW).lead()
    one.hear("c", AppendReply(1, 1))
    assert one.replica.commit == 0
    one.hear("e", AppendReply(1, 1))
    assert one.replica.commit == 1


@pytest.mark.parametrize(("quorum", "short", "last"), [(FEW, "", "d"), (ALL, "bcd", "e")], ids=["few", "all"])
def test_a_read_asks_for_a_commit_quorum(quorum: QuorumSystem, short: str, last: str) -> None:
    one = One(quorum).serve()
    (beat, *_) = [send.message for send in one.step(ReadAsked(7)).send if isinstance(send.message, Heartbeat)]
    assert ReadReady(7) not in one.hear(short, HeartbeatReply(1, beat.round)).settle
    assert ReadReady(7) in one.hear(last, HeartbeatReply(1, beat.round)).settle


@pytest.mark.parametrize(("quorum", "enough"), [(FEW, "c"), (ALL, "bcde")], ids=["few", "all"])
def test_a_leader_stays_while_it_hears_a_commit_quorum(quorum: QuorumSystem, enough: str) -> None:
    one = One(quorum).serve()
    for _ in range(10):
        one.pass_time(FLOOR // 2)
        one.hear(enough, HeartbeatReply(1, 0))
    assert one.role == "leader"
    for _ in range(10):
        one.pass_time(FLOOR // 2)
        one.hear(enough[1:], HeartbeatReply(1, 0))
    assert one.role != "leader"
