"""The replica's step, rule by rule: what goes in, what is owed (rules 0-10, 13, 16, 20)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from actors._protocol.clock import LamportClock
from actors._protocol.errors import InvariantViolation, RemoteProtocolError
from broadcast._protocol.entries import (
    Commands,
    EpochStart,
    SessionAsked,
    SessionKept,
    Submittable,
    decode_entries,
    encode_entries,
)
from broadcast._protocol.leader import COMMIT_TOLD_WITHIN
from broadcast._protocol.messages import (
    Append,
    AppendReply,
    Committed,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    Submit,
)
from broadcast._protocol.output import (
    Applied,
    Connected,
    Formed,
    Input,
    LeaderKnown,
    Linked,
    Noticed,
    Now,
    Output,
    Persisted,
    ReadAsked,
    ReadReady,
    Received,
    Reconfigured,
    Send,
    Submitted,
    Suspected,
    Tick,
)
from broadcast._protocol.position import START, Batch, Position
from broadcast._protocol.progress import Flow, Progress
from broadcast._protocol.replica import Replica
from broadcast._protocol.snapshots import Snapshot
from membership._protocol.change import Change
from membership._protocol.election import LEAP_MAX
from membership._protocol.formation import Plan
from membership._protocol.messages import ChangeWish, Dismissed, FormedNotice, Forming, VoteReply, VoteRequest, Wished
from membership._protocol.quorum import Flexible, Majority, QuorumSystem, Weighted
from membership._protocol.view import Configuration, Formation, Limits, Member, Promise

FLOOR = 100_000
CLUSTER = b"c" * 16
WALL = 10**15
MAJORITY = Majority()


def disk(name: str) -> bytes:
    return name.encode() * 16


def plan(names: str, quorum: QuorumSystem = MAJORITY) -> Plan:
    return Plan("bank", tuple(names), quorum, Limits(election_timeout=FLOOR))


def formation(names: str, limits: Limits | None = None) -> Formation:
    members = tuple(Member(name, disk(name)) for name in names)
    return Formation("bank", CLUSTER, Configuration(members, limits=limits or Limits(election_timeout=FLOOR)))


class Lowest:
    """Chance that always draws the lowest."""

    def randrange(self, stop: int, /) -> int:
        return 0


@dataclass
class Stored:
    storage: bytes
    formation: Formation | None = None
    promise: Promise = field(default_factory=Promise)
    batches: list[Batch] = field(default_factory=list[Batch])
    commit: int = 0
    snapshot: Snapshot | None = None

    @property
    def start(self) -> Position:
        if self.batches:
            return self.batches[0].previous
        return self.snapshot.position if self.snapshot else START


ENTRY = encode_entries([SessionKept(1)])
START_B, START_C = encode_entries([EpochStart("b")]), encode_entries([EpochStart("c")])


def batch(epoch: int, first: int, count: int = 1, previous: int | None = None, leader: str = "b") -> Batch:
    before = (epoch if first > 1 else 0) if previous is None else previous
    start = [EpochStart(leader)] if epoch != before else []
    return Batch(
        epoch, before, first, count, 0, first, encode_entries([*start, *[SessionKept(1)] * (count - len(start))])
    )


class One:
    """Replica `a`, step by step. Its clock stands still unless told; its disk answers when told."""

    def __init__(
        self,
        names: str = "abc",
        *batches: Batch,
        epoch: int = 0,
        formed: bool = True,
        commit: int = 0,
        quorum: QuorumSystem = MAJORITY,
        snapshot: Snapshot | None = None,
        priority: int = 0,
        leases: bool = False,
        version: int = 1,
    ) -> None:
        epochs = [*(each.epoch for each in batches), snapshot.position.epoch if snapshot else 0]
        promise = Promise(epoch or max(epochs), None)
        record = formation(names, Limits(election_timeout=FLOOR, leases=leases)) if formed else None
        found = Stored(disk("a"), record, promise, list(batches), commit, snapshot)
        self.now = 0
        self.number = 0
        self.stamp = 1_000
        self.names = names
        self.replica = Replica(
            name="a",
            plan=replace(plan(names, quorum), priority=priority, version=version),
            found=found,
            cluster=CLUSTER,
            clock=LamportClock("a"),
            chance=Lowest(),
            now=self.moment(),
        )
        self.begun = self.replica.take_output()

    def moment(self) -> Now:
        return Now(self.now, WALL + self.now, 10 * WALL + self.now)

    def step(self, given: Input) -> Output:
        self.replica.step(given, self.moment())
        output = self.replica.take_output()
        self.number += len(output.persist)
        return output

    def hear(self, sender: str, message: Message, *, storage: bytes | None = None, stamp: int | None = None) -> Output:
        self.stamp += 1
        cluster = b"" if isinstance(message, Forming) else CLUSTER
        return self.step(Received(sender, cluster, storage or disk(sender), stamp or self.stamp, message))

    def tick(self, after: int | None = None) -> Output:
        self.now = self.replica.deadline if after is None else self.now + after
        return self.step(Tick())

    def written(self) -> Output:
        """The disk has done all that was asked."""
        return self.step(Persisted(self.number))

    def lead(self) -> Output:
        """Become leader; returns what it owes then. Its epoch-start entry is not on disk."""
        self.tick()
        others = self.names[1:]
        epoch = self.replica.epoch + 1
        if others:
            for name in others[: len(self.names) // 2]:
                self.hear(name, VoteReply(epoch - 1, epoch, pre=True, granted=True))
        output = self.written()
        for name in others[: len(self.names) // 2]:
            output = self.hear(name, VoteReply(epoch, epoch, pre=False, granted=True))
        assert self.replica.role == "leader"
        return output


def sent(output: Output, kind: type[Message]) -> list[tuple[str, Message]]:
    return [(send.to, send.message) for send in output.send if isinstance(send.message, kind)]


def leading(names: str = "abc", *, priority: int = 0, leases: bool = False, version: int = 1) -> One:
    """A leader in epoch 1 whose epoch-start entry is durable everywhere, committed and applied."""
    one = One(names, priority=priority, leases=leases, version=version)
    one.lead()
    one.written()
    for name in names[1:]:
        one.hear(name, AppendReply(1, 1))
    one.step(Applied(1))
    assert one.replica.commit == 1
    return one


ASKED = SessionAsked(b"n" * 16, "me")


# -- forming (rule 13) ---------------------------------------------------------------------------------------------


def test_who_is_alone_forms_elects_itself_and_commits() -> None:
    one = One("a", formed=False)
    (asked,) = one.step(Tick()).persist
    assert asked.formation == formation("a")
    formed, whole = one.written().settle, formation("a").configuration
    assert formed == [Formed(formation("a")), Reconfigured(whole), Linked(whole.members), LeaderKnown(0, None)]
    (asked,) = one.tick().persist
    assert asked.promise == Promise(1, "a")
    output = one.written()
    assert output.settle == [LeaderKnown(1, "a")]
    (start,) = output.persist[0].batches
    assert decode_entries(start.entries) == [EpochStart("a")]
    assert output.deliver == []
    assert one.written().deliver == [start]


def test_the_record_is_durable_before_it_is_told() -> None:
    one = One(formed=False)
    hello = plan("abc").hello
    assert sent(one.step(Tick()), Forming) == [("b", hello), ("c", hello)]
    one.hear("b", hello)
    output = one.hear("c", hello)
    assert (output.persist[0].formation, output.send) == (formation("abc"), [])
    notice = FormedNotice(formation("abc"), formation("abc").configuration)
    assert sent(one.written(), FormedNotice) == [("b", notice), ("c", notice)]
    assert sent(one.hear("b", hello), FormedNotice) == [("b", notice)]  # it was lost


def test_who_starts_with_another_quorum_than_the_group_s_is_told_once_that_it_is_not_in_force() -> None:
    """At a restart; and with a record that comes, made when this node was started with something else."""
    started, formed_later = One(quorum=Flexible(elect=3, commit=1)), One(formed=False, quorum=Weighted({"a": 1}))
    told = [*started.begun.settle, *started.tick().settle, *started.tick().settle]
    (noticed,) = [each.text for each in told if isinstance(each, Noticed)]
    assert "(quorum: Majority() in the group, Flexible(elect=3, commit=1) here)" in noticed
    formed_later.hear("b", FormedNotice(formation("abc"), formation("abc").configuration))
    (noticed,) = [each.text for each in formed_later.written().settle if isinstance(each, Noticed)]
    assert "(quorum: Majority() in the group, Weighted(weights={'a': 1}) here)" in noticed
    assert not [each for each in One().begun.settle if isinstance(each, Noticed)]


def test_without_a_record_nobody_votes_or_accepts() -> None:
    one = One(formed=False)
    one.step(Tick())
    for message in (VoteRequest(1, (0, 0), pre=False), Append(1, START, (batch(1, 1),), 0)):
        output = one.hear("b", message)
        assert (output.persist, output.send) == ([], [])


def test_why_it_cannot_take_part_is_kept_by_who_showed_it_until_that_is_mended() -> None:
    one = One(formed=False)
    for sender, names in (("b", "abx"), ("c", "abc"), ("b", "abx")):
        one.hear(sender, plan(names).hello)
    (complaint,) = one.replica.complaints
    assert "b was not started with the same" in complaint
    wiped = formation("abc")
    others = Formation("bank", CLUSTER, Configuration((Member("a", b"x" * 16), *wiped.configuration.voters[1:])))
    one.hear("c", FormedNotice(others, others.configuration))
    assert "knows 'a' by another disk" in one.replica.complaints[1]
    one.hear("b", plan("abc").hello)
    assert len(one.replica.complaints) == 1


def test_another_cluster_s_messages_are_told_of_once_and_ignored() -> None:
    one = One()
    stranger = Received("b", b"x" * 16, disk("b"), 5, Heartbeat(9, 0, 1, 0))
    (noticed,) = one.step(stranger).settle[:1]
    assert isinstance(noticed, Noticed)
    assert "another cluster" in noticed.text
    assert one.replica.epoch == 0
    assert not [each for each in one.step(stranger).settle if isinstance(each, Noticed)]


@pytest.mark.parametrize(
    "message",
    [
        VoteReply(9, 1, pre=False, granted=True),
        HeartbeatReply(9, 1),
        AppendReply(9, 1),
        Submit((ASKED,)),
        ReadIndex(1, 7),
        Wished(1, ChangeWish(Change(remove=("b",)))),
    ],
)
@pytest.mark.parametrize("make", [lambda: One(), lambda: leading()])
def test_what_a_stranger_answers_or_asks_for_is_not_counted_and_told_of_once(
    make: Callable[[], One], message: Message
) -> None:
    """It is told that it is no member; if it knows better, it ignores that."""
    one = make()
    epoch, leader = one.replica.epoch, one.replica.leader
    output = one.hear("stranger", message)
    (noticed,) = [each for each in output.settle if isinstance(each, Noticed)]
    assert "stranger is no member of the group 'bank'" in noticed.text
    assert (output.send, output.persist, output.deliver) == ([Send("stranger", Dismissed(0, 0))], [], [])
    assert (one.replica.epoch, one.replica.leader) == (epoch, leader)
    assert one.hear("stranger", message).settle == []


def test_two_strangers_tell_each_other_once() -> None:
    """Neither answers the other's word that it is none."""
    assert [each for each in One().hear("stranger", Dismissed(0, 0)).send if isinstance(each.message, Dismissed)] == []


