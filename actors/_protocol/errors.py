"""What can go wrong between nodes, told by whose fault it is and whether the outcome is known.

`Rejected` is definite: nothing was applied, and nothing will be. `OutcomeUnknown` is the opposite: the message may
have been applied, or may still be. A definite error is never raised in an indefinite case (protocol rule 19).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Self


class Rejected(Exception):
    """Definite: the message was not applied, and never will be."""


class InvalidMessage(Rejected, TypeError):
    """The arguments do not fit the method's annotations, or cannot be encoded. The caller's mistake."""


class Overloaded(Rejected):
    """A bounded queue is full. Nothing was taken; try again later."""


class TooLarge(Rejected):
    """The message is larger than the agreed limit. Both sizes are in bytes."""

    def __init__(self, what: str, size: int, size_max: int) -> None:
        super().__init__(f"{what} takes {size} bytes, and {size_max} are allowed: give it in parts")
        self.size = size
        self.size_max = size_max


class NoSuchActor(Rejected):
    """No actor, group or method of that name is there."""


class ActorStopped(Rejected):
    """The actor ended before it took the message."""


class AskCycle(Rejected):
    """Whoever is asked, or whose end is awaited, waits, directly or by others, for the one that would wait for it.

    chain: who waits for whom, the first and the last being the same.
    """

    def __init__(self, chain: Sequence[str]) -> None:
        super().__init__(
            f"these would wait for one another for ever: {' -> '.join(chain)}. Tell instead of ask, or wait "
            "outside of a handler, in a task of the lifespan"
        )
        self.chain = tuple(chain)


class Refused(Rejected):
    """A business "no", raised inside a command before anything is changed, and raised again at its asker.

    Subclass it to give a refusal a name: `class NameTaken(Refused): ...`. Its arguments travel with it, in the plain
    form that untyped values have. So does what a constructor of the subclass was called with, to be called so again:
    where that does not come to the same arguments, the asker gets the class and the arguments without what it sets.
    """

    _made_with: tuple[tuple[object, ...], Mapping[str, object]]

    def __new__(cls, *args: Any, **keywords: Any) -> Self:
        refusal = super().__new__(cls, *args)
        refusal._made_with = args, keywords
        return refusal


def made_with(refusal: Refused) -> tuple[tuple[object, ...], Mapping[str, object]]:
    """What the constructor of a refusal was called with; a subclass may have made other `args` of it."""
    nothing: Mapping[str, object] = {}
    return getattr(refusal, "_made_with", (refusal.args, nothing))  # of a __new__ that did not call ours


class ActorCrashed(Exception):
    """The actor's method raised: a bug in its class. For a replicated actor its effects were undone everywhere."""


class OutcomeUnknown(Exception):
    """The message may have been applied, may still be, or never. Read, or retry only what is idempotent."""


class LinkBroken(OutcomeUnknown):
    """The link to the other node was lost while an answer was awaited."""


class RemoteProtocolError(Exception):
    """A peer or client sent what no correct one sends. Its link is closed; it never reaches a user's call."""


class InvariantViolation(BaseException):
    """A bug of ours: this node's own state contradicts itself. It stops this node, never the others.

    Not an `Exception`, so that no handler of the user's swallows it.
    """


def invariant(condition: bool, claim: str, **facts: object) -> None:
    """Stop this node when its own state contradicts `claim`. Unlike `assert`, stays on under `-O`.

    For our own state only: what a peer, a disk or a user hands us is validated where it enters.
    """
    if not condition:
        violated(claim, **facts)


def violated(claim: str, **facts: object) -> NoReturn:
    """Raise the `InvariantViolation` of a claim that is known to be broken."""
    shown = ", ".join(f"{name}={value!r}" for name, value in facts.items())
    raise InvariantViolation(f"broken invariant: {claim}" + (f" ({shown})" if shown else "") + "; please report this")
