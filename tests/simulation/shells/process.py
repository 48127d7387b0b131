"""A node's process, over all its lives: it opens the node, joins the group, and serves until something ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors import Node, open_node
from actors.testing import Host
from broadcast import Group, join
from broadcast._simulation.diary import Diary
from broadcast._simulation.invariants import Violation, check
from broadcast._storage import DiskFailed, DiskFull
from shells.disk import GROUP, Life
from shells.order import wall_error
from shells.work import Notes, Worker
from shells.world import MEMBERS

if TYPE_CHECKING:
    from shells.world import World

DRAINED_WITHIN = 0.5  # seconds for which a process that stops sees to what was told
WALL_ERROR_MAX = 1.0  # seconds
MISFORTUNES = (DiskFailed, DiskFull, OSError)


class Process:
    """One of the members."""

    def __init__(self, world: World, notes: Notes, name: str) -> None:
        self.name = name
        self.group: Group[Diary] | None = None
        self.host: Host | None = None
        self.delivered: list[tuple[str, int]] = []  # in this life
        self.down_for = 0.0
        self._world = world
        self._notes = notes
        self._life = Life()
        self._serving: trio.CancelScope | None = None
        self._joined: trio.CancelScope | None = None
        self._starts = 0

    # -- what may befall it ----------------------------------------------------------------------------------------

    def kill(self) -> None:
        """It is gone: what it still does has no effect."""
        self._life.over = True
        if self.host is not None:
            self.host.crash()
        self.stop()

    def stop(self) -> None:
        """It is asked to end, and does so in its own time."""
        if self._serving is not None:
            self._serving.cancel()

    def rejoin(self) -> None:
        """It leaves the group, and joins it again on the same node."""
        if self._joined is not None:
            self._joined.cancel()

    # -- its life --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever: one life after another."""
        world = self._world
        while True:
            self._life = world.lives[self.name] = Life()
            host = self.host = world.network.host(self.name)
            wall_error.set(world.chance.uniform(-WALL_ERROR_MAX, WALL_ERROR_MAX))
            world.note("start", self.name)
            try:
                with trio.CancelScope() as self._serving:
                    await self._live(host)
            except* MISFORTUNES as group:
                world.note("ended", self.name, [repr(error) for error in group.exceptions])
            self._serving = self._joined = self.group = None
            self._check_nothing_left(host)
            await trio.sleep(self.down_for or world.chance.uniform(0.001, 0.3))

    async def _live(self, host: Host) -> None:
        async with open_node(self.name, listen=MEMBERS[self.name], peers=MEMBERS, data=self.name, network=host) as node:
            while True:
                with trio.CancelScope() as self._joined:
                    await self._take_part(node)
                self._world.note("left", self.name)
                self._world.marks["groups joined again"] += 1

    async def _take_part(self, node: Node) -> None:
        world = self._world
        self.delivered = []
        async with join(node, GROUP, Diary, members=MEMBERS, limits=world.options.limits) as group:
            self.group = group
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, group)
                for number in range(world.options.workers):
                    self._starts += 1
                    owner = f"{self.name}-{self._starts}.{number}"
                    nursery.start_soon(Worker(world, self._notes, group, owner).run)

    async def _follow(self, group: Group[Diary]) -> None:
        async for delivery in group.deliveries():
            owner, number = delivery.arguments
            self.delivered.append((str(owner), int(str(number))))

    def _check_nothing_left(self, host: Host) -> None:
        """A node that was closed holds nothing any more."""
        store = self._world.stores[self.name]
        check(not host.streams, "a closed node has no connection", name=self.name, streams=len(host.streams))
        check(store.owner is None, "a closed node has no disk", name=self.name)
        check(store.identity is None, "a closed node has no data directory", name=self.name)


def gist(error: BaseException) -> BaseException:
    """The violation in a group, or else whatever there is."""
    if isinstance(error, BaseExceptionGroup):
        found = [gist(each) for each in error.exceptions]
        return next((each for each in found if isinstance(each, Violation)), found[0])
    return error
