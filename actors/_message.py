"""A message on its way to an actor's method, and whoever waits for what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from actors._answers import carry_refusal, unreadable
from actors._protocol.codec import DecodeError
from actors._protocol.errors import Refused, invariant

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


class Message(msgspec.Struct):
    """A call of a method.

    sender: address of the actor, or name of the node, that it is from. counter, node: its Lamport stamp.
    chain: addresses of the actors that wait for the answer: each for the next, the last for this one.
    question: who waits for the answer; None if it was told.
    """

    method: Method
    arguments: tuple[object, ...]
    sender: str
    counter: int
    node: str
    chain: tuple[str, ...] = ()
    question: Question | None = None


class Asker:
    """A task that waits for an answer. here: what references in the answer are used from."""

    __slots__ = ("_answer", "_error", "_here", "_task", "_told", "is_over")

    def __init__(self, here: object) -> None:
        self.is_over = False
        self._here = here
        self._told = False
        self._answer: object = None
        self._error: Exception | None = None
        self._task: trio.lowlevel.Task | None = None

    def failed(self, method: Method | None, error: Exception) -> None:
        """There is no answer, and this is why."""
        if self._takes():
            self._error = error

    def settle(self, value: object) -> None:
        """The answer, as the asker gets it."""
        if self._takes():
            self._answer = value

    async def wait(self) -> object:
        """The answer, or raises why there is none. Cancelled: nobody waits for it any more."""
        if not self._told:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._give_up)
            invariant(self._told, "an asker is woken by its answer")
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback holds this object
        return self._answer

    def _give_up(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        self.is_over = True
        return trio.lowlevel.Abort.SUCCEEDED

    def _takes(self) -> bool:
        """The first that it is told counts, if it still waits; then it goes on soon."""
        if self._told or self.is_over:
            return False
        self._told = True
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None
        return True


class Neighbour(Asker):
    """One that has asked an actor of its own node (see `Question`): what it gets is a copy, as between nodes.

    taken_for: the method that was asked for, where the actor's own class has another of that tag: what comes is opened
    as that one's, which comes to the same as between nodes.
    """

    __slots__ = ("_taken_for",)

    def __init__(self, here: object, taken_for: tuple[Method, str] | None) -> None:
        super().__init__(here)
        self._taken_for = taken_for

    def answered(self, method: Method, answer: object) -> None:
        if self._taken_for is None:
            self.settle(method.carry_answer(answer, self._here))
            return
        wanted, address = self._taken_for
        packed = method.pack_answer(answer)
        try:
            self.settle(wanted.unpack_answer(packed, self._here))
        except DecodeError as error:
            self.failed(None, unreadable(wanted, address, error))

    def failed(self, method: Method | None, error: Exception) -> None:
        if isinstance(error, Refused) and method is not None:
            error = carry_refusal(method, error, method if self._taken_for is None else self._taken_for[0])
        super().failed(method, error)
