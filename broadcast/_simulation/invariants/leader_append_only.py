"""A leader only appends to its log, and no other makes batches of its epoch (Ongaro 2014, 3.2: leader append-only)."""

from __future__ import annotations

from broadcast._protocol.output import Persist
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class LeaderAppendOnly(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._made: set[tuple[int, int]] = set()  # epoch and first index

    def persisting(self, process: Process, persist: Persist) -> None:
        leadership = process.replica.leadership
        if leadership is not None:
            check(persist.truncate is None, "a leader cuts nothing", name=process.name, truncate=persist.truncate)
        epoch = 0 if leadership is None else leadership.epoch
        for batch in persist.batches:
            place = batch.epoch, batch.first
            if place not in self._made:
                check(batch.epoch == epoch, "only its leader makes an epoch's batches", name=process.name, batch=batch)
                self._made.add(place)
