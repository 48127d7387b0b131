"""A register of lines for replicas in processes of their own: it keeps each, so that a loss can be named."""

from __future__ import annotations

from actors import Actor, command, query


class Register(Actor):
    def __init__(self) -> None:
        self.entered: list[str] = []

    @command
    def enter(self, line: str, filler: bytes) -> int:
        """Enter a line; returns its place: 1, 2, 3... The filler is only there to be written to disk."""
        del filler
        self.entered.append(line)
        return len(self.entered)

    @query
    def lines(self) -> list[str]:
        return self.entered
