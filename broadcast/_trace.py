"""What a group's messages are, for a trace: told from their first bytes, without opening them."""

from __future__ import annotations

from typing import get_args

from broadcast._protocol.messages import Message

_EPOCHAL = frozenset(
    each.__struct_config__.tag for each in get_args(Message) if each.__struct_fields__[:1] == ("epoch",)
)
"""Kinds of message between replicas that begin with an epoch."""
_NUMBER, _BYTES, _TEXT, _ARRAY = 0, 2, 3, 4  # major types of CBOR


class _Strange(Exception):
    """It does not begin as it should."""


def described(tag: str, body: bytes) -> tuple[str, int | None]:
    """Kind and epoch of a message whose envelope has this tag. What begins otherwise is of the envelope's kind."""
    try:
        return _between_replicas(body) if tag == "replica" else (_text(body, _head(body, 0, _ARRAY)[1])[0], None)
    except (_Strange, UnicodeDecodeError):
        return tag, None


def _between_replicas(body: bytes) -> tuple[str, int | None]:
    """A `GroupMessage`: two ids, and the message."""
    at = _head(body, 0, _ARRAY)[1]
    for _ in range(2):
        size, at = _head(body, at, _BYTES)
        at += size
    kind, at = _text(body, _head(body, at, _ARRAY)[1])
    return kind, _head(body, at, _NUMBER)[0] if kind in _EPOCHAL else None


def _text(body: bytes, at: int) -> tuple[str, int]:
    size, at = _head(body, at, _TEXT)
    if not 0 < size <= 64 or at + size > len(body):
        raise _Strange
    return body[at : at + size].decode(), at + size


def _head(body: bytes, at: int, kind: int) -> tuple[int, int]:
    """The number in the head of an item of this major type, and where the head ends (RFC 8949, 3)."""
    if at >= len(body) or body[at] >> 5 != kind:
        raise _Strange
    short = body[at] & 31
    if short < 24:
        return short, at + 1
    end = at + 1 + (1 << (short - 24))
    if short > 27 or end > len(body):
        raise _Strange
    return int.from_bytes(body[at + 1 : end], "big"), end
