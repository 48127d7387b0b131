"""A leader commits entries of older epochs only through one of its own (Ongaro 2014, 3.6.2; rule 7)."""

from __future__ import annotations

from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process
from broadcast._simulation.invariants.claim import check


class OwnEpochCommit(Invariant):
    def delivering(self, process: Process, batch: Batch) -> None:
        replica = process.replica
        if replica.leadership is not None and batch.epoch < replica.epoch:
            check(
                replica.commit >= replica.leadership.start,
                "a leader commits older entries only through one of its own",
                name=process.name,
                batch=batch,
            )
