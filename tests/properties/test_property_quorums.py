"""T6: quorums against a twin that counts on its fingers; votes that are repeated, foreign or old change nothing."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from effort import CI
from hypothesis import given
from hypothesis import strategies as st

from broadcast._protocol.reads import ReadRounds
from membership._protocol.election import Election, Role
from membership._protocol.messages import VoteReply
from membership._protocol.quorum import Majority
from membership._protocol.view import Configuration, Limits, Member, Promise

NAMES = "abcdefghi"


class Lowest:
    def randrange(self, stop: int, /) -> int:
        return 0


def disk(name: str) -> bytes:
    return name.encode() * 16


def configuration(count: int) -> Configuration:
    members = tuple(Member(name, disk(name)) for name in NAMES[:count])
    return Configuration(members, limits=Limits(election_timeout=1_000))


def sets_of(names: str) -> list[frozenset[str]]:
    return [*map(frozenset, chain.from_iterable(combinations(names, size) for size in range(len(names) + 1)))]


def is_quorum(names: str, some: frozenset[str]) -> bool:
    """By hand: more of the voters are in than are out."""
    inside = outside = 0
    for name in names:
        if name in some:
            inside += 1
        else:
            outside += 1
    return inside > outside


@pytest.mark.parametrize("count", range(1, 10))
def test_quorums_are_those_of_the_twin(count: int) -> None:
    names = NAMES[:count]
    system, whole = Majority(), configuration(count)
    for some in sets_of(names):
        expected = is_quorum(names, some)
        assert system.elects(tuple(names), some) is system.commits(tuple(names), some) is expected
        assert whole.elects(some | {"z", "stranger"}) is whole.commits(some | {"z"}) is expected


@pytest.mark.parametrize("count", range(1, 10))
def test_every_election_quorum_meets_every_commit_quorum_and_every_other_election_quorum(count: int) -> None:
    """Rule 6; Flexible Paxos (Howard 2016), with epochs that are nobody's own. The smallest quorums show it for all."""
    names, whole = NAMES[:count], configuration(count)
    least = [
        some for some in sets_of(names) if whole.elects(some) and not any(whole.elects(some - {name}) for name in some)
    ]
    assert least
    for one in least:
        assert whole.commits(one)
        assert all(one & other for other in least)
        assert whole.elects(frozenset(names))


Ballot = tuple[str, bool, int, bool, bool]
ballots = st.lists(
    st.tuples(st.sampled_from(NAMES + "z"), st.booleans(), st.integers(3, 5), st.booleans(), st.booleans()),
    max_size=30,
)


@given(st.integers(1, 9), st.booleans(), ballots)
@CI
def test_an_election_counts_what_the_twin_counts(count: int, pre: bool, ballots: list[Ballot]) -> None:
    """Answers of anybody, from any disk, to any campaign; the twin keeps the set of those who said yes to this one."""
    whole, names = configuration(count), NAMES[:count]
    election = Election(
        name="a", storage=disk("a"), configuration=whole, promise=Promise(4, None), chance=Lowest(), now=0
    )
    election.tick(1_000, (1, 1), able=True)
    if not pre:
        for name in names[1:]:
            election.receive(name, disk(name), VoteReply(4, 5, pre=True, granted=True), (1, 1), 1_000)
        election.promised(election.promise, 1_000)
    granted, refused = {"a"}, set[str]()
    for name, right_disk, campaign, of_pre, yes in ballots:
        before = election.role
        storage = disk(name) if right_disk else b"x" * 16
        election.receive(name, storage, VoteReply(min(campaign, election.epoch), campaign, of_pre, yes), (1, 1), 1_001)
        counted = right_disk and name in names and name != "a" and campaign == 5 and of_pre == pre
        if before is (Role.CANVASSER if pre else Role.CANDIDATE) and counted:
            if yes:
                granted.add(name)
                refused.discard(name)
            elif name not in granted:
                refused.add(name)
        else:
            assert election.role is before, "what is no answer to this campaign changes nothing"
        won = is_quorum(names, frozenset(granted))
        if pre:
            assert (election.epoch == 5) is won
            if won:
                return  # the next campaign begins
        else:
            lost = not is_quorum(names, frozenset(names) - refused)
            expected = Role.LEADER if won else Role.FOLLOWER if lost else Role.CANDIDATE
            assert election.role is expected


confirmations = st.lists(st.tuples(st.sampled_from(NAMES + "z"), st.integers(0, 6)), max_size=40)


@given(st.integers(1, 9), st.lists(st.integers(0, 5), max_size=6), confirmations)
@CI
def test_a_read_is_confirmed_by_the_quorum_that_the_twin_finds(
    count: int, asked: list[int], answers: list[tuple[str, int]]
) -> None:
    """Reads that came before the rounds of these numbers, and answers to any round, twice, late, and of strangers."""
    whole, names = configuration(count), NAMES[:count]
    rounds = ReadRounds("a")
    reads: dict[int, list[int]] = {}
    for token, before in enumerate(sorted(asked), 1):
        while rounds.number < before:
            rounds.begin(commit=rounds.number)
        rounds.ask(f"reader{token}", token)
        reads.setdefault(before + 1, []).append(token)
    while rounds.number < 7:
        rounds.begin(commit=rounds.number)
    heard: dict[str, int] = {}
    found: set[int] = set()
    for name, number in answers:
        rounds.confirm(name, number)
        heard[name] = max(number, heard.get(name, 0))
        found |= {token for _, token, _ in rounds.take_confirmed(whole)}
        for round_, tokens in reads.items():
            voices = frozenset(name for name, most in heard.items() if most >= round_) | {"a"}
            for token in tokens:
                if token in found:
                    assert is_quorum(names, voices)
                else:
                    assert not is_quorum(names, voices), "a read that a quorum has confirmed waits on"
