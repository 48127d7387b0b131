"""What only a leader does: sequence, replicate, count, confirm (rules 3, 7, 9, 10, 20).

A `Leadership` lives for one epoch of one replica and is dropped with it, so that nothing of an old epoch can be taken
for something of a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from actors._protocol.errors import invariant
from broadcast._protocol.entries import Commands, Entry, Submittable, encode_entries, size, span
from broadcast._protocol.log import Log
from broadcast._protocol.messages import Append, AppendReply
from broadcast._protocol.position import Batch
from broadcast._protocol.progress import Flow, Progress
from broadcast._protocol.reads import ReadRounds
from membership._protocol.view import Configuration

BATCH_SIZE_MAX = 1024 * 1024  # bytes of entries that one batch holds (a single larger run still gets one)
BATCH_ENTRIES_MAX = 1_000  # entries that one batch holds, a run counted as one
PENDING_SIZE_MAX = 64 * 1024 * 1024  # bytes that may wait to be sequenced; beyond it submitters must send again
UNCOMMITTED_SIZE_MAX = 64 * 1024 * 1024  # bytes sequenced and not yet committed


class Leadership:
    """One epoch of leading."""

    def __init__(self, name: str, epoch: int, configuration: Configuration, log: Log, now: int) -> None:
        self.name = name
        self.epoch = epoch
        self.start = log.last.index + 1
        """Index of the epoch-start entry: before it is committed, nothing is known to be (rule 7)."""
        self.heartbeat_at = now
        self.rounds = ReadRounds(name)
        self.followers = {
            member.name: Progress(self.start)
            for member in configuration.voters + configuration.observers
            if member.name != name
        }
        self._pending: list[Submittable] = []
        self._pending_size = 0
        self._uncommitted_size = 0

    # -- sequencing ------------------------------------------------------------------------------------------------

    def submit(self, entries: Sequence[Submittable]) -> None:
        """Take entries into the next batch. What is beyond the bound is dropped, and sent again by its session."""
        for entry in entries:
            if self._pending_size + size(entry) <= PENDING_SIZE_MAX:
                self._pending.append(entry)
                self._pending_size += size(entry)

    @property
    def has_pending(self) -> bool:
        return bool(self._pending) and self._uncommitted_size < UNCOMMITTED_SIZE_MAX

    def take_pending(self) -> list[Submittable]:
        """As many of the waiting entries as one batch holds."""
        taken, end, end_max = 0, 0, min(len(self._pending), BATCH_ENTRIES_MAX)
        while end < end_max and (end == 0 or taken + size(self._pending[end]) <= BATCH_SIZE_MAX):
            taken += size(self._pending[end])
            end += 1
        entries, self._pending = self._pending[:end], self._pending[end:]
        self._pending_size -= taken
        return entries

    def seal(self, entries: Sequence[Entry], log: Log, *, time: int, stamp_after: int) -> Batch:
        """Give these entries their places. `stamp_after`: a Lamport counter that all of theirs must exceed."""
        asked = max((entry.stamp for entry in entries if isinstance(entry, Commands)), default=0)
        last = log.last
        batch = Batch(
            epoch=self.epoch,
            previous_epoch=last.epoch,
            first=last.index + 1,
            count=sum(span(entry) for entry in entries),
            time=max(time, log.last_time),
            stamp=max(stamp_after, asked, log.last_stamp) + 1,
            entries=encode_entries(entries),
        )
        self._uncommitted_size += batch.size
        return batch

    def committed(self, batches: Iterable[Batch]) -> None:
        """These were committed: room for more."""
        freed = sum(batch.size for batch in batches)
        self._uncommitted_size = max(0, self._uncommitted_size - freed)

    def probe_silent(self, now: int, patience: int) -> None:
        """Followers that left what was sent unanswered for `patience`: it may be lost."""
        for progress in self.followers.values():
            if progress.overdue(now, patience):
                progress.probe()

    # -- replicating -----------------------------------------------------------------------------------------------

    def appends(self, name: str, log: Log, commit: int, now: int, *, listening: bool) -> list[Append]:
        """What to send to this follower now. One that is not `listening` gets probes without content.

        A stream goes on (it is bounded by what is in flight) until its silence turns it into a probe.
        """
        progress = self.followers[name]
        messages: list[Append] = []
        while progress.may_send() and (progress.next <= log.last.index or progress.flow is Flow.PROBE):
            has_content = listening or progress.flow is Flow.STREAM
            batches = log.read(progress.next, BATCH_SIZE_MAX) if has_content else ()
            previous = batches[0].previous if batches else log.last
            if not batches and progress.next <= log.last.index:
                held = log.batch_at(progress.next)
                invariant(held is not None, "a probe names a place in the log", next=progress.next)
                previous = held.previous if held else previous
            messages.append(Append(self.epoch, previous, batches, commit))
            progress.sent(previous.index, batches, now)
            progress.commit = commit
        return messages

    def replied(self, name: str, reply: AppendReply, stamp: int, log: Log, now: int) -> None:
        """A follower tells what it holds."""
        progress = self.followers[name]
        if progress.lost:
            return
        if reply.conflict is None or reply.rejected is None:
            if reply.match <= log.last.index:
                progress.acknowledged(reply.match, stamp, now)
        elif reply.rejected <= log.last.index:
            progress.rejected(reply.rejected, reply.conflict, stamp)

    # -- counting --------------------------------------------------------------------------------------------------

    def committable(self, configuration: Configuration, durable: int) -> int:
        """The highest index that is durable on a commit quorum, our own disk counted like any other (rule 9).

        Only from the epoch-start entry on: older entries commit through it, never by counting (rule 7; 3.6.2).
        """
        held = {name: progress.match for name, progress in self.followers.items() if not progress.lost}
        held[self.name] = durable
        for index in sorted({held.get(name, 0) for name in configuration.voter_names}, reverse=True):
            if index < self.start:
                break
            if configuration.commits(frozenset(name for name, match in held.items() if match >= index)):
                return index
        return 0
