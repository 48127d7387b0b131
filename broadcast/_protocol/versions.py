"""When a leader puts a later version of the class in force: once all who vote know it (rule 29).

What is in force stands in the log alone. What members know is only what lets a leader write it there: it is told with
every heartbeat's answer, and believed until the link is made anew, because then it may be another process that answers.
Who votes, and has gone back to an older class since it told, stops before the entry (`broadcast.CannotApply`).
"""

from __future__ import annotations

from membership._protocol.view import Configuration


class Versions:
    """What members know, as far as they have told this leader. name, known, interface: its own."""

    def __init__(self, name: str, known: int, interface: bytes = b"") -> None:
        self._name = name
        self._interface = interface
        self._known = {name: known}
        self._alike = {name}

    def told(self, name: str, known: int, interface: bytes = b"") -> None:
        """This member's class is of this version, and its interface has this digest."""
        self._known[name] = known
        if interface and interface == self._interface:
            self._alike.add(name)
        else:
            self._alike.discard(name)

    def is_alike(self, name: str) -> bool:
        """Is it told that its class takes just what ours does?"""
        return name in self._alike

    def forget(self, name: str) -> None:
        """Another process may answer under this name from now on."""
        if name != self._name:
            self._known.pop(name, None)
            self._alike.discard(name)

    def of(self, name: str) -> int:
        """What it knows; 1, as all do, while it has not told."""
        return self._known.get(name, 1)

    def raised(self, configuration: Configuration, in_force: int) -> int | None:
        """The version to put in force: what all voters know, those of before and after a change of them too.

        None if that is no later one. A leader that knows none itself need not look at the others.
        """
        if self._known[self._name] <= in_force:
            return None
        known = min(self.of(name) for name in configuration.voter_names)
        return known if known > in_force else None
