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
        for view in process.machine.views[-1:]:
            if view.number == len(self._views) + 1:
                self._views.append(view)
            known = self._views[view.number - 1] if view.number <= len(self._views) else None
            check(known == view, "views are one sequence", name=process.name, views=(known, view))
