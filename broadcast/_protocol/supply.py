"""How a leader brings those level whose next entries it has compacted: they get a snapshot first (rules 10, 11).

What follows the snapshot is in the log: it goes out as to any follower.
"""

from __future__ import annotations

from collections.abc import Mapping

from actors._protocol.errors import RemoteProtocolError, violated
from broadcast._protocol.messages import PartReply, SnapshotPart
from broadcast._protocol.outbox import Outbox
from broadcast._protocol.output import PartRead, Received
from broadcast._protocol.own import OwnLog
from broadcast._protocol.progress import Flow, Progress
from membership._protocol.election import Election


class Supply:
    """One leader's snapshots to followers. followers: its picture of them."""

    def __init__(self, own: OwnLog, election: Election, outbox: Outbox, followers: Mapping[str, Progress]) -> None:
        self._epoch = election.epoch
        self._own = own
        self._election = election
        self._outbox = outbox
        self._followers = followers

    def go_on(self, name: str, progress: Progress, now: int) -> None:
        """What it needs next was compacted (rule 11), if that is what it says; else it is asked first."""
        own = self._own
        if progress.flow is not Flow.SNAPSHOT and not progress.is_behind:
            if progress.flow is Flow.STREAM:
                progress.probe()
            return
        if not self._election.heard_within(name, now, self._election.floor):
            return
        outgoing, start = progress.outgoing, own.log.start.index
        if progress.flow is not Flow.SNAPSHOT or outgoing is None or outgoing.snapshot.index < start:
            if own.snapshot is None:
                violated("what is compacted is in a snapshot", start=own.log.start)
            progress.restore(own.snapshot, start, now)
        asked = progress.outgoing.ask(name) if progress.outgoing else None
        if asked is not None:
            self._outbox.transfer(asked)

    def part_read(self, given: PartRead) -> None:
        """A part of a snapshot was read, for a follower that may have moved on."""
        progress = self._followers.get(given.to)
        outgoing = progress.outgoing if progress else None
        if outgoing is None or outgoing.snapshot.position != given.position:
            return
        if outgoing.snapshot.index < self._own.log.start.index:
            return  # the log does not go on from it any more: it gives way to another once the follower is heard
        if given.data is None:
            self._outbox.notice(f"the snapshot at index {given.position.index} cannot be read: {given.to} waits for it")
        if outgoing.read(given.offset, given.data) and given.data is not None:
            self._outbox.send(given.to, SnapshotPart(self._epoch, outgoing.snapshot, given.offset, given.data))

    def on_part_reply(self, received: Received, message: PartReply, now: int) -> None:
        """A follower tells how much it has of a snapshot."""
        progress = self._followers.get(received.sender)
        outgoing = progress.outgoing if progress else None
        if progress is None or outgoing is None or outgoing.snapshot.position != message.position:
            return
        if message.size > outgoing.snapshot.size:
            raise RemoteProtocolError(
                f"{message.size} bytes of a snapshot of {outgoing.snapshot.size} bytes are confirmed"
            )
        progress.confirmed(message.size, received.stamp, now)

    def needed(self, now: int) -> int:
        """Followers that are heard need what lies beyond this index, of our log."""
        election, needed = self._election, self._own.log.last.index
        for name, progress in self._followers.items():
            if election.heard_within(name, now, election.floor) and not progress.lost:
                outgoing = progress.outgoing
                needed = min(needed, progress.match if outgoing is None else outgoing.snapshot.index)
        return needed
