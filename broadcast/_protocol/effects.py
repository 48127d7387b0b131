"""Messages of a replicated actor to itself: when they are due, and who says so (rules 12, 21).

A command that was applied may leave messages to its own group behind, each due at a log time. They wait in a table that
is replicated state: every change to it comes from the log. When some are due the leader appends an entry that says so
(`Due`), and as that is applied they leave the table and run. So each runs once, whoever leads and however often it was
said: what is not there any more runs nowhere.

Some are held up when they are due, since too much of their kind had to be undone (rule 24). They are set aside, each
once, and wait there until their kind is run again, the first of them first: while those go well the next ones run, and
with one that is undone all others wait on. So crashes that wait, however many, cost one undo in each while, a bounded
number of places in the log, and no pass over all that wait.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from broadcast._protocol.crashes import Undos
from broadcast._protocol.entries import Due
from broadcast._protocol.position import INTEGER_MAX

Effect = tuple[int, int, bytes]
"""Log time at which it is due, number, encoded call: they sort in the order in which they run."""

FreeAt: TypeAlias = Callable[[str], int]
"""Log time from which on those with this tag are run."""

DUE_AT_ONCE_MAX = 1_000
"""Effects that one entry runs: as many as a batch holds runs, so that others come in between."""
HELD_AT_ONCE_MAX = 100
"""Of them, such as were held up: if the first of them is undone, the places of the others in the log stay void."""
_TAKEN_MAX = 1_024  # places at the beginning that may be empty


def at_once(tag: str) -> int:
    """Nothing is held up."""
    return 0


class Effects:
    """Those that wait, the one due first coming first; of those due at once, the one that was left first.

    Those that were held up are set aside by tag, in the same order, and come before those that are due later.

    number: of the last one that was ever left. They are numbered 1, 2, 3..., as those between two groups will be.
    size: bytes that count against limits. undos: of those that were due and had to be undone, None if none was.
    """

    def __init__(
        self,
        waiting: Sequence[Effect] = (),
        number: int = 0,
        undos: Undos | None = None,
        held_up: Sequence[tuple[str, Effect]] = (),
    ) -> None:
        """waiting, held_up: in their order; the latter with their tags."""
        self.undos = undos
        self.number = number
        self.size = sum(size(call) for _, _, call in waiting)
        self._waiting = [*waiting]
        self._held_up: dict[str, deque[Effect]] = {}
        self._held_up_count = 0
        for tag, effect in held_up:
            self.hold(tag, effect)
        self._taken = 0  # how many at the beginning are taken already

    def __len__(self) -> int:
        return len(self._waiting) - self._taken + self._held_up_count

    @property
    def waiting(self) -> list[Effect]:
        """Those that were not held up, in their order."""
        return self._waiting[self._taken :]

    @property
    def held_up(self) -> list[tuple[str, Effect]]:
        """Those that were, with their tags, in their order."""
        every = [(tag, effect) for tag, effects in self._held_up.items() for effect in effects]
        return sorted(every, key=lambda each: each[1][:2])

    def due(self, free_at: FreeAt = at_once) -> int | None:
        """Log time at which the first one is to run; None if none waits."""
        dues = [free_at(tag) for tag in self._held_up]
        if self._taken < len(self._waiting):
            dues.append(self._waiting[self._taken][0])
        return min(dues, default=None)

    def due_by(self, time: int, free_at: FreeAt = at_once) -> int:
        """How many to say that they are due at log time `time`."""
        due = bisect_right(self._waiting, (time, INTEGER_MAX, b""), self._taken) - self._taken
        held_up = sum(map(len, self._free(time, free_at)))
        return due + min(held_up, HELD_AT_ONCE_MAX)

    def add(self, due: int, call: bytes) -> None:
        """A command that was applied leaves this behind."""
        self.number += 1
        self.size += size(call)
        insort(self._waiting, (due, self.number, call), self._taken)

    def hold(self, tag: str, effect: Effect) -> None:
        """It was taken, and is held up: set it aside. What it took of the room for all it still takes."""
        self._held_up.setdefault(tag, deque()).append(effect)
        self._held_up_count += 1
        self.size += size(effect[2])

    def take(self, time: int, free_at: FreeAt = at_once) -> Effect | None:
        """The next one, if one is due at log time `time`: it waits no more. First those that are not held up any more.

        It may have to be held up: then `hold` it.
        """
        effect = self._take_free(time, free_at) if self._held_up else None
        effect = effect or self._take_waiting(time)
        if effect is not None:
            self.size -= size(effect[2])
        return effect

    def _free(self, time: int, free_at: FreeAt) -> Iterator[deque[Effect]]:
        return (effects for tag, effects in self._held_up.items() if free_at(tag) <= time)

    def _take_free(self, time: int, free_at: FreeAt) -> Effect | None:
        first = min(self._free(time, free_at), key=lambda effects: effects[0][:2], default=None)
        if first is None:
            return None
        effect = first.popleft()
        self._held_up_count -= 1
        if not first:
            self._held_up = {tag: effects for tag, effects in self._held_up.items() if effects}
        return effect

    def _take_waiting(self, time: int) -> Effect | None:
        if self._taken == len(self._waiting) or self._waiting[self._taken][0] > time:
            return None
        effect = self._waiting[self._taken]
        self._taken += 1
        if self._taken >= _TAKEN_MAX:
            del self._waiting[: self._taken]
            self._taken = 0
        return effect


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
