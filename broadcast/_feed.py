"""The total order for a client: asked for, piece by piece, of the replica that it is linked to (rule 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import trio

from actors._interface import Interface
from actors._protocol.clock import Timestamp
from actors._protocol.codec import decode
from broadcast._calls import CALLS_COUNT_MAX, CALLS_SIZE_MAX, open_call
from broadcast._delivery import Deliveries, Delivery
from broadcast._errors import Compacted, GroupClosed
from broadcast._protocol.following import Follow, Ordered, Piece, Slots, Unfollow, Unheld
from broadcast._protocol.position import Position

SILENCE_SECONDS_MIN, SILENCE_SECONDS_MAX = 2.0, 16.0
"""After which a piece is asked for again, growing twofold: a link that is full swallows a word now and then."""

Say = Callable[["Follow | Unfollow"], None]


class Answer(NamedTuple):
    """What a replica said. cluster: the id of its group. calls: of the commands, opened."""

    cluster: bytes
    said: Piece | Unheld
    calls: list[object]


class _Waiter:
    """A task that waits in a slot."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.woken = trio.Event()


class Feed:
    """What a handle's deliveries wait for, and the way that it comes by."""

    def __init__(self, group: str, interface: Interface) -> None:
        self.interface = interface
        self._group = group
        self._slots = Slots()
        self._waiters: dict[int, _Waiter] = {}
        self._say: Say | None = None
        self._cluster = b""  # that the way leads to, or has led to last
        self._closed = False

    def deliveries(self, from_index: int | None) -> Deliveries:
        return FedDeliveries(self, from_index)

    async def ask(self, index: int, cluster: bytes) -> Answer:
        """Wait for what comes from `index` on, 0 for the first that is held.

        cluster: of which group the index is, if that is known.
        """
        slot = self._slots.take(index)
        waiter = self._waiters[slot] = _Waiter()
        silence = SILENCE_SECONDS_MIN
        try:
            while waiter.answer is None:
                self._check(cluster)
                self._tell(Follow(slot, index))
                with trio.move_on_after(silence):
                    silence = min(2 * silence, SILENCE_SECONDS_MAX)
                    await waiter.woken.wait()
                    waiter.woken, silence = trio.Event(), SILENCE_SECONDS_MIN
            return waiter.answer
        finally:
            self._slots.leave(slot)
            del self._waiters[slot]
            if waiter.answer is None:
                self._tell(Unfollow(slot))

    def received(self, answer: Piece | Unheld) -> bool:
        """A replica says so: was it waited for? Raises `RemoteProtocolError` for what cannot be."""
        if not self._slots.is_answered_by(answer):
            return False
        calls = [_opened(command) for command in answer.commands] if isinstance(answer, Piece) else []
        waiter = self._waiters[answer.slot]
        waiter.answer = Answer(self._cluster, answer, calls)
        waiter.woken.set()
        return True

    def take_way(self, say: Say, cluster: bytes) -> None:
        """There is a way to the group: all that is waited for is asked for there."""
        self._say, self._cluster = say, cluster
        self._wake()

    def lose_way(self) -> None:
        """There is none at present."""
        self._say = None

    def close(self) -> None:
        """Whoever waits is told, and whoever comes."""
        self._closed, self._say = True, None
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters.values():
            waiter.woken.set()

    def _check(self, cluster: bytes) -> None:
        """Raise what stands against waiting."""
        if self._closed:
            raise GroupClosed(
                f"this handle of the group {self._group} is closed: open another one, and go on from the next index"
            )
        if cluster and cluster != self._cluster:
            raise Compacted(1)  # formed anew: what it had ordered is gone, and what it orders now begins anew

    def _tell(self, message: Follow | Unfollow) -> None:
        if self._say is not None:
            self._say(message)


class FedDeliveries(Deliveries):
    """Of a client. Its next index, and the id of the group that it is one of, are all that it has."""

    def __init__(self, feed: Feed, from_index: int | None) -> None:
        super().__init__(from_index)
        self._feed = feed
        self._cluster = b""

    async def _take(self) -> Iterable[Delivery]:
        await trio.lowlevel.checkpoint()
        cluster, answer, calls = await self._feed.ask(self._index or 0, self._cluster)
        if isinstance(answer, Unheld):
            raise Compacted(answer.first)
        taken, self._cluster, self._index = list[Delivery](), cluster, answer.following
        for command, call in zip(answer.commands, calls, strict=True):
            try:
                taken.append(delivery(self._feed.interface, command, call))
            except Exception as error:
                self._index = command.index
                if taken:
                    break  # asked for again, when those before it were looked at
                raise TypeError(
                    f"what was applied at index {command.index} is no command of this program's "
                    f"{self._feed.interface.actor.__name__} ({error}): is the class of the replicas another version?"
                ) from error
        return taken


def delivery(interface: Interface, command: Ordered, call: object) -> Delivery:
    """As this class understands its call. Raises what says that it does not."""
    method, arguments = open_call(interface, call, "command")
    position, timestamp = Position(command.epoch, command.index), Timestamp(command.stamp, command.leader)
    return Delivery(position, timestamp, command.time, command.sender, method.tag, arguments)


def _opened(command: Ordered) -> object:
    """Raises `RemoteProtocolError` for what is no call."""
    return decode(command.call, CALLS_SIZE_MAX, CALLS_COUNT_MAX)
