"""Log lines have their place among the messages."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import trio

from actors import LamportStamper, open_node
from actors._protocol.trace import decode_note


def line(event: str, **facts: object) -> MutableMapping[str, Any]:
    return {"event": event, **facts}


async def test_a_line_is_later_than_what_was_received_and_earlier_than_what_is_sent() -> None:
    async with open_node("a") as node:
        stamper = LamportStamper(node)
        node.clock.witness(16)
        assert stamper(None, "info", line("hello")) == {"event": "hello", "node": "a", "lamport": "17.a"}
        assert stamper(None, "info", line("hello", node="x"))["lamport"] == "18.a"
        assert node.clock.tick() == 19


async def test_a_line_is_in_the_trace_without_its_facts(tmp_path: Path) -> None:
    async with open_node("a", trace=tmp_path) as node:
        assert node.trace is not None
        LamportStamper(node)(None, "warning", line("x" * 1_000, password="secret"))
        path = node.trace.path
        LamportStamper(node)(None, "info", line("no text: \udcff"))
    note, other = map(decode_note, read(path).splitlines())
    assert other.text == "no text: ?"
    assert (note.event, note.counter, note.level, note.text) == ("log", 1, "warning", "x" * 200)
    assert b"secret" not in read(path)


def read(path: Path) -> bytes:
    return path.read_bytes()


async def test_lines_of_other_threads_pass_as_they_are() -> None:
    async with open_node("a") as node:
        stamper = LamportStamper(node)
        told = await trio.to_thread.run_sync(stamper, None, "info", line("hello"))
        assert told == {"event": "hello"}
        assert node.clock.counter == 0
