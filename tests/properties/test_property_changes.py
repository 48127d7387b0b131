"""Whatever is asked of a group, one after the other: each step is sound, and who does not come can be called off."""

from __future__ import annotations

import pytest
from effort import CI
from hypothesis import given
from hypothesis import strategies as st

from membership import Change, Configuration, Flexible, Grid, Majority, Member, Newcomer, QuorumSystem, Weighted
from membership._protocol.change import (
    ChangeImpossible,
    ChangeTooEarly,
    begun,
    concluded,
    destination,
    is_reached,
    joint,
)
from membership._protocol.view import Goal

NAMES = "abcdefg"
OTHERS = "hi"  # in no change but those that the tests see to
DISKS = {name: name.encode() * 16 for name in NAMES + OTHERS}
some_names = st.sets(st.sampled_from(NAMES), max_size=3).map(sorted).map(tuple)


def systems(names: tuple[str, ...]) -> list[QuorumSystem]:
    """Of each kind one that fits these."""
    count = len(names)
    return [
        Majority(),
        Flexible(elect=count, commit=1),
        Flexible(elect=count // 2 + 1, commit=count - count // 2),
        Weighted(dict.fromkeys(names, 1)),
        Grid((names,)),
    ]


def formed(names: str, at: int) -> Configuration:
    members = tuple(Member(name, DISKS[name]) for name in names)
    return Configuration(members, quorum=systems(tuple(names))[at])


@st.composite
def changes(draw: st.DrawFn) -> Change:
    added, removed, promoted = draw(some_names), draw(some_names), draw(some_names)
    fits = systems(draw(some_names) or ("a",))
    return Change(
        tuple(Newcomer(name, "", draw(st.booleans())) for name in added if name not in removed),
        removed,
        tuple(name for name in promoted if name not in {*added, *removed}),
        quorum=draw(st.sampled_from([None, None, *fits])),
    )


def fitting(change: Change, configuration: Configuration) -> Change:
    """The same, of those that are there to be removed and promoted, by its system or one like it that fits."""
    there = configuration.names
    coming = tuple(each for each in change.add if each.name not in there)
    removed = tuple(name for name in change.remove if name in there)
    promoted = tuple(name for name in change.promote if name in configuration.observer_names)
    to_vote = {*(each.name for each in coming if not each.observer), *promoted}
    pending = configuration.goal.voters if configuration.goal else configuration.voter_names
    voters = tuple(sorted(to_vote.union(pending).difference(removed)))
    alike = [each for each in systems(voters or ("a",)) if type(each) is type(change.quorum)]
    return Change(coming, removed, promoted, quorum=alike[0] if alike else None)


def late_of(configuration: Configuration) -> tuple[str, ...]:
    goal = configuration.goal
    return tuple(sorted(set(goal.voters).difference(configuration.voter_names))) if goal else ()


groups = st.builds(formed, st.sampled_from(("a", "abc", "abcd")), st.integers(0, 4))


def steps(configuration: Configuration, wanted: list[Change]) -> Configuration:
    """What comes of it, if those that are to vote have not caught up. Each step leads where it was asked to."""
    for change in wanted:
        for each in (change, fitting(change, configuration)):
            try:
                following = begun(each, configuration, DISKS)
            except ChangeImpossible:
                continue
            assert is_reached(each, destination(following))
            configuration = following
            if configuration.goal is not None and not late_of(configuration):
                configuration = concluded(joint(configuration))
                assert is_reached(each, configuration)
    return configuration


def awaiting(data: st.DataObject, least: int = 1) -> Configuration:
    """A group that waits for so many to catch up: instead of those that it had waited for, if they are fewer."""
    now = steps(data.draw(groups), data.draw(st.lists(changes(), max_size=6)))
    late = late_of(now)
    if len(late) >= least:
        return now
    quorum = data.draw(st.sampled_from(systems((*now.voter_names, *OTHERS))))
    return begun(Change(tuple(Newcomer(name, "") for name in OTHERS), late, quorum=quorum), now, DISKS)


@CI
@given(st.data())
def test_who_does_not_come_can_be_called_off(data: st.DataObject) -> None:
    now = awaiting(data)
    late = late_of(now)
    off = begun(Change(remove=late), now, {})
    assert (off.voters, off.quorum, off.goal) == (now.voters, now.quorum, None)
    assert off.observer_names == tuple(name for name in now.observer_names if name not in late)
    quorum = data.draw(st.sampled_from(systems(now.voter_names)))
    by_another = begun(Change(remove=late, quorum=quorum), now, {})
    assert by_another.goal == (None if quorum == now.quorum else Goal(tuple(sorted(now.voter_names)), quorum))


@CI
@given(st.data())
def test_if_some_do_not_come_any_system_that_fits_the_rest_is_taken(data: st.DataObject) -> None:
    now = awaiting(data, 2)
    late = late_of(now)
    gone = tuple(data.draw(st.lists(st.sampled_from(late), min_size=1, max_size=len(late) - 1, unique=True)))
    voters = tuple(sorted({*now.voter_names, *late}.difference(gone)))
    quorum = data.draw(st.sampled_from(systems(voters)))
    assert begun(Change(remove=gone, quorum=quorum), now, {}).goal == Goal(voters, quorum)


@CI
@given(st.data(), changes())
def test_nothing_is_begun_or_called_off_while_a_change_is_concluded(data: st.DataObject, another: Change) -> None:
    with pytest.raises(ChangeTooEarly, match="another change is being concluded"):
        begun(another, joint(awaiting(data)), DISKS)
