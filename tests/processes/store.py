"""Registers for replicas in processes of their own: what a history of their use is checked by."""

from __future__ import annotations

from actors import Actor, Refused, command, query


class Store(Actor):
    """Every key holds 0 until something is written."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    @command
    def write(self, key: str, value: int) -> int:
        """Returns what was there before."""
        before = self.values.get(key, 0)
        self.values[key] = value
        return before

    @command
    def swap(self, key: str, old: int, new: int) -> None:
        """Refused, with what is there, unless that is `old`."""
        found = self.values.get(key, 0)
        if found != old:
            raise Refused(key, found)
        self.values[key] = new

    @query
    def read(self, key: str) -> int:
        return self.values.get(key, 0)

    @query
    def everything(self) -> dict[str, int]:
        return self.values
