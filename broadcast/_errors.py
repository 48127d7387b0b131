"""What can go wrong with a replicated group, beyond what `actors` names."""

from __future__ import annotations

from actors._protocol.errors import OutcomeUnknown


class GroupClosed(OutcomeUnknown):
    """This handle was closed while an answer was awaited."""


class SessionExpired(OutcomeUnknown):
    """The group forgot this session while a command was under way: it was away for longer than the session's term."""


class AnswerNotKept(Exception):
    """Definite: the command was applied, once. Only its answer is gone: the method is `idempotent`, so none was kept.

    Raised to who had to send it again, because the answer was lost on its way, and never where the method says
    `-> None`. Neither `Rejected` nor `OutcomeUnknown`: it is known what became of it. command: which one.
    """

    def __init__(self, command: str) -> None:
        super().__init__(
            f"{command} was applied, once, and its answer was lost on its way here. None is kept for who asks again, "
            "since the method is declared idempotent. Read the state, or send the command again, if nothing newer has "
            "to stand"
        )
        self.command = command


class Compacted(Exception):
    """That part of the order is no longer held here. Start from a snapshot, or from `first_index`."""

    def __init__(self, first_index: int) -> None:
        super().__init__(f"the order is held from index {first_index} on; start there, or from a snapshot")
        self.first_index = first_index


class CannotApply(Exception):
    """This replica came to a committed command to which it can give no outcome that all replicas share: it has stopped.

    Nothing of the command counts here, so that it is tried again at the next start. The replicas that could apply it go
    on; where none could, all come to it again until something is changed, the same on all.

    group, index, command: which one.
    """

    def __init__(self, group: str, index: int, command: str, why: str) -> None:
        super().__init__(
            f"group {group}: the replica has stopped before index {index}, the command {command}: {why}. It goes on "
            "there when it is started again"
        )
        self.group = group
        self.index = index
        self.command = command


class Outdated(CannotApply):
    """This replica's class is older than what is in force from there on: it has stopped; the others go on (rule 29).

    in_force, known: the version of the class that the group has put in force, and the one that this process runs.
    """

    def __init__(self, group: str, index: int, name: str, in_force: int, known: int) -> None:
        why = (
            f"version {in_force} of {name} is in force from there on, because all voters had told that they know it, "
            f"and this process runs version {known}. Start it with version {in_force} or a later one; there is no way "
            "back to an older one any more"
        )
        super().__init__(group, index, f"version {in_force}", why)
        self.in_force = in_force
        self.known = known


class WrongClass(Exception):
    """This process's class is not what the group was formed with: it takes no part, and nothing was done to the others.

    Either takes messages that the other does not, in the version that the group was formed with (rule 29).
    group; name: of the class.
    """

    def __init__(self, group: str, name: str, difference: str) -> None:
        super().__init__(
            f"group {group}: the class {name} is not the one that the group was formed with: {difference}. "
            "Start it with the group's class; a message that is new comes with a new version of the "
            "class (version = 2, since=2), and one that is not wanted any more stays"
        )
        self.group = group
        self.name = name


class Diverged(Exception):
    """This replica's state is not what a majority of the voters has: it has stopped, and stays so (rule 28).

    The order is agreed on. So what a command did here was not decided by the state and its arguments alone, or this
    machine does not compute what others do. Every start on this data directory ends so.

    group. index: where the states were compared. agreed: where they were last found equal; 0 if they never were.
    """

    def __init__(self, group: str, index: int, agreed: int) -> None:
        super().__init__(
            f"group {group}: at index {index} a majority of the voters has another state than this replica, which has "
            f"stopped. A command between index {agreed} and {index} is not deterministic (broadcast.testing.simulate "
            "finds which), or this machine is at fault. Remove this member, and add it again with an empty data "
            "directory: it gets the state of the others"
        )
        self.group = group
        self.index = index
        self.agreed = agreed


class CannotCapture(TypeError):
    """A part of an actor's state cannot be put in a snapshot, exactly: which one, why, and what to do."""


class CannotRestore(Exception):
    """A snapshot cannot be made a state of here: it is damaged, or of another class than ours.

    What ends a replica that is to begin with it says which one, and what to do.
    """
