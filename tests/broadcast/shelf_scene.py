"""Replicas of a shelf, with snapshots that follow each other closely, and what is waited for of them."""

from __future__ import annotations

import traceback
from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from provoked import only

from actors import Actor, Node, command, open_node, query
from broadcast import Group, join
from broadcast._protocol import own
from broadcast._storage import DiskDamaged
from membership import Limits

SECONDS_MAX = 30  # of a test, on real time
LIMITS = Limits(snapshot_entries=10)
NAMES = ("a", "b", "c")


class Shelf(Actor):
    def __init__(self) -> None:
        self.items: dict[str, int] = {}

    @command
    def put(self, item: str) -> int:
        self.items[item] = self.items.get(item, 0) + 1
        return self.items[item]

    @command
    def fill(self, count: int) -> None:
        self.items.update((f"item {number}", number) for number in range(count))

    @command
    def fail(self) -> None:
        self.items.clear()
        raise ZeroDivisionError

    @query
    def content(self) -> dict[str, int]:
        return self.items


def keep_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the log below a snapshot, for followers that are a little behind."""
    monkeypatch.setattr(own, "KEPT_SIZE_MAX", 0)
    monkeypatch.setattr(own, "HELD_SIZE_MAX", 0)


async def until(true: Callable[[], bool]) -> None:
    """Looked at again whenever something may have come: nobody tells of what a replica or a directory is like."""
    while not true():  # noqa: ASYNC110
        await trio.sleep(0.001)


async def put(group: Group[Any], count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await group.ask(Shelf.put, f"{number % 7}")


async def taken(group: Group[Any], at_least: int) -> int:
    """The index of its snapshot, once it is that far: a marker met while another is under way is passed over."""
    while group.status().snapshot < at_least:
        await group.ask(Shelf.put, "more")
    return group.status().snapshot


def events(logs: list[MutableMapping[str, Any]], event: str) -> list[MutableMapping[str, Any]]:
    return [each for each in logs if each["event"] == event]


class Trio:
    """Three replicas on nodes of their own, each of which may stop and start again."""

    def __init__(self, data: Path, nursery: trio.Nursery) -> None:
        self.groups: dict[str, Group[Shelf]] = {}
        self.addresses: dict[str, str] = {}
        self.damaged: dict[str, str] = {}
        """What ended those that ended by themselves."""
        self._data = data
        self._nursery = nursery
        self._nodes: dict[str, Node] = {}
        self._stops: dict[str, trio.Event] = {}
        self._stopped: dict[str, trio.Event] = {}

    async def start(self, *names: str) -> None:
        starts = {name: trio.Event() for name in names}
        for name in names:
            self._nodes[name] = await self._nursery.start(self._live, name, starts[name])
            self.addresses[name] = str(self._nodes[name].address)
        for name in names:
            self._nodes[name].set_peers(self.addresses)
            starts[name].set()
        await until(lambda: all(name in self.groups for name in names))

    async def stop(self, name: str) -> None:
        self._stops[name].set()
        await self._stopped[name].wait()

    async def leave_behind(self, name: str) -> None:
        """Stop it, and go on until the others hold nothing any more of what it needs next but snapshots."""
        others = [each for each in NAMES if each != name]
        await put(self.groups[others[0]], 5)
        await self.stop(name)
        await put(self.groups[others[0]], 60)
        for other in others:
            await taken(self.groups[other], 40)

    async def _live(self, name: str, start: trio.Event, task_status: trio.TaskStatus[Node]) -> None:
        stop, stopped = self._stops[name], self._stopped[name] = trio.Event(), trio.Event()
        listen = self.addresses.get(name, "127.0.0.1:0")
        try:
            async with open_node(name, listen=listen, data=self._data / name) as node:
                task_status.started(node)
                await start.wait()
                async with join(node, "shelf", Shelf, members=self.addresses, limits=LIMITS) as group:
                    self.groups[name] = group
                    await stop.wait()
        except* DiskDamaged as errors:
            self.damaged[name] = "".join(traceback.format_exception_only(only(errors)))
        del self.groups[name]
        stopped.set()


@asynccontextmanager
async def three(data: Path) -> AsyncGenerator[Trio]:
    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            rig = Trio(data, nursery)
            await rig.start(*NAMES)
            yield rig
            for name in list(rig.groups):
                await rig.stop(name)