def test_a_leader_is_followed_and_a_candidate_granted_also_by_who_does_not_know_it() -> None:
    """It may be of a configuration that has not come here yet (Ongaro 2014, 4.1). Who counts looks at its own."""
    one = One()
    one.hear("stranger", VoteRequest(3, (0, 0), pre=False))
    assert Send("stranger", VoteReply(3, 3, pre=False, granted=True)) in one.written().send
    one = One()
    one.hear("stranger", Append(3, START, (batch(3, 1, leader="stranger"),), 0))
    assert one.replica.leader == "stranger"
    assert Send("stranger", AppendReply(3, 1)) in one.written().send


def test_a_stranger_may_ask_how_the_group_began() -> None:
    notice = FormedNotice(formation("abc"), formation("abc").configuration)
    assert One().hear("stranger", plan("abc").hello).send == [Send("stranger", notice)]


# -- promises (rules 1, 2) -----------------------------------------------------------------------------------------


def test_a_vote_leaves_once_it_is_durable() -> None:
    one = One()
    output = one.hear("b", VoteRequest(3, (0, 0), pre=False))
    assert (output.persist[0].promise, output.send) == (Promise(3, "b"), [])
    assert one.written().send == [Send("b", VoteReply(3, 3, pre=False, granted=True))]


def test_a_vote_of_an_epoch_that_is_over_never_leaves() -> None:
    one = One()
    one.hear("b", VoteRequest(3, (0, 0), pre=False))
    one.hear("c", VoteRequest(4, (0, 0), pre=False))
    assert one.written().send == [Send("c", VoteReply(4, 4, pre=False, granted=True))]


