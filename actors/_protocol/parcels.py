"""What the actors of two nodes say to each other: bodies of envelopes between peers.

Who asks gives a correlation to the envelope, and the answer repeats it. Answers also name the life of the node that
asked: a correlation of an earlier life means nothing to it.

A call or an outcome travels within the parcel as it was encoded by who knows the method: all is opened in one go, and
nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Annotated, Final, TypeAlias, cast

import msgspec

from actors._protocol.address import ACTOR_NAME_LENGTH_MAX
from actors._protocol.clock import COUNTER_MAX
from actors._protocol.codec import COUNT_MAX, OneOf, check_plain, encode_around
from actors._protocol.envelope import Natural
from actors._protocol.scalars import ARRAY, NONE, TEXT, WIDE, head, natural, scan, scan_array, text

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
_LIFE: Final = Struct(f">{len(_ANSWERED)}sBQ")
"""How an `Answered` begins: its incarnation takes eight bytes, whatever it is."""
KNOWN_MAX: Final = 1_000
known: dict[bytes, tuple[str, str]] = {}
"""The short names of an `Asked` that has no chain and is waited for for ever: by all bytes of these four."""


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
    return _LIFE.pack(_ANSWERED, WIDE, incarnation) + outcome


@lru_cache(KNOWN_MAX)
def _names(actor: str, sender: str) -> bytes:
    return text(actor) + text(sender)


def open_parcel(data: bytes) -> Parcel:
    """The parcel that `data` is. Raises DecodeError. What is in a call or an outcome is plain, and no more is known."""
    simple: Asked | Told | Answered | None = None
    if data.startswith(_ANSWERED):
        simple = _simple_answered(data)
    elif data.startswith(_ASKED):
        simple = _simple_asked(data)
    elif data.startswith(_TOLD):
        simple = _simple_told(data)
    return simple or _open_any(data)


def _open_any(data: bytes) -> Parcel:
    parcel = _KINDS.decode(data, count_max=_COUNT_MAX)
    kind = type(parcel)
    if kind is Asked or kind is Told:
        check_plain(cast("Asked | Told", parcel).call)
    elif kind is Answered:
        check_plain(cast(Answered, parcel).outcome)
    return parcel


# A parcel of scalars, without asking the library; None if it is something else, or not good.


def _simple_answered(data: bytes) -> Answered | None:
    if len(data) < _LIFE.size:
        return None
    _, wide, incarnation = _LIFE.unpack_from(data)
    outcome = scan_array(data, _LIFE.size)
    return Answered(incarnation, outcome) if wide == WIDE and incarnation <= COUNTER_MAX and outcome else None


def _simple_asked(data: bytes) -> Asked | None:
    end = _end_of_names(data, len(_ASKED)) + 2
    names = known.get(data[len(_ASKED) : end])
    if names is not None:
        call = scan_array(data, end)
        return Asked(*names, [], None, call) if call else None
    found = scan(data, len(_ASKED), 4)
    call = None if found is None else scan_array(data, found[1])
    if found is None or not call:
        return None
    actor, sender, chain, patience = found[0]
    if not _are_names(actor, sender) or chain != [] or not (patience is None or _is_natural(patience)):
        return None
    if patience is None and found[1] == end:
        if len(known) >= KNOWN_MAX:
            known.clear()
        known[data[len(_ASKED) : end]] = actor, sender
    return Asked(actor, sender, chain, patience, call)


def _end_of_names(data: bytes, at: int) -> int:
    """Where two texts that begin at `at` end, if they are as short as most names are; else somewhere, or 0."""
    for _ in range(2):
        if at >= len(data) or data[at] < TEXT:
            return 0
        at += 1 + data[at] - TEXT
    return at


def _simple_told(data: bytes) -> Told | None:
    found = scan(data, len(_TOLD), 2)
    call = None if found is None else scan_array(data, found[1])
    if found is None or not call:
        return None
    actor, sender = found[0]
    return Told(actor, sender, call) if _are_names(actor, sender) else None


def _is_natural(value: object) -> bool:
    return type(value) is int and 0 <= value <= COUNTER_MAX


def _are_names(actor: object, sender: object) -> bool:
    if type(actor) is not str or type(sender) is not str:
        return False
    return 0 < len(actor) <= ACTOR_NAME_LENGTH_MAX and len(sender) <= ACTOR_NAME_LENGTH_MAX
