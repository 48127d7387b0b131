"""What a snapshot holds besides the actor's state: all else that is agreed up to its index (rule 11)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Protocol

import msgspec

from actors._protocol.codec import DecodeError, convert, decode, decode_struct, encode_struct
from broadcast._calls import is_encoded_call, tag_of
from broadcast._errors import CannotRestore
from broadcast._past import Markers, Past, PastWritten
from broadcast._protocol.crashes import Undos, UndosWritten
from broadcast._protocol.effects import Effects
from broadcast._protocol.position import Natural, Position
from broadcast._protocol.sessions import Session
from broadcast._protocol.snapshots import Snapshot
from broadcast._restoring import Decoder
from broadcast._state import Encoder
from broadcast._tokens import Frames
from membership._protocol.configurations import Agreed
from membership._protocol.view import View


@dataclass(frozen=True, slots=True)
class Tables:
    """applied, time, stamp: of the last entry applied. view: the last one that began. sessions: in their order.

    effects: those that wait. undos: of all commands. past: what is remembered of the entries.
    """

    applied: int
    time: int
    stamp: int
    agreed: Agreed
    view: View | None
    sessions: Sequence[tuple[int, Session]]
    effects: Effects
    undos: Undos
    past: Past
    markers: Markers


def encode_tables(tables: Tables) -> Iterator[bytes]:
    view = None if tables.view is None else encode_struct(tables.view)
    sessions = [
        [number, each.owner, each.touched, each.last, each.acknowledged, each.nonce, each.answers, _undos(each.undos)]
        for number, each in tables.sessions
    ]
    place = [tables.applied, tables.time, tables.stamp]
    waiting = [[*each] for each in tables.effects.waiting]
    held_up = [[tag, *each] for tag, each in tables.effects.held_up]
    effects = [tables.effects.number, waiting, held_up, _undos(tables.effects.undos)]
    past, markers = tables.past.written(tables.markers.previous), [*astuple(tables.markers)]
    undos = tables.undos.written()
    parts = [place, encode_struct(tables.agreed), view, sessions, effects, undos, past, markers]
    return Encoder("").pieces(parts)


class _Session(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    number: Natural
    owner: str
    touched: Natural
    last: Natural
    acknowledged: Natural
    nonce: bytes
    answers: list[bytes]
    undos: UndosWritten | None


class _Tables(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What `encode_tables` writes. place: applied, time, stamp.

    effects: the last number, those that wait, those that are held up, with their tags, and what was undone of them.
    """

    place: tuple[Natural, Natural, Natural]
    agreed: bytes
    view: bytes | None
    sessions: list[_Session]
    effects: tuple[
        Natural,
        list[tuple[Natural, Natural, bytes]],
        list[tuple[str, Natural, Natural, bytes]],
        UndosWritten | None,
    ]
    undos: UndosWritten
    past: PastWritten
    markers: tuple[Natural, Natural, Natural, Natural, Natural]


def decode_tables(frames: Frames) -> Tables:
    """The reverse. Raises `CannotRestore` for anything else, also for what contradicts itself."""
    value = Decoder(frames, "").value()
    try:
        written = convert(value, _Tables)
        tables = _tables(written)
    except DecodeError as error:
        raise CannotRestore(f"it is damaged: {error}") from error
    wrong = next((what for what, is_right in _claims(tables, written) if not is_right), None)
    if wrong is not None:
        raise CannotRestore(f"it is damaged: {wrong} cannot be so")
    return tables


def _tables(written: _Tables) -> Tables:
    number, waiting, held_up, undos = written.effects
    return Tables(
        *written.place,
        decode_struct(written.agreed, Agreed),
        None if written.view is None else decode_struct(written.view, View),
        [
            (
                each.number,
                Session(
                    each.owner,
                    each.touched,
                    each.last,
                    each.acknowledged,
                    each.answers,
                    each.nonce,
                    _undos_read(each.undos),
                ),
            )
            for each in written.sessions
        ],
        Effects(waiting, number, _undos_read(undos), [(tag, (due, at, call)) for tag, due, at, call in held_up]),
        Undos.read(written.undos),
        Past.read(written.past),
        Markers(*written.markers),
    )


def _claims(tables: Tables, written: _Tables) -> Iterator[tuple[str, bool]]:
    """What is so in all that a machine writes, and is taken for granted by one that goes on with it."""
    applied, view, sessions = tables.applied, tables.view, written.sessions
    yield "the view", (view is None) == (applied == 0)
    yield "the view", view is None or (0 < view.index <= applied and tables.past.leads(view.epoch, view.leader))
    yield "what is remembered of the entries", tables.past.ends_by(applied)
    yield "the version in force", tables.past.version(applied) == tables.agreed.version
    yield "sessions", all(0 < each.number <= applied for each in sessions)
    yield "sessions", all(each.last - each.acknowledged == len(each.answers) for each in sessions)
    yield "sessions", len({each.number for each in sessions}) == len(sessions)
    yield "sessions", len({(each.owner, each.nonce) for each in sessions}) == len(sessions)
    number, waiting, held_up, _ = written.effects
    effects = [*waiting, *[(due, at, call) for _, due, at, call in held_up]]
    yield "what is to be due", all(one[:2] < other[:2] for one, other in pairwise(waiting))
    yield "what is to be due", len({at for _, at, _ in effects}) == len(effects)
    yield "what is to be due", all(0 < at <= number and is_encoded_call(call) for _, at, call in effects)
    yield "what is held up", all(one[1:3] < other[1:3] for one, other in pairwise(held_up))
    yield "what is held up", all(tag_of(decode(call)) == tag for tag, _, _, call in held_up)
    yield "the markers", tables.past.start == tables.markers.previous <= tables.markers.latest <= applied


def _undos(undos: Undos | None) -> list[object] | None:
    return None if undos is None else undos.written()


def _undos_read(parts: UndosWritten | None) -> Undos | None:
    return None if parts is None else Undos.read(parts)


class Placed(Protocol):
    """What a snapshot's header is of: all that is agreed up to one index."""

    @property
    def position(self) -> Position: ...
    @property
    def time(self) -> int: ...
    @property
    def stamp(self) -> int: ...
    @property
    def agreed(self) -> Agreed: ...


def check_header(held: Placed, snapshot: Snapshot) -> None:
    """Is what was restored what the header that came with it says? Raises `CannotRestore`."""
    facts = (
        ("position", held.position == snapshot.position),
        ("log time", held.time == snapshot.time),
        ("stamp", held.stamp == snapshot.stamp),
        ("members", held.agreed == snapshot.agreed),
    )
    wrong = [name for name, is_same in facts if not is_same]
    if wrong:
        raise CannotRestore(
            f"the snapshot at index {snapshot.index} was said to have another {', '.join(wrong)} than what it holds: "
            "whoever made it does not do as this version does"
        )


class Counted:
    """Pieces, and how many bytes they were so far."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.size = 0
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece
