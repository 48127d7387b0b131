"""Who may lead: one test for each sentence (rules 1-6; Ongaro 2014, 3.4, 3.6.1, 4.2.3, 6.2, 9.6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors._protocol.errors import InvariantViolation, RemoteProtocolError
from membership._protocol.election import Ballot, Election, Role
from membership._protocol.messages import VoteReply, VoteRequest
from membership._protocol.view import Configuration, Limits, Member, Promise

FLOOR = 1_000
BEST = (9, 9)


class Middle:
    """Chance that always draws the middle."""

    def randrange(self, stop: int, /) -> int:
        return stop // 2


TIMEOUT = FLOOR + FLOOR // 2  # what is drawn by it


def disk(name: str) -> bytes:
    return name.encode() * 16


def election(promise: Promise | None = None, names: str = "abc", name: str = "a") -> Election:
    members = tuple(Member(each, disk(each)) for each in names)
    configuration = Configuration(members, limits=Limits(election_timeout=FLOOR))
    storage = disk(name)
    promise = promise or Promise(4, None)
    return Election(name=name, storage=storage, configuration=configuration, promise=promise, chance=Middle(), now=0)


class Span:
    """Chance that draws the lowest and the highest in turns, and so shows the range."""

    def __init__(self) -> None:
        self._high = True

    def randrange(self, stop: int, /) -> int:
        self._high = not self._high
        return stop - 1 if self._high else 0


@pytest.mark.parametrize(
    ("priority", "lowest", "highest"),
    [(0, FLOOR, 2 * FLOOR - 1), (1, FLOOR, 3 * FLOOR // 2 - 1), (-1, 3 * FLOOR // 2, 2 * FLOOR - 1)],
)
def test_a_priority_shortens_or_lengthens_the_timeout_within_its_bounds(
    priority: int, lowest: int, highest: int
) -> None:
    """Between the floor and twice that, whatever it is (rule 5): a hint."""
    configuration = election().configuration
    one = Election(
        name="a",
        storage=disk("a"),
        configuration=configuration,
        promise=Promise(),
        chance=Span(),
        now=0,
        priority=priority,
    )
    drawn = [one.deadline]
    one.adopt(1, 0)
    assert [*drawn, one.deadline] == [lowest, highest]


def test_a_priority_changes_nothing_of_whom_is_granted() -> None:
    """Neither who hears its leader, nor whose log is longer, makes way for it."""
    one = election()
    one.priority = -100
    one.follow("c", 4, 0)
    assert not ask(one, 5, by="b", now=FLOOR - 1)
    assert not ask(one, 5, (2, 9), by="b", now=2 * FLOOR)


def taken(one: Election) -> list[Ballot]:
    sends, one.sends[:] = list(one.sends), []
    return sends


def ask(
    one: Election, epoch: int, standing: tuple[int, int] = BEST, *, pre: bool = False, by: str = "b", now: int = 0
) -> bool:
    """Is it granted?"""
    one.receive(by, disk(by), VoteRequest(epoch, standing, pre), (3, 7), now)
    (ballot,) = taken(one)
    assert isinstance(ballot.message, VoteReply)
    assert (ballot.to, ballot.binding, ballot.message.campaign, ballot.message.pre) == (by, True, epoch, pre)
    assert ballot.message.epoch == one.epoch
    return ballot.message.granted


def answer(one: Election, by: str, campaign: int, *, pre: bool, granted: bool = True, epoch: int = 4) -> None:
    one.receive(by, disk(by), VoteReply(epoch, campaign, pre, granted), (3, 7), 2_000)


def candidate(names: str = "abc") -> Election:
    """One that asks for epoch 5, its own promise durable."""
    one = election(names=names)
    one.tick(TIMEOUT, (3, 7), able=True)
    for name in names[1 : len(names) // 2 + 1]:
        answer(one, name, 5, pre=True)
    one.promised(one.promise, 2_000)
    taken(one)
    assert one.role is Role.CANDIDATE or len(names) == 1
    return one


def leader(names: str = "abc") -> Election:
    one = candidate(names)
    for name in names[1 : len(names) // 2 + 1]:
        answer(one, name, 5, pre=False, epoch=5)
    assert one.leads
    return one


# -- voting ------------------------------------------------------------------------------------------------------------


def test_a_grant_is_a_promise_to_one_candidate_for_the_epoch() -> None:
    one = election()
    assert ask(one, 5, by="b")
    assert one.promise == Promise(5, "b")
    assert not ask(one, 5, by="c")
    assert ask(one, 5, by="b")  # asked again
    assert one.promise == Promise(5, "b")


def test_a_promise_from_before_a_restart_holds() -> None:
    one = election(Promise(5, "c"))
    assert not ask(one, 5, by="b")
    assert ask(one, 5, by="c")
    assert not ask(one, 4, by="c")


@pytest.mark.parametrize(("standing", "granted"), [((3, 6), False), ((2, 99), False), ((3, 7), True), ((4, 1), True)])
def test_a_grant_goes_to_a_standing_at_least_its_own(standing: tuple[int, int], granted: bool) -> None:
    assert ask(election(), 5, standing) is granted
    assert ask(election(), 5, standing, pre=True) is granted
    one = election()
    ask(one, 5, standing)
    assert one.promise == Promise(5, "b" if granted else None)  # the newer epoch is taken over anyway


def test_a_pre_vote_promises_nothing() -> None:
    one = election()
    assert ask(one, 5, pre=True, by="b")
    assert ask(one, 5, pre=True, by="c")
    assert one.promise == Promise(4, None)
    assert not ask(one, 4, pre=True)


@pytest.mark.parametrize("pre", [False, True])
def test_who_hears_its_leader_grants_nobody(pre: bool) -> None:
    one = election()
    one.follow("c", 4, now=100)
    assert not ask(one, 5, pre=pre, now=100 + FLOOR - 1)
    assert one.epoch == 4
    assert ask(one, 5, pre=pre, now=100 + FLOOR)


def test_a_leader_in_touch_grants_nobody_and_one_that_is_not_does() -> None:
    assert not ask(leader(), 6, now=2_000 + TIMEOUT)
    assert ask(leader(), 6, now=2_001 + TIMEOUT)


# -- standing ----------------------------------------------------------------------------------------------------------


def test_it_asks_first_and_raises_no_epoch() -> None:
    one = election()
    one.tick(TIMEOUT - 1, (3, 7), able=True)
    assert taken(one) == []
    one.tick(TIMEOUT, (3, 7), able=True)
    assert taken(one) == [Ballot(name, VoteRequest(5, (3, 7), pre=True), binding=False) for name in "bc"]
    assert (one.promise, one.role) == (Promise(4, None), Role.CANVASSER)
    one.tick(one.deadline, (3, 7), able=True)
    assert len(taken(one)) == 2  # and again


def test_a_quorum_that_would_grant_is_asked_to_once_the_promise_is_durable() -> None:
    one = election()
    one.tick(TIMEOUT, (3, 7), able=True)
    taken(one)
    answer(one, "b", 5, pre=True)
    assert (one.role, one.promise) == (Role.CANDIDATE, Promise(5, "a"))
    assert taken(one) == [Ballot(name, VoteRequest(5, (3, 7), pre=False), binding=True) for name in "bc"]


def test_its_own_vote_counts_when_it_is_durable() -> None:
    one = election(names="a")
    one.tick(TIMEOUT, (3, 7), able=True)
    assert one.role is Role.CANDIDATE
    one.promised(Promise(4, None), 2_000)
    assert one.role is Role.CANDIDATE
    one.promised(Promise(5, "a"), 2_000)
    assert one.leads


def test_a_quorum_makes_it_leader() -> None:
    one = candidate()
    answer(one, "c", 5, pre=False, epoch=5)
    assert (one.role, one.leader) == (Role.LEADER, "a")


@pytest.mark.parametrize(
    ("by", "storage", "wrong"),
    [
        ("b", disk("b"), VoteReply(5, 5, pre=True, granted=True)),
        ("b", disk("b"), VoteReply(5, 4, pre=False, granted=True)),
        ("b", disk("b"), VoteReply(5, 5, pre=False, granted=False)),
        ("b", b"x" * 16, VoteReply(5, 5, pre=False, granted=True)),
        ("d", disk("d"), VoteReply(5, 5, pre=False, granted=True)),
    ],
)
def test_what_is_no_vote_for_this_campaign_is_not_counted(by: str, storage: bytes, wrong: VoteReply) -> None:
    one = candidate()
    one.receive(by, storage, wrong, BEST, 2_000)
    assert not one.leads


def test_a_voice_is_counted_once() -> None:
    one = candidate("abcde")
    for _ in range(5):
        answer(one, "b", 5, pre=False, epoch=5)
    assert not one.leads
    answer(one, "c", 5, pre=False, epoch=5)
    assert one.leads


def test_a_split_vote_is_tried_again_soon() -> None:
    one = candidate()
    for name in "bc":
        answer(one, name, 5, pre=False, granted=False, epoch=5)
    assert one.role is Role.FOLLOWER
    assert one.deadline <= 2_000 + FLOOR // 10
    answer(one, "b", 5, pre=False, epoch=5)  # too late
    assert not one.leads


def test_a_vote_that_two_survivors_share_is_tried_again_soon() -> None:
    """The third is gone: it will not answer, and none of the two can win."""
    one = candidate()
    answer(one, "b", 5, pre=False, granted=False, epoch=5)
    assert one.deadline <= 2_000 + FLOOR // 5
    one.tick(one.deadline, (3, 7), able=True)
    assert one.role is Role.CANVASSER


def test_who_refuses_does_not_keep_the_others_from_granting() -> None:
    one = candidate()
    answer(one, "b", 5, pre=False, granted=False, epoch=5)
    answer(one, "c", 5, pre=False, epoch=5)
    assert one.leads


def test_who_has_no_disk_that_answers_does_not_stand() -> None:
    one = election()
    one.tick(TIMEOUT, (3, 7), able=False)
    assert (one.role, taken(one)) == (Role.FOLLOWER, [])


def test_a_disk_that_hangs_ends_a_campaign() -> None:
    one = election()
    one.tick(TIMEOUT, (3, 7), able=True)
    one.tick(one.deadline, (3, 7), able=False)
    answer(one, "b", 5, pre=True)  # late
    assert (one.role, one.promise) == (Role.FOLLOWER, Promise(4, None))


# -- newer epochs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [election, candidate, leader])
def test_a_newer_epoch_ends_the_own_one(make: Callable[[], Election]) -> None:
    one = make()
    answer(one, "b", 5, pre=False, granted=False, epoch=8)
    assert (one.role, one.leader, one.promise) == (Role.FOLLOWER, None, Promise(8, None))


def test_a_candidate_follows_the_leader_of_its_epoch() -> None:
    one = candidate()
    one.follow("b", 5, now=2_100)
    assert (one.role, one.leader, one.promise) == (Role.FOLLOWER, "b", Promise(5, "a"))


def test_no_second_leader_of_an_epoch_is_believed() -> None:
    with pytest.raises(RemoteProtocolError, match="claims to lead epoch 5"):
        leader().follow("b", 5, now=0)
    one = election()
    one.follow("b", 4, now=0)
    with pytest.raises(RemoteProtocolError, match="which b leads"):
        one.follow("c", 4, now=0)


def test_the_epoch_never_goes_down() -> None:
    with pytest.raises(InvariantViolation):
        election().adopt(4, 0)
    with pytest.raises(InvariantViolation):
        election().follow("b", 3, 0)


# -- leading -----------------------------------------------------------------------------------------------------------


def test_a_leader_without_a_quorum_steps_down() -> None:
    one = leader()
    one.tick(2_000 + TIMEOUT, BEST, able=True)
    assert one.leads
    one.tick(2_000 + TIMEOUT + FLOOR, BEST, able=True)
    assert (one.role, one.leader, one.promise) == (Role.FOLLOWER, None, Promise(5, "a"))


def test_a_leader_that_is_heard_stays() -> None:
    one = leader()
    for now in range(2_000, 20_000, 100):
        one.heard("c", now)
        one.tick(now, BEST, able=True)
    assert one.leads
    assert (one.heard_within("c", 19_950, 50), one.heard_within("c", 19_951, 50)) == (True, False)
    assert not one.heard_within("b", 19_900, FLOOR)


def test_a_leader_whose_disk_does_not_answer_steps_down() -> None:
    one = leader()
    one.tick(one.deadline, BEST, able=False)
    assert one.role is Role.FOLLOWER


# -- silence -----------------------------------------------------------------------------------------------------------


def test_a_leader_that_is_gone_is_replaced_at_once() -> None:
    one = election()
    one.follow("c", 4, now=100)
    one.suspect("b", 110)
    assert one.deadline == 100 + TIMEOUT  # not who leads
    one.suspect("c", 120)
    assert one.deadline <= 120 + FLOOR // 25
    assert ask(one, 5, pre=True, now=121)


def test_each_word_of_the_leader_puts_the_election_off() -> None:
    one = election()
    for now in (0, 500, 1_000):
        one.follow("c", 4, now)
        assert one.deadline == now + TIMEOUT


def test_votes_that_come_before_anybody_was_asked_are_not_counted() -> None:
    """Nobody is asked before the own promise is durable, so whoever answers then makes it up."""
    one = election()
    one.tick(TIMEOUT, (3, 7), able=True)
    answer(one, "b", 5, pre=True)
    assert one.role is Role.CANDIDATE
    for name in "bc":
        answer(one, name, 5, pre=False, epoch=5)
    assert one.role is Role.CANDIDATE


# -- leases (rule 20) --------------------------------------------------------------------------------------------------


def with_leases(one: Election) -> Election:
    """The same member of a group whose leaders answer reads without a round."""
    limits = Limits(election_timeout=FLOOR, leases=True)
    one.configure(Configuration(one.configuration.voters, limits=limits), 0)
    return one


def test_where_leases_are_on_a_hint_shortens_nothing() -> None:
    """The leader may be cut off from the one who says that it is gone, and go on answering."""
    one = with_leases(election())
    one.follow("c", 4, now=100)
    one.suspect("c", 120)
    assert 100 + FLOOR <= one.deadline <= 100 + FLOOR + FLOOR // 25, "but no time is lost either, once that is over"
    assert one.leader is None
    for pre in (True, False):
        assert not ask(one, 5, pre=pre, now=100 + FLOOR - 1)
        assert one.epoch == 4
    assert ask(one, 5, pre=True, now=100 + FLOOR)


def test_nor_does_a_newer_epoch_though_its_leader_is_not_the_one_who_was_heard() -> None:
    one = with_leases(election())
    one.follow("c", 4, now=100)
    one.adopt(5, 110)
    for pre in (True, False):
        assert not ask(one, 6, pre=pre, now=100 + FLOOR - 1)
    assert ask(one, 6, now=100 + FLOOR)


def test_nor_does_a_campaign_of_its_own_that_it_was_told_to_begin() -> None:
    one = with_leases(leader())
    one.adopt(6, 3_000)
    one.follow("c", 6, 3_000)
    one.campaign_now("c", 6, BEST, 3_010, able=True)
    assert one.role is Role.CANDIDATE
    taken(one)
    assert not ask(one, 8, now=3_000 + FLOOR - 1)


def test_a_voter_that_was_restarted_refrains_for_the_shortest_timeout() -> None:
    """It may have been heard a moment ago, by a leader that still counts on it."""
    one = with_leases(election())
    one.refrain(500)
    for pre in (True, False):
        assert not ask(one, 5, pre=pre, now=500 + FLOOR - 1)
    assert ask(one, 5, pre=True, now=500 + FLOOR)
    without = election()
    without.refrain(500)
    assert ask(without, 5, now=501)


def test_who_is_handed_over_to_is_granted_all_the_same() -> None:
    """The leader's lease is void once it has tried."""
    one = with_leases(election())
    one.follow("c", 4, now=100)
    one.receive("b", disk("b"), VoteRequest(5, BEST, pre=False, handed=True), (3, 7), 110)
    (ballot,) = taken(one)
    assert isinstance(ballot.message, VoteReply)
    assert ballot.message.granted
