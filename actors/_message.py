"""A message on its way to an actor's method, and whoever waits for what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import outcome
import trio

if TYPE_CHECKING:
    from actors._interface import Method


class Question(Protocol):
    """Whoever waits for an answer; told of it once."""

    @property
    def is_over(self) -> bool:
        """Does nobody wait for it any more?"""
        ...

    def answered(self, method: Method, answer: object) -> None:
        """The method has given this. `TypeError` if that is not what it declares: a bug in its class."""
        ...

    def failed(self, method: Method | None, error: Exception) -> None:
        """There is no answer, and this is why."""
        ...


class Message:
    """A call of a method.

    sender: address of the actor, or name of the node, that it is from. counter, node: its Lamport stamp.
    chain: addresses of the actors that wait for the answer: each for the next, the last for this one.
    question: who waits for the answer; None if it was told.
    """

    __slots__ = ("arguments", "chain", "counter", "method", "node", "question", "sender")

    def __init__(
        self,
        method: Method,
        arguments: tuple[object, ...],
        sender: str,
        counter: int,
        node: str,
        chain: tuple[str, ...] = (),
        question: Question | None = None,
    ) -> None:
        self.method = method
        self.arguments = arguments
        self.sender = sender
        self.counter = counter
        self.node = node
        self.chain = chain
        self.question = question


class Asker:
    """A task of this node that waits for an answer. here: what references in the answer are used from."""

    __slots__ = ("_here", "_result", "_task", "is_over")

    def __init__(self, here: object) -> None:
        self.is_over = False
        self._here = here
        self._result: outcome.Value[object] | outcome.Error | None = None
        self._task: trio.lowlevel.Task | None = None

    def answered(self, method: Method, answer: object) -> None:
        self._tell(outcome.Value(method.carry_answer(answer, self._here)))

    def failed(self, method: Method | None, error: Exception) -> None:
        self._tell(outcome.Error(error))

    def settle(self, value: object) -> None:
        """The answer, as the asker gets it."""
        self._tell(outcome.Value(value))

    async def wait(self) -> object:
        """The answer, or raises why there is none. Cancelled: nobody waits for it any more."""
        if self._result is None:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._give_up)
        if self._result is None:
            raise RuntimeError("an asker was woken without an answer")
        return self._result.unwrap()

    def _give_up(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        self.is_over = True
        return trio.lowlevel.Abort.SUCCEEDED

    def _tell(self, result: outcome.Value[object] | outcome.Error) -> None:
        if self._result is None and not self.is_over:
            self._result = result
            task, self._task = self._task, None
            if task is not None:
                trio.lowlevel.reschedule(task)
