"""A leader holds all that was delivered in earlier epochs (Ongaro 2014, 3.6.3: leader completeness)."""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._protocol.entries import Entry
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class LeaderCompleteness(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._delivered: list[tuple[int, Batch]] = []  # and the epoch of whoever was first

    def delivered(self, process: Process, batch: Batch, entries: Sequence[Entry]) -> None:
        self._delivered.append((process.replica.epoch, batch))

    def elected(self, process: Process) -> None:
        log, epoch, snapshot = process.replica.log, process.replica.epoch, process.replica.snapshot
        compacted = snapshot.index if snapshot else 0
        for delivered_in, batch in self._delivered:
            if delivered_in < epoch:
                holds = batch.last <= compacted or log.batch_at(batch.first) == batch
                check(holds, "a leader holds all that was delivered before it", name=process.name, batch=batch)
