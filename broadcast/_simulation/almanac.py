"""A diary that plans: its notes come back to it when they are due, and a clerk on a node is told of them (rule 21)."""

from __future__ import annotations

from actors._actor import command
from actors._protocol.errors import Refused
from actors._ref import ActorRef
from broadcast._simulation.diary import Diary


class Clerk(Diary):
    """On a node."""


CLERK = ActorRef("a/clerk", Clerk)


class Almanac(Diary):
    """What is planned is to be kept once, no sooner than it is due, and as often again as was said."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[str, int, int]] = []

    @command
    def plan(self, owner: str, number: int, delay: int, more: int) -> int:
        """A note, to be kept in `delay` milliseconds, and then `more` times at once."""
        self.context.after(delay / 1000, Almanac.keep, owner, number, more)
        self.tell_clerk(owner, number)
        return self.note(owner, number)

    def tell_clerk(self, owner: str, number: int) -> None:
        self.context.tell(CLERK, Clerk.note, owner, number)

    @command
    def plan_attempt(self, owner: str, number: int, delay: int, more: int) -> int:
        """A note, to be kept in `delay` milliseconds, by what others have crash: that may be held up."""
        self.context.after(delay / 1000, Almanac.attempt, owner, number, 0)
        return self.note(owner, number)

    @command
    def plan_failure(self, owner: str, number: int, delay: int, more: int) -> int:
        """A note. What is due later crashes, and that is all that comes of it."""
        self.context.after(delay / 1000, Almanac.attempt, owner, number, -1)
        return self.note(owner, number)

    @command
    def refuse_plan(self, owner: str, number: int, delay: int, more: int) -> None:
        """Nothing comes of it."""
        self.context.after(delay / 1000, Almanac.keep, owner, number, more)
        self.tell_clerk(owner, number)
        raise Refused(owner, number)

    @command
    def crash_plan(self, owner: str, number: int, delay: int, more: int) -> None:
        """Nothing comes of it."""
        self.context.after(delay / 1000, Almanac.keep, owner, number, more)
        self.tell_clerk(owner, number)
        raise ArithmeticError("a bug in the user's class")

    @command
    def keep(self, owner: str, number: int, more: int) -> None:
        """It is due."""
        self.kept.append((owner, number, more))
        if more:
            self.context.tell(self.context.group(Almanac), Almanac.keep, owner, number, more - 1)

    @command
    def attempt(self, owner: str, number: int, more: int) -> None:
        """It is due; where `more` is negative, it is to be undone."""
        self.kept.append((owner, number, more))
        if more < 0:
            self.context.after(0, Almanac.keep, owner, number, more)
            raise ArithmeticError("a bug in the user's class")
