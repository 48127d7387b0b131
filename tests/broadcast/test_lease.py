"""How long a leader may answer without a round (rule 20; Ongaro 2014, 6.4.1)."""

from __future__ import annotations

import pytest

from broadcast._protocol.lease import LEASE_PARTS, Lease
from broadcast._protocol.output import Now
from membership._protocol.quorum import Flexible
from membership._protocol.view import Configuration, Member

FLOOR = 1_000
SPAN = 900


def voters(names: str) -> Configuration:
    return Configuration(tuple(Member(name, name.encode() * 16) for name in names))


THREE, FIVE = voters("abc"), voters("abcde")


def at(time: int, *, slept: int = 0) -> Now:
    return Now(7_000 + time - slept, 10**15, 90_000 + time)


def confirmed(*names: str) -> Lease:
    """Its first round left at 0, and these answered it."""
    lease = Lease("a", FLOOR)
    lease.begin(at(0))
    for name in names:
        lease.confirm(name, 1)
    return lease


def test_a_lease_is_shorter_than_any_voter_s_patience_though_clocks_differ() -> None:
    """The leader's clock is 5 % slow, a voter's 5 % fast: the lease is over when that voter may grant."""
    parts, whole = LEASE_PARTS
    assert FLOOR * parts // whole == SPAN
    assert SPAN / 0.95 < FLOOR / 1.05


def test_it_lasts_from_when_the_round_left_and_not_from_its_answers() -> None:
    lease = confirmed()
    assert not lease.holds(THREE, at(800))
    lease.confirm("b", 1)
    assert lease.holds(THREE, at(SPAN - 1))
    assert not lease.holds(THREE, at(SPAN))
    assert not lease.holds(THREE, at(SPAN - 1)), "what is over does not come back"


def test_each_round_prolongs_it_once_a_quorum_has_answered() -> None:
    lease = confirmed("b")
    lease.begin(at(500))
    assert not lease.holds(THREE, at(SPAN))
    lease.confirm("c", 2)
    assert lease.holds(THREE, at(SPAN))
    lease.confirm("c", 1)  # late
    assert lease.holds(THREE, at(500 + SPAN - 1))
    assert not lease.holds(THREE, at(500 + SPAN))


@pytest.mark.parametrize("names", [(), ("b",), ("b", "b"), ("b", "stranger"), ("a", "b")])
def test_less_than_a_commit_quorum_gives_none(names: tuple[str, ...]) -> None:
    assert not confirmed(*names).holds(FIVE, at(1))


def test_the_quorum_is_that_which_commits() -> None:
    flexible = Configuration(FIVE.voters, quorum=Flexible(elect=4, commit=2))
    assert confirmed("b").holds(flexible, at(1))


def test_who_is_alone_has_one() -> None:
    assert Lease("a", FLOOR).holds(voters("a"), at(10**9))


def test_what_is_retracted_counts_no_more() -> None:
    lease = confirmed("b")
    lease.retract("b")
    assert not lease.holds(THREE, at(1))


def test_an_answer_to_a_round_that_has_not_begun_is_none() -> None:
    lease = confirmed()
    lease.confirm("b", 2)
    lease.begin(at(10))
    assert not lease.holds(THREE, at(20))


def test_a_sleep_of_the_machine_counts() -> None:
    lease = confirmed("b")
    assert lease.holds(THREE, at(SPAN - 1, slept=500))
    assert not lease.holds(THREE, at(SPAN, slept=500))


def test_so_does_time_that_only_the_other_clock_shows() -> None:
    """As in a test whose clock jumps."""
    lease = confirmed("b")
    assert not lease.holds(THREE, Now(7_000 + SPAN, 10**15, 90_001))


def test_without_a_clock_that_counts_sleep_there_is_none() -> None:
    lease = Lease("a", FLOOR)
    lease.begin(Now(0, 10**15))
    lease.confirm("b", 1)
    assert not lease.holds(THREE, Now(1, 10**15))
    assert not lease.holds(voters("a"), Now(1, 10**15))
