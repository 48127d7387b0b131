"""All lives of all replicas deliver the same at an index, also those that ended since (3.6.3: state machine safety)."""

from __future__ import annotations

from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class StateMachineSafety(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._batches: dict[int, Batch] = {}

    def delivering(self, process: Process, batch: Batch) -> None:
        known = self._batches.setdefault(batch.first, batch)
        check(known == batch, "all deliver the same", name=process.name, batches=(known, batch))
