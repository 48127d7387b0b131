"""Applying what a replica delivers: in order, in turns that leave some to everybody else, and what is told of it.

What is applied is the actor's, and so are the answers; who is told of views, answers, effects and snapshots is here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import trio

from actors import Node
from actors._actor import Actor
from actors._protocol.errors import violated
from broadcast._intentions import Telling
from broadcast._log import log
from broadcast._machine import Machine
from broadcast._protocol.desk import Desk
from broadcast._protocol.output import Applied
from broadcast._protocol.position import Batch
from membership._membership import Membership

A = TypeVar("A", bound=Actor)

APPLYING_SECONDS_MAX = 0.02  # for which batches are applied, one after another, before everybody else has a turn


class Applier(Generic[A]):
    """The machine of one replica, and the desk at which its answers are given out: None until the group has formed.

    progressed: woken whenever more was applied.
    """

    def __init__(
        self,
        node: Node,
        group: str,
        membership: Membership,
        speaks_for: Callable[[int], bool],
        applied: Callable[[Batch, Machine[A]], None],
    ) -> None:
        """speaks_for: does it fall to this replica to tell what commands of an epoch tell? applied: a batch was."""
        self.machine: Machine[A] | None = None
        self.desk: Desk | None = None
        self.progressed = trio.lowlevel.ParkingLot()
        self._node = node
        self._group = group
        self._membership = membership
        self._speaks_for = speaks_for
        self._applied = applied
        self._delivered: deque[Batch] = deque()  # and not applied yet
        self._goes_on = trio.Event()

    def enter(self, machine: Machine[A]) -> None:
        """Go on with this machine: it has seen all that was delivered so far."""
        self._delivered.clear()
        self.machine = machine
        if self.desk is None:
            self.desk = Desk(machine.sessions)
        self.desk.installed(machine.sessions, machine.applied)
        self._begin_views(machine, 0)
        self.progressed.unpark_all()

    async def wait_turn(self) -> None:
        """Until there is more to apply, and everybody else has had a turn."""
        await self._goes_on.wait()
        self._goes_on = trio.Event()

    def deliver(self, batches: Iterable[Batch]) -> Applied | None:
        """Apply these at once; where that takes too long, what is left waits for turns of its own: see `go_on`."""
        is_behind = bool(self._delivered)
        self._delivered.extend(batches)
        return None if is_behind else self.go_on()

    def go_on(self) -> Applied | None:
        """As much as time allows: who is far behind must hear its leader meanwhile, and answer it. How far it came."""
        applied, until = 0, trio.current_time() + APPLYING_SECONDS_MAX
        while self._delivered and (not applied or trio.current_time() < until):
            batch = self._delivered.popleft()
            self._apply(batch)
            applied = batch.last
        if self._delivered:
            self._goes_on.set()
        if not applied or self.machine is None:
            return None
        self.progressed.unpark_all()
        return Applied(applied, *self.machine.due)

    def _apply(self, batch: Batch) -> None:
        machine, desk = self.machine, self.desk
        if machine is None or desk is None:
            violated("only a formed group delivers", group=self._group)
        trace, group = self._node.trace, self._group
        if trace is not None:
            facts = {"to": group, "epoch": batch.epoch, "first": batch.first, "last": batch.last}
            trace.note("deliver", self._node.clock.counter, **facts)
        views, version = len(machine.views), machine.version
        reports = machine.apply(batch)
        if machine.version > version:
            log.info("version of the class in force", group=group, version=machine.version, index=batch.last)
        if machine.tells:
            self._tell(machine.tells, batch.epoch)
        for each in machine.unheard:
            why = each.outcome.name.lower()
            log.warning("due, and not applied", group=group, index=each.index, message=each.tag, outcome=why)
        self._begin_views(machine, views)
        desk.route(reports, batch.last)
        self._applied(batch, machine)

    def _tell(self, tells: Sequence[Telling], epoch: int) -> None:
        """Commands of this epoch, applied just now, tell actors on nodes: from here, if it falls to this replica."""
        if self._speaks_for(epoch):
            for telling in tells:
                self._node.tell_of_group(self._group, telling.to, telling.method, telling.call)

    def _begin_views(self, machine: Machine[A], known: int) -> None:
        """All of the machine's views but the first `known`."""
        trace, group = self._node.trace, self._group
        for view in machine.views[known:]:
            self._membership.begin(view, machine.configuration)
            if trace is not None:
                trace.note("view", self._node.clock.counter, to=group, epoch=view.epoch, leader=view.leader)
            log.info("view", group=group, number=view.number, epoch=view.epoch, leader=view.leader)
        del machine.views[:-1]  # it goes on from the last; `membership` has those before
