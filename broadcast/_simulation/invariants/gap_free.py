"""In one life all is delivered once, in order, without a gap, and is never cut again (rules 8, 9)."""

from __future__ import annotations

from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class GapFree(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._delivered: dict[str, int] = {}

    def started(self, process: Process) -> None:
        self._delivered[process.name] = 0

    def delivering(self, process: Process, batch: Batch) -> None:
        before = self._delivered[process.name]
        check(batch.first == before + 1, "no gap, nothing twice", name=process.name, before=before, batch=batch)
        self._delivered[process.name] = batch.last

    def persisting(self, process: Process, persist: Persist) -> None:
        if persist.truncate is not None:
            delivered = self._delivered[process.name]
            check(persist.truncate > delivered, "what was delivered is not cut", name=process.name, persist=persist)
