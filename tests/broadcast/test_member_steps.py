"""Changes of members in the core, step by step (rules 14-17; Ongaro 2014, 3.10, 4.1-4.3)."""

from __future__ import annotations

import msgspec
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
from broadcast._protocol.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    decode_message,
    encode_message,
)
from broadcast._protocol.output import (
    Answered,
    Applied,
    Linked,
    Noticed,
    Output,
    Reconfigured,
    Removed,
    Submitted,
    Wanted,
)
from broadcast._protocol.position import START, Batch
from broadcast._protocol.succession import CALM_TIMEOUTS
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
from membership._protocol.quorum import Flexible, Majority, Weighted
from membership._protocol.view import Configuration, Formation, Limits, Member

ADD_D = Change(add=(Newcomer("d", "d:1"),))
HELLO = Forming(tuple("abcd"), Majority(), Limits(), "d:1")
ASKED = SessionAsked(b"n" * 16, "me")
KEPT = SessionKept(1, 0)


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


def adding(version: int = 1) -> One:
    """A leader whose group has taken d as an observer that is to vote; it has shown nothing yet."""
    one = leading(version=version)
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
    assert answered == Answered(7, Verdict.WAITS, "this epoch has just begun")


def test_no_change_while_the_leader_hands_over() -> None:
    one = leading()
    one.step(Wanted(1, HandOver("b")))
    (answered,) = [each for each in wanting(one, Change(remove=("b",))).settle if isinstance(each, Answered)]
    assert answered == Answered(7, Verdict.WAITS, "the leader is handing over")


def test_who_has_no_other_voter_cannot_hand_over() -> None:
    one = leading("a")
    assert one.step(Wanted(1, HandOver())).settle == [Answered(1, Verdict.REFUSED, "there is no other voter")]


def test_a_member_with_another_disk_is_told_of_and_is_not_counted() -> None:
    """It was wiped, or is a copy that was made to run (rule 16)."""
    one = One()
    one.lead()
    one.written()
    output = one.hear("b", AppendReply(1, 1), storage=b"x" * 16)
    (noticed,) = [each for each in output.settle if isinstance(each, Noticed)]
    assert noticed.text == (
        "b speaks from another disk than the group knows: it is not counted; bring its old data back, or remove and "
        "add the member"
    )
    assert one.replica.commit == 0


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
    batch = Batch(1, 0, 1, 3, 0, 1, encode_entries([EpochStart("b"), entry, SessionKept(1, 0)]))
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
                    *[encode_entries([SessionKept(1, 0)])] * 5,
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
    assert answered.why == ("d was a member before, with the same disk: start it with another, empty data directory")


def test_whose_place_a_newcomer_was_to_take_stays_if_that_does_not_come() -> None:
    one = leading()
    one.hear("d", HELLO)
    wanting(one, Change(add=(Newcomer("d", "d:1"),), remove=("c",)))
    level(one)
    (configuration,) = configured(wanting(one, Change(remove=("d",))))
    assert (configuration.voter_names, configuration.goal) == (tuple("abc"), None)


def test_a_quorum_system_that_was_to_come_with_a_newcomer_goes_with_it() -> None:
    one = leading()
    before = one.replica.configuration
    one.hear("d", HELLO)
    with_d = Change(add=(Newcomer("d", "d:1"),), quorum=Weighted(dict.fromkeys("abcd", 1)))
    assert configured(wanting(one, with_d))
    level(one)
    waits = wanting(one, Change(quorum=Majority())).settle
    assert waits == [
        Answered(
            7,
            Verdict.WAITS,
            "d must catch up before the next change of voters can begin: wait, or remove who does not come",
        )
    ], "that is what the group decides by now, and not for long"
    assert configured(wanting(one, Change(remove=("d",)))) == [before]
    level(one)
    for _ in "ab":
        assert wanting(one, Change(remove=("d",))).settle == [Answered(7, Verdict.REACHED, "")]
    assert configured(wanting(one, Change(remove=("c",)))), "its members can be changed again"


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


