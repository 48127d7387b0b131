"""What the actors of two nodes say to each other: bodies of envelopes between peers.

Who asks gives a correlation to the envelope, and the answer repeats it. Answers also name the life of the node that
asked: a correlation of an earlier life means nothing to it.

A call or an outcome travels within the parcel as it was encoded by who knows the method: all is opened in one go, and
nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, TypeAlias, cast

import msgspec

from actors._protocol.address import ACTOR_NAME_LENGTH_MAX
from actors._protocol.clock import COUNTER_MAX
from actors._protocol.codec import COUNT_MAX, OneOf, check_plain, encode_around
from actors._protocol.envelope import Natural
from actors._protocol.scalars import ARRAY, NONE, head, natural, scan, scan_array, text

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
_KINDS = OneOf[Parcel](Asked, Told, Withdrawn, Stopped, Watched, Answered, Ended)


_ASKED: Final = head(ARRAY, 6) + text("ask")
_TOLD: Final = head(ARRAY, 4) + text("tell")
_ANSWERED: Final = head(ARRAY, 3) + text("answer")
_NO_CHAIN: Final = head(ARRAY, 0)


def pack_asked(actor: str, sender: str, chain: Sequence[str], patience: int | None, call: bytes) -> bytes:
    """The bytes of an `Asked`, of a call that is encoded already."""
    if chain or not (patience is None or patience >= 0):
        return encode_around(("ask", actor, sender, chain, patience), call)
    awaited = NONE if patience is None else natural(patience)
    return b"".join((_ASKED, _names(actor, sender), _NO_CHAIN, awaited, call))


def pack_told(actor: str, sender: str, call: bytes) -> bytes:
    """The bytes of a `Told`, of a call that is encoded already."""
    return b"".join((_TOLD, _names(actor, sender), call))


def pack_answered(incarnation: int, outcome: bytes) -> bytes:
    """The bytes of an `Answered`, of an outcome that is encoded already."""
    return b"".join((_ANSWERED, natural(incarnation), outcome))


@lru_cache(1_000)
def _names(actor: str, sender: str) -> bytes:
    return text(actor) + text(sender)


def open_parcel(data: bytes) -> Parcel:
    """The parcel that `data` is. Raises DecodeError. What is in a call or an outcome is plain, and no more is known."""
    simple = _simple(data)
    if simple is not None:
        return simple
    parcel = _KINDS.decode(data, count_max=_COUNT_MAX)
    kind = type(parcel)
    if kind is Asked or kind is Told:
        check_plain(cast("Asked | Told", parcel).call)
    elif kind is Answered:
        check_plain(cast(Answered, parcel).outcome)
    return parcel


def _simple(data: bytes) -> Asked | Told | Answered | None:
    """A parcel of scalars, without asking the library; None if it is something else, or not good."""
    for begin, count, make in _SIMPLE:
        if data.startswith(begin):
            found = scan(data, len(begin), count)
            last = None if found is None else scan_array(data, found[1])
            return make(*found[0], last) if found and last else None
    return None


def _simple_asked(actor: Any, sender: Any, chain: Any, patience: Any, call: list[object]) -> Asked | None:
    is_fit = _are_names(actor, sender) and chain == [] and (patience is None or _is_natural(patience))
    return Asked(actor, sender, chain, patience, call) if is_fit else None


def _simple_told(actor: Any, sender: Any, call: list[object]) -> Told | None:
    return Told(actor, sender, call) if _are_names(actor, sender) else None


def _simple_answered(incarnation: Any, outcome: list[object]) -> Answered | None:
    return Answered(incarnation, outcome) if _is_natural(incarnation) else None


_SIMPLE: Final[Sequence[tuple[bytes, int, Callable[..., Asked | Told | Answered | None]]]] = (
    (_ANSWERED, 1, _simple_answered),
    (_ASKED, 4, _simple_asked),
    (_TOLD, 2, _simple_told),
)
"""How a parcel begins, how many values there are before the call or the outcome, and what is made of them."""


def _is_natural(value: object) -> bool:
    return type(value) is int and 0 <= value <= COUNTER_MAX


def _are_names(actor: object, sender: object) -> bool:
    if type(actor) is not str or type(sender) is not str:
        return False
    return 0 < len(actor) <= ACTOR_NAME_LENGTH_MAX and len(sender) <= ACTOR_NAME_LENGTH_MAX
