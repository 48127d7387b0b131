"""A version of the class is put in force once all voters run it, and nobody goes by another there (rule 29)."""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._protocol.entries import Entry, Versioned, membership_in
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._protocol.snapshots import Snapshot
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class Versions(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._run: dict[str, int] = {}  # by process: the latest version that any of its lives ran
        self._in_force: list[tuple[int, int]] = []  # as delivered: from which index on, and which

    def started(self, process: Process) -> None:
        self._run[process.name] = max(process.replica.plan.version, self._run.get(process.name, 0))

    def persisting(self, process: Process, persist: Persist) -> None:
        leadership = process.replica.leadership
        for batch in persist.batches:
            entry = membership_in(batch)
            if leadership is None or batch.epoch != leadership.epoch or not isinstance(entry, Versioned):
                continue
            voters = process.replica.configuration.voter_names if process.replica.configuration else ()
            known = {name: self._run.get(name, 0) for name in voters}
            late = [name for name in voters if known[name] < entry.version]
            check(not late, "a version is put in force once all voters have run it", entry=entry, known=known)

    def delivered(self, process: Process, batch: Batch, entries: Sequence[Entry]) -> None:
        formation = process.replica.formation
        if formation is not None and not self._in_force:
            self._in_force.append((0, formation.version))
        for entry in entries:
            if isinstance(entry, Versioned):
                before = self._in_force[-1][1]
                check(entry.version > before, "the version in force grows", before=before, entry=entry)
                self._in_force.append((batch.first, entry.version))

    def applied(self, process: Process, batch: Batch) -> None:
        self._look(process, batch.last)

    def installed(self, process: Process, snapshot: Snapshot) -> None:
        self._look(process, snapshot.index)

    def _look(self, process: Process, index: int) -> None:
        agreed = next(version for since, version in reversed(self._in_force) if since <= index)
        mine, ours = process.machine.version, process.replica.plan.version
        check(mine == agreed, "the version in force is the log's", name=process.name, machine=mine, log=agreed)
        check(mine <= ours, "nothing is applied by a class that is too old", name=process.name, agreed=mine, run=ours)