def test_a_group_does_not_go_where_too_few_can_be_reached_by_now_unless_forced() -> None:
    """They could when it was asked for; catching up takes long, and members die meanwhile."""
    one = adding()
    one.now += 2 * FLOOR  # b and c are heard no more
    one.hear("d", AppendReply(1, 0, rejected=2, conflict=1))
    one.hear("d", AppendReply(1, one.replica.log.last.index))
    assert configured(one.hear("d", AppendReply(1, one.replica.log.last.index))) == []
    (answered,) = wanting(one).settle
    assert isinstance(answered, Answered)
    assert (answered.verdict, answered.why) == (
        Verdict.TAKEN,
        "of a, b, c, d, who are to vote, b, c cannot be reached, and the rest could not decide: bring them back first, "
        "or use force=True",
    )
    (by_force,) = configured(wanting(one, Change(add=ADD_D.add, force=True)))
    assert (by_force.is_joint, by_force.goal is not None and by_force.goal.force) == (False, True)


def test_it_goes_there_once_enough_are_back() -> None:
    one = adding()
    one.now += 2 * FLOOR
    one.hear("d", AppendReply(1, 0, rejected=2, conflict=1))
    one.hear("d", AppendReply(1, one.replica.log.last.index))
    one.hear("d", AppendReply(1, one.replica.log.last.index))
    (joint_now,) = configured(one.hear("b", HeartbeatReply(1, 1)))  # three of four
    assert joint_now.is_joint


# -- whom to keep a link to ------------------------------------------------------------------------------------------


def linked(*outputs: Output) -> list[list[str]]:
    """Names, as they were told one after the other."""
    told = [each for output in outputs for each in output.settle if isinstance(each, Linked)]
    return [[member.name for member in each.members] for each in told]


def test_a_link_to_who_is_removed_is_kept_until_that_is_committed() -> None:
    one = leading()
    outputs = [wanting(one, Change(remove=("c",))), *level(one), *level(one), *level(one, "b")]
    *before, after = linked(*outputs)
    assert after == ["a", "b"]
    assert before
    assert all("c" in names for names in before)


def test_a_member_that_moves_is_looked_for_at_both_addresses_until_that_is_committed() -> None:
    one = leading()
    moved = [disk("c"), disk("c")]
    output = wanting(one, Change(move={"c": "c:9"}))
    (told,) = [each for each in output.settle if isinstance(each, Linked)]
    assert [member.storage for member in told.members if member.name == "c"] == moved
    assert linked(*level(one)) == [["a", "b", "c"]]


def others() -> Formation:
    """The record of a group that a was not among when it formed."""
    return formation("bcd")


def told_of(names: str, index: int) -> FormedNotice:
    """These are the members of that group now."""
    return FormedNotice(others(), Configuration(tuple(Member(name, disk(name)) for name in names)), index)


def newcomer() -> One:
    """A member that was added, and that has nothing of the log: it was told who is in as of index 9."""
    one = One("abcd", formed=False)
    assert linked(one.hear("b", told_of("abcde", 9))) == [list("abcde")]
    assert linked(one.written()) == [list("bcdae")]
    return one


def test_who_is_far_behind_keeps_links_to_those_that_it_was_told_of_until_it_knows_better() -> None:
    one = newcomer()
    assert linked(one.hear("b", told_of("bcd", 8))) == [], "that was before"
    assert linked(one.hear("b", told_of("abcdf", 10))) == [list("bcdaf")]
    assert linked(one.hear("x", told_of("ax", 11))) == [list("bcdax")], "who is no member yet has nothing to go by"
    batches = [
        Batch(1, 0 if first == 1 else 1, first, 1, 0, first, encode_entries([EpochStart("b") if first == 1 else KEPT]))
        for first in range(1, 12)
    ]
    assert linked(one.hear("b", Append(1, START, tuple(batches), 11))) == [list("bcd")]


def test_who_is_removed_before_its_log_says_that_it_joined_learns_it() -> None:
    """It was told of that as committed; a later place where it is none is of the same log."""
    one = newcomer()
    early = one.hear("b", Dismissed(1, 8))
    assert (Removed() in early.settle, [each for each in early.settle if isinstance(each, Noticed)]) == (False, [])
    one.hear("x", told_of("abcdex", 11))
    told = one.hear("x", Dismissed(1, 12)).settle
    assert Noticed("x says that this node is no member of the group: is that so?") in told
    assert Removed() not in told
    assert Removed() in one.hear("e", Dismissed(1, 12)).settle, "e is a member by what it was told"


