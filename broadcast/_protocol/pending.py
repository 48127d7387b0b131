"""What waits to be sequenced, each command once in an epoch, and how much of it one batch takes."""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._protocol.copies import Copies
from broadcast._protocol.entries import Commands, Submittable, size, span

BATCH_SIZE_MAX = 1024 * 1024  # bytes of entries that one batch holds (a single larger run still gets one)
BATCH_ENTRIES_MAX = 1_000  # entries that one batch holds, a run counted as one
BATCH_COUNT_MAX = 5_000  # commands, about: a batch is applied in one go, and nobody should have to wait long for that
PENDING_SIZE_MAX = 64 * 1024 * 1024  # bytes that may wait to be sequenced; beyond it submitters must send again


class Pending:
    """Entries in the order they came. Whatever is taken gets its place in this epoch's log, or the epoch ends."""

    def __init__(self) -> None:
        self._copies = Copies()
        self._entries: list[Submittable] = []
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entries: Sequence[Submittable]) -> None:
        """Take these in, but for copies. What is beyond the bound is dropped, and sent again by its session."""
        for entry in entries:
            if self._size + size(entry) > PENDING_SIZE_MAX:
                continue
            if isinstance(entry, Commands) and self._copies.is_copy(entry):
                continue
            self._entries.append(entry)
            self._size += size(entry)

    def take(self) -> list[Submittable]:
        """As many as one batch holds."""
        taken, count, end, end_max = 0, 0, 0, min(len(self._entries), BATCH_ENTRIES_MAX)
        while end < end_max and count < BATCH_COUNT_MAX:
            if end and taken + size(self._entries[end]) > BATCH_SIZE_MAX:
                break
            taken += size(self._entries[end])
            count += span(self._entries[end])
            end += 1
        entries, self._entries = self._entries[:end], self._entries[end:]
        self._size -= taken
        return entries
