"""(epoch, first) names one batch with one predecessor, in all logs (Ongaro 2014, 3.5: log matching; rule 8)."""

from __future__ import annotations

from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class LogMatching(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._batches: dict[tuple[int, int], Batch] = {}

    def persisting(self, process: Process, persist: Persist) -> None:
        for batch in persist.batches:
            known = self._batches.setdefault((batch.epoch, batch.first), batch)
            check(known == batch, "logs match", name=process.name, batches=(known, batch))