def test_of_what_waits_for_a_disk_that_hangs_the_newest_is_kept_for_each_member() -> None:
    one = One()
    for number in range(1, 1_000):
        one.now += FLOOR // 10
        one.hear("b", Heartbeat(1, 0, number, 0))
        one.hear("c", VoteRequest(2, (0, 0), pre=True))
    assert one.written().send == [
        Send("b", HeartbeatReply(1, 999)),
        Send("c", VoteReply(1, 2, pre=True, granted=False)),
        Send("b", AppendReply(1, 0)),
    ]


def test_another_disk_than_the_group_knows_does_not_stand() -> None:
    one = One()
    one.replica._participant.election.storage = b"x" * 16  # type: ignore[union-attr]
    for _ in range(3):
        assert sent(one.tick(), VoteRequest) == []
    assert one.replica.role == "follower"


def test_who_cannot_write_does_not_stand() -> None:
    """Rule 25. A disk that answers again lets it stand."""
    one = One()
    one.hear("b", Heartbeat(1, 0, 1, 0))
    for _ in range(3):
        assert sent(one.tick(), VoteRequest) == []
    one.written()
    assert sent(one.tick(), VoteRequest) == [(name, VoteRequest(2, (0, 0), pre=True)) for name in "bc"]


def test_a_leader_that_cannot_write_steps_down() -> None:
    """Rule 25: all followers answer, and still."""
    one = leading()
    one.step(Submitted((ASKED,)))
    for _ in range(10):
        one.tick(FLOOR // 8)
        if one.replica.role == "leader":
            for name in "bc":
                one.hear(name, HeartbeatReply(1, 1))
    assert one.replica.role == "follower"


def test_an_older_leader_is_told_the_newer_epoch() -> None:
    one = One(epoch=7)
    assert one.hear("b", Append(6, START, (), 0)).send == [Send("b", HeartbeatReply(7, 0))]
    assert one.hear("b", Heartbeat(6, 0, 3, 0)).send == [Send("b", HeartbeatReply(7, 0))]


def test_a_leader_that_learns_of_a_newer_epoch_steps_down() -> None:
    one = leading()
    output = one.hear("b", HeartbeatReply(5, 0))
    assert (one.replica.role, one.replica.leadership, output.settle) == ("follower", None, [LeaderKnown(5, None)])


# -- following (rules 8, 9) ----------------------------------------------------------------------------------------


def test_what_is_taken_in_is_acknowledged_when_it_is_durable() -> None:
    one = One()
    output = one.hear("b", Append(1, START, (batch(1, 1, 3),), 0))
    assert [persist.batches for persist in output.persist] == [(batch(1, 1, 3),)]
    assert sent(output, AppendReply) == []
    assert one.written().send == [Send("b", AppendReply(1, 3))]
    assert one.hear("b", Append(1, START, (batch(1, 1, 3),), 0)).send == [Send("b", AppendReply(1, 3))]


def test_what_it_has_it_is_asked_behind_what_was_sent_and_says_once_that_is_durable() -> None:
    one = One()
    one.hear("b", Append(1, START, (batch(1, 1, 3),), 0))
    assert sent(one.hear("b", Append(1, START, (), 0, 7)), AppendReply) == []
    assert one.written().send == [Send("b", AppendReply(1, 3, number=7))]
    one.hear("b", Append(1, Position(1, 3), (batch(1, 4),), 0))
    assert one.written().send == [Send("b", AppendReply(1, 4))], "one answer to one question"


def test_who_is_asked_answers_once_all_that_came_before_is_durable() -> None:
    one = One()
    one.hear("b", Append(1, START, (batch(1, 1, 3),), 0))
    one.hear("b", Append(1, Position(1, 3), (batch(1, 4),), 0))
    one.hear("b", Append(1, START, (), 0, 7))
    assert one.step(Persisted(1)).send == [Send("b", AppendReply(1, 3))]
    assert one.step(Persisted(2)).send == [Send("b", AppendReply(1, 4, number=7))]


def test_another_leader_has_asked_nothing_yet() -> None:
    one = One()
    one.hear("b", Append(1, START, (batch(1, 1, 3),), 0))
    one.hear("b", Append(1, START, (), 0, 7))
    one.hear("c", Append(2, Position(1, 3), (batch(2, 4, previous=1, leader="c"),), 0))
    assert sent(one.written(), AppendReply) == [("c", AppendReply(2, 4))]


def test_commit_is_what_the_leader_says_as_far_as_it_has_shown_its_log() -> None:
    one = One("abc", batch(1, 1, 3), batch(1, 4))
    assert one.hear("b", Heartbeat(2, 4, 1, 0)).deliver == []  # ours may be others
    assert one.hear("b", Append(2, Position(1, 3), (), 4)).deliver == [batch(1, 1, 3)]
    assert one.hear("b", Committed(2, 4)).deliver == []
    assert one.hear("b", Append(2, Position(1, 4), (), 4)).deliver == [batch(1, 4)]
    assert one.replica.commit == 4


@pytest.mark.parametrize(
    "word", [Committed(1, 2), Heartbeat(1, 2, 1, 0), Append(1, Position(1, 3), (batch(1, 4),), 2)], ids=repr
)
def test_a_commit_that_overtakes_its_batches_is_known_when_they_come(word: Message) -> None:
    """It travels on another lane, and is not repeated before the next heartbeat: an asker here would wait for that."""
    one = One()
    assert one.hear("b", word).deliver == []
    assert one.hear("b", Append(1, START, (batch(1, 1),), 0)).deliver == [batch(1, 1)]
    assert one.hear("b", Append(1, Position(1, 1), (batch(1, 2), batch(1, 3)), 1)).deliver == [batch(1, 2)]
    assert one.replica.commit == 2


def test_a_commit_that_an_old_leader_told_says_nothing_about_what_a_new_one_shows() -> None:
    one = One()
    one.hear("b", Committed(1, 2))
    assert one.hear("c", Append(2, START, (batch(2, 1, leader="c"), batch(2, 2)), 0)).deliver == []
    assert one.replica.commit == 0


def test_what_an_old_leader_has_shown_says_nothing_about_a_new_one() -> None:
    one = One()
    one.hear("b", Append(1, START, (batch(1, 1), batch(1, 2)), 1))
    one.written()
    assert one.hear("c", Heartbeat(2, 2, 1, 0)).deliver == []
    assert (one.replica.commit, one.replica._own.verified) == (1, 1)


def test_a_conflict_is_repaired_from_the_first_batch_that_differs() -> None:
    one = One("abc", batch(1, 1, 2), batch(2, 3, previous=1), batch(2, 4))
    reply = AppendReply(3, 0, rejected=4, conflict=3)
    assert sent(one.hear("b", Append(3, Position(3, 4), (batch(3, 5),), 0)), AppendReply) == []
    assert one.written().send == [Send("b", reply), Send("b", AppendReply(3, 0))]
    output = one.hear("b", Append(3, START, (batch(1, 1, 2), batch(3, 3, 2, previous=1)), 2))
    (persist,) = output.persist
    assert (persist.truncate, persist.batches) == (3, (batch(3, 3, 2, previous=1),))
    assert output.deliver == [batch(1, 1, 2)]
    assert one.written().send == [Send("b", AppendReply(3, 4))]


def test_a_write_that_cuts_carries_no_commit_beyond_the_cut() -> None:
    """Found by seed 1: what takes the place of the cut may be committed already, but is not on this disk."""
    one = One("abc", batch(1, 1), batch(1, 2))
    one.hear("b", Heartbeat(2, 3, 1, 0))
    (persist,) = one.hear("b", Append(2, Position(1, 1), (batch(2, 2, 2, previous=1),), 3)).persist
    assert (persist.truncate, persist.commit, one.replica.commit) == (2, 1, 3)


def test_an_old_append_removes_nothing() -> None:
    one = One()
    one.hear("b", Append(1, START, (batch(1, 1), batch(1, 2), batch(1, 3)), 0))
    one.written()
    output = one.hear("b", Append(1, START, (batch(1, 1),), 0))
    assert (output.persist, output.send) == ([], [Send("b", AppendReply(1, 3))])


def test_a_write_that_was_cut_meanwhile_makes_nothing_durable() -> None:
    """Not even when the same batches come back: until they are written again, the cut is on its way to the disk."""
    one = One()
    old = (batch(1, 1), batch(1, 2), batch(1, 3))
    one.hear("b", Append(1, START, old, 0))
    first = one.number
    one.hear("c", Append(2, Position(1, 1), (batch(2, 2, previous=1, leader="c"),), 0))
    one.hear("b", Append(3, Position(1, 1), old[1:], 0))
    one.step(Persisted(first))
    assert one.replica.durable <= 1
    assert one.written().send[-1] == Send("b", AppendReply(3, 3))


def test_nothing_committed_is_ever_removed() -> None:
    one = One()
    one.hear("b", Append(1, START, (batch(1, 1), batch(1, 2)), 2))
    with pytest.raises(InvariantViolation):
        one.replica._own.truncate(2)


@pytest.mark.parametrize(
    ("previous", "batches", "told"),
    [
        (START, (batch(1, 2),), "cannot follow"),
        (START, (batch(1, 1), batch(1, 3)), "cannot follow"),
        (START, (batch(5, 1),), "cannot follow"),
        (START, (batch(1, 1), Batch(1, 1, 2, 1, 0, 1, ENTRY)), "goes back"),
        (START, (Batch(1, 0, 1, 1, 9, 1, START_B), Batch(1, 1, 2, 1, 8, 2, ENTRY)), "goes back"),
        (START, (Batch(1, 0, 1, 1, 0, 5_000, START_B),), "beyond that of its message"),
        (START, (Batch(1, 0, 1, 1, 0, 1, b"\xff"),), ""),
        (START, (Batch(1, 0, 1, 1, 0, 1, b"\x80"),), "another number of entries"),
        (START, (Batch(1, 0, 1, 2, 0, 1, START_B),), "another number of entries"),
        (START, (Batch(1, 0, 1, 1, 0, 1, ENTRY),), "epoch 1 after 0, has epoch-start entries at []"),
        (Position(1, 1), (Batch(3, 1, 2, 1, 0, 2, ENTRY),), "epoch 3 after 1, has epoch-start entries at []"),
        (START, (batch(1, 1), Batch(1, 1, 2, 1, 0, 2, START_B)), "epoch 1 after 1, has epoch-start entries at [2]"),
        (START, (Batch(1, 0, 1, 2, 0, 1, encode_entries([SessionKept(1), EpochStart("b")])),), "entries at [2]"),
        (START, (Batch(1, 0, 1, 2, 0, 1, encode_entries([EpochStart("b")] * 2)),), "entries at [1, 2]"),
        (START, (Batch(4, 0, 1, 1, 0, 1, START_C),), "c begins epoch 4 at 1, and b leads it"),
    ],
)
def test_batches_that_no_leader_sends_are_refused(previous: Position, batches: tuple[Batch, ...], told: str) -> None:
    one = One()
    with pytest.raises(RemoteProtocolError) as refused:
        one.hear("b", Append(4, previous, batches, 0), stamp=4_000)
    assert told in str(refused.value)
    assert one.replica.log.last == START


HELD = (batch(1, 1, 3), batch(1, 4, 3), batch(1, 7, 3), batch(1, 10, 3))
"""What a follower holds below, of which the first two are committed."""


@pytest.mark.parametrize(
    ("previous", "batches"),
    [
        (Position(1, 3), (batch(3, 4, 5, previous=1, leader="c"),)),  # from within what is committed to beyond it
        (Position(1, 3), (batch(1, 4, 5),)),
        (START, (batch(1, 1, 3), batch(3, 4, 9, previous=1, leader="c"))),
        (Position(1, 3), (batch(3, 4, 3, previous=1, leader="c"),)),  # something else was committed there
        (Position(2, 6), (batch(3, 7, previous=2, leader="c"),)),
        (Position(1, 5), ()),  # a batch of ours, cut in two
        (Position(1, 8), (batch(3, 9, previous=1, leader="c"),)),
        (Position(1, 6), (batch(1, 7, 2), batch(3, 9, 9, previous=1, leader="c"))),
        (Position(1, 6), (Batch(3, 1, 7, 1, 0, 6, START_C),)),  # its stamp is not above that of the entry before it
    ],
)
def test_a_log_that_cannot_be_the_leader_s_is_refused_and_nothing_of_it_is_taken(
    previous: Position, batches: tuple[Batch, ...]
) -> None:
    one = One()
    one.hear("b", Append(1, START, HELD, 6))
    one.written()
    one.hear("c", Heartbeat(3, 6, 1, 0))
    one.written()
    with pytest.raises(RemoteProtocolError, match=r"committed|within one that we hold|older than that before it"):
        one.hear("c", Append(3, previous, batches, 6), stamp=10_000)
    assert one.replica.take_output() == Output()
    assert one.step(Tick()) == Output()  # it lives, and goes on
    assert (one.replica.commit, one.replica.durable, one.replica.log.last) == (6, 12, Position(1, 12))
    (persist,) = one.hear("c", Append(3, Position(1, 6), (batch(3, 7, previous=1, leader="c"),), 6)).persist
    assert (persist.truncate, persist.batches) == (7, (batch(3, 7, previous=1, leader="c"),))


def test_what_an_earlier_life_knew_to_be_committed_is_not_cut_either() -> None:
    """No leader has another log there; one that claims to is refused, before the disk finds it out."""
    one = One("abc", batch(1, 1), batch(1, 2), batch(1, 3), commit=2)
    for previous, new in ((START, batch(3, 1, leader="c")), (Position(1, 1), batch(3, 2, 1, previous=1, leader="c"))):
        with pytest.raises(RemoteProtocolError, match=r"is committed at|changes what is committed"):
            one.hear("c", Append(3, previous, (new,), 0))
    with pytest.raises(RemoteProtocolError, match="another epoch than 2 is committed at 2"):
        one.hear("c", Append(3, Position(2, 2), (), 0))
    with pytest.raises(InvariantViolation, match="nothing committed is ever removed"):
        one.replica._own.truncate(2)
    assert (one.replica.commit, one.replica.log.last) == (0, Position(1, 3))
    assert one.hear("c", Append(3, Position(1, 2), (batch(3, 3, 1, previous=1, leader="c"),), 3)).deliver != []
    assert one.replica.commit == 3


def test_where_the_logs_part_is_not_looked_for_in_what_an_earlier_life_knew_to_be_committed() -> None:
    one = One("abc", batch(1, 1), batch(1, 2), batch(1, 3), commit=2)
    one.hear("c", Append(3, Position(2, 3), (), 0))
    assert Send("c", AppendReply(3, 0, rejected=3, conflict=3)) in one.written().send


@pytest.mark.parametrize(
    ("again", "told"),
    [
        (Append(3, Position(1, 2), (batch(2, 3, 3, previous=1),), 0), "from 3 to 5 changes what is committed, or was"),
        (Append(3, Position(1, 1), (batch(2, 2, previous=1),), 0), "another epoch than 2 is committed at 2, or was"),
        (Append(3, Position(2, 4), (), 0), "another epoch than 2 is committed at 4, or was shown there"),
    ],
)
def test_a_leader_does_not_take_back_what_it_has_shown_in_its_epoch(again: Append, told: str) -> None:
    """Others may count what we acknowledged; a leader of a later epoch may have another log."""
    one = One("abc", batch(1, 1), batch(1, 2))
    one.hear("b", Append(3, Position(1, 2), (batch(3, 3, 2, previous=1),), 0))
    assert sent(one.written(), AppendReply) == [("b", AppendReply(3, 4))]
    with pytest.raises(RemoteProtocolError, match=told):
        one.hear("b", again)
    assert one.replica.log.last == Position(3, 4)
    one.hear("c", Append(4, Position(1, 1), (batch(4, 2, leader="c", previous=1),), 0))
    assert one.replica.log.last == Position(4, 2)


FAR = 2**62


@pytest.mark.parametrize(
    "message",
    [
        VoteRequest(FAR, (0, 0), pre=False),
        VoteReply(FAR, 1, pre=False, granted=False),
        Append(FAR, START, (), 0),
        Heartbeat(LEAP_MAX + 1, 0, 1, 0),
    ],
)
def test_an_epoch_that_no_group_gets_to_is_not_believed(message: Message) -> None:
    """Adopted, it would leave none to go on with."""
    one = One()
    with pytest.raises(RemoteProtocolError, match="is further beyond 0, ours, than any group gets"):
        one.hear("b", message)
    assert one.replica.epoch == 0
    one.hear("b", Heartbeat(LEAP_MAX, 0, 1, 0))
    assert (one.replica.epoch, one.replica.leader) == (LEAP_MAX, "b")


def test_at_the_end_of_all_times_log_time_stands_still() -> None:
    one = One("abc", Batch(1, 0, 1, 1, FAR, 1, START_B))
    (start,) = one.lead().persist[0].batches
    assert (start.first, start.time) == (2, FAR)
    times = [each.time for _, each in sent(one.tick(), Heartbeat) if isinstance(each, Heartbeat)]
    assert times == [FAR, FAR]


def test_a_commit_within_a_batch_is_refused_and_nothing_is_delivered() -> None:
    one = One("abc", batch(1, 1, 3))
    with pytest.raises(RemoteProtocolError, match="index 2 is committed, and no batch ends there"):
        one.hear("b", Append(2, Position(1, 3), (), 2))
    assert one.replica.commit == 0


def test_told_of_entries_that_it_was_not_shown_it_says_what_it_has() -> None:
    """Found by seed 2575: an earlier life had acknowledged them, and the leader waited for nothing."""
    one = One("abc", batch(1, 1))
    output = one.hear("b", Heartbeat(1, 1, 4, 0))
    assert output.send == [Send("b", HeartbeatReply(1, 4)), Send("b", AppendReply(1, 0))]


# -- leading (rules 3, 7, 9, 10, 16) -------------------------------------------------------------------------------


def test_a_leader_commits_what_is_durable_on_a_quorum_its_own_disk_counted_like_any_other() -> None:
    one = One()
    one.lead()
    assert one.hear("b", AppendReply(1, 1)).deliver == []
    assert [each.first for each in one.written().deliver] == [1]
    one = One()
    one.lead()
    assert one.written().deliver == []
    assert [each.first for each in one.hear("b", AppendReply(1, 1)).deliver] == [1]


def test_older_entries_commit_only_through_an_own_one() -> None:
    one = One("abc", batch(1, 1), batch(2, 2, previous=1))
    one.lead()
    one.written()
    assert one.hear("b", AppendReply(3, 2)).deliver == []
    assert [each.first for each in one.hear("c", AppendReply(3, 3)).deliver] == [1, 2, 3]


def test_answers_of_an_older_epoch_are_not_counted() -> None:
    one = One("abc", batch(1, 1), epoch=4)
    one.lead()
    one.written()
    assert one.hear("b", AppendReply(4, 2)).deliver == []
    one.step(ReadAsked(1))
    one.hear("b", HeartbeatReply(4, 99))
    assert one.replica.commit == 0


def test_another_disk_s_answers_are_not_counted() -> None:
    one = One()
    one.lead()
    one.written()
    output = one.hear("b", AppendReply(1, 1), storage=b"x" * 16)
    assert output.deliver == []
    assert [each for each in output.settle if isinstance(each, Noticed)]


def test_a_follower_that_lost_what_it_acknowledged_is_not_counted_any_more() -> None:
    one = leading()
    output = one.hear("b", AppendReply(1, 0, rejected=1, conflict=1))
    assert [each for each in output.settle if isinstance(each, Noticed) and "has lost entries" in each.text]
    one.step(Submitted((ASKED,)))
    one.written()
    assert one.hear("b", AppendReply(1, 2)).deliver == []
    assert len(one.hear("c", AppendReply(1, 2)).deliver) == 1


def test_what_a_disk_that_lost_something_says_counts_in_no_later_epoch_either() -> None:
    """Neither its grants, which may elect somebody who lacks what was committed, nor its acknowledgements (rule 16)."""
    one = leading()
    one.hear("b", AppendReply(1, 0, rejected=1, conflict=1))
    while one.replica.role == "leader":
        one.tick()  # nobody else is heard
    while one.replica.role != "canvasser":
        one.tick()
    one.hear("b", VoteReply(1, 2, pre=True, granted=True))
    assert one.replica.role == "canvasser"
    one.hear("c", VoteReply(1, 2, pre=True, granted=True))
    one.written()
    one.hear("c", VoteReply(2, 2, pre=False, granted=True))
    assert (one.replica.role, one.replica.epoch) == ("leader", 2)
    one.written()
    assert one.hear("b", AppendReply(2, 2)).deliver == []
    assert len(one.hear("c", AppendReply(2, 2)).deliver) == 1


WITHIN = Commands(1, 1, 3, 0, 0, stamp=0, calls=b"\x83\xf6\xf6\xf6")


@pytest.mark.parametrize(
    "reply",
    [
        AppendReply(1, 2),  # within the batch 2..4
        AppendReply(1, 5),  # beyond all
        AppendReply(1, 0, rejected=3, conflict=1),
        AppendReply(1, 0, rejected=9, conflict=1),
        AppendReply(1, 0, rejected=4, conflict=5),
        AppendReply(1, 0, rejected=0, conflict=1),
        AppendReply(1, 0, rejected=4),
        AppendReply(1, 4, conflict=4),
    ],
)
def test_an_answer_about_places_that_were_never_shown_is_refused(reply: AppendReply) -> None:
    one = leading()
    one.step(Submitted((WITHIN,)))
    one.written()
    with pytest.raises(RemoteProtocolError):
        one.hear("b", reply)
    assert one.replica.take_output() == Output()
    assert one.step(Tick()).deliver == []
    assert one.replica.commit == 1
    assert len(one.hear("b", AppendReply(1, 4)).deliver) == 1


def test_who_bears_the_leader_s_own_name_is_no_follower() -> None:
    one = leading()
    assert one.hear("a", AppendReply(1, 1)) == Output()


def test_what_arrives_during_a_write_joins_the_next_batch() -> None:
    one = leading()
    assert len(one.step(Submitted((ASKED,))).persist) == 1
    assert one.step(Submitted((ASKED,))).persist == []
    assert one.hear("b", Submit((ASKED,))).persist == []
    (persist,) = one.written().persist
    assert [each.count for each in persist.batches] == [2]


def test_an_entry_s_stamp_exceeds_its_asker_s_and_all_before() -> None:
    one = leading()
    run = Commands(1, 1, 3, 0, 0, stamp=77_000, calls=b"\x83\xf6\xf6\xf6")
    (first,) = one.step(Submitted((run,))).persist[0].batches
    assert first.stamp > 77_000
    (second,) = one.written().persist[:1] or one.step(Submitted((ASKED,))).persist
    assert second.batches[0].stamp > first.last_stamp


def test_log_time_follows_the_clock_and_never_goes_back() -> None:
    one = leading()
    one.now += 5_000
    (first,) = one.step(Submitted((ASKED,))).persist[0].batches
    assert first.time == WALL + one.now
    one.written()
    one.replica.step(Submitted((ASKED,)), Now(one.now, WALL - 10**12))
    (persist,) = one.replica.take_output().persist
    assert persist.batches[0].time == first.time


def test_a_new_leader_s_clock_runs_ahead_of_the_last_stamp_by_no_more_than_the_bound() -> None:
    one = One()
    one.hear("b", Append(1, START, (batch(1, 1),), 0))  # log time 0: its clock is forty years ahead of that
    one.written()
    one.tick(3 * FLOOR)
    one.tick(0)
    one.hear("c", VoteReply(1, 2, pre=True, granted=True))
    one.written()
    (persist,) = one.hear("c", VoteReply(2, 2, pre=False, granted=True)).persist
    assert persist.batches[0].time == 3 * FLOOR + 1_000_000


def succeed(one: One) -> int:
    """Be elected after a leader's silence; returns how the epoch-start entry is stamped."""
    one.written()
    epoch = one.replica.epoch + 1
    one.tick(3 * FLOOR)
    one.tick(0)
    one.hear("c", VoteReply(epoch - 1, epoch, pre=True, granted=True))
    one.written()
    (persist,) = one.hear("c", VoteReply(epoch, epoch, pre=False, granted=True)).persist
    return persist.batches[0].time


def test_who_heard_a_leader_of_an_idle_group_goes_on_from_its_time() -> None:
    """However wrong our own clock is, and however long ago the last entry was written."""
    day = 86_400 * 10**6
    for told in (WALL - 365 * day, WALL + 365 * day):
        one = One("abc", Batch(1, 0, 1, 1, WALL - 2 * 365 * day, 1, b"\x80"))
        one.now += 5_000
        one.hear("b", Heartbeat(1, 1, 1, told))
        ahead = 1_000_000 if told < WALL else 0
        assert succeed(one) == told + 3 * FLOOR + ahead


def test_log_time_does_not_stand_still_for_a_clock_that_is_behind() -> None:
    one = leading()
    times = []
    for after in (0, 7_000, 9_000):
        one.now += after
        one.replica.step(Submitted((ASKED,)), Now(one.now, WALL - 10**12 + one.now))
        (persist,) = one.replica.take_output().persist
        times += [each.time for each in persist.batches]
        one.number += 1
        one.written()
    assert times == [times[0], times[0] + 7_000, times[0] + 16_000]


def test_a_word_that_the_network_held_back_does_not_take_log_time_back() -> None:
    one = One("abc", Batch(1, 0, 1, 1, WALL + 10**12, 1, b"\x80"))
    one.hear("b", Heartbeat(1, 1, 1, WALL))
    assert succeed(one) == WALL + 10**12 + 3 * FLOOR


def test_who_has_heard_no_leader_takes_its_clock_or_goes_on_from_the_log_s_time() -> None:
    for time in (5, WALL + 10**12):
        one = One("abc", Batch(1, 0, 1, 1, time, 1, b"\x80"))
        one.lead()
        began = one.replica.log.last_time
        assert began == max(WALL + one.now, time)
        one.written()
        one.now += 7_000
        one.step(Submitted((ASKED,)))
        assert one.replica.log.last_time == began + 7_000


def test_a_follower_that_is_silent_while_it_has_all_does_not_hold_the_leader_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found by seed 11: the leader went on for ever sending it batches without content."""
    asked: list[int] = []

    def may_send(self: Progress) -> bool:
        asked.append(1)
        assert len(asked) < 100, "it goes on for ever"
        return self.flow is Flow.STREAM or self._waiting_since is None

    monkeypatch.setattr(Progress, "may_send", may_send)
    one = leading()
    for _ in range(20):  # c is heard, b is not
        one.tick()
        one.hear("c", HeartbeatReply(1, 1))
        asked.clear()
    assert one.replica.reachable() == ["a", "c"]
    output = one.step(Submitted((ASKED,)))
    assert [to for to, _ in sent(output, Append)] == ["b", "c"]


def test_reads_that_put_off_heartbeats_do_not_hide_a_follower_s_silence() -> None:
    one = leading()
    one.step(Submitted((ASKED,)))
    one.written()
    probed: list[str] = []
    for token in range(20):  # each read begins a round, which is a heartbeat; b never gets the batch
        one.step(ReadAsked(token))
        one.hear("b", HeartbeatReply(1, one.replica.leadership.rounds.number if one.replica.leadership else 0))
        output = one.tick(FLOOR // 10)
        probed += [to for to, _ in sent(output, Append)]
    assert "b" in probed


def test_what_a_slow_follower_has_not_acknowledged_is_sent_once_and_again_only_what_it_lacks() -> None:
    one = leading()
    appended = sent(one.step(Submitted((ASKED,))), Append)
    one.written()
    assert [to for to, _ in appended] == ["b", "c"]
    one.hear("c", AppendReply(1, 2))
    question = Append(1, Position(1, 1), (), 2, 1)
    assert [message for to, message in sent(one.tick(FLOOR // 2), Append) if to == "b"] == [question]
    for said in (AppendReply(1, 1), AppendReply(1, 1, number=0)):
        assert sent(one.hear("b", said), Append) == [], "it may be on its way"
    (again,) = sent(one.hear("b", AppendReply(1, 1, number=1)), Append)
    assert (again[0], len(again[1].batches)) == ("b", 1)  # type: ignore[union-attr]  # pyright: ignore


def test_a_leader_that_hears_nobody_steps_down() -> None:
    one = leading()
    for _ in range(30):
        one.tick()
    assert one.replica.role != "leader"


def test_a_link_made_anew_is_probed_at_once() -> None:
    one = leading()
    output = one.step(Connected("b"))
    assert sent(output, Append) == [("b", Append(1, Position(1, 1), (), 1))]
    assert [to for to, _ in sent(output, Heartbeat)] == ["b"]


def test_a_leader_that_is_gone_is_replaced_without_waiting() -> None:
    one = One()
    one.hear("b", Heartbeat(1, 0, 1, 0))
    one.written()
    before = one.replica.deadline
    one.step(Suspected("b"))
    assert one.replica.deadline < before
    assert len(sent(one.tick(), VoteRequest)) == 2


# -- how far is committed, told (rule 9) ---------------------------------------------------------------------------


def committed_through(one: One, given: Input) -> Output:
    """A leader of `leading` sequences what comes with `given`, and `b` and it have it on disk."""
    one.step(given)
    one.written()
    return one.hear("b", AppendReply(1, 2))


def test_a_commit_that_nobody_waits_for_is_told_with_what_comes_next() -> None:
    one = leading()
    one.tick()  # of the epoch-start entry all have heard
    assert sent(committed_through(one, Submitted((ASKED,))), Committed) == []
    commits = [(to, message.commit) for to, message in sent(one.step(Submitted((ASKED,))), Append)]  # type: ignore[union-attr]
    assert commits == [("b", 2), ("c", 2)]


def test_a_commit_that_nobody_waits_for_is_told_soon_even_if_nothing_comes() -> None:
    one = leading()
    one.tick()
    committed_through(one, Submitted((ASKED,)))
    assert one.replica.deadline - one.now == COMMIT_TOLD_WITHIN < FLOOR // 5
    assert sent(one.tick(), Committed) == [("b", Committed(1, 2)), ("c", Committed(1, 2))]
    assert sent(one.tick(), Committed) == []


def test_a_commit_is_told_at_once_where_an_asker_waits_for_it() -> None:
    one = leading()
    one.tick()
    received = Received("c", CLUSTER, disk("c"), one.stamp, Submit((ASKED,)))
    assert sent(committed_through(one, received), Committed) == [("c", Committed(1, 2))]
    assert sent(one.tick(), Committed) == [("b", Committed(1, 2))]


# -- reads (rule 20) -----------------------------------------------------------------------------------------------


def test_a_leader_s_read_waits_for_a_round_that_began_after_it() -> None:
    one = leading()
    number = one.replica.leadership.rounds.number if one.replica.leadership else 0
    output = one.step(ReadAsked(5))
    assert [message for _, message in sent(output, Heartbeat)] == [Heartbeat(1, 1, number + 1, WALL + one.now)] * 2
    assert one.hear("b", HeartbeatReply(1, number)).settle == []
    assert one.hear("b", HeartbeatReply(1, number + 1)).settle == [ReadReady(5)]


def test_no_read_is_answered_before_the_epoch_start_entry_is_committed() -> None:
    one = One("abc", batch(1, 1))
    one.lead()
    one.written()
    one.step(ReadAsked(5))
    one.tick()
    assert one.hear("b", HeartbeatReply(2, 99)).settle == []
    output = one.hear("b", AppendReply(2, 2))
    assert len(output.deliver) == 2
    one.step(Applied(2))
    number = one.replica.leadership.rounds.number if one.replica.leadership else 0
    assert one.hear("b", HeartbeatReply(2, number)).settle == [ReadReady(5)]


def test_a_follower_s_read_asks_the_leader_and_waits_until_it_is_applied() -> None:
    one = One()
    one.hear("b", Append(1, START, (batch(1, 1), batch(1, 2)), 1))
    one.written()
    ((to, asked),) = sent(one.step(ReadAsked(5)), ReadIndex)
    assert (to, isinstance(asked, ReadIndex)) == ("b", True)
    number = asked.number if isinstance(asked, ReadIndex) else 0
    assert one.hear("b", ReadIndexReply(number + 1, 1)).settle == []
    assert one.hear("b", ReadIndexReply(number, 2)).settle == []
    one.hear("b", Committed(1, 2))
    assert one.step(Applied(1)).settle == []
    assert one.step(Applied(2)).settle == [ReadReady(5)]


def test_a_follower_s_read_is_asked_again_under_a_new_number_when_it_stays_unanswered() -> None:
    one = One()
    one.hear("b", Heartbeat(1, 0, 1, 0))
    one.written()
    ((_, first),) = sent(one.step(ReadAsked(5)), ReadIndex)
    one.now += FLOOR
    one.hear("b", Heartbeat(1, 0, 2, 0))
    ((_, second),) = sent(one.tick(), ReadIndex)
    assert isinstance(first, ReadIndex)
    assert isinstance(second, ReadIndex)
    assert second.number > first.number


def test_who_becomes_leader_asks_nobody_else_any_more() -> None:
    """The read that the old leader was asked for is vouched for by a round of the new one's own."""
    one = One()
    one.hear("b", Heartbeat(1, 0, 1, 0))
    one.written()
    assert len(sent(one.step(ReadAsked(5)), ReadIndex)) == 1
    one.step(Suspected("b"))
    output = one.lead()
    assert one.now < FLOOR, "before it would lose patience with the old one"
    one.written()
    output = one.hear("b", AppendReply(2, 1))
    rounds = [message.round for _, message in sent(output, Heartbeat) if isinstance(message, Heartbeat)]
    assert len(rounds) == 2
    one.step(Applied(1))
    assert one.hear("b", HeartbeatReply(2, rounds[0])).settle == [ReadReady(5)]


# -- submitting ----------------------------------------------------------------------------------------------------


def test_a_follower_passes_entries_on_to_the_leader_it_knows() -> None:
    one = One()
    assert one.step(Submitted((ASKED,))).send == []
    assert LeaderKnown(1, "b") in one.hear("b", Heartbeat(1, 0, 1, 0)).settle
    assert one.step(Submitted((ASKED,))).send == [Send("b", Submit((ASKED,)))]


def passed_on(number: int = 1, count: int = 1, acknowledged: int = 0, stamp: int = 0, size: int = 2) -> Commands:
    return Commands(3, number, count, acknowledged, 0, stamp, bytes(size))


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ((passed_on(stamp=5_000),), "commands with the stamp 5000 in a message with the stamp 4000"),
        ((passed_on(count=1_001, size=10_000),), "a run of 1001 commands"),
        ((passed_on(count=3, size=3),), "a run of 3 commands in 3 bytes"),
        ((passed_on(size=2**20 + 1_025),), "beyond the group's limits"),  # command_size_max, and what is around it
        (
            (passed_on(number=70_000, acknowledged=4_000),),
            "more commands under way in one session than the group allows",
        ),
        ((passed_on(size=2**19),) * 2, "more in one message than a member passes on at once"),
        ((ASKED,) * 1_001, "more in one message than a member passes on at once"),
    ],
)
def test_what_no_member_passes_on_is_not_sequenced(entries: tuple[Submittable, ...], told: str) -> None:
    """A batch that no message could hold would never reach a follower, and nothing behind it either."""
    one = leading()
    with pytest.raises(RemoteProtocolError, match=told):
        one.hear("c", Submit(entries), stamp=4_000)
    assert one.step(Tick()).persist == []


