"""What is delivered is durable on a commit quorum, the leader's own disk counted like any other (10.2.1; rule 9)."""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._protocol.entries import Entry
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process
from broadcast._simulation.invariants.claim import check


class DurableCommit(Invariant):
    def delivered(self, process: Process, batch: Batch, entries: Sequence[Entry]) -> None:
        holders = [name for name, disk in self.scene.disks.items() if disk.held.get(batch.first) == batch]
        formation = process.replica.formation
        enough = formation is not None and formation.configuration.commits(frozenset(holders))
        check(enough, "what is delivered is durable on a commit quorum", batch=batch, holders=holders)
