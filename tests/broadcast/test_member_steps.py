"""Changes of members in the core, step by step (rules 14-17; Ongaro 2014, 3.10, 4.1-4.3)."""

from __future__ import annotations

import pytest
from test_replica_steps import FLOOR, One, disk, formation, leading, sent

from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol import leader
from broadcast._protocol.entries import (
    Configured,
    EpochStart,
    Reached,
    SessionAsked,
    SessionKept,
    decode_entries,
    encode_entries,
)
from broadcast._protocol.messages import Append, AppendReply, HeartbeatReply, decode_message, encode_message
from broadcast._protocol.output import (
    Answered,
    Applied,
    Linked,
    Output,
    Reconfigured,
    Removed,
    Submitted,
    Wanted,
)
from broadcast._protocol.position import START, Batch
from membership._protocol.change import CatchUp, Change, Newcomer
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
from membership._protocol.view import Configuration, Limits, Member

ADD_D = Change(add=(Newcomer("d", "d:1"),))
HELLO = Forming(tuple("abcd"), Majority(), Limits(), "d:1")
ASKED = SessionAsked(b"n" * 16, "me")


def configured(output: Output) -> list[Configuration]:
    """Those that are to be written."""
    entries = [entry for asked in output.persist for batch in asked.batches for entry in decode_entries(batch.entries)]
    return [entry.configuration for entry in entries if isinstance(entry, Configured)]


def level(one: One, names: str = "bc") -> list[Output]:
    """Our disk has everything, and so have these followers; what follows from each word."""
    outputs = [one.written()]
    last = one.replica.log.last.index
    outputs += [one.hear(name, AppendReply(one.replica.epoch, last)) for name in names]
    outputs.append(one.step(Applied(one.replica.commit)))
    return outputs


def wanting(one: One, change: Change = ADD_D) -> Output:
    return one.step(Wanted(7, ChangeWish(change)))


def adding() -> One:
    """A leader whose group has taken d as an observer that is to vote; it has shown nothing yet."""
    one = leading()
    one.hear("d", HELLO)
    wanting(one)
    level(one)
    return one


def joint() -> One:
    """The same, once d has caught up: both electorates decide, and that is not committed."""
    one = adding()
    one.hear("d", AppendReply(1, 0, rejected=2, conflict=1))
    one.hear("d", AppendReply(1, one.replica.log.last.index))
    configuration = one.replica.configuration
    assert configuration is not None
    assert configuration.is_joint
    return one


def test_a_newcomer_is_an_observer_first_with_the_disk_that_it_said_hello_with() -> None:
    one = leading()
    one.hear("d", HELLO)
    output = wanting(one)
    (configuration,) = configured(output)
    linked = Linked(configuration.members)
    assert output.settle == [Answered(7, Verdict.TAKEN, ""), Reconfigured(configuration), linked]
    assert (configuration.voter_names, configuration.observers) == (tuple("abc"), (Member("d", disk("d"), "d:1"),))
    assert configuration.goal is not None
    assert configuration.goal.voters == tuple("abcd")


def test_one_that_has_not_said_hello_cannot_be_added_yet() -> None:
    """Also if it did so long ago."""
    one = leading()
    (answered,) = wanting(one).settle
    assert isinstance(answered, Answered)
    assert (answered.verdict, answered.why.startswith("d has not said hello")) == (Verdict.WAITS, True)
    one.hear("d", HELLO)
    one.now += 100 * FLOOR
    assert Answered(7, Verdict.WAITS, answered.why) in wanting(one).settle


def test_a_follower_passes_hellos_and_wishes_on_and_answers_back() -> None:
    one = One()
    one.hear("b", Append(1, START, (), 0))
    joining = Joining(Member("d", disk("d"), "d:1"), observer=False)
    assert sent(one.hear("d", HELLO), Joining) == [("b", joining)]
    assert sent(wanting(one), Wished) == [("b", Wished(7, ChangeWish(ADD_D)))]
    assert one.hear("b", WishAnswer(7, Verdict.REFUSED, "why")).settle == [Answered(7, Verdict.REFUSED, "why")]
    there = leading()
    there.hear("b", joining)
    assert sent(there.hear("b", Wished(9, ChangeWish(ADD_D))), WishAnswer) == [("b", WishAnswer(9, Verdict.TAKEN))]


