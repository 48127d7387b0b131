"""A counter in two versions, for replicas that are upgraded while they count."""

from __future__ import annotations

from actors import Actor, command, query


class Count(Actor):
    began: int = 0
    late: int = 0

    def __init__(self) -> None:
        self.total = 0

    @command
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @query
    def value(self) -> int:
        return self.total


class CountApart(Count):
    """Also where it began, and how many were counted since."""

    version = 2

    @command
    def add(self, amount: int) -> int:
        if self.context.version >= 2:
            position = self.context.position
            self.began = self.began or (position.index if position else 0)
            self.late += 1
        return super().add(amount)

    @query(since=2)
    def apart(self) -> tuple[int, int]:
        return self.began, self.late
