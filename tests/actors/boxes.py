"""Actors to try things with, on a node of their own, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import trio

from actors import Actor, Mailbox, Node, Ref, Refused, command, open_node, query
from actors.testing import MemoryNetwork


@asynccontextmanager
async def lone_node() -> AsyncGenerator[Node]:
    with trio.fail_after(1_000):  # of virtual time
        async with open_node("a", listen="a:1", network=MemoryNetwork().host("a")) as node:
            yield node


@dataclass
class Note:
    text: str
    words: list[str]


class Taken(Refused):
    pass


class Box(Actor):
    """Keeps what it gets, and can be held up."""

    def __init__(self, label: str = "box") -> None:
        self.label = label
        self.kept: list[str] = []
        self.busy = 0
        self.gate = trio.Event()

    @command
    def keep(self, text: str) -> int:
        assert self.busy == 0
        self.kept.append(text)
        return len(self.kept)

    @command
    def keep_note(self, note: Note) -> Note:
        note.words.append("seen")
        return note

    @command
    async def hold(self) -> str:
        """Busy until the gate opens."""
        self.busy += 1
        try:
            await self.gate.wait()
        finally:
            self.busy -= 1
        return "held"

    @command
    def refuse(self, why: str) -> None:
        raise Taken(why)

    @command
    def crash(self) -> None:
        raise ZeroDivisionError

    @command
    def lie(self) -> int:
        return "no int"  # type: ignore[return-value]  # the mistake under test

    @query
    def all(self) -> list[str]:
        return self.kept

    @query
    def told(self) -> tuple[str, int, str]:
        return self.context.sender, self.context.timestamp.counter, self.context.timestamp.node

    @query
    def moment(self) -> datetime:
        return self.context.time

    @command
    def pass_on(self, other: Ref[Box], texts: list[str]) -> Ref[Box]:
        for text in texts:
            self.context.tell(other, Box.keep, text)
        return other

    @command
    def pass_on_and_crash(self, other: Ref[Box]) -> None:
        self.context.tell(other, Box.keep, "never")
        raise Taken("after all")

    @command
    async def ask_for(self, other: Ref[Box]) -> list[str]:
        return await other.ask(Box.all)

    @command
    def later(self, seconds: float, text: str) -> None:
        self.context.after(seconds, Box.keep, text)

    @command
    async def keep_slowly(self, text: str) -> int:
        return self.keep(text)

    @command
    def finish(self) -> None:
        self.context.stop()

    @command
    def open(self) -> None:
        self.gate.set()


class Small(Box, mailbox=Mailbox(2)):
    pass


def instance_of(node: Node, name: str) -> Box:
    """The instance behind the runtime: to look, and to open gates."""
    cell = node._cells.get(name)
    assert cell is not None
    assert isinstance(cell.actor, Box)
    return cell.actor


def rests(node: Node, name: str) -> bool:
    """Has it no task now, or one that it would give up for another that works?"""
    cell = node._cells.get(name)
    assert cell is not None
    return cell._scope is None or (cell._parked and cell._may_rest())


async def closing(scenario: Callable[[Node], Awaitable[None]]) -> BaseExceptionGroup[BaseException]:
    """What leaves a node, and so closes it, after this has happened on it."""
    try:
        async with lone_node() as node:
            await scenario(node)
            await trio.sleep_forever()
    except BaseExceptionGroup as group:
        return group
    raise AssertionError("nothing closed it")


class Alive(Box):
    """Tells of its lifespan."""

    log: list[str] = []  # noqa: RUF012 - shared on purpose

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        self.log.append("enter")
        await trio.sleep(1)
        self.me = self.context.ref(Box)
        try:
            yield
        finally:
            assert self.context.ref(Box) == self.me
            self.log.append("leave")

    @query
    def own(self) -> Ref[Box]:
        return self.me