def test_a_newcomer_goes_by_what_the_group_decides_by_now_and_not_when_it_formed() -> None:
    one = One("ab", formed=False, quorum=Flexible(elect=4, commit=2))
    (complaint,) = one.replica.complaints
    assert complaint.startswith("a, b could not form the group 'bank' and decide by Flexible(elect=4, commit=2): there")
    assert "start all members with all of them in members=; if it has formed already, this node waits" in complaint
    one.hear("b", Forming(("a", "b"), Flexible(elect=4, commit=2), formation("a").configuration.limits))
    assert one.replica.formation is None, "it does not form with a quorum system that does not fit"
    members = tuple(Member(name, disk(name)) for name in "abcde")
    now = Configuration(members, quorum=Flexible(elect=4, commit=2), limits=Limits(election_timeout=FLOOR))
    one.hear("b", FormedNotice(others(), now, 9))
    assert not [each for each in one.written().settle if isinstance(each, Noticed)]
    assert one.replica.formation == others()
    assert not one.replica.complaints


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


def hand_over_in_vain(one: One, to: str | None = "b") -> list[Output]:
    """b and c are heard, and nobody stands until it is given up."""
    outputs = [one.step(Wanted(1, HandOver(to)))]
    for _ in range(6):
        outputs.append(one.tick(FLOOR // 5))
        outputs += [one.hear(name, HeartbeatReply(1, 1)) for name in "bc"]
    return outputs


def test_an_heir_that_did_not_stand_is_left_alone_for_a_while() -> None:
    """Else somebody who wants it again and again would keep the group from its work."""
    one = leading()
    hand_over_in_vain(one)
    (answered,) = one.step(Wanted(2, HandOver("b"))).settle
    assert isinstance(answered, Answered)
    assert answered.verdict is Verdict.REFUSED
    assert "b was to lead just now, and did not come to it within an election timeout: see whether" in answered.why
    assert sent(one.step(Wanted(3, HandOver())), CampaignNow) == [("c", CampaignNow(1))], "another may"
    for _ in range(6):
        one.tick(FLOOR // 5)
        one.hear("c", HeartbeatReply(1, 1))
        one.hear("b", HeartbeatReply(1, 1))
    assert Answered(4, Verdict.TAKEN, "") in one.step(Wanted(4, HandOver("b"))).settle


def test_who_wants_anybody_waits_while_all_have_been_tried() -> None:
    one = leading("ab")
    one.step(Wanted(1, HandOver()))
    for _ in range(6):
        one.tick(FLOOR // 5)
        one.hear("b", HeartbeatReply(1, 1))
    (answered,) = one.step(Wanted(2, HandOver())).settle
    assert answered == Answered(2, Verdict.WAITS, "any other voter cannot be reached, or did not come to it just now")


def test_the_heir_is_told_again_with_each_heartbeat_and_after_it() -> None:
    one = leading()
    outputs = hand_over_in_vain(one)
    order = [
        type(send.message)
        for output in outputs
        for send in output.send
        if send.to == "b" and isinstance(send.message, Heartbeat | CampaignNow)
    ]
    assert order[:5] == [CampaignNow, Heartbeat, CampaignNow, Heartbeat, CampaignNow]
    assert order[-1] is Heartbeat, "it is given up"


def test_what_was_said_before_the_newest_word_of_the_leader_is_late() -> None:
    """It may have given up since, and sealed what we do not have."""
    one = One()
    one.hear("b", Append(1, START, (), 0), stamp=2_000)
    one.hear("b", Heartbeat(1, 0, 1, 0), stamp=2_005)
    one.hear("b", Append(1, START, (), 0), stamp=2_001)
    one.hear("b", CampaignNow(1), stamp=2_004)
    assert (one.replica.role, one.replica.epoch) == ("follower", 1)
    one.hear("b", CampaignNow(1), stamp=2_006)
    assert (one.replica.role, one.replica.epoch) == ("candidate", 2)


def test_another_leader_s_stamps_say_nothing_about_what_is_late() -> None:
    one = One()
    one.hear("c", Append(1, START, (), 0), stamp=9_000)
    one.hear("b", Append(2, START, (), 0), stamp=2_000)
    one.hear("b", CampaignNow(2), stamp=2_001)
    assert one.replica.epoch == 3


# -- priorities ------------------------------------------------------------------------------------------------------


def lead_on(one: One, timeouts: int, names: str = "bc", **priorities: int) -> list[Output]:
    """Time passes, and these answer, saying how much each should lead."""
    outputs: list[Output] = []
    for _ in range(5 * timeouts):
        outputs.append(one.tick(FLOOR // 5))
        outputs += [one.hear(name, HeartbeatReply(1, 1, priorities.get(name, 0))) for name in names]
    return outputs


def told_to_stand(outputs: list[Output]) -> list[str]:
    return [to for output in outputs for to, _ in sent(output, CampaignNow)]


def test_in_calm_a_leader_hands_over_to_the_voter_of_the_highest_priority() -> None:
    one = leading()
    assert told_to_stand(lead_on(one, CALM_TIMEOUTS - 1, b=1, c=2)) == []
    assert set(told_to_stand(lead_on(one, 2, b=1, c=2))) == {"c"}


@pytest.mark.parametrize(("own", "others"), [(0, {}), (0, {"b": -1, "c": -5}), (3, {"b": 3, "c": 1})])
def test_a_leader_of_the_highest_priority_stays(own: int, others: dict[str, int]) -> None:
    one = leading(priority=own)
    assert told_to_stand(lead_on(one, 3 * CALM_TIMEOUTS, **others)) == []
    assert one.replica.role == "leader"


def test_what_comes_to_nothing_is_tried_after_twice_as_long() -> None:
    """However high its priority: an heir that does not stand costs the group less and less."""
    one = leading()
    assert told_to_stand(lead_on(one, CALM_TIMEOUTS + 2, c=1))
    assert told_to_stand(lead_on(one, 2 * CALM_TIMEOUTS - 3, c=1)) == []
    assert told_to_stand(lead_on(one, 3, c=1))


def test_who_has_not_what_is_committed_is_no_heir_of_higher_priority() -> None:
    one = leading()
    one.step(Submitted((ASKED,)))
    one.written()
    one.hear("b", AppendReply(1, 2))
    assert told_to_stand(lead_on(one, 2 * CALM_TIMEOUTS, c=1)) == []
    one.hear("c", AppendReply(1, 2))
    assert told_to_stand(lead_on(one, 1, c=1))


def test_while_a_change_is_under_way_priorities_do_not_matter() -> None:
    one = adding()
    lead_on(one, CALM_TIMEOUTS - 1, "bcd", c=1)
    level(one)
    assert told_to_stand(lead_on(one, 3, "bcd", c=1)) == []


def test_a_member_that_begins_at_another_address_hears_nothing_and_that_is_told() -> None:
    one = leading()
    one.hear("d", Forming(tuple("abcd"), Majority(), Limits(), "d:1", observer=True))
    level(one)
    hellos = [msgspec.structs.replace(HELLO, address=address) for address in ("d:1", "d:2")]
    told = [[each.text for each in one.hear("d", hello).settle if isinstance(each, Noticed)] for hello in hellos]
    assert told[0] == []
    assert "d is found at d:2 now, and at d:1 as far as the group knows" in told[1][0]
    assert "membership.move('d', 'd:2')" in told[1][0]
    (again,) = one.hear("d", MemberAsked("d:3")).settle
    assert isinstance(again, Noticed)
    assert "membership.move('d', 'd:3')" in again.text


def test_an_observer_is_no_heir_whatever_its_priority() -> None:
    one = leading()
    one.hear("d", Forming(tuple("abcd"), Majority(), Limits(), "d:1", observer=True))
    level(one)
    one.hear("d", AppendReply(1, one.replica.log.last.index))
    assert told_to_stand(lead_on(one, 2 * CALM_TIMEOUTS, "bcd", d=9)) == []
    assert set(told_to_stand(lead_on(one, 1, "bcd", c=1, d=9))) == {"c"}


def test_a_follower_says_its_priority() -> None:
    one = One(priority=7)
    one.hear("b", Append(1, START, (), 0))
    assert sent(one.written(), HeartbeatReply) == []
    assert sent(one.hear("b", Heartbeat(1, 0, 3, 0)), HeartbeatReply) == [("b", HeartbeatReply(1, 3, 7))]


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
