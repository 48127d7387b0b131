"""What waits for an actor: bounded, first come first served, control messages before all others."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

import outcome
import trio

from actors._protocol.errors import invariant

WhenFull: TypeAlias = Literal["wait", "refuse", "drop-oldest", "drop-newest"]
_WHEN_FULL: tuple[WhenFull, ...] = ("wait", "refuse", "drop-oldest", "drop-newest")

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """How much waits for an actor, and what happens beyond that: `class Greeter(Actor, mailbox=Mailbox(10, "refuse"))`.

    capacity: messages that may wait, at least one.
    when_full: "wait": whoever sends waits for room, in the order of coming. "refuse": it gets `Overloaded`.
        "drop-oldest", "drop-newest": the message is taken at the cost of the one that waits longest, or is lost itself;
        counted, and an asker gets `Overloaded`. What comes from another node, or by `tell_nowait`, cannot wait: where
        the policy is to wait it is refused.
    """

    capacity: int = 1_000
    when_full: WhenFull = "wait"

    def __post_init__(self) -> None:
        if type(self.capacity) is not int or self.capacity < 1:
            raise ValueError(f"a mailbox has room for at least one message, not {self.capacity!r}")
        if self.when_full not in _WHEN_FULL:
            raise ValueError(f"when_full is one of {', '.join(_WHEN_FULL)}, not {self.when_full!r}")


class _Waiting(Generic[M]):
    """A task that waits for room for its message."""

    __slots__ = ("message", "task")

    def __init__(self, message: M, task: trio.lowlevel.Task) -> None:
        self.message = message
        self.task = task


class Queue(Generic[M]):
    """The messages that wait for one actor. Costs next to nothing while it is empty.

    policy: how many, and what then. dropped: those that were lost to it.
    """

    __slots__ = ("_capacity", "_control", "_messages", "_waiting", "dropped", "policy")

    def __init__(self, policy: Mailbox) -> None:
        self.policy = policy
        self.dropped = 0
        self._capacity = policy.capacity
        self._messages: deque[M] | None = None
        self._control: deque[M] | None = None
        self._waiting: OrderedDict[_Waiting[M], None] | None = None  # the first of which, and any, are quickly gone

    def __len__(self) -> int:
        return len(self._messages or ()) + len(self._control or ())

    @property
    def is_empty(self) -> bool:
        return not self._messages and not self._control

    def put(self, message: M) -> M | None:
        """Take a message; what is dropped for it, which may be the message itself, or None.

        Raises trio.WouldBlock if it is full, and the policy is to wait or to refuse.
        """
        messages = self._messages
        if messages is None:
            messages = self._messages = deque()
        if len(messages) < self._capacity:
            messages.append(message)
            return None
        if self.policy.when_full == "drop-newest":
            self.dropped += 1
            return message
        if self.policy.when_full == "drop-oldest":
            self.dropped += 1
            messages.append(message)
            return messages.popleft()
        raise trio.WouldBlock

    def put_control(self, message: M) -> None:
        """Take a message that overtakes all others, whatever waits. For what the actor itself has asked for."""
        if self._control is None:
            self._control = deque()
        self._control.append(message)

    async def wait_put(self, message: M) -> None:
        """Wait for room, and take the message: whoever has waited longest is the first. Cancelled: it is not taken.

        To be called when `put` has said that it is full. Raises what `close` was given.
        """
        queue = self._waiting
        if queue is None:
            queue = self._waiting = OrderedDict()
        waiting = _Waiting(message, trio.lowlevel.current_task())
        queue[waiting] = None

        def give_up(_raise_cancel: object) -> trio.lowlevel.Abort:
            invariant(queue is self._waiting and waiting in queue, "who waits is in the queue of those who do")
            del queue[waiting]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)

    def take(self) -> M | None:
        """The next message; None if there is none. Makes room for one that waits for it."""
        if self._control:
            return self._control.popleft()
        messages = self._messages
        if not messages:
            return None
        message = messages.popleft()
        if self._waiting:
            next_one, _ = self._waiting.popitem(last=False)
            messages.append(next_one.message)
            trio.lowlevel.reschedule(next_one.task)
        return message

    def close(self, error: Exception) -> None:
        """Whoever waits for room gets the error; what was taken stays."""
        while self._waiting:
            trio.lowlevel.reschedule(self._waiting.popitem(last=False)[0].task, outcome.Error(error))

    def clear(self) -> Iterator[M]:
        """All messages that were taken, control messages first; they are here no more."""
        for lane in (self._control, self._messages):
            while lane:
                yield lane.popleft()
        self._control = self._messages = self._waiting = None

    def shrink(self) -> None:
        """Give back memory while nothing waits."""
        if not self._messages and not self._waiting:
            self._messages = self._waiting = None
        if not self._control:
            self._control = None
