"""One instance of a class, asked without a group: for unit tests of what its methods do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Generic, ParamSpec, TypeVar, cast

from actors._actor import Actor, Marked, give_context
from actors._interface import Interface, Method
from actors._protocol.codec import decode
from broadcast._intentions import Intentions
from broadcast._moment import LogContext, Moment
from broadcast._protocol.effects import Effects

A = TypeVar("A", bound=Actor)
P = ParamSpec("P")
T = TypeVar("T")

START = datetime(2024, 1, 1, tzinfo=UTC)
GROUP = "alone"
MICROSECOND = timedelta(microseconds=1)


class Alone(Generic[A]):
    """An instance of `kind`, which has a context while it is asked.

    What is asked goes the way it goes in a group: arguments and answers are checked and copied. What a method raises is
    raised as it is, and nothing is undone.

    actor: the instance. time, sender, version: what the context tells; to be set at will. told: what actors on nodes
    were told: (address, tag, *arguments).
    """

    def __init__(self, kind: type[A], *, time: datetime = START, sender: str = "alone") -> None:
        self._interface = Interface.of(kind)
        self._interface.replicable()
        self._context = LogContext(GROUP, self._interface)
        self._index = 0
        self.actor = kind()
        self.told: list[tuple[object, ...]] = []
        self._effects = Effects()
        self.time = time
        self.sender = sender
        self.version = kind.version
        give_context(self.actor, self._context)

    def ask(self, method: Marked[A, P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of a command or a query. Raises what it raises, or `InvalidMessage`."""
        found = self._interface.method_for(method)
        _, *plain = cast("list[object]", decode(found.pack(args, kwargs)))
        arguments = found.unpack(plain)
        return cast(T, self._run(found, arguments, self.sender))

    def run_due(self) -> int:
        """Run what `context.after` and `context.tell` left and is due by `time`, in its order; returns how much.

        Raises what it raises; that is due no more then.
        """
        count = 0
        while (effect := self._effects.take(self._now)) is not None:
            tag, *plain = cast("list[Any]", decode(effect[2]))
            found = self._interface.methods[tag]
            self._run(found, found.unpack(plain), GROUP)
            count += 1
        return count

    @property
    def _now(self) -> int:
        return (self.time - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND

    def _run(self, method: Method, arguments: tuple[object, ...], sender: str) -> object:
        context = self._context
        self._index += 1
        context.enter(Moment(sender, "alone", 1, self._now, 0, self.version))
        context.at(self._index, method.kind == "command")
        context.intentions = None
        try:
            answer: Any = method.function(self.actor, *arguments)
            answer = method.unpack_answer(method.pack_answer(answer))
            if context.intentions is not None:
                self._do(context.intentions)
            return answer
        finally:
            context.end()

    def _do(self, intentions: Intentions) -> None:
        for due, call in intentions.due:
            self._effects.add(due, call)
        for to, _, call in intentions.tells:
            self.told.append((str(to), *cast("list[object]", decode(call))))