def test_a_member_that_was_added_gets_the_record_once_that_is_committed() -> None:
    one = leading()
    one.hear("d", HELLO)
    wanting(one)
    assert sent(one.hear("d", HELLO), FormedNotice) == []
    level(one)
    ((to, notice),) = sent(one.hear("d", HELLO), FormedNotice)
    assert to == "d"
    assert isinstance(notice, FormedNotice)
    assert notice.formation == formation("abc")
    assert notice.configuration.includes("d")


def test_who_is_to_vote_catches_up_before_both_electorates_decide() -> None:
    one = adding()
    one.hear("d", AppendReply(1, 0, rejected=2, conflict=1))
    configuration = one.replica.configuration
    assert configuration is not None
    assert not configuration.is_joint
    assert joint().replica.configuration != configuration


def test_catching_up_goes_in_rounds_and_the_last_must_be_quick() -> None:
    catching_up = CatchUp(last=10, now=0)
    assert not catching_up.look(9, 20, now=1, patience=5)
    assert not catching_up.look(10, 20, now=9, patience=5), "slow"
    assert not catching_up.look(19, 30, now=10, patience=5)
    assert catching_up.look(20, 30, now=12, patience=5)
    assert catching_up.look(25, 40, now=14, patience=5)
    assert not catching_up.look(25, 40, now=18, patience=5), "it was quick once, and is not any more"


def test_while_two_electorates_decide_both_have_to() -> None:
    """d votes: of a, b, c, d three; of a, b, c two."""
    one = joint()
    place = one.replica.log.last.index
    one.written()
    one.hear("b", AppendReply(1, place))
    assert one.replica.commit < place
    one.hear("d", AppendReply(1, place))
    assert one.replica.commit == place


def test_the_new_voters_decide_alone_once_the_joint_configuration_is_committed() -> None:
    one = joint()
    place = one.replica.log.last.index
    one.written()
    one.hear("b", AppendReply(1, place))
    (configuration,) = configured(one.hear("d", AppendReply(1, place)))
    assert (configuration.voter_names, configuration.quorum, configuration.goal) == (tuple("abcd"), Majority(), None)


def test_the_next_change_waits_for_the_one_before_it() -> None:
    one = leading()
    one.hear("d", HELLO)
    wanting(one)
    (answered,) = wanting(one, Change(remove=("b",))).settle
    assert answered == Answered(7, Verdict.WAITS, "another change is under way")
    (answered,) = wanting(one).settle
    assert isinstance(answered, Answered)
    assert answered.verdict is Verdict.TAKEN, "it is this one"


def test_no_change_before_the_epoch_start_is_committed() -> None:
    """The single-server bug of 2015 began with one."""
    one = One()
    one.lead()
    (answered,) = [each for each in wanting(one, Change(remove=("b",))).settle if isinstance(each, Answered)]
    assert answered.verdict is Verdict.WAITS


def test_a_new_leader_goes_on_with_what_the_one_before_it_began() -> None:
    """Its log ends with a joint configuration."""
    before = joint()
    found = list(before.replica.log.between(0, before.replica.log.last.index))
    one = One("abc", *found)
    one.tick()
    for name in "bcd":
        one.hear(name, VoteReply(1, 2, pre=True, granted=True))
    one.written()
    for name in "bcd":
        one.hear(name, VoteReply(2, 2, pre=False, granted=True))
    assert one.replica.role == "leader"
    outputs = level(one, "bcd")
    assert [each.voter_names for output in outputs for each in configured(output)] == [tuple("abcd")]


def test_a_configuration_is_taken_back_with_its_entry() -> None:
    one = One()
    new = Configuration((Member("a", disk("a")), Member("b", disk("b"))), limits=formation("abc").configuration.limits)
    start = Batch(1, 0, 1, 1, 0, 1, encode_entries([EpochStart("b")]))
    change = Batch(1, 1, 2, 1, 0, 2, encode_entries([Configured(new)]))
    assert Reconfigured(new) in one.hear("b", Append(1, START, (start, change), 0)).settle
    other = Batch(2, 1, 2, 1, 0, 2, encode_entries([EpochStart("c")]))
    assert Reconfigured(formation("abc").configuration) in one.hear("c", Append(2, start.end, (other,), 0)).settle


