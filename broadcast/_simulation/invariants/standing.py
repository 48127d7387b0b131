"""A voter grants only to a log that is at least as up to date as its own (Ongaro 2014, 3.6.1; rule 4)."""

from __future__ import annotations

from broadcast._protocol.output import Persist
from broadcast._protocol.position import Position
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check
from membership._protocol.view import Promise


class Standing(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._campaigns: dict[Promise, Position] = {}

    def persisting(self, process: Process, persist: Persist) -> None:
        """The promise was made in the step that asks for this."""
        promise, last = persist.promise, process.replica.log.last
        if promise is None or promise.granted_to is None:
            return
        if promise.granted_to == process.name:
            self._campaigns[promise] = last
        else:
            standing = self._campaigns[promise]
            check(standing >= last, "a grant goes to the better log", voter=process.name, own=last, candidate=standing)
