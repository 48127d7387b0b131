"""How a group changes its members: what may be asked for, what follows from it, step by step (rules 14, 15).

A change is a *goal* that is kept in the configuration itself, so that whoever leads goes on with it:

    asked for             observers + newcomers, goal set             `begun`
    all have caught up,   Joint(old, new), both sets of voters        `joint`
    and enough are there
    that is committed     the new voters alone, goal reached          `concluded`

Each step is one log entry, and each waits for the one before it to be committed. Any change of voters, weights or
quorum system goes through a joint configuration (Ongaro 2014, 4.3), also that of a single voter.

Until then a goal waits for those of it that have no vote yet, its *late* ones, and is called off by their removal:

* all of them removed: nothing is left of it. The group stays as it decides now, by its voters and its quorum system;
* some of them: it goes on with the others, and by its own quorum system.

Voters that were to leave with it stay in both cases: nobody knows who was to take whose place. What else the same
change asks for, another quorum system too, starts from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from membership._protocol.quorum import MEMBERS_MAX, Electorate, Joint, QuorumSystem
from membership._protocol.view import Address, Configuration, Goal, Member, Name, check_place

CHANGED_MAX = 100  # members named in one change

Names = Annotated[tuple[Name, ...], msgspec.Meta(max_length=CHANGED_MAX)]


class Newcomer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Who is to be added, and where it is found. observer: for good, without a vote."""

    name: Name
    address: Address
    observer: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and isinstance(self.address, str)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a newcomer has a name and an address, both str, and not {self.name!r}, {self.address!r}")
        check_place(self.name, self.address)


