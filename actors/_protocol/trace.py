"""What nodes note of their messages, and how the notes of several become one order that agrees with causality.

A note is a line of JSON. A message is known by the stamp it was sent under: sender, the sender's life, counter; no two
have the same. What happened before what follows from two things: a node does one thing after the other, and what is
received was sent before (Lamport 1978). Of all orders that agree with it, the one by Lamport's stamps is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from actors._protocol.address import NodeId
from actors._protocol.envelope import Natural

LINE_SIZE_MAX: Final = 4096
"""Bytes of a note, at most."""

Text = Annotated[str, msgspec.Meta(max_length=256)]


EventName: TypeAlias = Literal["send", "drop", "receive", "deliver", "view", "log", "lost"]


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event of one node. Fields that a later version adds are ignored.

    event: "send"; "drop", what could not be sent, as there was no link or no room; "receive"; "deliver", of entries of
        a group's log; "view", of a group: an epoch began; "log", a line of the program's; "lost": `count` notes
        were, as too many came.
    node, life: whose, and in which of its lives. counter: its Lamport clock; of a send, the message's own stamp.
    at: microseconds since 1970 by the node's wall clock; for people to read, and of no account in any order.
    peer, peer_life: who was sent to, or received from; the life of a sender, 0 of a client.
    sent: the stamp under which what was received was sent.
    to: whom at a node it was for; of deliver and view the group. kind, size: of the message, and of its body in bytes.
    epoch: of a group, in the message or of the entries. first, last: indices of delivered entries. leader: of a view.
    text, level: of a line in the log.
    """

    event: EventName
    node: NodeId
    life: Natural
    counter: Natural
    at: int
    peer: Text | None = None
    peer_life: Natural | None = None
    sent: Natural | None = None
    to: Text | None = None
    kind: Text | None = None
    size: Natural | None = None
    epoch: Natural | None = None
    first: Natural | None = None
    last: Natural | None = None
    leader: Text | None = None
    text: Text | None = None
    level: Text | None = None
    count: Natural | None = None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Note)
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "send": ("peer", "kind"),
    "drop": ("kind",),
    "receive": ("peer", "peer_life", "sent", "kind"),
    "deliver": ("to", "first", "last"),
    "view": ("to", "epoch", "leader"),
    "log": ("text",),
    "lost": ("count",),
}


def encode_note(note: Note) -> bytes:
    """A line, with its end."""
    return _ENCODER.encode(note) + b"\n"


def decode_note(line: bytes) -> Note:
    """Raises ValueError, which says what is wrong, for what no node wrote."""
    if len(line) > LINE_SIZE_MAX:
        raise ValueError(f"it has {len(line)} bytes")
    try:
        note = _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:  # of which a ValidationError is one
        raise ValueError(str(error)) from None
    missing = [field for field in _NEEDED[note.event] if getattr(note, field) is None]
    if missing:
        raise ValueError(f"a {note.event} says nothing of {missing[0]!r}")
    return note


# -- many traces, one order ------------------------------------------------------------------------------------------


class Place(msgspec.Struct, frozen=True):
    """Where a note stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"line {self.line} of {self.file}"


class Contradiction(Exception):
    """These notes are not of one run; the text says which, and why."""


class Event(msgspec.Struct, frozen=True):
    """A note in its order. cause: index in the order of the send that it receives; None where that is not known.
    effect: of a send, the index of its receipt; None where none is known. beyond: is it known, and not shown?"""

    note: Note
    place: Place
    cause: int | None = None
    effect: int | None = None
    beyond: bool = False


Life: TypeAlias = tuple[str, int]
Noted: TypeAlias = tuple[Note, Place]


def merge(traces: Iterable[Sequence[Noted]]) -> list[Event]:
    """All that is noted, in one order that agrees with causality. A trace is of one life of one node, in its order.

    Raises Contradiction.
    """
    lives = _lives(traces)
    notes = [noted for life in sorted(lives) for noted in lives[life]]
    sends = _sends(notes)
    causes = [_cause(note, sends) for note, _ in notes]
    order = _sorted(notes, causes)
    places = {at: place for place, at in enumerate(order)}
    effects = {cause: at for at, cause in enumerate(causes) if cause is not None}

    def moved(at: int | None) -> int | None:
        return None if at is None else places[at]

    return [Event(*notes[at], cause=moved(causes[at]), effect=moved(effects.get(at))) for at in order]


def _lives(traces: Iterable[Sequence[Noted]]) -> dict[Life, Sequence[Noted]]:
    lives: dict[Life, Sequence[Noted]] = {}
    for trace in traces:
        for note, place in trace:
            first, where = trace[0]
            if (note.node, note.life) != (first.node, first.life):
                raise Contradiction(
                    f"{place} is of node {note.node} in its life {note.life}, and {where} of {first.node} in "
                    f"{first.life}: a trace is of one node's life"
                )
        if not trace:
            continue
        note, place = trace[0]
        life = note.node, note.life
        if life in lives:
            raise Contradiction(f"{place} and {lives[life][0][1]} begin traces of the same life: give one of them")
        lives[life] = trace
    return lives


def _sends(notes: Sequence[Noted]) -> dict[tuple[str, int, int], int]:
    """Index of the send of each message."""
    sends: dict[tuple[str, int, int], int] = {}
    for at, (note, place) in enumerate(notes):
        if note.event == "send":
            other = sends.setdefault((note.node, note.life, note.counter), at)
            if other != at:
                raise Contradiction(
                    f"{place} and {notes[other][1]} are two messages of {note.node} under one stamp, {note.counter}"
                )
    return sends


def _cause(note: Note, sends: Mapping[tuple[str, int, int], int]) -> int | None:
    if note.event != "receive" or note.peer is None or note.peer_life is None or note.sent is None:
        return None
    return sends.get((note.peer, note.peer_life, note.sent))


def _sorted(notes: Sequence[Noted], causes: Sequence[int | None]) -> list[int]:
    """Indices in an order in which each comes after its cause, and after what its node did before: among those that
    could be next, the one of the least stamp; of a send and its receipt, which have the same, the send."""
    after: dict[int, list[int]] = {}
    awaited = [0] * len(notes)
    for at, cause in enumerate(causes):
        before = [cause] if cause is not None else []
        if at and notes[at - 1][0].node == notes[at][0].node:  # the same life, or the one before
            before.append(at - 1)
        awaited[at] = len(before)
        for each in before:
            after.setdefault(each, []).append(at)

    def key(at: int) -> tuple[int, bool, str, int]:
        note = notes[at][0]
        return note.counter, note.event != "send", note.node, at

    ready = [key(at) for at, count in enumerate(awaited) if not count]
    heapify(ready)
    order: list[int] = []
    while ready:
        at = heappop(ready)[3]
        order.append(at)
        for each in after.get(at, ()):
            awaited[each] -= 1
            if not awaited[each]:
                heappush(ready, key(each))
    if len(order) < len(notes):
        stuck = next(at for at, count in enumerate(awaited) if count and causes[at] is not None)
        raise Contradiction(f"{notes[stuck][1]} receives what was sent only after it: these are not traces of one run")
    return order