@pytest.mark.parametrize("entry", [Configured(formation("abc").configuration), Reached(("a",))])
def test_what_speaks_of_members_stands_alone(entry: Configured | Reached) -> None:
    batch = Batch(1, 0, 1, 3, 0, 1, encode_entries([EpochStart("b"), entry, SessionKept(1)]))
    with pytest.raises(RemoteProtocolError, match="speaks of members, among other entries"):
        One().hear("b", Append(1, START, (batch,), 0))


def test_a_removed_member_is_told_once_that_is_committed_and_takes_no_part_any_more() -> None:
    one = leading()
    wanting(one, Change(remove=("c",)))
    outputs = [*level(one), *level(one), *level(one, "b")]
    told = [each for output in outputs for each in sent(output, Dismissed)]
    assert told == [("c", Dismissed(1, one.replica.log.last.index))]


def test_who_is_dismissed_by_a_later_configuration_than_it_knows_is_removed() -> None:
    """One that joined after that knows better."""
    one = One()
    assert Removed() not in one.hear("b", Dismissed(0, 0)).settle
    assert Removed() not in one.hear("x", Dismissed(1, 5)).settle, "from whom we do not know"
    assert Removed() in one.hear("b", Dismissed(1, 5)).settle


def test_what_made_it_a_member_may_be_of_an_older_epoch_and_lost() -> None:
    """It led, cut off from the others, and its log goes on beyond the place where these removed it."""
    one = One(
        "abc",
        *(
            Batch(1, 1 if at else 0, at + 1, 1, 0, at + 1, entries)
            for at, entries in enumerate(
                (
                    encode_entries([EpochStart("a")]),
                    *[encode_entries([SessionKept(1)])] * 5,
                    encode_entries([Configured(formation("abc").configuration)]),
                )
            )
        ),
    )
    assert Removed() not in one.hear("b", Dismissed(1, 5)).settle
    assert Removed() in one.hear("b", Dismissed(2, 5)).settle


@pytest.mark.parametrize("name_and_address", [("d", "no-address"), ("../d", "d:1"), ("d", "d:99999999")])
def test_who_can_be_dialed_by_nobody_is_no_member(name_and_address: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"cannot be a name|is no address"):
        Member(name_and_address[0], disk("d"), name_and_address[1])


def test_an_empty_disk_at_no_address_is_a_peer_s_fault() -> None:
    hello = encode_message(b"", disk("d"), HELLO)
    with pytest.raises(RemoteProtocolError, match="is no address"):
        decode_message(hello.replace(b"d:1", b"d;1"))


def test_a_disk_is_a_member_s_once() -> None:
    """One that was removed before it had the log could not tell its second joining from the first."""
    one = adding()
    wanting(one, Change(remove=("d",)))
    level(one)
    one.hear("d", HELLO)
    (answered,) = wanting(one).settle
    assert isinstance(answered, Answered)
    assert answered.verdict is Verdict.REFUSED
    assert "d was a member before, with the same disk" in answered.why


def test_whose_place_a_newcomer_was_to_take_stays_if_that_does_not_come() -> None:
    one = leading()
    one.hear("d", HELLO)
    wanting(one, Change(add=(Newcomer("d", "d:1"),), remove=("c",)))
    level(one)
    (configuration,) = configured(wanting(one, Change(remove=("d",))))
    assert (configuration.voter_names, configuration.goal) == (tuple("abc"), None)


def test_one_that_has_lost_what_it_acknowledged_has_not_caught_up() -> None:
    one = adding()
    one.hear("d", AppendReply(1, 0, rejected=2, conflict=1))
    one.now += 2 * FLOOR
    one.hear("d", AppendReply(1, 2))
    one.hear("d", AppendReply(1, 0, rejected=2, conflict=1))
    one.hear("b", HeartbeatReply(1, 1))
    configuration = one.replica.configuration
    assert configuration is not None
    assert not configuration.is_joint


