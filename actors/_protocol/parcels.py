"""What the actors of two nodes say to each other: bodies of envelopes between peers.

Who asks gives a correlation to the envelope, and the answer repeats it. Answers also name the life of the node that
asked: a correlation of an earlier life means nothing to it.

A call or an outcome travels within the parcel as it was encoded by who knows the method: all is opened in one go, and
nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, TypeAlias

import cbor2
import msgspec

from actors._protocol.address import ACTOR_NAME_LENGTH_MAX
from actors._protocol.codec import COUNT_MAX, OneOf, check_plain
from actors._protocol.envelope import KNOWN_MAX, Natural

CHAIN_LENGTH_MAX = 64
"""Actors that are told to wait for a message: the last ones, if there are more."""
_COUNT_MAX = COUNT_MAX + CHAIN_LENGTH_MAX + 16
"""Values in a parcel: those of the call or the outcome, and what is around them."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=ACTOR_NAME_LENGTH_MAX)]
_Sender = Annotated[str, msgspec.Meta(max_length=ACTOR_NAME_LENGTH_MAX)]
_Address = Annotated[str, msgspec.Meta(min_length=3, max_length=2 * ACTOR_NAME_LENGTH_MAX)]
_Chain = Annotated[list[_Address], msgspec.Meta(max_length=CHAIN_LENGTH_MAX)]
_Call = Annotated[list[object], msgspec.Meta(min_length=1)]
_Outcome = Annotated[list[object], msgspec.Meta(min_length=1)]
_How = Annotated[str, msgspec.Meta(pattern=r"\A(stopped|killed|crashed|missing)\Z")]


class Asked(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="ask"):
    """A message whose answer is awaited.

    actor: the name of who is asked. sender: of the actor that asks; "" if none does. chain: addresses of the actors
    that wait for the answer. patience: microseconds for which it is waited for; None for ever. call: tag and arguments,
    plain; see `Method.pack`.
    """

    actor: _Name
    sender: _Sender
    chain: _Chain
    patience: Natural | None
    call: _Call


class Told(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="tell"):
    """A message whose answer is not awaited. Fields as in `Asked`."""

    actor: _Name
    sender: _Sender
    call: _Call


class Withdrawn(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="withdraw"):
    """Nobody waits any more for what this correlation asked."""


class Stopped(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="stop"):
    """Stop an actor, or kill it; answered by `Ended`."""

    actor: _Name
    kill: bool


class Watched(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="watch"):
    """Tell when an actor has ended; answered by `Ended`."""

    actor: _Name


class Answered(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="answer"):
    """What an ask came to: see `_answers`. incarnation: of the node that asked."""

    incarnation: Natural
    outcome: _Outcome


class Ended(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="end"):
    """The actor has ended so, or is not there. incarnation: of the node that asked."""

    incarnation: Natural
    how: _How


Parcel: TypeAlias = Asked | Told | Withdrawn | Stopped | Watched | Answered | Ended
_NOBODY_FOR_EVER = cbor2.dumps(()) + cbor2.dumps(None)
"""A chain and a patience, encoded: nearly all there are."""
_KINDS = OneOf[Parcel](Asked, Told, Withdrawn, Stopped, Watched, Answered, Ended)


def pack_asked(actor: str, sender: str, chain: Sequence[str], patience: int | None, call: bytes) -> bytes:
    """The bytes of an `Asked`, of a call that is encoded already."""
    waits = _NOBODY_FOR_EVER if patience is None and not chain else cbor2.dumps(chain) + cbor2.dumps(patience)
    return _begin(3, "ask", actor, sender) + waits + call


def pack_told(actor: str, sender: str, call: bytes) -> bytes:
    """The bytes of a `Told`, of a call that is encoded already."""
    return _begin(1, "tell", actor, sender) + call


def pack_answered(incarnation: int, outcome: bytes) -> bytes:
    """The bytes of an `Answered`, of an outcome that is encoded already."""
    return _begin(1, "answer", incarnation) + outcome


@lru_cache(KNOWN_MAX)
def _begin(more: int, *values: str | int) -> bytes:
    """How the array begins of these values and of so many more, which follow. Few say much to each other."""
    return cbor2.dumps((*values, *[None] * more))[:-more]  # None takes a byte


def open_parcel(data: bytes) -> Parcel:
    """The parcel that `data` is. Raises DecodeError. What is in a call or an outcome is plain, and no more is known."""
    parcel = _KINDS.decode(data, count_max=_COUNT_MAX)
    if type(parcel) is Asked or type(parcel) is Told:
        check_plain(parcel.call)
    elif type(parcel) is Answered:
        check_plain(parcel.outcome)
    return parcel
