"""In one life all is delivered once, in order, without a gap, and is never cut again (rules 8, 9).

But where a snapshot takes the place of what was to come: then it goes on from there, and never back (rule 11).
"""

from __future__ import annotations

from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._protocol.snapshots import Snapshot
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class GapFree(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._delivered: dict[str, int] = {}

    def started(self, process: Process) -> None:
        snapshot = process.replica.snapshot
        self._delivered[process.name] = snapshot.index if snapshot else 0

    def installing(self, process: Process, snapshot: Snapshot) -> None:
        before = self._delivered[process.name]
        newer = snapshot.index > before
        check(newer, "no older state is installed", name=process.name, before=before, snapshot=snapshot.position)
        self._delivered[process.name] = snapshot.index

    def delivering(self, process: Process, batch: Batch) -> None:
        before = self._delivered[process.name]
        check(batch.first == before + 1, "no gap, nothing twice", name=process.name, before=before, batch=batch)
        self._delivered[process.name] = batch.last

    def persisting(self, process: Process, persist: Persist) -> None:
        if persist.truncate is not None:
            delivered = self._delivered[process.name]
            check(persist.truncate > delivered, "what was delivered is not cut", name=process.name, persist=persist)
