"""What subscribers of the total order get, and how they take it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from actors._protocol.clock import Timestamp
from broadcast._protocol.position import Position


@dataclass(frozen=True, slots=True)
class Delivery:
    """A command as it was applied: one place in the total order.

    position: (epoch, index). timestamp: its Lamport stamp. time: log time, microseconds since 1970.
    sender: who asked. tag: which command, `arguments`: with what.
    """

    position: Position
    timestamp: Timestamp
    time: int
    sender: str
    tag: str
    arguments: tuple[object, ...]


class Deliveries(ABC):
    """The total order from an index on, one delivery after the other, for one task at a time.

    Between two of them nothing is under way: it may be left at any place. What raised may be tried again, and goes on
    where it was. `aclose` ends it.
    """

    def __init__(self, from_index: int | None) -> None:
        self._index: int | None = None if from_index is None else max(from_index, 1)
        """What is wanted next; None: the first that is held."""
        self._taken = deque[Delivery]()
        self._busy = False
        self._closed = False

    def __aiter__(self) -> Deliveries:
        return self

    async def __anext__(self) -> Delivery:
        """The next one. Raises Compacted if that is not held any more, GroupClosed if it was not taken in time."""
        if self._busy:
            raise trio.BusyResourceError("another task waits for the next of these deliveries")
        while not self._taken:
            if self._closed:
                raise StopAsyncIteration
            self._busy = True
            try:
                self._taken.extend(await self._take())
            finally:
                self._busy = False
        return self._taken.popleft()

    async def aclose(self) -> None:
        """No more of them, here."""
        self._closed = True
        self._taken.clear()
        await trio.lowlevel.checkpoint()

    @abstractmethod
    async def _take(self) -> Iterable[Delivery]:
        """Wait for some, and go on to the index after them; perhaps there are none. A checkpoint."""


Order = Callable[[int | None], Deliveries]
"""The total order, as it can be had from where a handle is: from an index on, or from the first that is held."""
