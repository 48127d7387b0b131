"""Do the replicas still agree? Each tells the others the digest of its snapshot at each agreed marker (rule 28).

The order is agreed on; what commands make of it is the user's class, and one that looks at a clock, at chance or at its
own process makes something else of it on each replica. The bytes of a snapshot follow from the log alone, so that equal
states have equal digests. A majority of the voters of that place decides who is right. What is known
of it outlasts a restart: who differed before still does.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from broadcast._protocol.position import Position
from broadcast._protocol.snapshots import Compared, Digest, Place, Snapshot

PLACES_MAX = 8  # markers whose digests are remembered


class Opinion(enum.Enum):
    """What the digests so far say of this replica."""

    OPEN = "open"
    """Not enough of them are here."""
    AGREED = "agreed"
    """A majority of the voters is where this one is."""
    DIVERGED = "diverged"
    """A majority of the voters is elsewhere."""
    DIVIDED = "divided"
    """Voters differ, and no majority is anywhere yet: nobody can say who is right."""


class Digests:
    """What the members have told, for the newest markers."""

    def __init__(self, name: str, compared: Compared) -> None:
        """compared: as earlier lives had it in the end."""
        self._name = name
        self._mine = {place.position: place for place in compared.places}
        self._told: dict[str, dict[Position, tuple[int, Digest]]] = {}  # by member, the last that it told at the end
        self.agreed: Position | None = None
        """The newest place at which a majority was where this one is."""
        self.divided = compared.divided
        """The first place at which voters differ, unless a majority was found to agree there, or further on."""

    @property
    def compared(self) -> Compared:
        """What the next life should know, and who connects: others may have been away, or have forgotten it."""
        return Compared(tuple(self._mine.values()), self.divided)

    def forget(self) -> None:
        """Another's state takes the place of ours: what ours came to was that of a state that is gone."""
        self._mine.clear()

    def left(self, names: Iterable[str]) -> None:
        """These are members no more, or with other disks: what they have told is no word of who is one now."""
        for name in names:
            self._told.pop(name, None)

    def took(self, snapshot: Snapshot, voters: Sequence[str]) -> Opinion:
        """Ours. voters: those of now: who has left decides nothing any more."""
        position, deciding = snapshot.position, snapshot.agreed.configuration.voter_names
        self._mine[position] = Place(position, snapshot.layout, snapshot.digest, deciding)
        _keep_last(self._mine, self.divided)
        return self.opinion(position, voters)

    def heard(self, name: str, position: Position, layout: int, digest: Digest, voters: Sequence[str]) -> Opinion:
        """A member's, and nobody else's. It may come before our own."""
        told = self._told.setdefault(name, {})
        told.pop(position, None)
        told[position] = layout, digest
        _keep_last(told, self.divided)
        return self.opinion(position, voters)

    def opinion(self, position: Position, voters: Sequence[str]) -> Opinion:
        """What is known of that place: by the voters that it had, as far as they still are."""
        mine = self._mine.get(position)
        if mine is None:
            return Opinion.OPEN
        deciding = [name for name in mine.voters if name in voters]
        if not deciding:  # nobody is left who could ever say
            self._settle(position, voters)
            return Opinion.OPEN
        counted = self._counted(mine, [name for name in deciding if not self._was_wrong(name, position)])
        if not counted:
            return Opinion.OPEN
        digest, count = counted.most_common(1)[0]
        if 2 * count > len(deciding):
            self._settle(position, voters)
            if digest != mine.digest:
                return Opinion.DIVERGED
            self.agreed = max(position, self.agreed or position)
            return Opinion.AGREED
        if len(counted) < 2:
            return Opinion.OPEN
        self.divided = min(position, self.divided or position)
        return Opinion.DIVIDED

    def _counted(self, mine: Place, names: Iterable[str]) -> Counter[Digest]:
        """How many of them were where, as far as they have told."""
        said = [self._said(name, mine) for name in names]
        return Counter(digest for digest in said if digest is not None)

    def _said(self, name: str, mine: Place) -> Digest | None:
        """By that member, of that place, if it is laid out as ours."""
        layout, digest = self._told.get(name, {}).get(mine.position, (None, None))
        return mine.digest if name == self._name else digest if layout == mine.layout else None

    def _was_wrong(self, name: str, before: Position) -> bool:
        """Was this member elsewhere than a majority, at an earlier place? Then it stops, and has no word further on."""
        return any(position < before and self._differs(name, mine) for position, mine in self._mine.items())

    def _differs(self, name: str, mine: Place) -> bool:
        said = self._said(name, mine)
        ((digest, count),) = self._counted(mine, mine.voters).most_common(1) or ((None, 0),)
        return said not in (None, digest) and 2 * count > len(mine.voters)

    def _settle(self, position: Position, voters: Sequence[str]) -> None:
        """It is known who is right there. Where do those differ next who were?"""
        if self.divided is not None and position >= self.divided:
            self.divided = None
            for later in [each for each in self._mine if each > position]:
                self.opinion(later, voters)


def _keep_last(places: dict[Position, Any], divided: Position | None) -> None:
    """What came last of them: so that who names places that there are not spoils its own word only.

    And the one at which voters differ: a restart makes a place of its own, and there may be many before that is mended.
    """
    while len(places) > PLACES_MAX:
        del places[next(each for each in places if each != divided)]
