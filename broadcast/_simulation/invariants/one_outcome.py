"""Every call has one outcome, told once, and once all is repaired, it has it (rules 18, 19)."""

from __future__ import annotations

from collections.abc import Mapping

from broadcast._simulation.calls import Call, Fate
from broadcast._simulation.invariants.base import Invariant, Process
from broadcast._simulation.invariants.claim import check


class OneOutcome(Invariant):
    def settling(self, call: Call, fate: Fate) -> None:
        check(call.fate is Fate.OPEN, "an outcome is told once", call=call, fate=fate)

    def ended(self, processes: Mapping[str, Process]) -> None:
        for call in self.scene.calls:
            check(call.fate is not Fate.OPEN, "every call has an end", call=call)
