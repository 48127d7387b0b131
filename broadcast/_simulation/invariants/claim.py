"""A claim holds, or the history is a `Violation` of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from membership._protocol.view import Limits


class Violation(Exception):
    """A history broke a promise of the protocol, or did not come to its end."""

    trace: Sequence[str] = ()
    """The last events before it."""

    def told(self, text: str) -> Violation:
        """The same, with another text."""
        return Violation(text)


def at_most(span: int, limits: Limits) -> int:
    """How long a span of a member's clock may take, which may run slow where there are leases."""
    return span + span // 10 if limits.leases else span


def at_least(span: int, limits: Limits) -> int:
    """How long it takes for sure: the clock may run fast."""
    return span - span // 10 if limits.leases else span


def check(condition: bool, claim: str, **facts: object) -> None:
    """Raise `Violation` unless the claim holds."""
    if not condition:
        broken(claim, **facts)


def broken(claim: str, **facts: object) -> NoReturn:
    shown = ", ".join(f"{name}={value!r}" for name, value in facts.items())
    raise Violation(f"{claim} ({shown})" if shown else claim)
