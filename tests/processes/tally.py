"""A counter for replicas in processes of their own."""

from __future__ import annotations

from actors import Actor, command, query


class Tally(Actor):
    def __init__(self) -> None:
        self.total = 0

    @command
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @query
    def value(self) -> int:
        return self.total


class Hasty(Tally):
    """Counts twice, at the wrong moment: what the tests must find out."""

    @command
    def add(self, amount: int) -> int:
        return super().add(2 * amount if self.total == 500 else amount)


class Chatty(Tally):
    """Prints, as an actor should not."""

    @command
    def add(self, amount: int) -> int:
        print("adding", amount, flush=True)
        return super().add(amount)


class Stuck(Tally):
    """Never returns."""

    @command
    def add(self, amount: int) -> int:
        print("stuck", flush=True)
        while True:
            pass
