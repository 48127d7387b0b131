"""The plainest actor of a group, for tests in which it does not matter what is agreed on."""

from __future__ import annotations

from actors import Actor, command, query


class Count(Actor):
    def __init__(self) -> None:
        self.total = 0

    @command
    def add(self, amount: int) -> int:
        """Returns how much it is now."""
        self.total += amount
        return self.total

    @query
    def value(self) -> int:
        return self.total
