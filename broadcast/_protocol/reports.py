"""What a replica tells the owner of a session about what that session sent."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from broadcast._protocol.entries import Nonce
from broadcast._protocol.position import Natural, Positive
from membership._protocol.view import Name


class Opened(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="opened"):
    """The session that `owner` asked for under `nonce` is there; `session` is None if there was no room for it."""

    nonce: Nonce
    owner: Name
    session: Positive | None


class Answers(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="answers"):
    """What became of the commands `number, number + 1, ...` of a session: encoded outcomes, in order."""

    session: Positive
    number: Positive
    outcomes: list[bytes]


class Missing(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="missing"):
    """A run could not be applied because `expected` has not come yet; it changed nothing."""

    session: Positive
    expected: Positive
    attempt: Natural


class Kept(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="kept"):
    """The session is still there."""

    session: Positive


class Expired(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="expired"):
    """The session is not there any more; what was sent under it changed nothing on this attempt."""

    session: Positive


class Resend(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="resend"):
    """What was sent and is not answered may be lost on its way to the leader: send it again."""


Report: TypeAlias = Opened | Answers | Missing | Kept | Expired | Resend
