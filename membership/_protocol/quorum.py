"""Quorum systems: which sets of voters suffice to elect a leader, and which to commit (rule 6).

Every election quorum has to meet

* every commit quorum, or a new leader might not know what was committed, and
* every other election quorum, or an epoch might have two leaders: epochs are nobody's own here, which is where this is
  stricter than Flexible Paxos (Howard, Malkhi, Spiegelman 2016).

Each system proves it of itself, by arithmetic, for any number of voters, when it meets them (`flaw`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cache
from typing import Annotated, Any, NoReturn, TypeAlias, cast

import msgspec

from actors._protocol.address import NodeId

MEMBERS_MAX = 1_000
WEIGHT_MAX = 1_000_000
SHOWN_MAX = 20  # names in a complaint
TEXT_SIZE_MAX = 300

# Bounded, as all of it travels in messages: one that no member may accept would cost the link that it comes by.
Count = Annotated[int, msgspec.Meta(ge=1, le=MEMBERS_MAX)]
Weight = Annotated[int, msgspec.Meta(ge=0, le=WEIGHT_MAX)]
Row = Annotated[tuple[NodeId, ...], msgspec.Meta(min_length=1, max_length=MEMBERS_MAX)]
Rows = Annotated[tuple[Row, ...], msgspec.Meta(min_length=1, max_length=MEMBERS_MAX)]


class Weights(dict[str, int]):
    """A number for each name, in the order of the names: a value, equal and encoded alike however it was written."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        super().__init__(sorted(weights.items()))

    def __hash__(self) -> int:  # type: ignore[override]  # a dict's own is None
        return hash(tuple(self.items()))

    def __reduce__(self) -> tuple[type[Weights], tuple[dict[str, int]]]:
        return Weights, (dict(self),)

    def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a quorum system does not change: make another one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