def test_who_is_no_member_yet_is_told_so_when_it_wants_something() -> None:
    one = One(formed=False)
    assert wanting(one).settle == [Answered(7, Verdict.WAITS, "the group has not formed")]


def test_a_stranger_is_told_that_it_is_none() -> None:
    one = leading()
    assert sent(one.hear("x", MemberAsked()), Dismissed) == [("x", Dismissed(0, 0))]
    assert sent(one.hear("b", MemberAsked()), Dismissed) == []


def test_a_leader_that_removes_itself_leads_until_that_is_committed_and_lets_another_stand() -> None:
    one = leading()
    wanting(one, Change(remove=("a",)))
    outputs = [*level(one), *level(one), *level(one)]
    assert one.replica.role == "follower"
    assert [to for output in outputs for to, _ in sent(output, CampaignNow)] == ["b"]
    assert [each for output in outputs for each in output.settle if isinstance(each, Removed)] == [Removed()]


def test_a_change_that_leaves_too_few_who_can_be_reached_is_refused_unless_forced() -> None:
    one = leading()
    one.now += FLOOR // 2
    one.hear("b", HeartbeatReply(1, 1))
    one.now += FLOOR * 3 // 4
    (answered,) = wanting(one, Change(remove=("b",))).settle
    assert isinstance(answered, Answered)
    assert answered.verdict is Verdict.REFUSED
    assert "c cannot be reached, and the rest could not decide" in answered.why
    assert configured(wanting(one, Change(remove=("b",), force=True)))


# -- handing over (rule 17) ------------------------------------------------------------------------------------------


def test_who_hands_over_seals_nothing_more_and_lets_a_level_heir_stand() -> None:
    one = leading()
    one.step(Submitted((ASKED,)))
    output = one.step(Wanted(1, HandOver("b")))
    assert Answered(1, Verdict.TAKEN, "") in output.settle
    assert sent(output, CampaignNow) == []
    assert one.step(Submitted((ASKED,))).persist == []
    assert sent(one.hear("b", AppendReply(1, 2)), CampaignNow) == [("b", CampaignNow(1))]


def test_a_hand_over_that_comes_to_nothing_is_given_up() -> None:
    one = leading()
    one.step(Wanted(1, HandOver("b")))
    one.step(Submitted((ASKED,)))
    for _ in range(8):
        one.tick(FLOOR // 6)
        for name in "bc":
            one.hear(name, HeartbeatReply(1, 1))
    assert one.replica.role == "leader"
    assert one.replica.log.last.index > 1


def test_the_heir_stands_at_once_and_is_granted_by_who_hears_the_leader() -> None:
    heir = One()
    heir.hear("b", Append(1, START, (), 0))
    assert sent(heir.hear("b", CampaignNow(1)), VoteRequest) == []  # its promise is not on disk yet
    asked = VoteRequest(2, (0, 0), pre=False, handed=True)
    assert sent(heir.written(), VoteRequest) == [("b", asked), ("c", asked)]
    voter = leading()
    voter.hear("b", VoteRequest(2, (1, 1), pre=False, handed=True))
    assert sent(voter.written(), VoteReply) == [("b", VoteReply(2, 2, pre=False, granted=True))]


@pytest.mark.parametrize("said", [("b", 0), ("c", 1)])
def test_what_an_older_leader_or_another_member_hands_over_is_ignored(said: tuple[str, int]) -> None:
    one = One()
    one.hear("b", Append(1, START, (), 0))
    sender, epoch = said
    assert one.hear(sender, CampaignNow(epoch)).persist == []
    assert (one.replica.role, one.replica.epoch) == ("follower", 1)


def test_a_leader_that_has_lost_its_vote_seals_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits then is for the next leader: whoever submitted it sends it again."""
    monkeypatch.setattr(leader, "UNCOMMITTED_SIZE_MAX", 1)
    one = leading()
    wanting(one, Change(remove=("a",)))
    level(one)
    level(one)
    one.written()
    one.step(Submitted((ASKED,)))
    last = one.replica.log.last
    for name in "bc":
        one.hear(name, AppendReply(1, last.index))
    assert (one.replica.role, one.replica.commit, one.replica.log.last) == ("follower", last.index, last)
