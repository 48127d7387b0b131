"""What took effect gets no second place in the log of its epoch, however often it is sent (rule 18)."""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._protocol.entries import Commands, Entry
from broadcast._protocol.position import Batch
from broadcast._simulation.calls import Ran
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class OnePlace(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._epoch, self._first = 0, 1  # of what was delivered last, and where it begins
        self._ran: set[tuple[int, int]] = set()  # in it: session and number

    def delivered(self, process: Process, batch: Batch, entries: Sequence[Entry]) -> None:
        if batch.epoch > self._epoch:
            self._epoch, self._first = batch.epoch, batch.first
            self._ran.clear()
        for entry in entries:
            if isinstance(entry, Commands):
                numbers = range(entry.number, entry.number + entry.count)
                known = all((entry.session, number) in self._ran for number in numbers)
                check(not known, "in its epoch's log a command has one place", batch=batch, entry=entry)

    def ran(self, ran: Ran) -> None:
        if ran.index >= self._first:
            self._ran.add((ran.numbered.session, ran.numbered.number))
