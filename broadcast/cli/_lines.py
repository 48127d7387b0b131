"""The demo's actor: lines of text, in the order in which they were written."""

from __future__ import annotations

import hashlib

from actors import Actor, command, query

MISAPPLIED = 7  # the line that a `MisapplyingJournal` gets wrong
LAST_LINES = 5


class Journal(Actor):
    """A journal that anybody may write a line into. It keeps a running digest of all lines, and the last few."""

    def __init__(self) -> None:
        self.count = 0
        self.digest = ""
        self.last: list[str] = []

    @command
    def write(self, line: str) -> int:
        """Write a line; returns its number: 1, 2, 3..."""
        self.count += 1
        self.digest = hashlib.sha256(f"{self.digest}{line}".encode()).hexdigest()
        self.last = [*self.last, line][-LAST_LINES:]
        return self.count

    @query
    def size(self) -> int:
        """How many lines there are."""
        return self.count


class MisapplyingJournal(Journal):
    """Gets one line wrong. The demo must find that out: run it with `--plant`, and it does."""

    @command
    def write(self, line: str) -> int:
        return super().write(line[::-1] + "!" if self.count + 1 == MISAPPLIED else line)
