"""A claim holds, or the history is a `Violation` of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn


class Violation(Exception):
    """A history broke a promise of the protocol, or did not come to its end."""

    trace: Sequence[str] = ()
    """The last events before it."""

    def told(self, text: str) -> Violation:
        """The same, with another text."""
        return Violation(text)


def check(condition: bool, claim: str, **facts: object) -> None:
    """Raise `Violation` unless the claim holds."""
    if not condition:
        broken(claim, **facts)


def broken(claim: str, **facts: object) -> NoReturn:
    shown = ", ".join(f"{name}={value!r}" for name, value in facts.items())
    raise Violation(f"{claim} ({shown})" if shown else claim)
