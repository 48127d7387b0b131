"""What a snapshot holds besides the actor's state: all else that is agreed up to its index (rule 11)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Protocol

from actors._protocol.codec import DecodeError, decode_struct, encode_struct
from broadcast._errors import CannotRestore
from broadcast._past import Markers
from broadcast._protocol.crashes import Undos
from broadcast._protocol.effects import Effect, Effects
from broadcast._protocol.position import Position
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

    effects: those that wait. past: see `Past.written`.
    """

    applied: int
    time: int
    stamp: int
    agreed: Agreed
    view: View | None
    sessions: Sequence[tuple[int, Session]]
    effects: Effects
    past: Sequence[object]
    markers: Markers


def encode_tables(tables: Tables) -> Iterator[bytes]:
    view = None if tables.view is None else encode_struct(tables.view)
    sessions = [
        [number, each.owner, each.touched, each.last, each.acknowledged, each.nonce, each.answers, _undos(each.undos)]
        for number, each in tables.sessions
    ]
    place = [tables.applied, tables.time, tables.stamp]
    effects = [tables.effects.number, [[*each] for each in tables.effects.waiting], _undos(tables.effects.undos)]
    parts = [place, encode_struct(tables.agreed), view, sessions, effects, tables.past, [*astuple(tables.markers)]]
    return Encoder("").pieces(parts)


def decode_tables(frames: Frames) -> Tables:
    """The reverse. Raises `CannotRestore`."""
    (applied, time, stamp), agreed, view, sessions, effects, past, markers = Decoder(frames, "").value()
    try:
        return Tables(
            applied,
            time,
            stamp,
            decode_struct(agreed, Agreed),
            None if view is None else decode_struct(view, View),
            [_session(*parts) for parts in sessions],
            _effects(*effects),
            past,
            Markers(*markers),
        )
    except DecodeError as error:
        raise CannotRestore(f"it is damaged: {error}") from error


def _session(
    number: int, owner: str, touched: int, last: int, acknowledged: int, nonce: bytes, answers: list[bytes], undos: Any
) -> tuple[int, Session]:
    return number, Session(owner, touched, last, acknowledged, answers, nonce, _undos_read(undos))


def _effects(number: int, waiting: list[list[Any]], undos: Any) -> Effects:
    return Effects([_effect(*parts) for parts in waiting], number, _undos_read(undos))


def _effect(due: int, number: int, call: bytes) -> Effect:
    return due, number, call


def _undos(undos: Undos | None) -> list[object] | None:
    return None if undos is None else undos.written()


def _undos_read(parts: Sequence[Any] | None) -> Undos | None:
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
