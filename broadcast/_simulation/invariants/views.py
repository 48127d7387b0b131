"""All replicas see one sequence of views (glossary: view)."""

from __future__ import annotations

from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check
from membership._protocol.view import View


class Views(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._views: list[View] = []

    def applied(self, process: Process, batch: Batch) -> None:
        mine = process.machine.views
        self._views.extend([view for view in mine if view.number > len(self._views)])
        if mine:
            known = self._views[mine[-1].number - 1]
            check(known == mine[-1], "views are one sequence", name=process.name, views=(known, mine[-1]))
