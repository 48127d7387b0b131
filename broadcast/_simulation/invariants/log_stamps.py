"""Lamport stamps strictly grow along the log, and each exceeds the one that its asker put on the command (glossary)."""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._protocol.entries import Commands, Entry, span
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class LogStamps(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._stamp = 0

    def delivered(self, process: Process, batch: Batch, entries: Sequence[Entry]) -> None:
        check(batch.stamp > self._stamp, "stamps grow along the log", batch=batch, before=self._stamp)
        self._stamp = batch.last_stamp
        stamp = batch.stamp
        for entry in entries:
            if isinstance(entry, Commands):
                check(stamp > entry.stamp, "an entry is later than its asker", stamp=stamp, entry=entry)
            stamp += span(entry)
