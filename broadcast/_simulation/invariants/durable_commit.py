"""What is delivered is durable on a commit quorum, the leader's own disk counted like any other (10.2.1; rule 9).

Which configuration was in force when it was committed, only its leader knows: the latest in its own log then (4.1). It
is that of the entry's own place, or one that follows it in the log.
"""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._protocol.entries import Entry
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process
from broadcast._simulation.invariants.claim import check
from broadcast._simulation.invariants.in_force import commit_by, in_force


class DurableCommit(Invariant):
    def delivered(self, process: Process, batch: Batch, entries: Sequence[Entry]) -> None:
        holders = [name for name, disk in self.scene.disks.items() if disk.holds(batch)]
        enough = any(commit_by(each, frozenset(holders)) for each in in_force(process.replica, batch.last))
        check(enough, "what is delivered is durable on a commit quorum", batch=batch, holders=holders)
