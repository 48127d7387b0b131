"""One connection's life, as a table of state and message: bytes in, events out. Knows nothing of sockets.

            dialer                          acceptor
    HELLO   said hello, awaits an answer    awaits a hello
    ASKED                                   has told its shell of the hello, awaits `accept` or `refuse`
    READY   dialed, may send                accepted
    CLOSING                                 refused; ignores what still comes
    CLOSED  over, cleanly                   over, cleanly
    ERROR   the peer broke the rules        the peer broke the rules

Between two peers envelopes travel on the link that their sender dialed, and only pongs come back on it; so there are
always two links, one for each direction, and never a question which of two to keep (rule 31). A client's one link
carries both directions. What a table does not hold is the peer's fault.

What a peer sends may come in parts, with others between them; one envelope at a time. Clients send none: nobody keeps
two things under way for a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from actors._protocol.envelope import (
    REASON_LENGTH_MAX,
    Envelope,
    Hello,
    LinkMessage,
    Part,
    Ping,
    Pong,
    Ready,
    Refusal,
    pack,
    unpack,
)
from actors._protocol.errors import RemoteProtocolError, invariant, violated
from actors._protocol.frames import CLIENT_FRAME_SIZE_MAX, FRAME_SIZE_MAX, FrameReader

VERSION_MIN, VERSION_MAX = 1, 1
"""Versions of the protocol that this node speaks."""
HANDSHAKE_SIZE_MAX = 1024
"""Bytes of a frame before the link is ready: a stranger gets no more room."""


class State(Enum):
    __hash__ = object.__hash__  # Enum's own is a call of Python's, and each frame is looked up by it

    HELLO = "hello"
    ASKED = "asked"
    READY = "ready"
    CLOSING = "closing"
    CLOSED = "closed"
    ERROR = "error"


class Asked(msgspec.Struct, frozen=True):
    """To an acceptor: answer with `accept` or `refuse`, at once. `objection`: why the link must be refused."""

    hello: Hello
    objection: str | None


class PeerReady(msgspec.Struct, frozen=True):
    """To a dialer: the link is ready."""

    ready: Ready


class Refused(msgspec.Struct, frozen=True):
    """To a dialer: the peer does not want this link."""

    reason: str


class Answer(msgspec.Struct, frozen=True):
    """Bytes that the link owes the peer."""

    data: bytes


class LinkClosed(msgspec.Struct, frozen=True):
    """The peer has closed the connection. `clean`: between two frames."""

    clean: bool


Event: TypeAlias = Asked | PeerReady | Refused | Envelope | Answer | Pong | LinkClosed
# A rule takes just the kind of message it is filed under in its table; no static type says so.
_Rule: TypeAlias = "Callable[[Link, Any], Event | None]"
_Table: TypeAlias = Mapping[tuple[State, type[LinkMessage]], _Rule]


class Link:
    """One end of a connection. Made by `dial` or `answer`; give it bytes, take events until there are none.

    state: where it is in its life. hello: what was said first; None until then.
    """

    __slots__ = ("_ended", "_left", "_parts", "_reader", "_table", "expected", "hello", "state")

    def __init__(self, table: _Table, hello: Hello | None, expected: str | None) -> None:
        self.state = State.HELLO
        self.hello = hello
        self._table = table
        self.expected = expected
        self._reader = FrameReader(HANDSHAKE_SIZE_MAX)
        self._parts: bytearray | None = None  # of an envelope that has not come as a whole
        self._left = 0
        self._ended = False

    @classmethod
    def dial(cls, hello: Hello, expected: str | None = None) -> tuple[Link, bytes]:
        """The dialer's end, and what to send first. `expected`: the name that must answer; None for whoever does."""
        return cls(_CLIENT if hello.role == "client" else _DIALER, hello, expected), pack(hello)

    @classmethod
    def answer(cls) -> Link:
        """The acceptor's end."""
        return cls(_ACCEPTOR, None, None)

    def accept(self, node: str, incarnation: int, counter: int) -> bytes:
        """Answers `Asked`: the link is ready. What to send."""
        hello = self._asked()
        self.become_ready(CLIENT_FRAME_SIZE_MAX if hello.role == "client" else FRAME_SIZE_MAX)
        return pack(Ready(min(VERSION_MAX, hello.version_max), node, incarnation, counter))

    def refuse(self, reason: str) -> bytes:
        """Answers `Asked`: the link closes. What to send before."""
        self._asked()
        self.state = State.CLOSING
        return pack(Refusal(reason[:REASON_LENGTH_MAX]))

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take what came from the peer; b"" says that it has closed the connection."""
        if data:
            self._reader.receive_data(data)
        else:
            self._ended = True

    def forget(self) -> None:
        """Keep nothing of what has come: nobody is going to look at it."""
        self._reader.forget()
        self._parts = None

    @property
    def waiting(self) -> int:
        """Bytes that are kept of a frame that has not come as a whole."""
        return self._reader.waiting

    def next_event(self) -> Event | None:
        """What has happened, or None until more has come. Raises RemoteProtocolError for what no correct peer does."""
        try:
            while self.state not in _ENDED:
                payload = self._reader.next_frame()
                if payload is None:
                    return self._close() if self._ended else None
                message = unpack(payload)
                rule = self._table.get((self.state, type(message)), _unexpected)
                event = rule(self, message)
                if event is not None:
                    return event
        except RemoteProtocolError:
            self.state = State.ERROR
            raise
        return None

    def _close(self) -> LinkClosed:
        self.state = State.CLOSED
        return LinkClosed(clean=self._reader.is_between_frames and self._parts is None)

    def take_part(self, part: Part) -> Envelope | None:
        """For the rules: the envelope, if this was its last part."""
        if self._parts is None:
            self._parts, self._left = bytearray(), part.left + len(part.body)
            if self._left > FRAME_SIZE_MAX:
                raise RemoteProtocolError(f"{self._left} bytes in parts, and {FRAME_SIZE_MAX} are allowed")
        if not part.body or self._left != part.left + len(part.body):
            raise RemoteProtocolError(f"a part of {len(part.body)} of {self._left} bytes that leaves {part.left}")
        self._parts += part.body
        self._left = part.left
        if part.left:
            return None
        payload, self._parts = bytes(self._parts), None
        whole = unpack(payload)
        if type(whole) is not Envelope:
            raise RemoteProtocolError(f"a {type(whole).__name__.lower()} in parts")
        return whole

    def _asked(self) -> Hello:
        invariant(self.state is State.ASKED, "a link is accepted or refused when it was asked for", state=self.state)
        return _known(self.hello)

    def become_ready(self, frame_size_max: int) -> None:
        """For the rules: strangers have become acquainted. frame_size_max: of what the other side sends."""
        self.state = State.READY
        self._reader.size_max = frame_size_max


# -- the rules ------------------------------------------------------------------------------------------------------


def _unexpected(link: Link, message: LinkMessage) -> Event | None:
    kind = type(message).__name__.lower()
    raise RemoteProtocolError(f"a {kind} while the link is at {link.state.value!r}")


def _hello(link: Link, hello: Hello) -> Event | None:
    link.state, link.hello = State.ASKED, hello
    if hello.version_min > hello.version_max:
        raise RemoteProtocolError(f"a range of versions from {hello.version_min} to {hello.version_max}")
    if hello.version_max < VERSION_MIN or hello.version_min > VERSION_MAX:
        return Asked(
            hello,
            f"protocol versions {hello.version_min} to {hello.version_max} are spoken by {hello.node}, "
            f"and {VERSION_MIN} to {VERSION_MAX} here: upgrade the older one first",
        )
    return Asked(hello, None)


def _ready(link: Link, ready: Ready) -> Event | None:
    hello = _known(link.hello)
    if not hello.version_min <= ready.version <= hello.version_max:
        raise RemoteProtocolError(
            f"version {ready.version} chosen, of {hello.version_min} to {hello.version_max} that were offered"
        )
    if link.expected is not None and ready.node != link.expected:
        raise RemoteProtocolError(f"node {ready.node!r} answers at the address of {link.expected!r}")
    link.become_ready(FRAME_SIZE_MAX)
    return PeerReady(ready)


def _refusal(link: Link, refusal: Refusal) -> Event | None:
    link.state = State.CLOSED
    return Refused(refusal.reason)


def _ping(link: Link, ping: Ping) -> Event | None:
    return Answer(pack(Pong(ping.number)))


def _pong(link: Link, pong: Pong) -> Event | None:
    return pong


def _envelope(link: Link, envelope: Envelope) -> Event | None:
    return envelope


def _part(link: Link, part: Part) -> Event | None:
    if _known(link.hello).role == "client":
        raise RemoteProtocolError("a client sends no parts")
    return link.take_part(part)


def _ignore(link: Link, message: LinkMessage) -> Event | None:
    return None


def _known(hello: Hello | None) -> Hello:
    if hello is None:
        violated("a link past its first word knows it")
    return hello


_DIALER: _Table = {
    (State.HELLO, Ready): _ready,
    (State.HELLO, Refusal): _refusal,
    (State.READY, Pong): _pong,
}
_CLIENT: _Table = {
    **_DIALER,
    (State.READY, Pong): _ignore,
    (State.READY, Envelope): _envelope,
}
_ACCEPTOR: _Table = {
    (State.HELLO, Hello): _hello,
    (State.READY, Envelope): _envelope,
    (State.READY, Part): _part,
    (State.READY, Ping): _ping,
    **{(State.CLOSING, kind): _ignore for kind in (Hello, Ready, Refusal, Ping, Pong, Envelope, Part)},
}
_ENDED = (State.CLOSED, State.ERROR)
