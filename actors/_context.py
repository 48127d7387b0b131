"""What a method may know about the message it is handling."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from actors._actor import Actor, Marked
    from actors._node import Node
    from actors._protocol.clock import Timestamp
    from actors._ref import ActorRef, End, GroupName, Ref
    from actors._spawning import Spawner
    from actors._supervision import Supervision

P = ParamSpec("P")
A = TypeVar("A", bound="Actor")

SECONDS_MAX = 10_000_000_000  # from now on that something may be due: three hundred years

_START_OF_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def checked_seconds(seconds: float) -> float:
    """The number itself, whatever its class says of it. Raises TypeError, ValueError for what is no time to wait in
    `Context.after`."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"context.after: seconds is a number, and not {seconds!r}")
    seconds = int.__int__(seconds) if isinstance(seconds, int) else float.__float__(seconds)
    if not 0 <= seconds <= SECONDS_MAX:
        raise ValueError(f"context.after: seconds is between 0 and {SECONDS_MAX}, and not {seconds!r}")
    return seconds


class Place(Protocol):
    """A place in a total order: what actors see of the positions of the layer that orders messages."""

    @property
    def epoch(self) -> int: ...
    @property
    def index(self) -> int: ...


class Context:
    """The message being handled: who sent it, and when and where in the order it happened.

    Valid only during that message: one object serves all messages of an actor, because making one for each
    would cost more than many commands do. `time` and `random` are made when they are asked for.

    sender: name of whoever sent the message.
    version: version of the actor's class in force.
    """

    __slots__ = ("_active", "_position", "_random", "_random_ready", "_time", "_timestamp", "sender", "version")

    sender: str
    version: int
    _timestamp: Timestamp
    _position: Place | None
    _random_ready: bool
    _time: int

    def __init__(self) -> None:
        self._active = False
        self._random: random.Random | None = None

    @property
    def timestamp(self) -> Timestamp:
        """Lamport time of the message."""
        return self._timestamp

    @property
    def position(self) -> Place | None:
        """(epoch, index) in the total order; None where the actor is not replicated."""
        return self._position

    @property
    def time(self) -> datetime:
        """When this happened, in UTC. For a replicated actor the agreed time, which never goes back."""
        return _START_OF_TIME + timedelta(microseconds=self._time)

    @property
    def random(self) -> random.Random:
        """A source of chance. All replicas of an actor draw the same from it. Not for secrets."""
        if self._random is None:
            self._random = random.Random()  # noqa: S311 - has to be reproducible
        if not self._random_ready:
            position = self.position
            self._random.seed(None if position is None else f"{position.epoch}/{position.index}")
            self._random_ready = True
        return self._random

    # -- of an actor on a node ---------------------------------------------------------------------------------

    @property
    def node(self) -> Node:
        """The node that the actor lives on."""
        self._replicated("node")

    def ref(self, actor: type[A]) -> ActorRef[A]:
        """The actor itself, for others: `self.context.ref(Greeter)`."""
        self._replicated("ref")

    def group(self, actor: type[A]) -> GroupName[A]:
        """The replicated actor itself: `self.context.tell(self.context.group(Counter), Counter.add, 1)`."""
        raise RuntimeError("context.group is for replicated actors, and this one lives on a node: use context.ref")

    async def spawn(self, name: str, actor: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> ActorRef[A]:
        """Start a child; see `Node.spawn`. It ends with this actor, and a crash of it is a crash of this actor."""
        self._replicated("spawn")

    def supervised(self, policy: Supervision) -> Spawner:
        """A team of children of which crashes are seen to by a policy; see `Node.supervised`."""
        self._replicated("supervised")

    def tell(self, ref: Ref[A], method: Marked[A, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Send a message once this one is handled, and only if it does not crash, and is not refused.

        Of an actor on a node: the next message is not begun before it is accepted, or lost, as it is without a link to
        the other's node (`await ref.tell(...)` waits for one). What `lifespan` tells is sent once it is entered, or
        left; where it was cancelled, now or not at all. Of a replicated one: to its own group
        (`self.context.group(...)`) once, whatever happens; to an actor on a node at most once, from the leader's node,
        and not if there is no link to there or no room at that moment. What cannot be delivered is a dead letter:
        logged, counted. `InvalidMessage` if the arguments do not fit.
        """
        self._without("tell")

    def after(self, seconds: float, method: Marked[Any, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Send this actor itself a message, so many seconds after this one is handled; as `tell` does. ValueError where
        that is no time to wait.

        Of an actor on a node: only if its life has not ended by then. Of a replicated one: by the agreed `time`; it is
        handled once, whoever leads by then and whatever was restarted, and its sender is the group.
        """
        self._without("after")

    def watch(self, ref: ActorRef[Any], method: Marked[Any, [End], object]) -> None:
        """Send this actor itself a message, before all others, when the other has ended or its node is lost; from when
        this one is handled, to the end of its own life."""
        self._replicated("watch")

    def stop(self) -> None:
        """End this actor once this message, and those that wait already, are handled."""
        self._replicated("stop")

    def _without(self, what: str) -> NoReturn:
        raise RuntimeError(f"context.{what} is for actors that somebody runs, on a node or in a group")

    def _replicated(self, what: str) -> NoReturn:
        raise RuntimeError(f"context.{what} is for actors on a node, and this one is replicated")

    # -- for whoever runs the actor --------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Is a message being handled?"""
        return self._active

    def begin(self, sender: str, timestamp: Timestamp, position: Place | None, version: int, time: int) -> None:
        """Move on to the next message. `time`: in microseconds since 1970; log time where there is a log."""
        self.sender = sender
        self._timestamp = timestamp
        self._position = position
        self.version = version
        self._time = time
        self._random_ready = False
        self._active = True

    def end(self) -> None:
        """No message is being handled until the next `begin`."""
        self._active = False