class Change(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is asked for, all at once.

    promote: observers that are to vote. move: name -> new address. quorum: another system for the voters of after;
    None keeps the present one. force: also if fewer voters are reachable than the group needs to decide; it is of this
    change alone, and not of another that is asked for while this one is under way.
    """

    add: Annotated[tuple[Newcomer, ...], msgspec.Meta(max_length=CHANGED_MAX)] = ()
    remove: Names = ()
    promote: Names = ()
    move: Annotated[dict[Name, Address], msgspec.Meta(max_length=CHANGED_MAX)] = {}
    quorum: QuorumSystem | None = None
    force: bool = False


class ChangeImpossible(Exception):
    """The configuration as it is does not allow this change; the text says why, and what to do."""


class ChangeTooEarly(ChangeImpossible):
    """Nor does it now, but it will."""


def is_reached(change: Change, configuration: Configuration) -> bool:
    """Is a group with this configuration where the change leads?"""
    voters, members = set(configuration.voter_names), {member.name: member.address for member in configuration.members}
    goal = configuration.goal
    return (
        not configuration.is_joint
        and change.quorum in (None, configuration.quorum)
        and (goal is None or change.quorum in (None, goal.quorum))  # else another takes its place before long
        and _to_vote(change) <= voters
        and all(newcomer.name in members for newcomer in change.add)
        and not any(name in members for name in change.remove)
        and all(members.get(name) == address for name, address in change.move.items())
    )


def forced(configuration: Configuration) -> Configuration | None:
    """The same, which now goes to its goal even if too few can be reached there; None if that would be nothing new."""
    goal = configuration.goal
    if goal is None or goal.force or configuration.is_joint:
        return None
    return msgspec.structs.replace(configuration, goal=msgspec.structs.replace(goal, force=True))


def destination(configuration: Configuration) -> Configuration:
    """Where this one leads, if all goes well."""
    if configuration.goal is None:
        return configuration
    return concluded(configuration if configuration.is_joint else joint(configuration))


def awaited(change: Change, configuration: Configuration, disks: Mapping[str, bytes]) -> list[str]:
    """Newcomers whose disk has not been heard of: the change cannot begin before they say hello."""
    added = (newcomer.name for newcomer in change.add)
    return [name for name in added if not configuration.includes(name) and name not in disks]


def begun(change: Change, configuration: Configuration, disks: Mapping[str, bytes]) -> Configuration:
    """The first configuration on the way, which is the last one too if no voter and no system changes.

    disks: the storage ids that newcomers said hello with. Raises `ChangeImpossible`.
    """
    if configuration.is_joint:
        raise ChangeTooEarly("another change is being concluded: wait until it has ended")
    _check_names(change, configuration)
    goal = _goal(change, configuration)
    observers = [member for member in configuration.observers if member.name not in change.remove]
    observers += [Member(newcomer.name, disks[newcomer.name], newcomer.address) for newcomer in change.add]
    if len(observers) + len(configuration.voters) > MEMBERS_MAX:
        raise ChangeImpossible(f"a group has at most {MEMBERS_MAX} members")
    observers.sort(key=lambda member: member.name)
    return Configuration(
        _moved(configuration.voters, change.move),
        _moved(observers, change.move),
        configuration.quorum,
        configuration.limits,
        goal,
    )


def _goal(change: Change, configuration: Configuration) -> Goal | None:
    """Who is to vote in the end, and by what; None if it is who votes now."""
    now = Goal(configuration.voter_names, _single(configuration))
    pending = configuration.goal or now
    late = set(pending.voters).difference(now.voters)
    coming = late.difference(change.remove)
    is_called_off = coming != late
    if is_called_off:
        pending = Goal((*now.voters, *coming), pending.quorum if coming else now.quorum)
    to_vote = _to_vote(change)
    is_other = not is_called_off and change.quorum not in (None, pending.quorum)
    if coming and (to_vote.difference(pending.voters) or is_other):
        raise ChangeTooEarly(
            f"{', '.join(sorted(coming))} must catch up before the next change of voters can begin: wait, or remove "
            "who does not come"
        )
    names = tuple(sorted(to_vote.union(pending.voters).difference(change.remove)))
    if not names:
        raise ChangeImpossible("this would leave no voter: at least one must stay")
    quorum = change.quorum or pending.quorum
    if flaw := quorum.flaw(names):
        raise ChangeImpossible(
            f"{', '.join(names)} could not decide by {quorum}: {flaw}; give another system by quorum="
        )
    same = set(names) == set(now.voters) and quorum == now.quorum
    return None if same else Goal(names, quorum, change.force or _is_forced(configuration, names, quorum))


def _is_forced(configuration: Configuration, names: Iterable[str], quorum: QuorumSystem) -> bool:
    """Does the change under way lead just there, and was it forced? What leads elsewhere has to be forced by itself:
    who asks for that may not know how few will be there."""
    goal = configuration.goal
    return goal is not None and goal.force and set(goal.voters) == set(names) and goal.quorum == quorum


def _to_vote(change: Change) -> set[str]:
    return {newcomer.name for newcomer in change.add if not newcomer.observer}.union(change.promote)


def _single(configuration: Configuration) -> QuorumSystem:
    quorum = configuration.quorum
    if isinstance(quorum, Joint):
        raise ValueError("two electorates decide")
    return quorum


def _check_names(change: Change, configuration: Configuration) -> None:
    added = [newcomer.name for newcomer in change.add]
    named = [*added, *change.remove, *change.promote, *change.move]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise ChangeImpossible(
            f"{', '.join(twice)}: named twice in one change; who has lost its disk is removed first, and then added"
        )
    if there := [name for name in added if configuration.includes(name)]:
        raise ChangeImpossible(f"{', '.join(there)}: a member already; promote it, move it, or remove it first")
    wanted = [*change.remove, *change.promote, *change.move]
    if strange := [name for name in wanted if not configuration.includes(name)]:
        members = ", ".join(member.name for member in configuration.members)
        raise ChangeImpossible(f"{', '.join(strange)}: no member; the members are {members}")


def _moved(members: Iterable[Member], move: Mapping[str, str]) -> tuple[Member, ...]:
    return tuple(
        msgspec.structs.replace(member, address=move[member.name]) if member.name in move else member
        for member in members
    )


def joint(configuration: Configuration) -> Configuration:
    """Those who vote and those who will, deciding together, each set by its own system."""
    goal, quorum = configuration.goal, _single(configuration)
    if goal is None:
        raise ValueError("there is nothing to go to")
    both = sorted({*configuration.voter_names, *goal.voters})
    return Configuration(
        tuple(_known(configuration, name) for name in both),
        tuple(member for member in configuration.observers if member.name not in goal.voters),
        Joint(Electorate(configuration.voter_names, quorum), Electorate(goal.voters, goal.quorum)),
        configuration.limits,
        goal,
    )


def concluded(configuration: Configuration) -> Configuration:
    """The new voters, alone. Who voted before and does not any more is no member any more."""
    goal = configuration.goal
    if goal is None or not configuration.is_joint:
        raise ValueError("there is nothing to conclude")
    return Configuration(
        tuple(_known(configuration, name) for name in goal.voters),
        configuration.observers,
        goal.quorum,
        configuration.limits,
    )


def _known(configuration: Configuration, name: str) -> Member:
    member = configuration.member(name)
    if member is None:
        raise ValueError(f"{name} is no member")
    return member


def unreached(goal: Goal, reachable: frozenset[str]) -> str | None:
    """Why a group should not go there now: too few of its voters can be reached to decide. None if enough can, or if
    that is not to matter."""
    if goal.force:
        return None
    there = reachable.intersection(goal.voters)
    if goal.quorum.elects(goal.voters, there) and goal.quorum.commits(goal.voters, there):
        return None
    missing = ", ".join(name for name in goal.voters if name not in there)
    return (
        f"of {', '.join(goal.voters)}, who are to vote, {missing} cannot be reached, and the rest could not decide: "
        "bring them back first, or use force=True"
    )


class CatchUp:
    """Is one that is to vote level enough, so that the group does not wait for it once it does (Ongaro 2014, 4.2.1)?

    In rounds: each lasts until it holds what the log held when the round began. It is level while rounds take no longer
    than an election timeout, the one under way included.
    """

    def __init__(self, last: int, now: int) -> None:
        self._target = last
        self._begun = now
        self._was_quick = False  # the round before

    def look(self, match: int, last: int, now: int, patience: int) -> bool:
        """It holds the log up to `match`, and the leader's ends at `last`. Is it level?"""
        took = now - self._begun
        if match >= self._target:
            self._was_quick = took <= patience
            self._target, self._begun = last, now
            return self._was_quick
        return self._was_quick and took <= patience
