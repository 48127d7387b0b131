"""Memory that many links share: what each may keep here is small against what all of them together could.

Little things are not counted. Of those that hold more, the one that has got no further for longest makes room: whoever
sends its frames, or takes its answers, as fast as it can is not the one.
"""

from __future__ import annotations

from typing import Protocol

SMALL = 2**16
"""Bytes up to which a holder is not counted."""


class Holder(Protocol):
    """Whoever keeps bytes."""

    def close(self, reason: str, *, fault: bool) -> None:
        """Let go of them soon, as `reason` says."""
        ...


class Room:
    """So many bytes for all who hold some. what: they are bytes of, for people to read."""

    def __init__(self, size_max: int, what: str) -> None:
        self.size = 0
        self._size_max = size_max
        self._what = what
        self._held: dict[Holder, int] = {}  # the one that has got no further for longest first

    def hold(self, holder: Holder, size: int, *, moved: bool) -> None:
        """It holds so many bytes now. moved: it has got further since it was last asked."""
        size = size if size > SMALL else 0
        held = self._held.get(holder, 0)
        if moved or not size:
            self._held.pop(holder, None)
        if size:
            self._held[holder] = size
        self.size += size - held
        while self.size > self._size_max:
            self._make(next(iter(self._held)))

    def _make(self, holder: Holder) -> None:
        held = self._held.pop(holder)
        self.size -= held
        holder.close(
            f"{held} bytes of {self._what} are kept for it, it gets no further, and there is room for {self._size_max} "
            "of all links together",
            fault=True,
        )
