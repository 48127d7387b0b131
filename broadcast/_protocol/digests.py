"""Do the replicas still agree? Each tells the others the digest of its snapshot at each agreed marker (rule 28).

The order is agreed on; what commands make of it is the user's class, and one that looks at a clock, at chance or at its
own process makes something else of it on each replica. The bytes of a snapshot follow from the log alone, so that equal
states have equal digests. A majority of the voters of that place decides who is right.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from typing import Any

from broadcast._protocol.position import Position
from broadcast._protocol.snapshots import Digest, Snapshot

PLACES_MAX = 8  # markers whose digests are remembered
TOLD_MAX = 64  # members whose digests are remembered


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

    def __init__(self, name: str) -> None:
        self._name = name
        self._mine: dict[Position, Snapshot] = {}
        self._told: dict[str, dict[Position, tuple[int, Digest]]] = {}  # by member, the last that it told at the end
        self.newest: Snapshot | None = None
        """Our own newest."""
        self.agreed: Position | None = None
        """The newest place at which a majority was where this one is."""
        self.divided: Position | None = None
        """The newest place at which voters differ, unless a majority was found to agree there, or further on."""

    def took(self, snapshot: Snapshot, voters: Sequence[str]) -> Opinion:
        """Ours. voters: those of now: who has left decides nothing any more."""
        self.newest = snapshot
        self._mine[snapshot.position] = snapshot
        _keep_last(self._mine)
        return self.heard(self._name, snapshot.position, snapshot.layout, snapshot.digest, voters)

    def heard(self, name: str, position: Position, layout: int, digest: Digest, voters: Sequence[str]) -> Opinion:
        """A member's. It may come before our own."""
        if name in self._told or len(self._told) < TOLD_MAX:
            told = self._told.setdefault(name, {})
            told.pop(position, None)
            told[position] = layout, digest
            _keep_last(told)
        return self.opinion(position, voters)

    def opinion(self, position: Position, voters: Sequence[str]) -> Opinion:
        """What is known of that place: by the voters that it had, as far as they still are."""
        mine = self._mine.get(position)
        if mine is None:
            return Opinion.OPEN
        deciding = [name for name in mine.agreed.configuration.voter_names if name in voters]
        told = [self._told[name][position] for name in deciding if position in self._told.get(name, {})]
        counted = Counter(digest for layout, digest in told if layout == mine.layout)
        if not counted:
            return Opinion.OPEN
        digest, count = counted.most_common(1)[0]
        if 2 * count > len(deciding):
            self._settle(position)
            if digest != mine.digest:
                return Opinion.DIVERGED
            self.agreed = max(position, self.agreed or position)
            return Opinion.AGREED
        if len(counted) < 2:
            return Opinion.OPEN
        self.divided = max(position, self.divided or position)
        return Opinion.DIVIDED

    def _settle(self, position: Position) -> None:
        if self.divided is not None and position >= self.divided:
            self.divided = None


def _keep_last(places: dict[Position, Any]) -> None:
    """What came last of them: so that who names places that there are not spoils its own word only."""
    while len(places) > PLACES_MAX:
        del places[next(iter(places))]
