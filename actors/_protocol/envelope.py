"""What travels in frames: the few messages of a link, and the envelope that carries everything else.

    length of the header, 2 bytes, big-endian | header: a CBOR array, its first value names the kind | body

Only an envelope, or a part of one, has a body: bytes that are opened by whom it is for. The header is small whatever
the frame, so that what a stranger can make a node decode is small too.

An envelope's header has its two numbers first, in nine bytes each, and then names that are the same in most envelopes:
these are not decoded again each time.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Annotated, Final, TypeAlias, cast

import cbor2
import msgspec

from actors._protocol.address import NodeId
from actors._protocol.clock import COUNTER_MAX
from actors._protocol.codec import OneOf, convert, encode_struct, parse
from actors._protocol.errors import RemoteProtocolError, TooLarge, violated
from actors._protocol.frames import CLIENT_FRAME_SIZE_MAX, FRAME_SIZE_MAX, HEAD_SIZE, frame
from actors._protocol.heads import ARRAY, WIDE, head, text

HEADER_SIZE_MAX = 4096
BODY_SIZE_MAX = FRAME_SIZE_MAX - HEADER_SIZE_MAX - 2
CLIENT_BODY_SIZE_MAX = CLIENT_FRAME_SIZE_MAX - HEADER_SIZE_MAX - 2
REASON_LENGTH_MAX = 500
_NAME_LENGTH_MAX, _TAG_LENGTH_MAX = 256, 64

Natural = Annotated[int, msgspec.Meta(ge=0, le=COUNTER_MAX)]
Version = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Role = Annotated[str, msgspec.Meta(pattern=r"\A(peer|client)\Z")]
ActorName = Annotated[str, msgspec.Meta(max_length=_NAME_LENGTH_MAX)]
Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=_TAG_LENGTH_MAX)]
Reason = Annotated[str, msgspec.Meta(max_length=REASON_LENGTH_MAX)]


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """The dialer's first word. Fields that a later version adds behind these are ignored (rule 31).

    version_min, version_max: of the protocol, both spoken.
    incarnation: number of the dialer's life; a client's does not matter.
    role: "peer", or "client" which is told and asked over this link too, but counts for nothing.
    counter: a Lamport stamp to begin from.
    """

    version_min: Version
    version_max: Version
    node: NodeId
    incarnation: Natural
    role: Role
    counter: Natural


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """The acceptor's consent, and who it is."""

    version: Version
    node: NodeId
    incarnation: Natural
    counter: Natural


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag="refusal"):
    """The acceptor's no, for people to read. The link closes."""

    reason: Reason


class Ping(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="ping"):
    """Are you there? And how far are you? number: chosen by the sender, to know by the answer what had come before."""

    number: Natural


class Pong(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="pong"):
    """Answers the ping of that number."""

    number: Natural


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="envelope"):
    """A message for somebody at a node.

    counter: the sender's Lamport stamp.
    correlation: chosen by an asker, and repeated by the answer; 0 where there is nothing to answer.
    to: who it is for at the receiving node.
    sender: who it is from at the sending node, and where an answer goes; "" for nobody. The node is the link's.
    tag: what kind of message it is, to whom it is for.
    body: unopened.
    """

    counter: Natural
    correlation: Natural
    to: ActorName
    sender: ActorName
    tag: Tag
    body: bytes


class Part(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="part"):
    """A part of the payload of an envelope's frame, which is too large to hold up others: they go between two parts.

    left: bytes of that payload that are still to come. body: these bytes of it.
    """

    left: Natural
    body: bytes


LinkMessage: TypeAlias = Hello | Ready | Refusal | Ping | Pong | Envelope | Part
_KINDS = OneOf[LinkMessage](Hello, Ready, Refusal, Ping, Pong, Envelope, Part)
_ENVELOPE: Final = head(ARRAY, 6) + text("envelope")
_NUMBERS: Final = Struct(f">H{len(_ENVELOPE)}sBQBQ")
"""How an envelope begins: the length of its header, and that up to its names, which are the rest of it."""
_SMALL_SIZE_MAX: Final = 2**12
"""Bytes of a body that is copied once more, as that takes less time than to do each thing with the parts."""
KNOWN_MAX, KNOWN_SIZE_MAX = 1_000, 200
known: dict[bytes, tuple[str, str, str]] = {}
"""What such a rest has been found to say, where it is short."""


