"""This replica's log, and how far it may be relied on (rules 1, 8, 9, 12).

The pointers, on every replica: compacted <= snapshot <= applied <= commit <= verified or durable <= last. `commit` is
learnt anew in each life (rule 1): a restarted replica delivers only what it again knows to be committed, from its
snapshot on.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors._protocol.clock import LamportClock
from actors._protocol.errors import invariant
from broadcast._protocol.entries import Configured, Reached, Versioned, membership_in
from broadcast._protocol.log import Log, Part
from broadcast._protocol.outbox import Outbox
from broadcast._protocol.output import Now
from broadcast._protocol.position import INTEGER_MAX, Batch
from broadcast._protocol.snapshots import Snapshot
from broadcast._protocol.writes import Writes
from membership._protocol.configurations import Agreed, Configurations
from membership._protocol.view import Formation

UNSYNCED_SIZE_MAX = 64 * 1024 * 1024  # bytes a follower takes in before its disk has them
KEPT_SIZE_MAX = (
    4 * 1024 * 1024
)  # bytes of the log below a snapshot that are kept, for followers that are a little behind
HELD_SIZE_MAX = 32 * 1024 * 1024  # the same for a follower that needs them, or as many as a larger snapshot has bytes
REMOVED_SIZE_MAX = 256 * 1024  # bytes of the log that go from the disk in one write, or as many as have come meanwhile
REMOVED_BATCHES_MAX = 1_000  # the same, in batches
CLOCK_BOUND = 1_000_000  # microseconds by which a leader's clock may run ahead of the log time it knows of (rule 12)


class OwnLog:
    """The log with its pointers. What is appended is also written; what is committed is also delivered."""

    def __init__(
        self,
        log: Log,
        writes: Writes,
        outbox: Outbox,
        clock: LamportClock,
        settled: int,
        snapshot: Snapshot | None = None,
    ) -> None:
        self.log = log
        self.writes = writes
        self.clock = clock
        self.snapshot = snapshot
        """The newest one that takes the place of the log up to it."""
        self.commit = self.applied = snapshot.index if snapshot else 0
        self.verified = 0
        """Entries up to here are those of this epoch's leader, as far as it has shown them."""
        self.told = 0
        """Up to here this epoch's leader has said that its log is committed."""
        self.takes: tuple[tuple[str, ...], int] = ((), 1)
        """The messages of the class that the group was formed with, and in which version of it."""
        self._verified_in = 0  # the epoch that `verified` and `told` speak of
        self._settled = settled
        self._configurations: Configurations | None = None
        self._outbox = outbox
        self._anchor: tuple[int, int] | None = None  # (log time, monotonic time at which we knew it)
        clock.advance(log.last_stamp)
        if snapshot is not None:  # of what went from the disk in parts, an earlier life may have left most
            writes.remove(self._compact(self._end_of_batch(log.before(snapshot.index, KEPT_SIZE_MAX))))

    @property
    def settled(self) -> int:
        """Nothing up to here may change: an earlier life knew it to be committed, or this one does (rule 8)."""
        return max(self._settled, self.commit)

    @property
    def fixed(self) -> int:
        """Nothing up to here may the leader of this epoch change: it is settled, or that leader has shown it itself."""
        return max(self.settled, self.verified)

    @property
    def standing(self) -> tuple[int, int]:
        """What elections compare: the last position of the log (rule 4)."""
        last = self.log.last
        return last.epoch, last.index

    def check(self, epoch: int) -> None:
        """`epoch`: that of the promise as it stands."""
        last = self.log.last
        invariant(self.applied <= self.commit <= last.index, "applied <= commit <= last")
        invariant(self.writes.durable <= last.index and self.verified <= last.index, "durable, verified <= last")
        invariant(self.writes.promise.epoch <= epoch, "the epoch never goes down")
        invariant(last.epoch <= epoch, "no entry is of a later epoch than ours")

    # -- growing ---------------------------------------------------------------------------------------------------

    def form(self, formation: Formation) -> Configurations:
        """The group has formed. Returns its configurations, from now on in step with the log."""
        snapshot = self.snapshot
        self.takes = formation.takes, formation.version
        formed = Agreed.formed(formation.configuration, formation.version)
        agreed = snapshot.agreed if snapshot else formed
        self._configurations = Configurations(agreed, self.commit)
        for batch in self.log.between(self.commit, self.log.last.index):
            self._configure(batch)
        return self._configurations

    def append(self, batch: Batch) -> None:
        self.log.append(batch)
        self.writes.append(batch)
        self.clock.advance(batch.last_stamp)
        self._configure(batch)

    def _configure(self, batch: Batch) -> None:
        entry = membership_in(batch)
        if entry is None or self._configurations is None:
            return
        match entry:
            case Configured(configuration):
                self._configurations.append(batch.first, batch.epoch, configuration)
            case Reached(names):
                self._configurations.reach(batch.first, names)
            case Versioned(version):
                self._configurations.put_in_force(batch.first, version)

    def place(self, missing: Sequence[Batch], now: int) -> None:
        """Take in what is new; cut from the first batch that differs, never at or below commit (rule 8)."""
        if missing and missing[0].first <= self.log.last.index:
            self.truncate(missing[0].first)
        for batch in missing:
            if self.writes.unsynced_size > UNSYNCED_SIZE_MAX:
                return  # the disk is behind; the leader will send this again
            self.append(batch)
            if self._anchor is None:
                self.hear_time(batch.time, now)

    def truncate(self, first: int) -> None:
        invariant(first > self.settled, "nothing committed is ever removed", first=first, settled=self.settled)
        self.log.truncate(first)
        self.writes.truncate(first)
        if self._configurations is not None:
            self._configurations.truncate(first)
        self.verified = min(self.verified, first - 1)

    def persisted(self, number: int) -> None:
        """Everything that was asked of the disk up to `number` is there."""
        self.writes.persisted(number)

    # -- being relied on -------------------------------------------------------------------------------------------

    def follow(self, epoch: int) -> None:
        """The leader of this epoch speaks; what that of another epoch has shown says nothing about its log."""
        if self._verified_in != epoch:
            # What is committed is in the log of every later leader (leader completeness; 3.6.3): so far it is verified.
            self._verified_in = epoch
            self.verified = self.told = self.commit

    def verify(self, index: int) -> None:
        """This epoch's leader has shown that up to here its log is ours, as far as ours goes."""
        self.verified = max(self.verified, min(index, self.log.last.index))

    def commit_up_to(self, index: int) -> Sequence[Batch]:
        """Deliver what is newly committed, in index order, once (rule 9); returns it."""
        if index <= self.commit:
            return ()
        batches = list(self.log.between(self.commit, index))
        self._outbox.deliver(batches)
        self.commit = index
        return batches

    def apply_up_to(self, index: int) -> None:
        """The actor has been given everything up to here; a snapshot may have given it more meanwhile."""
        invariant(index <= self.commit, "only what was delivered is applied", index=index)
        self.applied = max(self.applied, index)

    # -- snapshots (rule 11) ---------------------------------------------------------------------------------------

    def compact(self, snapshot: Snapshot, needed: int) -> None:
        """Let a snapshot of what was applied here take the place of the log up to it, in memory and on disk.

        Not all of that need be on disk yet: what was asked of it before comes before. An older snapshot than that which
        we have is of no use. needed: followers can still be given what lies beyond this index, and not what is below.
        """
        invariant(snapshot.index <= self.applied, "a snapshot is of what was applied", index=snapshot.index)
        if self.snapshot is not None and snapshot.index <= self.snapshot.index:
            return
        self.snapshot = snapshot
        kept = self.log.before(snapshot.index, KEPT_SIZE_MAX)
        held = max(needed, self.log.before(snapshot.index, max(HELD_SIZE_MAX, snapshot.size)))
        parts = self._compact(self._end_of_batch(min(kept, held)))
        if self._configurations is not None:
            self._configurations.install(snapshot.agreed, snapshot.index, keep=True)
        self.writes.install(snapshot, parts)

    def _compact(self, index: int) -> list[Part]:
        """Forget the log up to this index. Returns the parts in which it goes from the disk."""
        parts = self.log.parts(index, REMOVED_SIZE_MAX, REMOVED_BATCHES_MAX)
        self.log.compact(index)
        return parts

    def _end_of_batch(self, index: int) -> int:
        """Where the last batch ends that does not go beyond this index."""
        batch = self.log.batch_at(index)
        return index if batch is None or batch.last == index else batch.first - 1

    def install(self, snapshot: Snapshot) -> None:
        """A leader's snapshot, beyond all that we know to be committed, takes the place of the actor's state.

        Of our log nothing is kept but what follows an entry that the snapshot has seen: all else was never committed.
        """
        invariant(snapshot.index > self.commit, "an older snapshot is never installed", index=snapshot.index)
        keep = self.log.holds(snapshot.position) and self.log.ends_at(snapshot.index)
        keep = keep and snapshot.index <= self.writes.durable  # else none of what follows has been acknowledged
        known = min(max(self.commit, self.verified), snapshot.index)  # the rest goes with what was there
        self.snapshot = snapshot
        if keep:
            self.writes.install(snapshot, self._compact(snapshot.index))
        else:
            end = max(snapshot.index, self.log.last.index)
            self.log.restart(snapshot.position, stamp=snapshot.stamp, time=snapshot.time)
            self.writes.restart(snapshot, end, known)
        if self._configurations is not None:
            self._configurations.install(snapshot.agreed, snapshot.index, keep=keep)
        self.clock.advance(snapshot.stamp)
        self.commit = self.applied = snapshot.index
        self.verified = min(max(self.verified, self.commit), self.log.last.index)
        self.told = max(self.told, self.commit)
        self._outbox.install(snapshot)

    # -- log time --------------------------------------------------------------------------------------------------

    def hear_time(self, time: int, now: int) -> None:
        """Log time is this at the monotonic time `now`. The newest word counts: a faster clock of ours adds nothing."""
        self._anchor = max(time, self.log.last_time), now

    def time(self, now: Now) -> int:
        """Log time now, for a leader to stamp with: our clock, within bounds (rule 12).

        It goes on from what the last leader told as fast as the monotonic clock, and by no more than a bound ahead of
        that: a clock that is wrong, or set anew, neither makes log time leap nor stand still. Who has heard no leader
        since its start cannot tell how long the group was down, and takes its clock, unless the log is ahead of it:
        that this one clock is about right is all that is assumed. At the end of all numbers it stands still.
        """
        time, known_at = self._anchor or (max(now.wall, self.log.last_time), now.monotonic)
        self._anchor = time, known_at
        least = time + now.monotonic - known_at
        return min(INTEGER_MAX, max(self.log.last_time, least, min(now.wall, least + CLOCK_BOUND)))
