"""A node's trace: what it sends, receives and delivers, a line each, in a file of its own (see `_protocol.trace`).

Off unless asked for, by `trace=` or by the environment, and then nothing of it is there: a node that traces has another
`Exchange`. What it costs is bounded. Lines are written by a thread, at most `SIZE_MAX` bytes of them; where more come
than it can write, they are counted and not kept. A disk that does not take them ends the trace, never the node.

Of a message its kind and size are noted, and nothing that is in it.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import trio

from actors._connection import Connection
from actors._durable import make_directory
from actors._exchange import Exchange, Origin
from actors._identity import Identity
from actors._log import Log
from actors._nursery import open_background
from actors._protocol.envelope import Envelope
from actors._protocol.trace import EventName, Note, encode_note

VARIABLE = "TROUPE_TRACE"
"""Environment variable that names the directory for traces, for nodes that are given none."""
SIZE_MAX = 2**26
"""Bytes of one trace."""
WAITING_SIZE_MAX = 2**20
"""Bytes of it that may wait to be written."""
WRITE_SECONDS = 0.005
"""Between two writes: what a node that is killed noted last is lost with it, and writes have a cost."""

Describe: TypeAlias = Callable[[str, bytes], "tuple[str, int | None]"]
"""Of a tag and a body: what kind of message it is, and of which epoch, if it says so. Never raises."""

_log = Log("troupe.actors")


class Trace:
    """The open trace of a node's life. Made by `open_trace`.

    describers: who knows what the messages for a name are; for others the tag is what is known.
    """

    def __init__(self, path: Path, node: str, life: int) -> None:
        """Blocks. Raises OSError."""
        self.path = path
        self.describers: dict[str, Describe] = {}
        self._node = node
        self._life = life
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._lines: list[bytes] = []
        self._waiting = 0
        self._size = 0
        self._lost = 0
        self._counter = 0
        self._more = trio.Event()

    def note(self, event: EventName, counter: int, **facts: Any) -> None:
        """Note an event at this counter of the node's clock; see `Note` for the facts."""
        if self._file is None:
            return
        if self._waiting >= WAITING_SIZE_MAX:
            self._lost += 1
            return
        now = time.time_ns() // 1_000
        if self._lost:
            lost, self._lost = self._lost, 0
            self._take(Note("lost", self._node, self._life, self._counter, now, count=lost))
        self._counter = counter
        self._take(Note(event, self._node, self._life, counter, now, **facts))

    def message(self, to: str, tag: str, body: bytes) -> dict[str, Any]:
        """The facts of a message, for `note`."""
        describe = self.describers.get(to)
        kind, epoch = (tag, None) if describe is None else describe(tag, body)
        return {"to": to, "kind": kind, "epoch": epoch, "size": len(body)}

    def _take(self, note: Note) -> None:
        line = encode_note(note)
        self._lines.append(line)
        self._waiting += len(line)
        self._more.set()

    async def run(self) -> None:
        """Write what waits, for as long as the node is open."""
        while self._file is not None:
            await self._more.wait()
            self._more = trio.Event()
            with trio.CancelScope(shield=True):  # or what was taken would be lost
                await trio.to_thread.run_sync(self._write, self._taken())
            await trio.sleep(WRITE_SECONDS)

    def close(self) -> None:
        """Write what still waits, and no more. Blocks."""
        if self._lost:
            self._take(Note("lost", self._node, self._life, self._counter, time.time_ns() // 1_000, count=self._lost))
        self._write(self._taken())
        self._end()

    def _taken(self) -> bytes:
        lines, self._lines, self._waiting = b"".join(self._lines), [], 0
        return lines

    def _write(self, lines: bytes) -> None:
        """Whole lines, as far as there is room."""
        file = self._file
        if file is None or not lines:
            return
        room = SIZE_MAX - self._size
        kept = lines if len(lines) <= room else lines[: lines.rfind(b"\n", 0, room) + 1]
        try:
            with memoryview(kept) as view:
                done = 0
                while done < len(kept):
                    done += os.write(file, view[done:])
        except OSError as error:
            _log.warning("the trace has ended", node=self._node, path=str(self.path), reason=error.strerror)
            self._end()
            return
        self._size += len(kept)
        if len(kept) < len(lines):
            _log.warning(
                "the trace has ended", node=self._node, path=str(self.path), reason=f"{SIZE_MAX:,} bytes are full"
            )
            self._end()

    def _end(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.close(file)


class _Asked(dict[str, Connection]):
    """The links to peers, and which was asked for last: whoever sends asks first, so that is whom it is for, though
    there be none."""

    last: tuple[str | None, Connection | None] = (None, None)

    def get(self, peer: str, default: Any = None) -> Any:
        """As a dict does."""
        connection = super().get(peer, default)
        self.last = peer, connection
        return connection


class TracedExchange(Exchange):
    """An exchange that notes what goes through it."""

    def __init__(self, name: str, identity: Identity, data: Path | None, trace: Trace) -> None:
        super().__init__(name, identity, data)
        self.trace = trace
        self.dialed = self._asked = _Asked()
        self._clients: dict[Connection, str] = {}  # what those that have sent something are called

    def send(
        self,
        connection: Connection | None,
        to: str,
        tag: str,
        body: bytes,
        sender: str,
        correlation: int,
        *,
        control: bool,
        flow: Hashable = None,
    ) -> bool:
        """As an exchange does."""
        sent = super().send(connection, to, tag, body, sender, correlation, control=control, flow=flow)
        event: EventName = "send" if sent else "drop"
        self.trace.note(event, self.clock.counter, peer=self._name_of(connection), **self.trace.message(to, tag, body))
        return sent

    def deliver(self, origin: Origin, envelope: Envelope) -> None:
        """As an exchange does. It is noted before: what comes of it comes later."""
        self.witness(envelope.counter, known=origin.is_known)
        if origin.is_client:
            self._clients[origin.connection] = origin.name
        self.trace.note(
            "receive",
            self.clock.counter,
            peer=origin.name,
            peer_life=origin.incarnation,
            sent=envelope.counter,
            **self.trace.message(envelope.to, envelope.tag, envelope.body),
        )
        super().deliver(origin, envelope)

    def tell_disconnected(self, origin: Origin) -> None:
        """As an exchange does."""
        self._clients.pop(origin.connection, None)
        super().tell_disconnected(origin)

    def _name_of(self, connection: Connection | None) -> str | None:
        peer, asked = self._asked.last
        return peer if asked is connection else self._clients.get(connection, "?") if connection else None


@asynccontextmanager
async def open_exchange(
    name: str, identity: Identity, data: Path | None, directory: str | os.PathLike[str] | None
) -> AsyncGenerator[Exchange]:
    """An exchange that traces into a new file of this directory, `NAME-LIFE.trace`, or of the one that the environment
    names; one that does not, where neither is given. Raises OSError."""
    where = os.environ.get(VARIABLE) if directory is None else directory
    if not where:
        yield Exchange(name, identity, data)
        return
    trace = await trio.to_thread.run_sync(_open, Path(where), name, identity.incarnation)
    try:
        async with open_background() as nursery:
            nursery.start_soon(trace.run)
            yield TracedExchange(name, identity, data, trace)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(trace.close)


def _open(directory: Path, node: str, life: int) -> Trace:
    make_directory(directory)
    return Trace(directory / f"{node}-{life}.trace", node, life)
