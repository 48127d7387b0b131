"""T6: quorum systems against a dumb twin that goes through all subsets. Deciding quorums meet, or are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membership import Configuration, Flexible, Grid, Joint, Majority, Member, QuorumSystem, Weighted
from membership._protocol.quorum import Electorate

CI = settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])

Voters = tuple[str, ...]


def subsets(voters: Voters) -> Iterator[frozenset[str]]:
    for size in range(len(voters) + 1):
        yield from map(frozenset, combinations(voters, size))


# -- the twin ----------------------------------------------------------------------------------------------------------


def heavier(weights: dict[str, int], inside: frozenset[str]) -> bool:
    """Count tokens: those of the one side against those of the other."""
    tokens = [name for name, weight in weights.items() for _ in range(weight)]
    return len([name for name in tokens if name in inside]) > len([name for name in tokens if name not in inside])


def rows_in(grid: Grid, inside: frozenset[str]) -> list[int]:
    return [number for number, row in enumerate(grid.rows) if all(name in inside for name in row)]


def columns_in(grid: Grid, inside: frozenset[str]) -> list[int]:
    """Of the columns that go through all rows."""
    whole = min(len(row) for row in grid.rows)
    return [place for place in range(whole) if all(row[place] in inside for row in grid.rows)]


def twin_elects(system: QuorumSystem | Joint, voters: Voters, inside: frozenset[str]) -> bool:
    match system:
        case Majority():
            return heavier(dict.fromkeys(voters, 1), inside)
        case Flexible():
            return len([name for name in voters if name in inside]) >= system.elect
        case Weighted():
            return heavier(dict(system.weights), inside)
        case Grid():
            return bool(rows_in(system, inside) and columns_in(system, inside))
        case Joint():
            return all(twin_elects(side.quorum, side.voters, inside) for side in (system.old, system.new))


def twin_commits(system: QuorumSystem | Joint, voters: Voters, inside: frozenset[str]) -> bool:
    match system:
        case Flexible():
            return len([name for name in voters if name in inside]) >= system.commit
        case Grid():
            return bool(rows_in(system, inside))
        case Joint():
            return all(twin_commits(side.quorum, side.voters, inside) for side in (system.old, system.new))
        case _:
            return twin_elects(system, voters, inside)


def sound(system: QuorumSystem | Joint, voters: Voters) -> bool:
    """Rule 6 by trial: all together suffice, and nobody who elects leaves out others who elect or commit."""
    everybody = frozenset(voters)
    if not (twin_elects(system, voters, everybody) and twin_commits(system, voters, everybody)):
        return False
    for some in subsets(voters):
        rest = everybody - some
        if twin_elects(system, voters, some) and (
            twin_elects(system, voters, rest) or twin_commits(system, voters, rest)
        ):
            return False
    return True


# -- what there is -----------------------------------------------------------------------------------------------------


@st.composite
def grids(draw: st.DrawFn, voters: Voters) -> Grid:
    """Each voter has one place, in rows of any length."""
    names = draw(st.permutations(voters))
    ends = draw(st.sets(st.integers(1, len(names) - 1))) if len(names) > 1 else set[int]()
    cuts = [0, *sorted(ends), len(names)]
    return Grid(tuple(tuple(names[begin:end]) for begin, end in pairwise(cuts)))


def systems(voters: Voters) -> st.SearchStrategy[QuorumSystem]:
    """Systems that name the voters as they should, sound or not."""
    size = st.integers(1, len(voters) + 1)
    weights = st.fixed_dictionaries({name: st.integers(0, 4) for name in voters})
    return st.one_of(
        st.just(Majority()), st.builds(Flexible, elect=size, commit=size), st.builds(Weighted, weights), grids(voters)
    )


def electorates(names: str) -> st.SearchStrategy[Electorate]:
    some = st.sets(st.sampled_from(names), min_size=1).map(lambda chosen: tuple(sorted(chosen)))
    return some.flatmap(lambda voters: systems(voters).map(lambda system: Electorate(voters, system)))


SEVEN = electorates("abcdefg")
SIX = electorates("abcdef").filter(lambda side: side.flaw() is None)


def joined(old: Electorate, new: Electorate) -> tuple[Voters, Joint]:
    return tuple(sorted({*old.voters, *new.voters})), Joint(old, new)


# -- properties --------------------------------------------------------------------------------------------------------


@given(SEVEN)
@CI
def test_who_suffices_is_whom_the_twin_finds(side: Electorate) -> None:
    for some in subsets(side.voters):
        assert side.elects(some) is twin_elects(side.quorum, side.voters, some)
        assert side.commits(some) is twin_commits(side.quorum, side.voters, some)


@given(SEVEN)
@CI
def test_who_joins_takes_nothing_away_and_strangers_change_nothing(side: Electorate) -> None:
    for some in subsets(side.voters):
        for decides in (side.elects, side.commits):
            assert decides(some | {"stranger", "z"}) is decides(some)
            if decides(some):
                assert all(decides(some | {name}) for name in side.voters)


@pytest.mark.parametrize("count", range(1, 8))
def test_of_all_flexible_systems_those_that_could_go_wrong_are_refused(count: int) -> None:
    voters = tuple("abcdefg"[:count])
    for elect in range(1, count + 2):
        for commit in range(1, count + 2):
            system = Flexible(elect=elect, commit=commit)
            assert (system.flaw(voters) is None) is sound(system, voters)


@given(SEVEN)
@CI
def test_what_is_refused_is_what_the_twin_finds_unsound(side: Electorate) -> None:
    assert (side.flaw() is None) is sound(side.quorum, side.voters)


def named(text: str) -> frozenset[str]:
    return frozenset(text.split(", "))


@given(st.integers(1, 60), st.data())
@CI
def test_a_counter_example_is_one_and_what_is_advised_helps(count: int, data: st.DataObject) -> None:
    voters = tuple(f"v{number}" for number in range(count))
    size = st.integers(1, min(count, 20))  # more names than that are not shown
    system = data.draw(st.builds(Flexible, elect=size, commit=size))
    flaw = system.flaw(voters)
    if flaw is None:
        assert 2 * system.elect > count
        assert system.elect + system.commit > count
        return
    found = re.match(r"\((.+)\) could elect .* (?:while|know what) \((.+)\) (elect|have committed)", flaw)
    assert found
    one, other = named(found[1]), named(found[2])
    assert one < frozenset(voters)
    assert other < frozenset(voters)
    assert not one & other
    assert system.elects(voters, one)
    assert system.elects(voters, other) if found[3] == "elect" else system.commits(voters, other)
    advised = int(flaw.rpartition(" ")[2])
    assert Flexible(elect=advised, commit=system.commit).flaw(voters) is None
    assert Flexible(elect=advised - 1, commit=system.commit).flaw(voters) is not None, "no more than it takes"


FIFTEEN = tuple("abcdefghijklmno")


@pytest.mark.parametrize(
    "system",
    [
        Majority(),
        Flexible(elect=8, commit=8),
        Flexible(elect=12, commit=4),
        Weighted({name: number for number, name in enumerate(FIFTEEN)}),
        Grid((FIFTEEN[:5], FIFTEEN[5:10], FIFTEEN[10:])),
        Grid((FIFTEEN[:4], FIFTEEN[4:7], FIFTEEN[7:13], FIFTEEN[13:])),
    ],
    ids=str,
)
def test_fifteen_voters_too(system: QuorumSystem) -> None:
    """Each of 32,768 sets against what it leaves out."""
    assert system.flaw(FIFTEEN) is None
    everybody = frozenset(FIFTEEN)
    elections = [some for some in subsets(FIFTEEN) if system.elects(FIFTEEN, some)]
    assert elections
    for some in elections:
        rest = everybody - some
        assert not system.elects(FIFTEEN, rest)
        assert not system.commits(FIFTEEN, rest)


# -- changes (rule 14) -------------------------------------------------------------------------------------------------


@given(SIX, SIX)
@CI
def test_a_joint_of_sound_sides_is_sound(old: Electorate, new: Electorate) -> None:
    voters, joint = joined(old, new)
    assert joint.flaw(voters) is None
    assert sound(joint, voters)
    for some in subsets(voters):
        assert joint.elects(voters, some) is twin_elects(joint, voters, some)
        assert joint.commits(voters, some) is twin_commits(joint, voters, some)


@given(SEVEN, SEVEN)
@CI
def test_a_joint_is_refused_with_either_of_its_sides(old: Electorate, new: Electorate) -> None:
    """Even if the two together might do: each has to stand alone, the one before and the other after it."""
    voters, joint = joined(old, new)
    assert (joint.flaw(voters) is None) is (sound(old.quorum, old.voters) and sound(new.quorum, new.voters))


@given(SIX, SIX)
@CI
def test_deciding_quorums_of_successive_configurations_meet(old: Electorate, new: Electorate) -> None:
    """Who elects under the one leaves nobody to elect or commit under the other, whichever came first."""
    voters, joint = joined(old, new)
    members = tuple(Member(name, name.encode() * 16) for name in voters)
    between = Configuration(members, quorum=joint)
    everybody = frozenset(voters)
    for some in subsets(voters):
        rest = everybody - some
        for one, other in ((old, between), (between, old), (between, new), (new, between)):
            if one.elects(some):
                assert not other.elects(rest)
                assert not other.commits(rest)
