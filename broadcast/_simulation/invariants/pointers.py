"""compacted <= snapshot <= applied <= commit <= last; none of them goes down in one life, the last aside.

The first two, and the epoch, never do. (Glossary: order of pointers; rule 1.)
"""

from __future__ import annotations

from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class Pointers(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._before: dict[str, tuple[int, ...]] = {}

    def started(self, process: Process) -> None:
        self._before[process.name] = (0, 0, 0, 0, 0)

    def stepped(self, process: Process) -> None:
        replica = process.replica
        log, commit, applied = replica.log, replica.commit, replica.applied
        snapshot = replica.snapshot.index if replica.snapshot else 0
        now = replica.epoch, commit, applied, snapshot, log.start.index
        before = self._before[process.name]
        if now != before:
            never_down = all(map(int.__ge__, now, before))
            check(never_down, "epoch, commit and applied never go down", name=process.name, before=before, now=now)
            self._before[process.name] = now
        if not log.start.index <= snapshot <= applied <= commit <= log.last.index:
            check(
                False, "compacted <= snapshot <= applied <= commit <= last", name=process.name, now=now, last=log.last
            )