def test_all_that_a_member_may_pass_on_is_sequenced() -> None:
    for entries in ((passed_on(size=2**20 + 1_024),), (ASKED,) * 1_000, (passed_on(count=1_000, size=1_001),)):
        (persist,) = leading().hear("c", Submit(entries), stamp=4_000).persist
        assert sum(each.count for each in persist.batches) in (1, 1_000)


def test_a_leader_s_new_epoch_is_told_though_it_is_the_same_leader() -> None:
    """What it had taken in its last life, and not sent to anybody, is lost: all has to be sent again."""
    one = One()
    assert LeaderKnown(1, "b") in one.hear("b", Heartbeat(1, 0, 1, 0)).settle
    assert one.hear("b", Heartbeat(1, 0, 2, 0)).settle == []
    assert one.hear("b", Heartbeat(3, 0, 1, 0)).settle == [LeaderKnown(3, "b")]
    assert one.hear("b", Heartbeat(3, 0, 2, 0)).settle == []


def test_only_what_was_delivered_is_applied() -> None:
    with pytest.raises(InvariantViolation, match="only what was delivered"):
        leading().step(Applied(2))


def test_what_a_follower_lost_is_not_counted_either() -> None:
    """It acknowledged index 2, and has lost it: with another one's word for it that is no quorum of five."""
    one = leading("abcde")
    one.step(Submitted((ASKED,)))
    one.written()
    assert one.hear("b", AppendReply(1, 2)).deliver == []
    one.hear("b", AppendReply(1, 0, rejected=2, conflict=2))
    assert one.hear("c", AppendReply(1, 2)).deliver == []
    assert len(one.hear("d", AppendReply(1, 2)).deliver) == 1


