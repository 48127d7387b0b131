"""What stands in the log of its epoch, in its order, gets no second place there, however often it is sent (rule 18)."""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._protocol.entries import Commands, Entry
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class OnePlace(Invariant):
    """In its order: behind what does not follow on from the one before it, and may close a gap, it may stand again."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._epoch = 0  # of what was delivered last
        self._placed: dict[int, range] = {}  # in it: session -> its numbers, in their order

    def delivered(self, process: Process, batch: Batch, entries: Sequence[Entry]) -> None:
        if batch.epoch > self._epoch:
            self._epoch = batch.epoch
            self._placed.clear()
        for entry in entries:
            if isinstance(entry, Commands):
                numbers = range(entry.number, entry.number + entry.count)
                before = self._placed.get(entry.session, range(entry.number, entry.number))
                again = numbers[0] in before and numbers[-1] in before
                check(not again, "in its epoch's log a command has one place", batch=batch, entry=entry, before=before)
                follows = before.start <= numbers.start <= before.stop
                self._placed[entry.session] = range(before.start, numbers.stop) if follows else numbers