def pack(message: Hello | Ready | Refusal | Ping | Pong) -> bytes:
    """The frame of a message of the link itself."""
    header = encode_struct(message)
    return frame(len(header).to_bytes(2, "big"), header)


def pack_envelope(
    to: str, sender: str, counter: int, correlation: int, tag: str, body: bytes, body_size_max: int = BODY_SIZE_MAX
) -> bytes:
    """The frame of an `Envelope`, its fields checked. Raises TooLarge if the body is."""
    if len(body) > body_size_max:
        raise TooLarge(f"the body of {tag!r} to {to!r}", len(body), body_size_max)
    if not 0 <= correlation <= COUNTER_MAX:
        violated("a correlation is within bounds", correlation=correlation)
    names = _names(to, sender, tag)
    size = _NUMBERS.size - 2 + len(names)
    begin = _NUMBERS.pack(size, _ENVELOPE, WIDE, counter, WIDE, correlation) + names
    return frame(begin + body) if len(body) <= _SMALL_SIZE_MAX else frame(begin, body)


@lru_cache(KNOWN_MAX)
def _names(to: str, sender: str, tag: str) -> bytes:
    if not (len(to) <= _NAME_LENGTH_MAX and len(sender) <= _NAME_LENGTH_MAX and 0 < len(tag) <= _TAG_LENGTH_MAX):
        violated("names fit", to=to, tag=tag)
    return text(to) + text(sender) + text(tag)


def pack_part(data: bytes, begin: int, size: int) -> bytes:
    """The frame in which so many bytes of the payload of this one go, from `begin` on: fewer if there are no more."""
    end = min(HEAD_SIZE + begin + size, len(data))
    header = cbor2.dumps(("part", len(data) - end))
    with memoryview(data) as view:
        return frame(len(header).to_bytes(2, "big"), header, view[HEAD_SIZE + begin : end])


def unpack(payload: bytes) -> LinkMessage:
    """The message in a frame's payload. Raises RemoteProtocolError."""
    end = 2 + int.from_bytes(payload[:2], "big")
    if end > HEADER_SIZE_MAX + 2 or end > len(payload):
        raise RemoteProtocolError(f"a header of {end - 2} bytes in a frame of {len(payload)}")
    names: bytes | None = None
    if end >= _NUMBERS.size:
        _, begin, wide, counter, also_wide, correlation = _NUMBERS.unpack_from(payload)
        # As `pack_envelope` has it begin, and within bounds.
        if begin == _ENVELOPE and wide == also_wide == WIDE and counter <= COUNTER_MAX and correlation <= COUNTER_MAX:
            names = payload[_NUMBERS.size : end]
            said = known.get(names)
            if said is not None:
                return Envelope(counter, correlation, *said, payload[end:])
    plain = parse(payload[2:end])
    items = cast("list[object]", plain) if type(plain) is list else []
    kind = items[0] if items else None
    if kind == "envelope":
        items.append(payload[end:])
        envelope = convert(items, Envelope)
        if names is not None:
            _remember(names, envelope)
        return envelope
    if kind == "part":
        items.append(payload[end:])
    elif len(payload) > end:
        raise RemoteProtocolError(f"a message of the link with a body of {len(payload) - end} bytes")
    return _KINDS.convert(items)


def _remember(names: bytes, envelope: Envelope) -> None:
    """What these bytes say, for the next envelope that has them. Anybody may send some: they are few, and short."""
    if len(names) <= KNOWN_SIZE_MAX:
        if len(known) >= KNOWN_MAX:
            known.clear()
        known[names] = envelope.to, envelope.sender, envelope.tag
