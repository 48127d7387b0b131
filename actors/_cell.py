"""One actor's life on its node: a mailbox, an instance, and a task for as long as there is something to do.

An actor without a `lifespan` of its own that has no children, no timers and no messages needs no task, and has none,
unless it is one of the few that worked last (see `Cells.keep_warm`). Its task opens a nursery, in which its children
live; within that it enters `lifespan`, and within that it handles one message after the other. So children and messages
end before what they need does.

Between two *lives* of an actor, of which a crash ends one and a restart begins the next, its mailbox stays.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from actors._actor import Actor, give_context, settings_of
from actors._handling import handle, handle_async
from actors._interface import Interface
from actors._local_context import LocalContext
from actors._mailbox import Queue
from actors._message import Message
from actors._nursery import is_cancellation, open_background
from actors._protocol.errors import ActorStopped, invariant
from actors._ref import End, How
from actors._supervision import Team, Verdict

if TYPE_CHECKING:
    from actors._cells import Cells

TURNS = 64
"""Messages, or calls that did not have to wait, after which other tasks get their turn."""

serving: ContextVar[Cell | None] = ContextVar("serving", default=None)
"""The actor that the present task belongs to: that of its handlers, its lifespan, and the tasks that these start."""


class State(Enum):
    """STARTING: within its first entry of `lifespan`. SUSPENDED: between two lives."""

    STARTING = "starting"
    LIVING = "living"
    SUSPENDED = "suspended"
    ENDED = "ended"


class Cell:
    """An actor that was spawned.

    name, address: on its node, and with the node before it. interface: of its class. queue: its mailbox.
    message: that is being handled; None if none is. closing: takes no more messages.
    actor: the instance; None before it is made, and between two lives.
    """

    __slots__ = (
        "_changed",
        "_depth",
        "_entered",
        "_errands",
        "_failure",
        "_keeps_state",
        "_life",
        "_make",
        "_nursery",
        "_parked",
        "_scope",
        "_task",
        "_verdict",
        "_watchers",
        "actor",
        "address",
        "cells",
        "children",
        "closing",
        "context",
        "interface",
        "message",
        "name",
        "parent",
        "queue",
        "state",
        "team",
    )

    def __init__(
        self, cells: Cells, parent: Cell | None, name: str, interface: Interface, make: Callable[[], Actor], team: Team
    ) -> None:
        settings = settings_of(interface.actor)
        self.cells = cells
        self.parent = parent
        self.name = name
        self.address = f"{cells.node.name}/{name}"
        self.interface = interface
        self.team = team
        self.queue = Queue[Message](settings.mailbox)
        self.context = LocalContext(self)
        self.children: dict[Cell, None] | None = None
        self.state = State.STARTING
        self.closing = False
        self.message: Message | None = None
        self.actor: Actor | None = None
        self._make = make
        self._keeps_state = settings.keeps_state
        self._entered = False
        self._errands = 0
        self._failure: BaseException | None = None  # of a handler that did not run in the cell's task
        self._verdict: Verdict | None = None
        self._nursery: trio.Nursery | None = None  # of the children, while there may be any
        self._scope: trio.CancelScope | None = None  # of the task, while there is one
        self._life: trio.CancelScope | None = None
        self._task: trio.lowlevel.Task | None = None  # while it handles messages, or waits for one
        self._parked = False
        self._depth = 0  # nurseries of the task that are older than what it is at now
        self._changed: trio.Event | None = None
        self._watchers: dict[Callable[[End], None], None] | None = None
        team.members[self] = None

    def __repr__(self) -> str:
        return f"<Cell {self.address}: {self.state.value}>"

    # -- beginning and end ------------------------------------------------------------------------------------------

    @property
    def has_lifespan(self) -> bool:
        return self.interface.actor.lifespan is not Actor.lifespan

    async def start(self) -> None:
        """Begin the first life. Raises what the constructor or `lifespan` raises; then it has ended."""
        if self.has_lifespan:
            self._scope = trio.CancelScope()
            await self._home().start(self._run, self._scope)
            return
        try:
            self.actor = self._make()
        except BaseException:
            self._finish("crashed")
            raise
        give_context(self.actor, self.context)
        self._entered = True
        self._become(State.LIVING)

    def begin_stop(self) -> None:
        """Take no more messages; end when those that were taken are handled. Overtakes them only in that."""
        if self.closing:
            return
        self.closing = True
        self.queue.close(self.stopped())
        if self._scope is None and self.queue.is_empty:
            self._finish("stopped")
        elif self.state is State.SUSPENDED:
            self._become(State.SUSPENDED)  # perhaps it need not live again
        else:
            self.wake()

    def kill(self) -> None:
        """End now, whatever it is at."""
        if self.state is State.ENDED:
            return
        self.closing = True
        self._drop_messages()
        if self._scope is not None:
            self._scope.cancel()
        else:
            self._finish("killed")

    def doom(self) -> None:
        """Its home closes: if it has no task to be cancelled, it ends here."""
        if self._scope is None and self.state is not State.ENDED:
            self._finish("killed")

    def on_end(self, tell: Callable[[End], None]) -> None:
        """Have `tell` called when it has ended; see `forget_on_end`."""
        if self._watchers is None:
            self._watchers = {}
        self._watchers[tell] = None

    def forget_on_end(self, tell: Callable[[End], None]) -> None:
        if self._watchers is not None:
            self._watchers.pop(tell, None)

    async def wait_ended(self) -> None:
        while self.state is not State.ENDED:
            await self._wait_change()

    def stopped(self) -> ActorStopped:
        return ActorStopped(f"{self.address} has stopped, or is stopping")

    def _finish(self, how: How) -> None:
        invariant(self.state is not State.ENDED, "an actor ends once", address=self.address)
        self.closing = True
        self._scope = None
        self.actor = None
        self._become(State.ENDED)
        self.team.members.pop(self, None)
        self.cells.cool(self)
        self.cells.forget(self)
        self._drop_messages()
        self.context.give_up()
        watchers, self._watchers = self._watchers, None
        for tell in watchers or ():
            tell(End(self.address, how))
        parent = self.parent
        if parent is not None and parent.children is not None:
            parent.children.pop(self, None)
            parent.wake()

    def _drop_messages(self) -> None:
        """No message is begun any more."""
        self.queue.close(self.stopped())
        for message in self.queue.clear():
            self.cells.undeliverable(self.address, message, self.stopped())

    def _doom_children(self) -> None:
        for child in reversed(list(self.children or ())):
            child.doom()

    # -- a home to children and errands -----------------------------------------------------------------------------

    @property
    def nursery(self) -> trio.Nursery | None:
        """Where its children live; None between lives, and near the end."""
        return self._nursery

    def adopt(self, child: Cell) -> None:
        if self.children is None:
            self.children = {}
        self.children[child] = None

    def run_errand(self, errand: Callable[..., Any], *args: object) -> None:
        """Run a task beside the messages, to the end of this life at most."""
        if self._nursery is not None:
            self._errands += 1
            self._nursery.start_soon(self._run_errand, errand, args)

    async def _run_errand(self, errand: Callable[..., Any], args: tuple[object, ...]) -> None:
        try:
            await errand(*args)
        finally:
            self._errands -= 1
            self.wake()

    def _home(self) -> trio.Nursery:
        nursery = self.cells.nursery if self.parent is None else self.parent.nursery
        if nursery is None:
            raise ActorStopped(f"{self.address} has no home any more: its parent is ending")
        return nursery

    # -- messages ---------------------------------------------------------------------------------------------------

    def holds_up(self, task: trio.lowlevel.Task) -> bool:
        """Does the actor wait for this task: its own, or of a nursery that was opened by the present handler, or by
        `lifespan` while that is entered or left?"""
        own = self._task
        while task is not own:
            nursery = task.parent_nursery
            if nursery is None or own is None:
                return False
            task = nursery.parent_task
            if task is own and nursery not in own.child_nurseries[self._depth :]:
                return False
        return own is not None

    @property
    def held_up_by(self) -> tuple[str, ...]:
        """The member of its team that has to be suspended, or resumed, before it can be."""
        if self.state is not State.SUSPENDED:
            return ()
        moving = self.team.moving
        return () if moving is None or moving is self else (moving.address,)

    @property
    def is_free(self) -> bool:
        """Could a message that comes now be handled at once? Whatever there is to do has its task awake."""
        return self.state is State.LIVING and (self._scope is None or self._parked)

    def handle_now(self, message: Message) -> None:
        """Handle a message of a plain `def` in whatever task this is: a free actor needs no other to be woken."""
        token = serving.set(self)
        try:
            handle(self, message)
        except BaseException as error:
            self._failure = error
            if not isinstance(error, Exception):
                raise
        finally:
            serving.reset(token)
            if self._failure is not None or self.context.effects:
                self.wake()

    async def _serve(self) -> bool:
        """Handle messages until the actor stops, or may rest: has it stopped?"""
        queue, count, worked = self.queue, 0, True
        while True:
            if self._failure is not None:
                raise self._failure
            if self.context.effects:
                await self.context.deliver()
                worked = True
            message = queue.take()
            if message is None:
                if self.closing:
                    return True
                if self._may_rest():
                    if not worked:
                        return False
                    self.cells.keep_warm(self)
                worked = False
                await self._park()
                continue
            worked = True
            question = message.question
            if question is not None and question.is_over:
                self.cells.statistics.withdrawn += 1
            elif message.method.is_async:
                await handle_async(self, message)
            else:
                handle(self, message)
            count += 1
            if not count % TURNS:
                await trio.lowlevel.checkpoint()

    def _may_rest(self) -> bool:
        return not (self.children or self._errands or self.has_lifespan)

    def wake(self) -> None:
        """There is something to do, now or soon."""
        if self._parked:
            self._parked = False
            if self._task is not None:
                trio.lowlevel.reschedule(self._task)
        elif self._scope is None and self.state is State.LIVING:
            self._scope = trio.CancelScope()
            self._home().start_soon(self._run, self._scope)

    async def _park(self) -> None:
        self._parked = True
        await trio.lowlevel.wait_task_rescheduled(self._give_up_parking)

    def _give_up_parking(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._parked = False
        return trio.lowlevel.Abort.SUCCEEDED

    # -- lives ------------------------------------------------------------------------------------------------------

    async def _run(
        self, scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """What the task does, from when it is needed until the actor ends, or rests."""
        serving.set(self)
        try:
            with scope:
                await self._live_on(scope, task_status)
        except BaseException as error:
            self._finish("killed" if is_cancellation(error) else "crashed")
            raise
        if self._verdict is Verdict.STOP:
            self._finish("crashed")
        elif scope.cancel_called:  # though perhaps it was at nothing that this could cancel
            started = self._entered
            self._finish("killed")
            if not started:
                raise ActorStopped(f"{self.address} was killed while it started")
        elif self.closing:
            self._finish("stopped")
        else:
            self._scope = None
            self.cells.cool(self)
            self.queue.shrink()

    async def _live_on(self, scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        """One life after the other, until the actor ends or rests."""
        while True:
            if self._failure is None:
                await trio.lowlevel.checkpoint_if_cancelled()  # killed before it began
            stopped = False
            try:
                with trio.CancelScope() as self._life:
                    stopped = await self._live(task_status)
            except Exception as error:
                if not self._entered:
                    raise
                ending = self.closing and self.queue.is_empty
                self._verdict = self.team.judge(self, error, ending=ending)
                if self._verdict is Verdict.ESCALATE:
                    raise
                if self._verdict is Verdict.STOP:
                    self.closing = True
                    return
                self._leave_life()
            else:
                if stopped:
                    return
                if self._life.cancel_called:
                    self._leave_life()
                elif self.queue.is_empty and self._failure is None and not self.context.effects:
                    return  # else it came to rest, and something has come since
            while self.state is State.SUSPENDED:
                if self.closing and self.queue.is_empty and not self.context.effects:
                    return  # a stop waits for no other life that has nothing to do
                await self._wait_change()

    async def _live(self, task_status: trio.TaskStatus[None]) -> bool:
        """One life, in which it is stopped, or comes to rest: has it stopped?"""
        if self.actor is None:
            self.actor = self._make()
            give_context(self.actor, self.context)
        try:
            async with open_background() as self._nursery:
                try:
                    return await self._live_within(task_status)
                finally:
                    self._nursery = None
                    self._doom_children()
        finally:
            self._doom_children()  # who came to rest since

    async def _live_within(self, task_status: trio.TaskStatus[None]) -> bool:
        stopped = False
        crash: BaseException | None = None
        self._task = trio.lowlevel.current_task()
        outside = self._depth = len(self._task.child_nurseries)
        before = self.context.enter()
        try:
            async with self._lifespan():
                self.context.end()
                self._depth = len(self._task.child_nurseries)
                self.cells.waits.let_go(self.address)  # what goes on in nurseries of `lifespan` is beside the messages
                self._become(State.LIVING)
                if not self._entered:
                    self._entered = True
                    task_status.started()
                try:
                    stopped = await self._serve()
                    if stopped:
                        await self._stop_children()
                except BaseException as error:
                    crash = error
                    raise
                finally:
                    self._depth = outside
                    before = self.context.enter()
        except BaseException as error:
            if not is_cancellation(error, passing=crash):
                self.context.take_back(before)  # it could not be entered, or left
            raise
        finally:
            await self.context.take_leave(before)
            self.context.end()
            self._task = None
        if crash is not None:  # which `lifespan` has swallowed
            if not is_cancellation(crash):
                raise crash
            if trio.current_effective_deadline() > -inf:  # it was `lifespan` that was cancelled, and not the actor
                raise RuntimeError(
                    f"the lifespan of {self.address} ended before the actor did: what it has its yield in was "
                    "cancelled, or has run out of time"
                )
        return stopped

    def _lifespan(self) -> AbstractAsyncContextManager[None]:
        invariant(self.actor is not None, "who lives is there")
        return (self.actor or Actor()).lifespan()

    async def _stop_children(self) -> None:
        for child in reversed(list(self.children or ())):
            child.begin_stop()
            await child.wait_ended()

    def _leave_life(self) -> None:
        """It is over; for the team to begin another."""
        self._failure = None
        self.context.end_life()
        if not self._keeps_state:
            self.actor = None
        self._become(State.SUSPENDED)

    # -- of the team (see `Member`) ---------------------------------------------------------------------------------

    @property
    def is_suspended(self) -> bool:
        return self.state is State.SUSPENDED

    async def suspend(self) -> None:
        while self.state not in (State.SUSPENDED, State.ENDED):
            if self._scope is None:
                self._leave_life()
                return
            if self._life is not None:
                self._life.cancel()  # if that was an earlier one, the next is told of when it begins
            await self._wait_change()

    async def resume(self) -> None:
        if self.state is not State.SUSPENDED:
            return
        self._become(State.STARTING)
        if self._scope is None:
            self._scope = trio.CancelScope()
            self._home().start_soon(self._run, self._scope)
        await self._wait_change()

    def _become(self, state: State) -> None:
        self.state = state
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()

    async def _wait_change(self) -> None:
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()
