"""What waits to be sequenced, and how much of it one batch takes."""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._protocol.entries import Submittable, size

BATCH_SIZE_MAX = 1024 * 1024  # bytes of entries that one batch holds (a single larger run still gets one)
BATCH_ENTRIES_MAX = 1_000  # entries that one batch holds, a run counted as one
PENDING_SIZE_MAX = 64 * 1024 * 1024  # bytes that may wait to be sequenced; beyond it submitters must send again


class Pending:
    """Entries in the order they came."""

    def __init__(self) -> None:
        self._entries: list[Submittable] = []
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entries: Sequence[Submittable]) -> None:
        """Take these in. What is beyond the bound is dropped, and sent again by its session."""
        for entry in entries:
            if self._size + size(entry) <= PENDING_SIZE_MAX:
                self._entries.append(entry)
                self._size += size(entry)

    def take(self) -> list[Submittable]:
        """As many as one batch holds."""
        taken, end, end_max = 0, 0, min(len(self._entries), BATCH_ENTRIES_MAX)
        while end < end_max and (end == 0 or taken + size(self._entries[end]) <= BATCH_SIZE_MAX):
            taken += size(self._entries[end])
            end += 1
        entries, self._entries = self._entries[:end], self._entries[end:]
        self._size -= taken
        return entries
