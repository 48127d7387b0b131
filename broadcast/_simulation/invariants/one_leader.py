"""An epoch has one leader at most, in one life (Ongaro 2014, 3.2: election safety; glossary: epoch)."""

from __future__ import annotations

from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class OneLeader(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._leaders: dict[int, tuple[str, int]] = {}  # epoch -> name and life

    def elected(self, process: Process) -> None:
        epoch, mine = process.replica.epoch, (process.name, process.life)
        known = self._leaders.setdefault(epoch, mine)
        check(known == mine, "an epoch has one leader", epoch=epoch, leaders=(known, mine))
