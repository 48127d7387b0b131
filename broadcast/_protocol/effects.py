"""Messages of a replicated actor to itself: when they are due, and who says so (rules 12, 21).

A command that was applied may leave messages to its own group behind, each due at a log time. They wait in a table that
is replicated state: every change to it comes from the log. When some are due the leader appends an entry that says so
(`Due`), and as that is applied they leave the table and run. So each runs once, whoever leads and however often it was
said: what is not there any more runs nowhere.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence

from broadcast._protocol.crashes import Undos
from broadcast._protocol.entries import Due
from broadcast._protocol.position import INTEGER_MAX

Effect = tuple[int, int, bytes]
"""Log time at which it is due, number, encoded call: they sort in the order in which they run."""

DUE_AT_ONCE_MAX = 1_000
"""Effects that one entry runs: as many as a batch holds runs, so that others come in between."""
_TAKEN_MAX = 1_024  # places at the beginning that may be empty


class Effects:
    """Those that wait, the one due first coming first; of those due at once, the one that was left first.

    number: of the last one that was ever left. They are numbered 1, 2, 3..., as those between two groups will be.
    size: bytes that count against limits. undos: of those that were due and had to be undone, None if none was.
    """

    def __init__(self, waiting: Sequence[Effect] = (), number: int = 0, undos: Undos | None = None) -> None:
        """waiting: in their order."""
        self.undos = undos
        self.number = number
        self.size = sum(size(call) for _, _, call in waiting)
        self._waiting = [*waiting]
        self._taken = 0  # how many at the beginning are taken already

    def __len__(self) -> int:
        return len(self._waiting) - self._taken

    @property
    def due(self) -> int | None:
        """Log time at which the first one is due; None if none waits."""
        return self._waiting[self._taken][0] if self else None

    @property
    def waiting(self) -> list[Effect]:
        """In their order."""
        return self._waiting[self._taken :]

    def due_by(self, time: int) -> int:
        """How many are due at log time `time`."""
        return bisect_right(self._waiting, (time, INTEGER_MAX, b""), self._taken) - self._taken

    def add(self, due: int, call: bytes) -> None:
        """A command that was applied leaves this behind."""
        self.number += 1
        self.size += size(call)
        insort(self._waiting, (due, self.number, call), self._taken)

    def take(self, time: int) -> bytes | None:
        """The next one, if it is due at log time `time`: it waits no more."""
        if not self or self._waiting[self._taken][0] > time:
            return None
        call = self._waiting[self._taken][2]
        self.size -= size(call)
        self._taken += 1
        if self._taken >= _TAKEN_MAX:
            del self._waiting[: self._taken]
            self._taken = 0
        return call


def size(call: bytes) -> int:
    """Bytes that count against limits."""
    return 64 + len(call)


class Alarm:
    """What a leader knows of the effects that wait in its own machine: when to say that some are due.

    rings_at: on the monotonic clock; None if nothing waits, or what waits is due already.
    """

    def __init__(self) -> None:
        self.rings_at: int | None = None
        self._due: int | None = None
        self._count = 0
        self._said = 0  # up to this index it was said already

    @property
    def is_set(self) -> bool:
        """Does anything wait that was not said to be due?"""
        return self._due is not None

    def told(self, index: int, due: int | None, count: int) -> bool:
        """This waits once all up to `index` was applied. Is it news? Not while what was said is not applied."""
        if index < self._said:
            return False
        self._due, self._count, self.rings_at = due, count, None
        return due is not None

    def wind(self, now: int, time: int) -> bool:
        """It is log time `time` at the monotonic time `now`: is something due? If not yet, it rings in time.

        Log time goes on as fast as the monotonic clock, at least, but for a wall clock that is set back: then this is
        asked again when it rings.
        """
        if self._due is None:
            return False
        self.rings_at = now + self._due - time if self._due > time else None
        return self.rings_at is None

    def rang(self, now: int) -> None:
        """Time has passed: whoever may say what is due looks at it from now on, and need not be woken again."""
        if self.rings_at is not None and now >= self.rings_at:
            self.rings_at = None

    def say(self, first: int) -> Due:
        """The entry that says so, to stand at index `first`."""
        due = Due(min(self._count, DUE_AT_ONCE_MAX))
        self._due, self._said = None, first + due.count - 1
        return due
