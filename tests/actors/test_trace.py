"""A node's trace: what it did, in a file that is bounded, says nothing of contents, and never harms the node."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog.testing
import trio

from actors import _trace
from actors._client_link import open_client_link
from actors._exchange import Exchange
from actors._node import Node, Origin, open_node
from actors._protocol.envelope import Envelope
from actors._protocol.trace import Note, decode_note

SECRET = b"the body of a message"


class Box:
    """Takes what comes; answers questions; lets a test wait."""

    def __init__(self) -> None:
        self.tags: list[str] = []
        self.changed = trio.lowlevel.ParkingLot()

    def received(self, origin: Origin, envelope: Envelope) -> None:
        if envelope.tag == "question":
            origin.send(envelope.sender, "answer", SECRET)
        self.tags.append(envelope.tag)
        self.changed.unpark_all()

    def connected(self, peer: str) -> None:
        self.tags.append(f"connected {peer}")
        self.changed.unpark_all()

    def suspected(self, peer: str) -> None: ...

    def disconnected(self, origin: Origin) -> None: ...

    async def wait(self, tag: str) -> None:
        with trio.fail_after(20):
            while tag not in self.tags:
                await self.changed.park()


@asynccontextmanager
async def boxed(name: str, trace: Path | None) -> AsyncGenerator[tuple[Node, Box]]:
    async with open_node(name, trace=trace) as node:
        box = Box()
        node.attach("box", box)
        yield node, box


def notes_in(directory: Path, node: str) -> list[Note]:
    """Of its one life, or of all, one after the other."""
    paths = sorted(directory.glob(f"{node}-*.trace"))
    return [decode_note(line) for path in paths for line in path.read_bytes().splitlines(keepends=True)]


async def test_what_one_sends_and_the_other_receives_is_noted_by_both(tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    async with boxed("a", traces) as (a, at_a), boxed("b", traces) as (b, at_b):
        assert not a.send("b", "box", "too early", SECRET)
        a.add_peer("b", str(b.address))
        b.add_peer("a", str(a.address))
        await at_a.wait("connected b")
        await at_b.wait("connected a")
        a.send("b", "box", "question", SECRET, sender="box")
        await at_a.wait("answer")
        lives = {"a": a.incarnation, "b": b.incarnation}
    of_a, of_b = notes_in(traces, "a"), notes_in(traces, "b")
    assert [note.event for note in of_a] == ["drop", "send", "receive"]
    assert [note.event for note in of_b] == ["receive", "send"]  # it answers what it has received
    early, question, answered = of_a
    assert (early.peer, early.kind) == ("b", "too early")
    asked, answer = of_b
    assert (question.peer, question.kind, question.to, question.size) == ("b", "question", "box", len(SECRET))
    assert (asked.peer, asked.peer_life, asked.sent, asked.kind) == ("a", lives["a"], question.counter, "question")
    assert (answered.peer, answered.peer_life, answered.sent) == ("b", lives["b"], answer.counter)
    assert question.counter <= asked.counter < answer.counter <= answered.counter
    assert {(note.node, note.life) for note in (*of_a, *of_b)} == set(lives.items())
    for path in traces.iterdir():
        assert SECRET not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(traces.stat().st_mode) == 0o700


async def test_clients_are_noted_by_name(tmp_path: Path) -> None:
    async with boxed("a", tmp_path) as (a, _), open_client_link(str(a.address), "reports") as link:
        link.send("box", "question", SECRET)
        with trio.fail_after(20):
            await anext(link)
    received, sent = notes_in(tmp_path, "a")
    assert (received.event, received.peer, received.peer_life) == ("receive", "reports", 0)
    assert (sent.event, sent.peer, sent.kind) == ("send", "reports", "answer")


async def test_a_poisoned_stamp_is_refused_and_not_noted(tmp_path: Path) -> None:
    async with boxed("a", tmp_path) as (a, _), open_client_link(str(a.address), "reports") as link:
        link.clock.counter = 2**61
        link.send("box", "question", SECRET)
        with trio.fail_after(20):
            while not a.statistics().faults:
                await trio.lowlevel.checkpoint()
    assert notes_in(tmp_path, "a") == []


async def test_it_is_off_unless_asked_for_and_the_environment_asks_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TROUPE_TRACE", raising=False)
    async with open_node("a") as a:
        assert a.trace is None
        assert type(a._exchange) is Exchange
    monkeypatch.setenv("TROUPE_TRACE", str(tmp_path / "all"))
    for _ in range(2):
        async with open_node("a") as a:
            assert a.trace is not None
            assert a.trace.path.name == f"a-{a.incarnation}.trace"
    assert len(names_in(tmp_path / "all")) == 2
    async with open_node("a", trace=tmp_path / "mine"):
        pass
    assert len(names_in(tmp_path / "mine")) == 1


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_a_directory_that_cannot_be_is_told_before_the_node_is_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="/dev/null"):
        async with open_node("a", trace="/dev/null/traces", data=tmp_path / "a"):
            pass
    async with open_node("a", data=tmp_path / "a"):
        pass


def trace_in(directory: Path) -> _trace.Trace:
    return _trace.Trace(directory / "a-1.trace", "a", 1)


def test_a_trace_has_a_size_and_ends_with_a_whole_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trace, "SIZE_MAX", 1_000)
    trace = trace_in(tmp_path)
    with structlog.testing.capture_logs() as lines:
        for counter in range(100):
            trace.note("drop", counter, kind="k")
        trace.close()
    assert [(line["event"], line["node"]) for line in lines] == [("the trace has ended", "a")]
    written = (tmp_path / "a-1.trace").read_bytes()
    assert 900 < len(written) <= 1_000
    assert [note.counter for note in notes_in(tmp_path, "a")] == list(range(written.count(b"\n")))


def test_more_than_can_be_written_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trace, "WAITING_SIZE_MAX", 500)
    trace = trace_in(tmp_path)
    for counter in range(100):
        trace.note("drop", counter, kind="k")
    trace._write(trace._taken())
    trace.note("drop", 100, kind="k")
    trace.close()
    notes = notes_in(tmp_path, "a")
    *kept, lost, after = notes
    assert lost.event == "lost"
    assert lost.count == 100 - len(kept)
    assert lost.counter == kept[-1].counter
    assert (after.event, after.counter) == ("drop", 100)
    assert 0 < len(kept) < 10


async def test_a_disk_that_takes_nothing_ends_the_trace_and_not_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    async with boxed("a", tmp_path) as (a, at_a), open_client_link(str(a.address), "c") as link:
        assert a.trace is not None
        full = a.trace._file

        def write(file: int, data: bytes) -> int:
            if file == full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(file, data)

        monkeypatch.setattr(os, "write", write)
        with structlog.testing.capture_logs() as lines:
            link.send("box", "one", b"")
            await at_a.wait("one")
            with trio.fail_after(20):
                while not lines:
                    await trio.lowlevel.checkpoint()
            link.send("box", "two", b"")
            await at_a.wait("two")
        told = [line for line in lines if line["log_level"] == "warning"]
        assert [(line["event"], line["reason"]) for line in told] == [
            ("the trace has ended", "No space left on device")
        ]
        monkeypatch.undo()
    assert notes_in(tmp_path, "a") == []


async def test_what_was_noted_last_is_written_when_the_node_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_trace, "WRITE_SECONDS", 1_000.0)
    async with boxed("a", tmp_path) as (a, _):
        a.send("b", "box", "first", SECRET)
        with trio.fail_after(20):
            while not notes_in(tmp_path, "a"):
                await trio.lowlevel.checkpoint()
        a.send("b", "box", "last", SECRET)
    assert [note.kind for note in notes_in(tmp_path, "a")] == ["first", "last"]


async def test_what_was_noted_is_on_disk_while_the_node_is_open(tmp_path: Path) -> None:
    """Also if it is killed: up to a moment ago."""
    async with boxed("a", tmp_path) as (a, _):
        a.send("b", "box", "t", SECRET)
        with trio.fail_after(20):
            while not notes_in(tmp_path, "a"):
                await trio.lowlevel.checkpoint()
        assert [note.kind for note in notes_in(tmp_path, "a")] == ["t"]
