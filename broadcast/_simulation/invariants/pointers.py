"""compacted <= applied <= commit <= last; none of them goes down in one life, the last aside, and no epoch ever.

(Glossary: order of pointers; rule 1.) Snapshots are still to come, and with them `snapshot` between the first two.
"""

from __future__ import annotations

from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class Pointers(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._before: dict[str, tuple[int, int, int, int]] = {}

    def started(self, process: Process) -> None:
        self._before[process.name] = (0, 0, 0, 0)

    def stepped(self, process: Process) -> None:
        replica = process.replica
        log, commit, applied = replica.log, replica.commit, replica.applied
        now = replica.epoch, commit, applied, log.start.index
        before = self._before[process.name]
        if now != before:
            never_down = all(map(int.__ge__, now, before))
            check(never_down, "epoch, commit and applied never go down", name=process.name, before=before, now=now)
            self._before[process.name] = now
        if not log.start.index <= applied <= commit <= log.last.index:
            check(False, "compacted <= applied <= commit <= last", name=process.name, now=now, last=log.last)
