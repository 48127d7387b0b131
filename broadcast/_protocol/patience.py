"""How long to wait for a word before trying again: longer after each silence."""

from __future__ import annotations

SILENCE_MIN = 1_000_000  # microseconds; doubles with each silence up to SILENCE_MAX
SILENCE_MAX = 16_000_000
FAR = 2**62  # no deadline


class Patience:
    """Waits for an answer to what was sent. Times in microseconds.

    until: when waiting ends; FAR while there is nothing to wait for. silences: how often in a row it ended in vain.
    """

    __slots__ = ("silences", "until")

    def __init__(self) -> None:
        self.until = FAR
        self.silences = 0

    def begin(self, now: int) -> None:
        """Something is under way. If something was already, the waiting for that goes on."""
        if self.until == FAR:
            self.until = now + min(SILENCE_MIN << min(self.silences, 10), SILENCE_MAX)

    def rest(self) -> None:
        """There is nothing to wait for."""
        self.until = FAR

    def heard(self) -> None:
        """An answer came; whoever still waits begins anew."""
        self.until = FAR
        self.silences = 0

    def ends(self, now: int) -> bool:
        """Is it over? Then it rests, and counts one more silence."""
        if now < self.until:
            return False
        self.until = FAR
        self.silences += 1
        return True
