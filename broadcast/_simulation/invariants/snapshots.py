"""A snapshot is what the log up to there comes to, the same on every replica, however it got there (rules 11, 28).

And nothing of a log goes before a snapshot that holds it is durable; nor is one sent that the log does not go on from:
who had all of it would need another at once (rule 10).
"""

from __future__ import annotations

from broadcast._protocol.messages import Message, SnapshotPart
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.snapshots import Snapshot
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class Snapshots(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._ends: dict[int, Batch] = {}  # delivered by any, by last index
        self._taken: dict[Position, Snapshot] = {}
        self._states: dict[int, bytes] = {}  # of the actor, by index

    def delivering(self, process: Process, batch: Batch) -> None:
        self._ends[batch.last] = batch

    def applied(self, process: Process, batch: Batch) -> None:
        if process.machine.at_marker:
            state = process.machine.state()
            known = self._states.setdefault(batch.last, state)
            check(known == state, "states are equal where snapshots are taken", name=process.name, index=batch.last)

    def taken(self, process: Process, snapshot: Snapshot) -> None:
        end = self._ends.get(snapshot.index)
        facts = snapshot.position, snapshot.time, snapshot.stamp
        mine = None if end is None else (end.end, end.time, end.last_stamp)
        check(facts == mine, "a snapshot is of a state that was applied", name=process.name, snapshot=facts, end=mine)
        known = self._taken.setdefault(snapshot.position, snapshot)
        check(known == snapshot, "snapshots of one state are equal", name=process.name, snapshots=(known, snapshot))

    def installed(self, process: Process, snapshot: Snapshot) -> None:
        machine = process.machine
        state = self._states.get(snapshot.index)
        at = machine.applied, machine.time, machine.stamp
        facts = snapshot.index, snapshot.time, snapshot.stamp
        equal = machine.state() == state and at == facts
        check(equal, "what is installed is what was taken", name=process.name, snapshot=facts, machine=at)

    def persisting(self, process: Process, persist: Persist) -> None:
        if persist.compact:
            snapshot = persist.snapshot or self.scene.disks[process.name].snapshot
            whole = snapshot is not None and snapshot.position in self.scene.disks[process.name].snapshots.whole
            check(whole, "what is compacted is in a snapshot that is durable", name=process.name, persist=persist)

    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        if type(message) is SnapshotPart:
            start, at = process.replica.log.start, message.snapshot.position
            check(at.index >= start.index, "the log goes on from a snapshot that is sent", sent=at, start=start, to=to)
