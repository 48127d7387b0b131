"""The log: consecutive batches, held in memory, found by index (Ongaro 2014, 3.5; rule 8).

It holds what is known, not what is safe: the replica decides what may be truncated or delivered.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

from actors._protocol.errors import invariant
from broadcast._protocol.position import START, Batch, Position

READ_COUNT_MAX = 1_000  # batches in one read


class Part(NamedTuple):
    """Of the log: up to the index `last`, from where the part before ends. size: of its batches, in bytes."""

    last: int
    size: int


class Log:
    """Batches from `start` (exclusive) to `last`. What lies before `start` was compacted."""

    def __init__(
        self, batches: Iterable[Batch] = (), start: Position = START, *, stamp: int = 0, time: int = 0
    ) -> None:
        """`stamp`, `time`: of the entry at `start`, if they are known, and as far as nothing goes back from there."""
        self.start = start
        self._start_stamp = stamp
        self._start_time = time
        self.last = start
        """Position of the last entry."""
        self._batches: list[Batch] = []
        self._firsts: list[int] = []
        for batch in batches:
            self.append(batch)

    @property
    def last_stamp(self) -> int:
        """Lamport counter of the last entry."""
        return self._batches[-1].last_stamp if self._batches else self._start_stamp

    @property
    def last_time(self) -> int:
        """Log time of the last entry, in microseconds."""
        return self._batches[-1].time if self._batches else self._start_time

    def append(self, batch: Batch) -> None:
        """Add a batch that fits right after the last one."""
        last = self.last
        invariant(batch.previous == last, "a batch follows the one before it", batch=batch.previous, last=last)
        invariant(
            batch.epoch >= last.epoch,
            "epochs never go down along the log",
            batch=batch.epoch,
            last=last.epoch,
        )
        invariant(batch.stamp > self.last_stamp, "Lamport stamps grow along the log")
        invariant(batch.time >= self.last_time, "log time never goes back")
        self._batches.append(batch)
        self._firsts.append(batch.first)
        self.last = batch.end

    def truncate(self, first: int) -> None:
        """Remove the batch that begins at `first`, and all after it."""
        at = bisect_right(self._firsts, first) - 1
        invariant(at >= 0 and self._firsts[at] == first, "a log is cut between batches", first=first)
        del self._batches[at:]
        del self._firsts[at:]
        self.last = self._batches[-1].end if self._batches else self.start

    def compact(self, index: int) -> None:
        """Forget all batches up to `index`, where one ends."""
        invariant(self.ends_at(index), "a log is compacted between batches", index=index)
        count = bisect_right(self._firsts, index)
        if count:
            last = self._batches[count - 1]
            self.start, self._start_stamp, self._start_time = last.end, last.last_stamp, last.time
            del self._batches[:count]
            del self._firsts[:count]

    def parts(self, index: int, size_max: int, count_max: int) -> list[Part]:
        """What is here up to `index`, where a batch ends: in parts of so many bytes and batches at most, or of one
        batch."""
        batches = self._batches[: bisect_right(self._firsts, index)]
        sizes = [0, *accumulate(batch.size for batch in batches)]  # of all before each
        parts: list[Part] = []
        at = 0
        while at < len(batches):
            fit = bisect_right(sizes, sizes[at] + size_max) - 1
            end = min(max(fit, at + 1), at + count_max)
            parts.append(Part(batches[end - 1].last, sizes[end] - sizes[at]))
            at = end
        return parts

    def restart(self, start: Position, *, stamp: int, time: int) -> None:
        """Forget everything: a snapshot of the state at `start` takes its place, and the log goes on from there."""
        self._batches.clear()
        self._firsts.clear()
        self.start = self.last = start
        self._start_stamp, self._start_time = stamp, time

    def before(self, index: int, size_max: int) -> int:
        """From which index on, itself not included, are the batches up to `index` not larger than `size_max`?"""
        at = bisect_right(self._firsts, index)
        size = 0
        while at > 0 and (size := size + self._batches[at - 1].size) <= size_max:
            at -= 1
        return self._batches[at - 1].last if at else self.start.index

    def batch_at(self, index: int) -> Batch | None:
        """The batch that holds the entry at `index`, if it is here."""
        if index <= self.start.index or index > self.last.index:
            return None
        return self._batches[bisect_right(self._firsts, index) - 1]

    def before_batch(self, first: int) -> tuple[int, int]:
        """Log time and stamp of the entry before the one at `first`, as far as they are known: nothing goes back."""
        before = self.batch_at(first - 1)
        if before is not None:
            return before.time, before.last_stamp
        return (self._start_time, self._start_stamp) if first == self.start.index + 1 else (0, 0)

    def epoch_at(self, index: int) -> int | None:
        """The epoch of the entry at `index`; that of `start` at its own place; None where nothing is known."""
        if index == self.start.index:
            return self.start.epoch
        batch = self.batch_at(index)
        return None if batch is None else batch.epoch

    def ends_at(self, index: int) -> bool:
        """Does a batch end here? What lies before `start` is taken to: nothing is known of it any more."""
        batch = self.batch_at(index)
        return index <= self.start.index if batch is None else batch.last == index

    def holds(self, position: Position) -> bool:
        """Does this very entry stand here?"""
        return self.epoch_at(position.index) == position.epoch

    def first_of_epoch_at(self, index: int) -> int:
        """The first index of the run of equal epochs that the entry at `index` is part of (the hint of 3.5)."""
        at = bisect_right(self._firsts, index) - 1
        epoch = self._batches[at].epoch
        while at > 0 and self._batches[at - 1].epoch == epoch:
            at -= 1
        return self._firsts[at]

    def read(self, first: int, size_max: int) -> tuple[Batch, ...]:
        """Batches from the one that holds `first` on: as many as fit in `size_max` bytes, at least one if any."""
        if first > self.last.index:
            return ()
        at = bisect_right(self._firsts, first) - 1
        invariant(at >= 0, "what is read is still held", first=first, start=self.start)
        size, end, end_max = 0, at, min(len(self._batches), at + READ_COUNT_MAX)
        while end < end_max and (end == at or size + self._batches[end].size <= size_max):
            size += self._batches[end].size
            end += 1
        return tuple(self._batches[at:end])

    def between(self, after: int, last: int) -> Iterator[Batch]:
        """The batches with entries beyond index `after` and up to `last`."""
        at = max(bisect_right(self._firsts, after + 1) - 1, 0)
        while at < len(self._batches) and self._batches[at].first <= last:
            if self._batches[at].last > after:
                yield self._batches[at]
            at += 1