@pytest.mark.parametrize("confirms_first", [False, True])
def test_who_lost_what_it_acknowledged_confirms_no_read(confirms_first: bool) -> None:
    """It may have lost a promise too, and follow us although another leads: what it said before is as doubtful."""
    one = leading("abcde")
    lost = AppendReply(1, 0, rejected=1, conflict=1)
    if not confirms_first:
        one.hear("b", lost)
    round_ = one.step(ReadAsked(5)).send[0].message
    assert isinstance(round_, Heartbeat)
    one.hear("b", HeartbeatReply(1, round_.round))
    if confirms_first:
        one.hear("b", lost)
    assert one.hear("c", HeartbeatReply(1, round_.round)).settle == []
    assert one.hear("d", HeartbeatReply(1, round_.round)).settle == [ReadReady(5)]


def test_who_lost_what_it_acknowledged_keeps_no_leader_in_office() -> None:
    one = leading()
    one.hear("b", AppendReply(1, 0, rejected=1, conflict=1))
    for _ in range(20):
        one.tick(FLOOR // 8)
        if one.replica.role == "leader":
            one.hear("b", HeartbeatReply(1, 1))
    assert one.replica.role != "leader"


def test_a_new_link_to_the_leader_has_all_asked_again() -> None:
    one = One("abc", batch(1, 1))
    one.hear("b", Heartbeat(1, 1, 4, 0))
    (asked,) = sent(one.step(ReadAsked(1)), ReadIndex)
    output = one.step(Connected("b"))
    (again,) = sent(output, ReadIndex)
    assert isinstance(asked[1], ReadIndex)
    assert isinstance(again[1], ReadIndex)
    assert again[1].number > asked[1].number
    assert LeaderKnown(1, "b") in output.settle
