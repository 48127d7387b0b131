"""One instance of a class, asked without a group: for unit tests of what its methods do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Generic, ParamSpec, TypeVar, cast

from actors._actor import Actor, Marked, give_context
from actors._interface import Interface
from actors._protocol.codec import decode
from broadcast._moment import LogContext, Moment

A = TypeVar("A", bound=Actor)
P = ParamSpec("P")
T = TypeVar("T")

START = datetime(2024, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Alone(Generic[A]):
    """An instance of `kind`, which has a context while it is asked.

    What is asked goes the way it goes in a group: arguments and answers are checked and copied. What a method raises is
    raised as it is, and nothing is undone.

    actor: the instance. time, sender, version: what the context tells; to be set at will.
    """

    def __init__(self, kind: type[A], *, time: datetime = START, sender: str = "alone") -> None:
        self._interface = Interface.of(kind)
        self._interface.replicable()
        self._context = LogContext()
        self._index = 0
        self.actor = kind()
        self.time = time
        self.sender = sender
        self.version = kind.version
        give_context(self.actor, self._context)

    def ask(self, method: Marked[A, P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of a command or a query. Raises what it raises, or `InvalidMessage`."""
        found = self._interface.method_for(method)
        _, *plain = cast("list[object]", decode(found.pack(args, kwargs)))
        arguments = found.unpack(plain)
        self._index += 1
        time = (self.time - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND
        self._context.enter(Moment(self.sender, "alone", 1, time, 0, self.version))
        self._context.at(self._index)
        try:
            answer: Any = found.function(self.actor, *arguments)
            return cast(T, found.unpack_answer(found.pack_answer(answer)))
        finally:
            self._context.end()
