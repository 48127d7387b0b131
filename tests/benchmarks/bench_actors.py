"""The actors that are measured: ours."""

from __future__ import annotations

from actors import Actor, Mailbox, command, query


class Counter(Actor, mailbox=Mailbox(10_000)):
    """Says at any time how much it has counted, so that nothing is counted unseen."""

    def __init__(self) -> None:
        self.total = 0

    @command
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @command
    async def add_async(self, amount: int) -> int:
        self.total += amount
        return self.total

    @query
    def value(self) -> int:
        return self.total


class Store(Actor):
    """Takes what is large."""

    def __init__(self) -> None:
        self.count = 0

    @command
    def put(self, data: bytes) -> int:
        self.count += 1
        return len(data)


class Idle(Actor):
    """Does nothing, as most do most of the time."""

    def __init__(self, number: int) -> None:
        self.number = number

    @query
    def value(self) -> int:
        return self.number
