"""What a command wants done once it was applied: collected while it runs, and dropped if it was refused or crashed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from actors._context import checked_seconds
from actors._interface import Method
from actors._protocol.errors import Overloaded
from actors._ref import ActorRef
from broadcast._calls import is_call, open_effect, tag_of
from broadcast._protocol.effects import Effects, size
from broadcast._protocol.sessions import Outcome
from membership._protocol.view import Limits


@dataclass(frozen=True, slots=True)
class Telling:
    """A message to an actor on a node. epoch, index: of the command that wants it told."""

    epoch: int
    index: int
    to: ActorRef[Any]
    method: Method
    call: bytes


@dataclass(frozen=True, slots=True)
class Unheard:
    """A message of a replicated actor to itself that came to this when it was due. Nobody waits for its answer."""

    index: int
    call: bytes
    outcome: Outcome

    @property
    def tag(self) -> str:
        """Of its method; "?" if that cannot be said."""
        call = open_effect(self.call)
        return tag_of(call) if is_call(call) else "?"


class Room(msgspec.Struct, frozen=True):  # made for each run
    """What there is room for, by the group's limits: beside what waits; and of one command, for actors on nodes."""

    waiting: Effects
    limits: Limits


class Intentions:
    """Of one command. due: what it leaves for its own group, each with its log time. tells: what it tells others.

    overflow: raised if there was no room for all of it; then the command counts as not applied, whatever it did about
    that. So one that was applied has always had room, also where it is run again.
    """

    def __init__(self, room: Room | None) -> None:
        """room: None if it is known to suffice."""
        self.due: list[tuple[int, bytes]] = []
        self.tells: list[tuple[ActorRef[Any], Method, bytes]] = []
        self.overflow: Overloaded | None = None
        self._room = room
        self._due_size = self._tells_size = 0

    def leave(self, due: int, call: bytes) -> None:
        """A message for the group itself. Raises `Overloaded`."""
        self._due_size += size(call)
        if self._room is not None:
            waiting = self._room.waiting
            self._check(len(waiting) + len(self.due) + 1, waiting.size + self._due_size, self._room.limits)
        self.due.append((due, call))

    def tell(self, to: ActorRef[Any], method: Method, call: bytes) -> None:
        """A message for an actor on a node. Raises `Overloaded`."""
        self._tells_size += size(call)
        if self._room is not None:
            self._check(len(self.tells) + 1, self._tells_size, self._room.limits)
        self.tells.append((to, method, call))

    def _check(self, count: int, size: int, limits: Limits) -> None:
        if count > limits.effects_max or size > limits.effects_size:
            self.overflow = Overloaded(
                f"{count} effects of {size} bytes are too many: {limits.effects_max} may wait, of "
                f"{limits.effects_size} bytes"
            )
            raise self.overflow


def microseconds(seconds: float) -> int:
    """Raises TypeError, ValueError for what is no time to wait."""
    return round(checked_seconds(seconds) * 1_000_000)
