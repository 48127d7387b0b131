"""When and where a command happened, as the log has it; and the context that tells the command of it."""

from __future__ import annotations

from dataclasses import dataclass

from actors._context import Context
from actors._protocol.clock import Timestamp
from broadcast._protocol.position import Position


@dataclass(frozen=True, slots=True)
class Moment:
    """What the commands of one run have in common.

    sender: who asked. leader: of the epoch. time: log time, microseconds since 1970.
    ahead: what to add to the index of one for its Lamport counter. version: of the class, in force there.
    """

    sender: str
    leader: str
    epoch: int
    time: int
    ahead: int
    version: int = 1

    def position(self, index: int) -> Position:
        return Position(self.epoch, index)

    def timestamp(self, index: int) -> Timestamp:
        return Timestamp(index + self.ahead, self.leader)


class LogContext(Context):
    """Of a replicated actor's messages: one that does not look pays for a number, and no more.

    moment: what the messages have in common at present.
    """

    __slots__ = ("_index", "moment")

    moment: Moment
    _index: int

    @property
    def timestamp(self) -> Timestamp:
        """Lamport time of the message."""
        return self.moment.timestamp(self._index)

    @property
    def position(self) -> Position:
        """(epoch, index) in the total order."""
        return self.moment.position(self._index)

    def enter(self, moment: Moment) -> None:
        """Move on to other messages: each begins with `at`."""
        self.moment = moment
        self.sender = moment.sender
        self.version = moment.version
        self._time = moment.time
        self._active = False

    def at(self, index: int) -> None:
        """Move on to the message at `index`."""
        self._index = index
        self._random_ready = False
        self._active = True
