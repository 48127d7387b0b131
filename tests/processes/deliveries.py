"""All that was ever delivered, by whatever life of whichever replica: is it one order, and each command once?

Also what a process delivered just before it was killed counts (the uniform kind of agreement): each life leaves its
notes, and all of them must be beginnings of one sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import pairwise

from noting import NOTE, Note, read_notes


class Deliveries:
    """Takes the notes of one life after the other. lives: how many that were. wrongs: where two differed."""

    def __init__(self) -> None:
        self.lives = 0
        self.wrongs: list[str] = []
        self._longest = b""
        self._by = "nobody"

    def take(self, who: str, notes: bytes) -> None:
        """What one life has delivered from the beginning of the order; may be taken again as it grows."""
        self.lives += 1
        notes = notes[: len(notes) - len(notes) % NOTE.size]
        shared = min(len(notes), len(self._longest))
        if notes[:shared] != self._longest[:shared]:
            one, other = next(
                pair for pair in zip(read_notes(notes), read_notes(self._longest), strict=False) if pair[0] != pair[1]
            )
            self.wrongs.append(f"Not one order: {who} has delivered {one}, and {self._by} {other} at that place.")
        if len(notes) > len(self._longest):
            self._longest, self._by = notes, who

    @property
    def count(self) -> int:
        """How many commands were ever delivered."""
        return len(self._longest) // NOTE.size

    def order(self) -> Iterator[Note]:
        """The longest sequence that was delivered."""
        return read_notes(self._longest)

    def misfits(self, offered: Set[bytes], answered: Set[bytes]) -> list[str]:
        """Where the order does not fit what was offered to the group, and what of that was answered as done."""
        notes = list(self.order())
        found = {note.command for note in notes}
        twice = [note for before, note in zip(_firsts(notes), notes, strict=True) if before is not note]
        return [
            *(f"{note} does not follow {last}." for last, note in pairwise(notes) if not _follows(note, last)),
            *(f"Delivered twice: {note}." for note in twice),
            *(f"Never offered: {note}." for note in notes if note.command not in offered),
            *(f"Answered, and not delivered: {command.hex()}." for command in sorted(answered - found)),
        ]


def _follows(note: Note, last: Note) -> bool:
    return note.index > last.index and note.epoch >= last.epoch


def _firsts(notes: list[Note]) -> Iterator[Note]:
    """For each delivery the first of the same command."""
    seen: dict[bytes, Note] = {}
    return (seen.setdefault(note.command, note) for note in notes)
