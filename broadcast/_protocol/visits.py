"""What a client, which is no replica, and the replica it is linked to say to each other."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from actors._protocol.codec import OneOf
from broadcast._protocol.entries import Submittable
from broadcast._protocol.position import Natural
from broadcast._protocol.reports import Report
from membership._protocol.view import Limits, Name


class Enter(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="enter"):
    """A client's first word: it wants to speak to the group that the envelope is for."""


class Welcome(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="welcome"):
    """The replica is there; these are the group's limits. `leader`: whom it knows to lead."""

    limits: Limits
    leader: Name | None


class Offer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="offer"):
    """Entries that the client's session wants in the log."""

    entries: Annotated[tuple[Submittable, ...], msgspec.Meta(max_length=2_000)]


class Read(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="read"):
    """A query, to be answered by `ReadAnswer` with this number."""

    number: Natural
    call: bytes


class GiveUp(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="give up"):
    """Nobody waits for the query of this number any more."""

    number: Natural


class Told(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="told"):
    """What became of something that the client's session sent."""

    report: Report


class ReadAnswer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="answer"):
    """The encoded outcome of the query of this number."""

    number: Natural
    outcome: bytes


FromClient: TypeAlias = Enter | Offer | Read | GiveUp
ToClient: TypeAlias = Welcome | Told | ReadAnswer

FROM_CLIENT = OneOf[FromClient](Enter, Offer, Read, GiveUp)
TO_CLIENT = OneOf[ToClient](Welcome, Told, ReadAnswer)
