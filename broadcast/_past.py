"""What is remembered of the entries that were applied, for those who look back: deliveries, and undos.

What became of the commands, whose they were, what was due, and who led then. It is known of the entries since a marker
of the log, and the same on all replicas: it goes into snapshots, and what lies further back is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import msgspec

from actors._protocol.codec import DecodeError
from actors._protocol.errors import invariant
from broadcast._calls import is_encoded_call
from broadcast._protocol.position import Batch, Natural, Positive
from broadcast._protocol.sessions import Outcome
from broadcast._ranges import OutcomeRanges
from membership._protocol.view import Limits, Version


@dataclass(slots=True)
class Markers:
    """Places in the log where a snapshot is due (rule 11): a matter of the log alone, so that they are agreed.

    previous, latest: the last two. count, size, batches: of the entries since, their bytes, and what they came in.
    """

    previous: int = 0
    latest: int = 0
    count: int = 0
    size: int = 0
    batches: int = 0

    def passed(self, batch: Batch, size: int, limits: Limits) -> bool:
        """This was applied, by these limits. Returns whether there is a marker at its end.

        size: bytes of the calls that it has run and does not hold.
        """
        self.count += batch.count
        self.size += batch.size + size
        self.batches += 1
        few = self.count < limits.snapshot_entries and self.batches < limits.snapshot_batches
        if few and self.size < limits.snapshot_size:
            return False
        self.previous, self.latest, self.count, self.size, self.batches = self.latest, batch.last, 0, 0, 0
        return True


class PastWritten(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is remembered, in a snapshot: see `Past`."""

    start: Natural
    came_to: tuple[list[Natural], list[Outcome]]
    left: list[tuple[Natural, str, Natural]]
    leaders: list[tuple[Positive, str, Positive]]
    versions: list[tuple[Natural, Version]]
    due: dict[Natural, bytes]


class Past:
    """`start`: of the entries beyond this index all is known."""

    def __init__(self, version: int = 1) -> None:
        """version: of the class, that the group was formed with."""
        self.start = 0
        self._came_to = OutcomeRanges()
        self._due: dict[int, bytes] = {}  # by index: calls that were due there
        self._left: dict[int, tuple[str, int]] = {}  # session -> who opened it, and where it came to its end
        self._leaders: dict[int, tuple[str, int]] = {}  # epoch -> who leads in it, and where it begins
        self._versions: list[tuple[int, int]] = [(0, version)]  # of the class; the index of what put each in force

    def note(self, first: int, count: int, outcome: Outcome) -> None:
        """`count` commands from index `first` on came to this, and were not simply applied."""
        self._came_to.note(first, count, outcome)

    def came_to(self, index: int) -> Outcome:
        """What the command there came to."""
        invariant(index > self.start, "what is asked for is still remembered", index=index, start=self.start)
        return self._came_to[index]

    def was_due(self, index: int, call: bytes) -> None:
        """The group's message to itself that was due there."""
        self._due[index] = call

    def due_at(self, index: int) -> bytes | None:
        """None if there was none left."""
        return self._due.get(index)

    def left(self, session: int, owner: str, index: int) -> None:
        """A session has ended, or expired, at the entry at `index`."""
        self._left[session] = owner, index

    def owner(self, session: int) -> str:
        """Who opened a session that is there no more."""
        return self._left[session][0]

    def begin(self, epoch: int, leader: str, index: int) -> None:
        """An epoch begins with the entry at `index`."""
        self._leaders[epoch] = leader, index

    def began(self, epoch: int) -> bool:
        return epoch in self._leaders

    def ends_by(self, index: int) -> bool:
        """Is all of it of entries up to `index`?"""
        begins = (begin for _, begin in self._leaders.values())
        return max(self.start, self._came_to.end - 1, self._versions[-1][0], *begins, 0) <= index

    def leads(self, epoch: int, leader: str) -> bool:
        """Is this the epoch that began last, and does this node lead in it?"""
        return next(reversed(self._leaders), None) == epoch and self._leaders[epoch][0] == leader

    def leader(self, epoch: int) -> str:
        return self._leaders[epoch][0]

    def raised(self, version: int, index: int) -> None:
        """The entry at `index` puts this version of the class in force."""
        self._versions.append((index, version))

    def version(self, index: int) -> int:
        """The version of the class in force at `index`."""
        since, version = self._versions[-1]  # mostly; and each batch asks
        if since <= index:
            return version
        return next(version for since, version in reversed(self._versions) if since <= index)

    def forget(self, start: int) -> None:
        """Nobody will ask for an entry up to this index any more."""
        if start > self.start:
            self.start, self._came_to = start, self._came_to.beyond(start)
            self._left, self._leaders = self._left_beyond(start), self._leaders_beyond(start)
            self._versions = self._versions_beyond(start)
            self._due = self._due_beyond(start)

    def _left_beyond(self, start: int) -> dict[int, tuple[str, int]]:
        return {session: (owner, index) for session, (owner, index) in self._left.items() if index > start}

    def _due_beyond(self, start: int) -> dict[int, bytes]:
        return {index: call for index, call in self._due.items() if index > start}

    def _leaders_beyond(self, start: int) -> dict[int, tuple[str, int]]:
        """Also the last one: it may go on."""
        begins = [index for _, index in self._leaders.values()]
        over = sum(index <= start + 1 for index in begins[1:])
        return dict(list(self._leaders.items())[over:])

    def _versions_beyond(self, start: int) -> list[tuple[int, int]]:
        """Also the last one: it goes on."""
        over = sum(since <= start + 1 for since, _ in self._versions[1:])
        return self._versions[over:]

    # -- in a snapshot ---------------------------------------------------------------------------------------------

    def written(self, start: int) -> list[object]:
        """What is known of the entries beyond `start`, for a snapshot."""
        left = [[session, *parts] for session, parts in self._left_beyond(start).items()]
        leaders = [[epoch, *parts] for epoch, parts in self._leaders_beyond(start).items()]
        versions = [[*parts] for parts in self._versions_beyond(start)]
        return [start, self._came_to.beyond(start).written(), left, leaders, versions, self._due_beyond(start)]

    @classmethod
    def read(cls, parts: PastWritten) -> Past:
        """The reverse. Raises DecodeError for what contradicts itself."""
        past = cls()
        past.start, past._came_to = parts.start, OutcomeRanges.read(*parts.came_to)
        past._left = {session: (owner, index) for session, owner, index in parts.left}
        past._leaders = {epoch: (leader, index) for epoch, leader, index in parts.leaders}
        past._versions, past._due = parts.versions, parts.due
        begins = [(epoch, index) for epoch, _, index in parts.leaders]
        if any(one[0] >= other[0] or one[1] >= other[1] for one, other in pairwise(begins)):
            raise DecodeError("epochs that do not follow one another")
        if not parts.versions or any(one > other for one, other in pairwise(parts.versions)):
            raise DecodeError("versions that do not follow one another")
        if parts.versions[0][0] > parts.start + 1:
            raise DecodeError("versions of which the first is unknown")
        if not all(map(is_encoded_call, parts.due.values())):
            raise DecodeError("something was due that is no message")
        return past
