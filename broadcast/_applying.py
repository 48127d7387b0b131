"""Applying what a replica delivers: in order, in turns that leave some to everybody else, and what is told of it.

What is applied is the actor's, and so are the answers; who is told of views, answers, effects and snapshots is here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import trio

from actors import Node
from actors._actor import Actor
from actors._protocol.errors import violated
from broadcast._intentions import Telling
from broadcast._log import log
from broadcast._machine import Machine, Turn
from broadcast._protocol.desk import Desk
from broadcast._protocol.output import Applied
from broadcast._protocol.position import Batch
from broadcast._protocol.reports import Report
from membership._membership import Membership

A = TypeVar("A", bound=Actor)

APPLYING_SECONDS_MAX = 0.02  # for which commands are applied, one after another, before everybody else has a turn


class _UnderWay:
    """A batch of which some commands were applied: what it came to so far, and what does the rest."""

    def __init__(self, batch: Batch, machine: Machine[Any], turn: Turn) -> None:
        self.batch = batch
        self.reports: list[Report] = []
        self.begun_with = len(machine.views), machine.version
        self._rest = machine.applying(batch, self.reports, turn)

    def go_on(self) -> bool:
        """Until the turn is over, or all is done. Is it?"""
        return next(self._rest, _DONE) is _DONE


_DONE = object()


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
        self._delivered: deque[Batch] = deque()  # and not begun yet
        self._under_way: _UnderWay | None = None
        self._resting: list[Callable[[], None]] = []  # what waits until it is done
        self._turn = Turn(trio.lowlevel.current_clock().current_time)  # a third of what `trio.current_time` takes
        self._goes_on = trio.Event()

    def enter(self, machine: Machine[A]) -> None:
        """Go on with this machine: it has seen all that was delivered so far."""
        self._delivered.clear()
        self._under_way = None
        self.machine = machine
        if self.desk is None:
            self.desk = Desk(machine.sessions)
        self.desk.installed(machine.sessions, machine.applied)
        self._begin_views(machine, 0)
        self.progressed.unpark_all()
        self._rest()

    async def wait_turn(self) -> None:
        """Until there is more to apply, and everybody else has had a turn."""
        await self._goes_on.wait()
        self._goes_on = trio.Event()

    def deliver(self, batches: Iterable[Batch]) -> Applied | None:
        """Apply these at once; where that takes too long, what is left waits for turns of its own: see `go_on`."""
        is_behind = self.is_behind
        self._delivered.extend(batches)
        return None if is_behind else self.go_on()

    @property
    def is_behind(self) -> bool:
        """Was not all applied yet that was delivered?"""
        return self._under_way is not None or bool(self._delivered)

    @property
    def is_between(self) -> bool:
        """Is the state that of an index, and not one in the midst of a batch?"""
        return self._under_way is None

    def between(self, then: Callable[[], None]) -> None:
        """Call this between two batches: now, if that is so, or else soon."""
        if self._under_way is None:
            then()
        else:
            self._resting.append(then)

    def go_on(self) -> Applied | None:
        """As much as time allows, but for one command: the leader must be heard meanwhile, and answered. How far it
        came."""
        applied, turn = 0, self._turn
        turn.until = turn.now() + APPLYING_SECONDS_MAX
        while self.is_behind:
            under_way = self._under_way or self._begin(self._delivered.popleft())
            self._under_way = under_way
            if not under_way.go_on():
                break
            self._under_way = None
            self._end(under_way)
            applied = under_way.batch.last
            self._rest()
            if turn.now() >= turn.until:
                break
        if self.is_behind:
            self._goes_on.set()
        if not applied or self.machine is None:
            return None
        self.progressed.unpark_all()
        return Applied(applied, *self.machine.due)

    def _rest(self) -> None:
        """A batch has ended: what has waited for that may go on."""
        resting, self._resting = self._resting, []
        for then in resting:
            then()

    def _begin(self, batch: Batch) -> _UnderWay:
        machine = self.machine
        if machine is None:
            violated("only a formed group delivers", group=self._group)
        trace = self._node.trace
        if trace is not None:
            facts = {"to": self._group, "epoch": batch.epoch, "first": batch.first, "last": batch.last}
            trace.note("deliver", self._node.clock.counter, **facts)
        return _UnderWay(batch, machine, self._turn)

    def _end(self, done: _UnderWay) -> None:
        machine, desk = self.machine, self.desk
        if machine is None or desk is None:
            violated("only a formed group delivers", group=self._group)
        group, batch, (views, version) = self._group, done.batch, done.begun_with
        if machine.version > version:
            log.info("version of the class in force", group=group, version=machine.version, index=batch.last)
        if machine.tells:
            self._tell(machine.tells, batch.epoch)
        for each in machine.unheard:
            why = each.outcome.name.lower()
            log.warning("due, and not applied", group=group, index=each.index, message=each.tag, outcome=why)
        self._begin_views(machine, views)
        desk.route(done.reports, batch.last)
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
