"""The total order for who is no replica (rule 9): a client asks for what comes from an index on, piece by piece.

A client has a few *slots*. In each it may wait for one piece; what it asks in a slot takes the place of what it asked
there before, so that nothing has to be counted to be bounded. A replica answers once it has applied what is asked for,
or says that it does not hold it any more, and forgets the slot by that: who wants more asks for it, at its own pace.
An answer is true whoever it was meant for: so one that comes late, or twice, does no harm.

What a client knows of the order is its next index. With that it goes on at any other replica, without a gap.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import pairwise
from typing import Annotated, Generic, TypeVar

import msgspec

from actors._protocol.errors import Overloaded, RemoteProtocolError
from broadcast._protocol.portions import COUNT_MAX
from broadcast._protocol.position import Natural, Positive
from membership._protocol.view import Name

SLOTS_MAX = 32  # pieces that a client may wait for at once
PIECE_SIZE_MAX = 2**15  # bytes of commands in one piece; a single larger one makes one alone
LOOKED_AT_MAX = 10_000  # entries that one piece is looked for in, and what their last batch has beyond

Slot = Annotated[int, msgspec.Meta(ge=0, le=SLOTS_MAX - 1)]
K = TypeVar("K", bound=Hashable)


class Ordered(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A command as it was applied, with its place. `call` is encoded.

    leader: of the epoch. stamp: Lamport counter. time: log time in microseconds. sender: who asked.
    """

    epoch: Positive
    index: Positive
    stamp: Positive
    leader: Name
    time: Natural
    sender: str
    call: bytes

    @property
    def size(self) -> int:
        """Bytes that count against limits."""
        return len(self.call) + len(self.sender) + len(self.leader) + 64


class Follow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="follow"):
    """What was applied from `index` on? 0: from the first one that is held. Answered when there is something."""

    slot: Slot
    index: Natural


class Unfollow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="unfollow"):
    """Nobody waits in this slot any more."""

    slot: Slot


class Piece(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="piece"):
    """The commands that were applied from `asked` on, up to `following`, which is what to ask for next."""

    slot: Slot
    asked: Natural
    commands: Annotated[tuple[Ordered, ...], msgspec.Meta(max_length=COUNT_MAX)]
    following: Positive


class Unheld(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="unheld"):
    """What comes from `asked` on is not held here any more: only what comes from `first` on is."""

    slot: Slot
    asked: Natural
    first: Positive


# -- a client -------------------------------------------------------------------------------------------------------


class Slots:
    """What one handle waits for: an index in each slot that is taken."""

    def __init__(self) -> None:
        self._asked: dict[int, int] = {}

    def take(self, index: int) -> int:
        """A slot to wait in for what comes from `index` on, 0 for the first that is held. Raises Overloaded."""
        slot = next((slot for slot in range(SLOTS_MAX) if slot not in self._asked), None)
        if slot is None:
            raise Overloaded(
                f"{SLOTS_MAX} tasks wait for deliveries of this handle, and no more may: share them, or open another "
                "handle"
            )
        self._asked[slot] = index
        return slot

    def leave(self, slot: int) -> None:
        """Nobody waits there any more."""
        del self._asked[slot]

    def is_answered_by(self, answer: Piece | Unheld) -> bool:
        """Does anybody wait for this? Raises `RemoteProtocolError` for what cannot be, whoever waits."""
        check(answer)
        return self._asked.get(answer.slot) == answer.asked


def check(answer: Piece | Unheld) -> None:
    """Raise `RemoteProtocolError` for what no replica that goes by the rules says."""
    if isinstance(answer, Unheld):
        if not answer.asked < answer.first:
            raise RemoteProtocolError(f"index {answer.asked} is not held, and all from {answer.first} on are")
        return
    asked, following = answer.asked, answer.following
    indices = [asked, *(each.index for each in answer.commands), following]
    if not (asked <= indices[1] and indices[-2] < following):
        raise RemoteProtocolError(f"a piece of the order from {asked} to {following} that is not in there")
    for one, other in pairwise(answer.commands):
        if not (one.index < other.index and one.stamp < other.stamp):
            raise RemoteProtocolError(f"index {other.index} is told of after {one.index}: that is no order")
        if one.epoch > other.epoch or one.time > other.time:
            raise RemoteProtocolError(f"at index {other.index} epoch or time go back")


# -- a replica ------------------------------------------------------------------------------------------------------


class Asked(msgspec.Struct, Generic[K], frozen=True):
    """Who waits in which slot, and from which index on."""

    who: K
    slot: int
    index: int


class Turns(Generic[K]):
    """Who waits for a piece here. Each has its turn, once something of what it waits for was applied: one piece, in
    however many slots it waits.

    Nothing is kept for anybody but where it goes on.
    """

    def __init__(self) -> None:
        # An index in each slot. Who may be answered, the one that waits longest coming first, and in it the slot:
        self._due: dict[K, dict[int, int]] = {}
        self._early: dict[K, dict[int, int]] = {}  # that wait for what was not applied

    def __len__(self) -> int:
        """Slots in which somebody waits."""
        return sum(map(len, self._due.values())) + sum(map(len, self._early.values()))

    def ask(self, who: K, slot: int, index: int) -> None:
        """It waits in this slot for what comes from `index` on. What it asked there before, it waits for no more."""
        _forget(self._early, who, slot)
        self._due.setdefault(who, {})[slot] = index

    def withdraw(self, who: K, slot: int) -> None:
        """It waits there no more."""
        _forget(self._due, who, slot)
        _forget(self._early, who, slot)

    def leave(self, who: K) -> None:
        """It is gone."""
        self._due.pop(who, None)
        self._early.pop(who, None)

    def progressed(self) -> None:
        """More was applied."""
        for who, slots in self._early.items():
            self._due.setdefault(who, {}).update(slots)
        self._early.clear()

    def next(self, first: int, applied: int) -> Asked[K] | None:
        """Whose turn it is; it waits no more. The entries from `first` to `applied` are held: either, or that it is
        told that what it wants is not.
        """
        while self._due:
            who = next(iter(self._due))
            slots = self._due.pop(who)
            slot = next(iter(slots))
            index = slots.pop(slot)
            if slots:
                self._due[who] = slots  # behind all others
            if (index or first) <= applied or 0 < index < first:
                return Asked(who, slot, index)
            self._early.setdefault(who, {})[slot] = index
        return None


def _forget(waiting: dict[K, dict[int, int]], who: K, slot: int) -> None:
    slots = waiting.get(who, {})
    slots.pop(slot, None)
    if not slots:
        waiting.pop(who, None)


class Harvest:
    """Collects a piece: few enough that nobody is held up, and no client has much to take."""

    def __init__(self) -> None:
        self.commands: list[Ordered] = []
        self._size = 0

    def takes(self, command: Ordered) -> bool:
        """Take this, if there is room for it; for the first there is."""
        if self.commands and self._size + command.size > PIECE_SIZE_MAX:
            return False
        self.commands.append(command)
        self._size += command.size
        return True
