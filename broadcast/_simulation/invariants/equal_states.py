"""Replicas that have applied the same are equal (rule 28)."""

from __future__ import annotations

from collections.abc import Mapping

from broadcast._simulation.invariants.base import Invariant, Process
from broadcast._simulation.invariants.claim import check


class EqualStates(Invariant):
    def ended(self, processes: Mapping[str, Process]) -> None:
        states = {name: process.machine.state() for name, process in processes.items()}
        check(len(dict.fromkeys(states.values())) == 1, "all states are equal", states=states)
