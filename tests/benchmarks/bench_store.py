"""What is replicated where the state is to be large: a counter that keeps things, too."""

from __future__ import annotations

from bench_counter import Counter

from actors import command


class Store(Counter):
    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, bytes] = {}

    @command
    def keep(self, count: int, size: int) -> int:
        """So many more things, of so many bytes each."""
        for number in range(len(self.kept), len(self.kept) + count):
            self.kept[number] = number.to_bytes(8, "big") + bytes(size - 8)
        return len(self.kept)

    @command
    def note(self, text: str) -> int:
        """Count, and keep nothing of what came."""
        self.total += 1
        return self.total
