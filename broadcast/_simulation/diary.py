"""The actor that the protocol's own histories run: it remembers who noted what, in the order of the log."""

from __future__ import annotations

from actors._actor import Actor, command, query
from actors._protocol.errors import Refused


class Diary(Actor):
    """A list of notes (owner, number). Each is to be there once, each owner's in the order of its numbers."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, int]] = []

    @command
    def note(self, owner: str, number: int) -> int:
        """Returns how many notes there are now."""
        self.notes.append((owner, number))
        return len(self.notes)

    @command(idempotent=True)
    def memo(self, owner: str, number: int) -> int:
        """A note that would be there twice, if it were as idempotent as it says: its number keeps it from that."""
        return self.note(owner, number)

    @command
    def refuse(self, owner: str, number: int) -> None:
        """Changes nothing."""
        raise Refused(owner, number)

    @command
    def crash(self, owner: str, number: int) -> None:
        """Changes something and fails: to be undone."""
        self.notes.append((owner, number))
        raise ArithmeticError("a bug in the user's class")

    @query
    def count(self) -> int:
        return len(self.notes)
