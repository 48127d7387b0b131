"""Forming happens once, when all members have said the same (rule 13)."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import msgspec
import pytest

from membership._protocol.formation import HELLO_INTERVAL, Founding, Plan
from membership._protocol.messages import FormedNotice, Forming
from membership._protocol.quorum import Electorate, Flexible, Grid, Joint, Majority, QuorumSystem, Weighted
from membership._protocol.view import Configuration, Formation, Limits, Member

CLUSTER = b"c" * 16
PLAN = Plan("bank", ("b", "a", "c"), Majority(), Limits(election_timeout=7_000))


def replace_limits(**others: int) -> Limits:
    return msgspec.structs.replace(PLAN.limits, **others)


def disk(name: str) -> bytes:
    return name.encode() * 16


def founding(name: str = "a", plan: Plan = PLAN) -> Founding:
    return Founding(name=name, storage=disk(name), plan=plan, cluster=CLUSTER, now=0)


RECORD = Formation(
    "bank",
    CLUSTER,
    Configuration(tuple(Member(name, disk(name)) for name in "abc"), limits=PLAN.limits),
)


def test_the_smallest_name_makes_the_record_once_all_have_answered() -> None:
    one = founding()
    hello = PLAN.hello
    for name in ("b", "b", "stranger"):
        one.heard(name, disk(name), hello)
        assert one.record() is None
    one.heard("c", disk("c"), hello)
    assert one.record() == RECORD


@pytest.mark.parametrize("versions", [(3, 2, 5), (2, 3, 5), (5, 3, 2)])
def test_the_version_in_force_is_the_lowest_that_a_founder_came_with(versions: tuple[int, int, int]) -> None:
    """All know it, and it can be raised later."""
    mine, *others = versions
    one = founding(plan=replace(PLAN, version=mine))
    for name, version in zip("bc", others, strict=True):
        assert one.heard(name, disk(name), replace(PLAN, version=version).hello) is None
    assert one.record() == Formation(RECORD.group, RECORD.cluster, RECORD.configuration, 2)


def test_another_name_never_does() -> None:
    one = founding("b")
    for name in ("a", "c"):
        one.heard(name, disk(name), PLAN.hello)
    assert one.record() is None


def test_who_is_alone_forms_at_once() -> None:
    plan = replace(PLAN, members=("a",))
    record = founding(plan=plan).record()
    assert record is not None
    assert record.configuration.voter_names == ("a",)


OTHER_PLANS = [
    (replace(PLAN, members=("a", "c")), "members: a, c there, b, a, c here"),
    (replace(PLAN, limits=replace_limits(election_timeout=8_000)), "election_timeout: 8000 there, 7000 here"),
    (
        replace(PLAN, members=("c",), limits=replace_limits(sessions_max=5, answers_max=6)),
        "members: c there, b, a, c here; sessions_max: 5 there, 100000 here; answers_max: 6 there, 65536 here",
    ),
]


@pytest.mark.parametrize(("other", "told"), OTHER_PLANS)
def test_who_was_started_with_something_else_is_told_of_and_counts_for_nothing(other: Plan, told: str) -> None:
    one = founding()
    one.heard("b", disk("b"), PLAN.hello)
    one.heard("c", disk("c"), PLAN.hello)
    complaint = one.heard("c", disk("c"), other.hello)
    assert one.record() is None
    assert f"c was not started with the same as this node ({told})" in str(complaint)


def test_both_sides_tell_of_it() -> None:
    other = replace(PLAN, limits=replace_limits(session_term=9_000))
    here, there = founding("b"), founding("c", other)
    assert "session_term: 9000 there, 600000000 here" in str(here.heard("c", disk("c"), other.hello))
    assert "session_term: 600000000 there, 9000 here" in str(there.heard("b", disk("b"), PLAN.hello))


def test_a_quorum_system_that_differs_is_told_of() -> None:
    class Other(msgspec.Struct, frozen=True):
        """There is one quorum system so far."""

    one = founding()
    hello = Forming(PLAN.members, cast(Majority, Other()), PLAN.limits)
    assert "quorum: " in str(one.heard("b", disk("b"), hello))


def test_a_complaint_shows_no_list_without_end() -> None:
    one = founding()
    complaint = one.heard("b", disk("b"), replace(PLAN, members=("x",) * 10_000).hello)
    assert len(str(complaint)) < 1_000


def test_once_it_was_started_with_the_same_the_group_forms() -> None:
    one = founding()
    one.heard("b", disk("b"), replace(PLAN, limits=Limits()).hello)
    for name in "bc":
        one.heard(name, disk(name), PLAN.hello)
    assert one.record() == RECORD


def test_the_disk_that_spoke_last_is_the_one_that_counts() -> None:
    one = founding()
    for storage in (b"x" * 16, disk("b")):
        one.heard("b", storage, PLAN.hello)
    one.heard("c", disk("c"), PLAN.hello)
    assert one.record() == RECORD


def test_it_says_hello_again_and_again() -> None:
    one = founding()
    assert one.deadline == 0
    assert one.hello(5) == PLAN.hello
    assert one.deadline == 5 + HELLO_INTERVAL


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (RECORD, None),
        (
            Formation("room", CLUSTER, RECORD.configuration),
            "a peer offers the record of the group 'room' to the group 'bank'",
        ),
        (Formation("bank", CLUSTER, Configuration((Member("b", disk("b")),))), "without 'a': add it, by "),
        (Formation("bank", CLUSTER, Configuration((Member("a", b"x" * 16),))), "by another disk than this one"),
    ],
)
def test_a_record_that_is_another_disk_s_is_refused_with_the_reason(record: Formation, why: str | None) -> None:
    misfit = founding().misfit(record.configuration.voter_names[0], FormedNotice(record, record.configuration))
    assert misfit is None if why is None else misfit is not None and why in misfit


def test_none_names_a_member_twice() -> None:
    voters = RECORD.configuration.voters
    with pytest.raises(ValueError, match="named twice"):
        Configuration((*voters, voters[0]))


def test_a_record_of_a_group_in_the_midst_of_a_change_is_refused() -> None:
    side = Electorate(tuple("abc"), Majority())
    joint = msgspec.structs.replace(RECORD.configuration, quorum=Joint(side, side))
    record = msgspec.structs.replace(RECORD, configuration=joint)
    misfit = founding().misfit("b", FormedNotice(record, joint))
    assert misfit is not None
    assert "b offers a record of the group 'bank' that cannot be: no group is formed with Joint(" in misfit


def test_what_a_group_was_not_formed_with_is_not_in_force() -> None:
    assert PLAN.overruled(RECORD.configuration) is None
    assert replace(PLAN, members=("a",)).overruled(RECORD.configuration) is None, "addresses to try"
    other = replace(PLAN, quorum=Flexible(elect=3, commit=1), limits=replace_limits(sessions_max=5))
    overruled = other.overruled(RECORD.configuration)
    assert overruled is not None
    assert "quorum: Majority() in the group, Flexible(elect=3, commit=1) here; sessions_max: 100000 in the" in overruled
    assert "start this node with the group's own" in overruled


def test_a_newcomer_takes_the_record_once_it_has_been_added() -> None:
    """What the group was formed with, and who is in now, are two things."""
    now = Configuration((Member("b", disk("b")),), observers=(Member("a", disk("a"), "here:1"),))
    formed = Formation("bank", CLUSTER, Configuration((Member("b", disk("b")),)))
    alone = founding(plan=replace(PLAN, address="here:1"))
    assert "membership.add('a', 'here:1')" in str(alone.misfit("b", FormedNotice(formed, formed.configuration)))
    assert founding().misfit("b", FormedNotice(formed, now)) is None


def test_an_observer_takes_no_part_in_forming() -> None:
    """Neither does it found a group, nor do its settings stand in anybody's way."""
    watching = replace(PLAN, observer=True, limits=Limits())
    one = founding(plan=watching)
    for name in "bc":
        assert one.heard(name, disk(name), PLAN.hello) is None
    assert one.record() is None
    assert founding().heard("b", disk("b"), watching.hello) is None
    formed = Formation("bank", CLUSTER, Configuration((Member("b", disk("b")),)))
    misfit = one.misfit("b", FormedNotice(formed, formed.configuration))
    assert misfit == "waiting to be added to the group 'bank' as an observer"


