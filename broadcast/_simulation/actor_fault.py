"""What a history tells of the user's own class: the command, what is wrong with it, and what to do instead.

A class that is not deterministic breaks whatever claim looks first. So before a broken claim is told, the order is run
again, and where the class itself is found to be at fault, that is told.
"""

from __future__ import annotations

from broadcast._simulation.invariants import Violation

RULE = (
    "a replicated command may look at nothing but its arguments, the actor's state and self.context: no clock "
    "(self.context.time), no chance of its own, no uuid4() (self.context.random), no id() or hash(), no order of a set "
    "(sorted(...)), nothing that instances share, no file, no environment"
)


class ActorFault(Violation):
    """The user's class is at fault.

    index: of the command that shows it; 0 for the instance as it is made. command: which, with its arguments.
    """

    def __init__(self, text: str, index: int, command: str) -> None:
        super().__init__(text)
        self.index = index
        self.command = command

    def told(self, text: str) -> ActorFault:
        return type(self)(text, self.index, self.command)


class NotDeterministic(ActorFault):
    """Two instances of the actor were given the same messages, and came to different states or answers."""


class CommandCrashed(ActorFault):
    """A command or a query raised something else than `Refused`: a bug in the class."""
