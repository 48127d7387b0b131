"""Forming happens once, when all members have said the same (rule 13)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from membership._protocol.formation import HELLO_INTERVAL, Founding, Plan
from membership._protocol.messages import Forming
from membership._protocol.quorum import Majority
from membership._protocol.view import Configuration, Formation, Limits, Member

CLUSTER = b"c" * 16
PLAN = Plan("bank", ("b", "a", "c"), Majority(), Limits(election_timeout=7_000))


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
    hello = Forming(PLAN.members)
    for name in ("b", "b", "stranger"):
        one.heard(name, disk(name), hello)
        assert one.record() is None
    one.heard("c", disk("c"), hello)
    assert one.record() == RECORD


def test_another_name_never_does() -> None:
    one = founding("b")
    for name in ("a", "c"):
        one.heard(name, disk(name), Forming(PLAN.members))
    assert one.record() is None


def test_who_is_alone_forms_at_once() -> None:
    plan = replace(PLAN, members=("a",))
    record = founding(plan=plan).record()
    assert record is not None
    assert record.configuration.voter_names == ("a",)


def test_another_list_of_members_is_told_of_and_counts_for_nothing() -> None:
    one = founding()
    one.heard("b", disk("b"), Forming(PLAN.members))
    one.heard("c", disk("c"), Forming(PLAN.members))
    one.heard("c", disk("c"), Forming(("a", "c")))
    assert one.record() is None
    assert one.complaint is not None
    assert "c was started with the members a, c" in one.complaint


def test_the_disk_that_spoke_last_is_the_one_that_counts() -> None:
    one = founding()
    for storage in (b"x" * 16, disk("b")):
        one.heard("b", storage, Forming(PLAN.members))
    one.heard("c", disk("c"), Forming(PLAN.members))
    assert one.record() == RECORD


def test_it_says_hello_again_and_again() -> None:
    one = founding()
    assert one.deadline == 0
    assert one.hello(5) == Forming(PLAN.members)
    assert one.deadline == 5 + HELLO_INTERVAL


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (RECORD, None),
        (Formation("room", CLUSTER, RECORD.configuration), "the group 'room'"),
        (Formation("bank", CLUSTER, Configuration((Member("b", disk("b")),))), "without 'a': add it first"),
        (Formation("bank", CLUSTER, Configuration((Member("a", b"x" * 16),))), "by another disk than this one"),
    ],
)
def test_a_record_that_is_another_disk_s_is_refused_with_the_reason(record: Formation, why: str | None) -> None:
    misfit = founding().misfit(record)
    assert misfit is None if why is None else misfit is not None and why in misfit