@pytest.mark.parametrize(
    ("quorum", "members", "why"),
    [
        (Flexible(elect=4, commit=2), tuple("ab"), "there are only 2 voters"),
        (Weighted({"a": 1, "b": 1, "c": 2}), tuple("ab"), "it names c"),
        (Grid((("a", "b"), ("c", "d"))), tuple("ac"), "it names b, d"),
    ],
)
def test_who_knows_too_few_to_form_waits_to_be_added(quorum: QuorumSystem, members: tuple[str, ...], why: str) -> None:
    """It may be one that is to join a group which has formed: what that decides by need not fit whom it was told of."""
    assert quorum.fits_more(members)
    plan = replace(PLAN, members=members, quorum=quorum)
    one = founding(plan=plan)
    for name in members[1:]:
        assert one.heard(name, disk(name), plan.hello) is None
    assert one.record() is None
    assert f"decide by {quorum}: {why}" in str(plan.waits)
    assert replace(plan, observer=True).waits is None
    assert PLAN.waits is None


@pytest.mark.parametrize(
    "quorum", [Flexible(elect=1, commit=1), Flexible(elect=2, commit=4), Weighted({"a": 1}), Grid((("a", "c"),))]
)
def test_what_would_not_fit_with_more_members_either_is_a_mistake(quorum: QuorumSystem) -> None:
    assert not quorum.fits_more(tuple("ab"))
    assert Majority().fits_more(tuple("ab"))


PUT, EMPTY = {"command put": 1}, {"command empty": 1}


def test_founders_whose_classes_take_other_messages_form_no_group() -> None:
    one = founding(plan=replace(PLAN, takes=PUT))
    complaint = one.heard("b", disk("b"), replace(PLAN, takes=EMPTY).hello)
    assert "(messages of the class: command empty there, command put here)" in str(complaint)
    one.heard("c", disk("c"), replace(PLAN, takes=PUT).hello)
    assert one.record() is None
    assert one.heard("b", disk("b"), replace(PLAN, takes=PUT).hello) is None
    assert one.record() == msgspec.structs.replace(RECORD, takes=("command put",))


def test_founders_of_several_versions_are_compared_by_the_lowest() -> None:
    one = founding(plan=replace(PLAN, takes=PUT | {"command empty": 2}, version=3))
    for name, takes, version in (("b", PUT | {"query look": 2}, 2), ("c", PUT, 1)):
        one.heard(name, disk(name), replace(PLAN, takes=takes, version=version).hello)
    assert one.record() is None  # b and this one differ in version 2, which may come to be in force
    assert one.heard("b", disk("b"), replace(PLAN, takes=PUT | {"command empty": 2}, version=2).hello) is None
    assert one.record() == msgspec.structs.replace(RECORD, takes=("command put",))


def test_a_complaint_of_classes_is_short_however_many_messages_they_take() -> None:
    one = founding(plan=replace(PLAN, takes=PUT))
    many = {f"command {'x' * 10_000}{number}": 1 for number in range(1_000)}
    assert len(str(one.heard("b", disk("b"), replace(PLAN, takes=many).hello))) < 3_000
