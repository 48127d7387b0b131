"""Who waits for what becomes of a handle's commands. Outcomes come in the order in which commands were offered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

Taker: TypeAlias = Callable[[Sequence[bytes | BaseException]], None]
"""Gets what became of some of its commands, in their order: each an encoded outcome, or why there is none."""


class _Row:
    """So many commands in a row, all of one taker."""

    __slots__ = ("count", "taker")

    def __init__(self, taker: Taker) -> None:
        self.taker = taker
        self.count = 1


class Takers:
    """Commands without an outcome, by who waits for them: thousands of one pipeline's are one row, and cost as much."""

    def __init__(self) -> None:
        self._rows: deque[_Row] = deque()

    def __len__(self) -> int:
        """Commands."""
        return sum(row.count for row in self._rows)

    def add(self, taker: Taker) -> None:
        """It waits for the command that was offered last. Give the same object again for what stands in one row."""
        if self._rows and (last := self._rows[-1]).taker is taker:
            last.count += 1
        else:
            self._rows.append(_Row(taker))

    def hand_out(self, results: Sequence[bytes | BaseException]) -> None:
        """These came of the commands that were offered first."""
        at = 0
        while at < len(results):
            row = self._rows[0]
            part = results[at : at + row.count]
            row.count -= len(part)
            at += len(part)
            if not row.count:
                self._rows.popleft()
            row.taker(part)

    def give_up(self, error: BaseException) -> None:
        """Nothing will come of any of them that could be known."""
        while self._rows:
            row = self._rows.popleft()
            row.taker([error] * row.count)
