"""Nobody is elected while another holds a lease, and may answer for what is out of date then (rule 20; 6.4.1).

But for who is elected too late: votes of an epoch before the holder's may be counted by one that was stopped meanwhile.
It commits nothing, and hears so from each that it asks.

Looked at from outside, at the moment of the election, on the clock of each that takes itself to lead: of one that is
stopped too, as it may go on at any time.
"""

from __future__ import annotations

from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class Leases(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._processes: dict[str, Process] = {}

    def started(self, process: Process) -> None:
        self._processes[process.name] = process

    def elected(self, process: Process) -> None:
        for other in self._processes.values():
            held = other.name != process.name and other.holds_lease and other.replica.epoch <= process.replica.epoch
            check(not held, "nobody is elected while another holds a lease", elected=process.name, holds=other.name)
