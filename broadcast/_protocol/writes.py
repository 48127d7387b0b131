"""What a replica has asked of its disk, and what it may say meanwhile (rules 0, 1, 9, 25).

Facts become durable in the order they were asked for, and each is recorded when its write is done, if it is still true:
a log truncated in the meantime takes it back. A message that vouches for the promise is held here until the promise is
on disk, and dropped if the epoch has moved on by then. For each member the newest of each kind is held: whoever needs
another one asks again, and a disk that hangs must not fill the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from actors._protocol.errors import invariant
from broadcast._protocol.log import Part
from broadcast._protocol.output import Persist, Send
from broadcast._protocol.position import Batch
from broadcast._protocol.snapshots import Compared, Divergence, Snapshot
from membership._protocol.view import Formation, Promise

REMOVING_INTERVAL = 50_000
"""Microseconds between writes that remove a part of the log, and do nothing else: promises wait for them."""


@dataclass(slots=True)
class Writing:
    """A disk write under way. `end`: up to here our log is durable once it is done; 0 if it says nothing of that."""

    number: int
    end: int
    promise: Promise
    asked_at: int
    size: int


class Writes:
    """The disk as the protocol sees it."""

    def __init__(self, durable: int, promise: Promise) -> None:
        self.durable = durable
        """Entries of our log up to here are on this disk."""
        self.promise = promise
        """The promise on this disk."""
        self.unsynced_size = 0
        """Bytes of batches that are not on disk yet. A running sum: it is asked for at each batch."""
        self._asked: deque[Writing] = deque()
        self._asked_promise = promise
        self._number = 0
        self._batches: list[Batch] = []
        self._truncate: int | None = None
        self._formation: Formation | None = None
        self._snapshot: Snapshot | None = None
        self._compact = 0
        self._parts: deque[Part] = deque()  # what is still to be removed
        self._removing = 0  # the write that removes, or has removed, the last part so far
        self._removed_at = -REMOVING_INTERVAL  # when that was asked for
        self._added_size = 0  # bytes of batches that were asked to be written since that, while any was left
        self._divergence: Divergence | None = None
        self._compared: Compared | None = None
        self._held: dict[tuple[str, type], tuple[Promise, Send]] = {}  # by receiver and kind of message

    @property
    def busy(self) -> bool:
        """Is a write under way?"""
        return bool(self._asked)

    def answers(self, now: int, patience: int) -> bool:
        """Does the disk answer? A write outstanding for `patience` says no (rule 25)."""
        return not self._asked or now - self._asked[0].asked_at < patience

    def form(self, formation: Formation) -> None:
        """Write the record that the group begins with."""
        self._formation = formation

    def append(self, batch: Batch) -> None:
        """Write this batch, which was appended to the log."""
        self._batches.append(batch)
        self.unsynced_size += batch.size

    def truncate(self, first: int) -> None:
        """Remove the batches from index `first` on, which were removed from the log."""
        self.durable = min(self.durable, first - 1)
        for writing in self._asked:
            writing.end = min(writing.end, first - 1)  # what it appends is there up to here, by it or by one before it
        while self._batches and self._batches[-1].first >= first:
            self.unsynced_size -= self._batches.pop().size
        self._truncate = first if self._truncate is None else min(self._truncate, first)

    def install(self, snapshot: Snapshot, parts: Sequence[Part]) -> None:
        """Let this snapshot take the place of the log up to it; what is not held any more goes in these parts."""
        self._snapshot = snapshot
        self.remove(parts)

    def remove(self, parts: Sequence[Part]) -> None:
        """Let what a snapshot has taken the place of, and is not held any more, go by and by.

        Each part goes with another write of the log, or from time to time if there is none: to remove all at once would
        take much longer than a write does, and what comes meanwhile waits for that. But as much goes as has come
        meanwhile: else there would be more and more of it where much is written at a time. A life that ends leaves the
        rest to the next.
        """
        if not self._parts:
            self._added_size = 0
        self._parts.extend(parts)

    def restart(self, snapshot: Snapshot, last: int, known: int) -> None:
        """Let this snapshot take the place of all of the log, which ended at `last`.

        Of what was there before, what is durable says something about our log as it is now only up to `known`.
        """
        self.durable = min(self.durable, known)
        for writing in self._asked:
            writing.end = min(writing.end, known)
        self.unsynced_size -= sum(batch.size for batch in self._batches)
        self._batches.clear()
        self._parts.clear()
        self._snapshot, self._compact = snapshot, last  # at once: what is written next does not go on from there

    def diverge(self, divergence: Divergence) -> None:
        """Keep in mind that the state here is not what the others have."""
        self._divergence = divergence

    def compare(self, compared: Compared) -> None:
        """Keep in mind what replicas compare, as far as it goes now."""
        self._compared = compared

    def flush(self, promise: Promise, commit: int, now: int) -> Persist | None:
        """What must be written now, given the promise as it stands; None if that is nothing."""
        if self._truncate is not None:
            commit = min(commit, self._truncate - 1)  # of what takes the place of the cut, none is on disk so far
        changed = promise if promise != self._asked_promise else None
        others = self._truncate, self._formation, self._snapshot, self._divergence, self._compared
        removes = bool(self._parts) and not self._is_removing
        if not self._batches and self._snapshot is None:  # a promise is waited for, and else there is no hurry
            removes = removes and changed is None and now - self._removed_at >= REMOVING_INTERVAL
        if changed is None and not self._batches and not removes and all(other is None for other in others):
            return None
        self._number += 1
        batches = tuple(self._batches)
        size = sum(batch.size for batch in batches)
        self._added_size += size
        if removes:
            self._compact, self._removing, self._removed_at = self._next_part(), self._number, now
        snapshot = self._snapshot
        end = batches[-1].last if batches else snapshot.index if snapshot else 0
        self._asked.append(Writing(self._number, end, promise, now, size))
        asked = Persist(
            self._number,
            changed,
            self._formation,
            self._truncate,
            batches,
            commit,
            snapshot,
            self._compact,
            self._divergence,
            self._compared,
        )
        self._asked_promise, self._batches, self._truncate, self._formation = promise, [], None, None
        self._snapshot, self._compact, self._divergence, self._compared = None, 0, None, None
        return asked

    def _next_part(self) -> int:
        """Up to where the log goes with this write: by a part, or as many as have come since the last."""
        added, self._added_size = self._added_size, 0
        last, removed = self._parts.popleft()
        while self._parts and removed < added:
            last, size = self._parts.popleft()
            removed += size
        return last

    @property
    def _is_removing(self) -> bool:
        """Is a part on its way? The disk may join what it is asked for meanwhile, and with more parts it would again
        be all at once."""
        return bool(self._asked) and self._asked[0].number <= self._removing

    def persisted(self, number: int) -> None:
        """Everything asked for up to `number` is on disk."""
        invariant(number <= self._number, "only what was asked for is written", number=number)
        while self._asked and self._asked[0].number <= number:
            done = self._asked.popleft()
            self.promise = done.promise
            self.unsynced_size -= done.size
            self.durable = max(self.durable, done.end)

    def bind(self, send: Send, promise: Promise) -> list[Send]:
        """Send this once `promise`, the one it vouches for, is on disk; returns it if it already is."""
        if self.promise == promise:
            return [send]
        self._held[send.to, type(send.message)] = promise, send
        return []

    def release(self, epoch: int) -> list[Send]:
        """Messages whose promise is on disk by now; those of an epoch that is over are dropped."""
        held = {kind: waiting for kind, waiting in self._held.items() if waiting[0].epoch == epoch}
        self._held = {kind: waiting for kind, waiting in held.items() if not self._covers(waiting[0])}
        return [send for kind, (_, send) in held.items() if kind not in self._held]

    def _covers(self, promise: Promise) -> bool:
        return promise.epoch == self.promise.epoch and promise.granted_to in (None, self.promise.granted_to)
