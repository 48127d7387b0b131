"""What is replicated: as little as a command can do, so that the rest is what is measured."""

from __future__ import annotations

from actors import Actor, command, query


class Counter(Actor):
    def __init__(self) -> None:
        self.total = 0

    @command
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @query
    def value(self) -> int:
        return self.total
