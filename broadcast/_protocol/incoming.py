"""A snapshot on its way to a follower, part by part (rule 11; Ongaro 2014, 5.1, 5.2).

Parts are kept in the order of their offsets, and asked for again from where they end: what a lost link or a slow disk
has cost is told by the next answer. Nothing of the replica's state changes before all of it is here, whole and loaded.
"""

from __future__ import annotations

from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol.messages import PartReply, SnapshotPart
from broadcast._protocol.outbox import Outbox
from broadcast._protocol.output import Load, Loaded, LoadFailed, PartStored, StorePart
from broadcast._protocol.own import OwnLog
from broadcast._protocol.snapshots import Snapshot
from membership._protocol.election import Election, Role

PAUSE = 10_000_000  # microseconds after which a snapshot that could not be used is tried again


class Incoming:
    """What is here of a snapshot that a leader sends. One at a time."""

    def __init__(self, own: OwnLog, election: Election, outbox: Outbox) -> None:
        self._own = own
        self._election = election
        self._outbox = outbox
        self._snapshot: Snapshot | None = None
        self._asked = 0  # bytes handed to the disk
        self._stored = 0
        self._storing = 0  # parts that the disk has not answered for yet
        self._loading = False
        self._failed_at: int | None = None  # all of it was here, and could not be used

    def part(self, sender: str, message: SnapshotPart, now: int) -> bool:
        """Bytes have come from the leader. False if they are of no use: the state here is as new as that."""
        snapshot = message.snapshot
        if snapshot.position.epoch > message.epoch:
            raise RemoteProtocolError(f"a snapshot at {snapshot.position}, from a leader of epoch {message.epoch}")
        if message.offset + len(message.data) > snapshot.size:
            raise RemoteProtocolError(
                f"{len(message.data)} bytes at {message.offset} of a snapshot of {snapshot.size} bytes"
            )
        if snapshot.index <= self._own.commit:
            return False
        if snapshot != self._snapshot:
            if self._loading:
                return True  # that comes to an end first; the leader asks again
            self._begin(snapshot)
        elif self._failed_at is not None and now - self._failed_at >= PAUSE:
            self._begin(snapshot)
        if message.offset != self._asked:
            self._tell(sender, snapshot)
        elif not self._loading:
            self._asked += len(message.data)
            self._storing += 1
            self._outbox.transfer(StorePart(snapshot, message.offset, message.data))
        return True

    def on_part_stored(self, given: PartStored) -> None:
        """The disk has so much of it."""
        snapshot = self._snapshot
        if snapshot is None or snapshot.position != given.position or self._loading:
            return
        self._stored = given.size
        self._storing = max(0, self._storing - 1)
        if not self._storing:
            self._asked = given.size  # less than was asked for: there was no room
        if given.size == snapshot.size:
            self._loading = True
            self._outbox.transfer(Load(snapshot))
        leader = self._election.leader
        if leader not in (None, self._election.name):
            self._tell(str(leader), snapshot)

    def on_loaded(self, given: Loaded) -> Snapshot | None:
        """It is whole, and can take the place of the state, if that is still behind it, and of a log that may change.

        That of one who stands, or leads, is what it asks for votes with. Returns what was installed.
        """
        snapshot = self._snapshot
        if snapshot is None or snapshot.position != given.position or not self._loading:
            return None
        self._forget()
        if snapshot.index > self._own.commit and self._election.role is Role.FOLLOWER:
            self._own.install(snapshot)
            return snapshot
        return None

    def on_load_failed(self, given: LoadFailed, now: int) -> None:
        """It is not. It is wanted anew after a while, and not at once: nothing may have changed where it comes from."""
        if self._snapshot is not None and self._snapshot.position == given.position and self._loading:
            self._loading, self._failed_at = False, now
            self._outbox.notice(f"a snapshot that came from the leader cannot be used: {given.why}")

    def _begin(self, snapshot: Snapshot | None) -> None:
        self._snapshot, self._loading, self._failed_at = snapshot, False, None
        self._asked = self._stored = self._storing = 0

    def _forget(self) -> None:
        self._begin(None)

    def _tell(self, to: str, snapshot: Snapshot) -> None:
        message = PartReply(self._election.epoch, snapshot.position, self._stored)
        self._outbox.bind(to, message, self._election.promise)