class System(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What each system answers. More voters never suffice less than fewer, and who is no voter counts nothing.

    Made by a user or read from a peer alike, its fields have the types that they state, or it is not made (TypeError).
    """

    def elects(self, voters: Sequence[str], granted: frozenset[str]) -> bool:
        """Do those who granted suffice to elect a leader?"""
        raise NotImplementedError

    def commits(self, voters: Sequence[str], acknowledged: frozenset[str]) -> bool:
        """Do those who acknowledged suffice to commit?"""
        raise NotImplementedError

    def flaw(self, voters: Sequence[str]) -> str | None:
        """Why these voters cannot decide by this, with two sets that miss each other where there are such; or None."""
        raise NotImplementedError

    def fits_more(self, voters: Sequence[str]) -> bool:
        """Might these voters, and others with them, decide by this?"""
        raise NotImplementedError

    def check(self, voters: Sequence[str]) -> None:
        """Raise ValueError unless these voters can decide by this."""
        if flaw := self.flaw(voters):
            raise ValueError(f"{self}: {flaw}")

    def __post_init__(self) -> None:
        for field in _fields_of(type(self)):
            given = getattr(self, field.name)
            try:
                _check_ordered(given)
                own = msgspec.convert(given, field.type)
            except msgspec.ValidationError as error:
                raise TypeError(f"{type(self).__name__}: {field.name}={_cut(repr(given))}: {error}") from None
            if isinstance(own, dict):
                own = Weights(cast("dict[str, int]", own))
            # A copy: what its maker changes later changes nothing here.
            msgspec.structs.force_setattr(self, field.name, own)

    def __str__(self) -> str:
        return _cut(repr(self))  # a peer's may be long


@cache
def _fields_of(kind: type[System]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Found once: that takes longer than all the rest."""
    return msgspec.structs.fields(kind)


class Majority(System, frozen=True, tag="majority"):
    """More than half of the voters, for elections and commits alike. Any two majorities meet."""

    def elects(self, voters: Sequence[str], granted: frozenset[str]) -> bool:
        return 2 * len(granted.intersection(voters)) > len(voters)

    def commits(self, voters: Sequence[str], acknowledged: frozenset[str]) -> bool:
        return self.elects(voters, acknowledged)

    def flaw(self, voters: Sequence[str]) -> str | None:
        return None

    def fits_more(self, voters: Sequence[str]) -> bool:
        return True


class Flexible(System, frozen=True, kw_only=True, tag="flexible"):
    """`commit` voters suffice to commit, `elect` voters to elect: `Flexible(elect=4, commit=2)` of five.

    Each command waits for fewer voters than with a majority, and an election for more. `elect` is more than half of the
    voters, and `elect` and `commit` together are more than all.
    """

    elect: Count
    commit: Count

    def elects(self, voters: Sequence[str], granted: frozenset[str]) -> bool:
        return len(granted.intersection(voters)) >= self.elect

    def commits(self, voters: Sequence[str], acknowledged: frozenset[str]) -> bool:
        return len(acknowledged.intersection(voters)) >= self.commit

    def flaw(self, voters: Sequence[str]) -> str | None:
        count = len(voters)
        if max(self.elect, self.commit) > count:
            return f"there are only {count} voters: give elect= and commit= at most {count}"
        enough = max(count // 2, count - self.commit) + 1
        advice = f"with {count} voters and commit={self.commit}, give elect= at least {enough}"
        one, others = _shown(voters[: self.elect]), voters[self.elect :]
        if 2 * self.elect <= count:
            return f"({one}) could elect one leader while ({_shown(others[: self.elect])}) elect another: {advice}"
        if self.elect + self.commit <= count:
            known = _shown(others[: self.commit])
            return f"({one}) could elect a leader that does not know what ({known}) have committed: {advice}"
        return None

    def fits_more(self, voters: Sequence[str]) -> bool:
        count = max(len(voters), self.elect, self.commit)
        return 2 * self.elect > count and self.elect + self.commit > count


class Weighted(System, frozen=True, tag="weighted"):
    """More than half of all weight, for elections and commits alike: `Weighted({"a": 2, "b": 1, "c": 1})`.

    Each voter has a weight. One whose weight is 0 keeps a copy, and decides nothing. Two sets that have more than half
    each have more than all together, so they meet.
    """

    weights: Annotated[Mapping[NodeId, Weight], msgspec.Meta(max_length=MEMBERS_MAX)]

    def elects(self, voters: Sequence[str], granted: frozenset[str]) -> bool:
        return 2 * sum(weight for name, weight in self.weights.items() if name in granted) > sum(self.weights.values())

    def commits(self, voters: Sequence[str], acknowledged: frozenset[str]) -> bool:
        return self.elects(voters, acknowledged)

    def flaw(self, voters: Sequence[str]) -> str | None:
        if differs := _not_the_voters(self.weights, voters):
            return f"{differs}: give a weight to each voter, 0 to one that decides nothing"
        return None if any(self.weights.values()) else "no voter has any weight: give some of them 1"

    def fits_more(self, voters: Sequence[str]) -> bool:
        return set(voters) <= set(self.weights) and self.flaw(tuple(self.weights)) is None


class Grid(System, frozen=True, tag="grid"):
    """All of a row commit; all of a row and all of a column elect: `Grid((("a", "b", "c"), ("d", "e", "f")))`.

    Each voter has one place. Rows may differ in length: there are as many columns as the shortest row has places. So
    each column has one of each row, and whoever elects meets every row.
    """

    rows: Rows

    def __post_init__(self) -> None:
        super().__post_init__()
        if (count := sum(map(len, self.rows))) > MEMBERS_MAX:
            raise TypeError(f"Grid: rows= names {count}, and a group has at most {MEMBERS_MAX} members")

    def elects(self, voters: Sequence[str], granted: frozenset[str]) -> bool:
        columns = zip(*self.rows, strict=False)
        return self.commits(voters, granted) and any(map(granted.issuperset, columns))

    def commits(self, voters: Sequence[str], acknowledged: frozenset[str]) -> bool:
        return any(map(acknowledged.issuperset, self.rows))

    def flaw(self, voters: Sequence[str]) -> str | None:
        differs = _not_the_voters([name for row in self.rows for name in row], voters)
        return f"{differs}: give each voter one place" if differs else None

    def fits_more(self, voters: Sequence[str]) -> bool:
        named = {name for row in self.rows for name in row}
        return set(voters) <= named and self.flaw(sorted(named)) is None


QuorumSystem: TypeAlias = Majority | Flexible | Weighted | Grid
"""What a group may decide by."""


class Electorate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Voters, and what they decide by: one side of a `Joint`."""

    voters: tuple[str, ...]
    quorum: QuorumSystem

    def elects(self, granted: frozenset[str]) -> bool:
        return self.quorum.elects(self.voters, granted)

    def commits(self, acknowledged: frozenset[str]) -> bool:
        return self.quorum.commits(self.voters, acknowledged)

    def flaw(self) -> str | None:
        """Why these voters, without others, cannot decide by this; or None."""
        if not self.voters or len(set(self.voters)) < len(self.voters):
            return f"({_shown(self.voters)}) are no voters: there is at least one, and none is named twice"
        return self.quorum.flaw(self.voters)


class Joint(System, frozen=True, tag="joint"):
    """The old voters suffice by themselves, and so do the new ones (rule 14; Ongaro 2014, 4.3).

    In force while a group changes, and made by the change: no group is formed with it. Each of its quorums holds one of
    the old voters' and one of the new ones': so they meet each other, and those of the configurations before and after.
    """

    old: Electorate
    new: Electorate

    def elects(self, voters: Sequence[str], granted: frozenset[str]) -> bool:
        return self.old.elects(granted) and self.new.elects(granted)

    def commits(self, voters: Sequence[str], acknowledged: frozenset[str]) -> bool:
        return self.old.commits(acknowledged) and self.new.commits(acknowledged)

    def flaw(self, voters: Sequence[str]) -> str | None:
        both = {*self.old.voters, *self.new.voters}
        return self.old.flaw() or self.new.flaw() or _not_the_voters(both, voters)

    def fits_more(self, voters: Sequence[str]) -> bool:
        return False


def _check_ordered(given: object) -> None:
    """A set has another order in each process, and what members are started with must be the same."""
    if isinstance(given, Set):
        raise msgspec.ValidationError("a set has no order: give a tuple")
    if isinstance(given, list | tuple):
        for each in cast("Sequence[object]", given):
            _check_ordered(each)


def _not_the_voters(named: Iterable[str], voters: Sequence[str]) -> str | None:
    """How these are not all the voters, each named once."""
    names = list(named)
    if missing := set(voters).difference(names):
        return f"it does not name {_shown(sorted(missing))}"
    if strange := set(names).difference(voters):
        return f"it names {_shown(sorted(strange))}, among the voters {_shown(voters)} there is no such name"
    return "it names a voter twice" if len(names) > len(set(names)) else None


def _shown(names: Sequence[str]) -> str:
    return _cut(", ".join(names[:SHOWN_MAX])) + (", ..." if len(names) > SHOWN_MAX else "")


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_SIZE_MAX else f"{text[:TEXT_SIZE_MAX]}..."
