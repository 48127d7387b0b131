"""What a method may know about the message it is handling."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from actors._protocol.clock import Timestamp

_START_OF_TIME = datetime(1970, 1, 1, tzinfo=UTC)


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
