"""A command takes effect once, however often it was sent (Ongaro 2014, 6.3; rule 18)."""

from __future__ import annotations

from broadcast._simulation.calls import Ran
from broadcast._simulation.invariants.base import Invariant, Scene
from broadcast._simulation.invariants.claim import check


class OnceOnly(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._places: dict[tuple[int, int], int] = {}  # session and number -> index

    def ran(self, ran: Ran) -> None:
        numbered = ran.numbered
        before = self._places.setdefault((numbered.session, numbered.number), ran.index)
        check(before == ran.index, "a command takes effect once", numbered=numbered, indices=(before, ran.index))
