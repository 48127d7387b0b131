"""When and where a command happened, as the log has it; and the context that tells the command of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import msgspec

from actors._context import Context
from actors._interface import Interface
from actors._protocol.clock import Timestamp
from actors._protocol.errors import InvalidMessage
from actors._ref import ActorRef, GroupName, Ref
from broadcast._intentions import Intentions, Room, microseconds
from broadcast._protocol.position import Position

if TYPE_CHECKING:
    from actors._actor import Actor, Marked

P = ParamSpec("P")
A = TypeVar("A", bound="Actor")


class Moment(msgspec.Struct, frozen=True, gc=False):
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

    moment: what the messages have in common at present. intentions: what was wanted done since it was set to None, by
    whoever runs the messages; None if nothing.
    """

    __slots__ = ("_acts", "_group", "_index", "_interface", "_room", "intentions", "moment")

    moment: Moment
    intentions: Intentions | None
    _index: int
    _room: Room | None
    _acts: bool

    def __init__(self, group: str, interface: Interface) -> None:
        """`group`: the name of the actor's group."""
        super().__init__()
        self._group = group
        self._interface = interface
        self.intentions = None

    @property
    def timestamp(self) -> Timestamp:
        """Lamport time of the message."""
        return self.moment.timestamp(self._index)

    @property
    def position(self) -> Position:
        """(epoch, index) in the total order."""
        return self.moment.position(self._index)

    def enter(self, moment: Moment, room: Room | None = None) -> None:
        """Move on to other messages: each begins with `at`.

        room: for their effects; None where they were found to have room before.
        """
        self.moment = moment
        self.sender = moment.sender
        self.version = moment.version
        self._time = moment.time
        self._room = room
        self._active = False

    def at(self, index: int, acts: bool) -> None:
        """Move on to the message at `index`. acts: whether it may have effects, as a command may."""
        self._index = index
        self._acts = acts
        self._random_ready = False
        self._active = True

    # -- effects (rule 21) -----------------------------------------------------------------------------------------

    def group(self, actor: type[A]) -> GroupName[A]:
        return GroupName(self._group, actor)

    def tell(self, ref: Ref[A], method: Marked[A, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        if isinstance(ref, ActorRef):
            asked = ref.interface.method_for(method)
            self._intend("tell").tell(ref, asked, asked.pack(args, kwargs))
        elif (name := ref.to_text()) == self._group:
            self._later("tell", 0, method, args, kwargs)
        else:
            raise RuntimeError(
                f"context.tell: a replicated actor can tell its own group ({self._group}) and actors on nodes, and not "
                f"another group ({name}) yet: have an actor on a node pass it on"
            )

    def after(self, seconds: float, method: Marked[Any, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        self._later("after", microseconds(seconds), method, args, kwargs)

    def _later(self, what: str, delay: int, method: object, args: tuple[object, ...], kwargs: dict[str, Any]) -> None:
        asked = self._interface.method_for(method)
        if asked.kind != "command":
            raise InvalidMessage(f"context.{what}: {asked.label} is a query, and nobody would get its answer")
        if asked.since > self.version:
            raise InvalidMessage(
                f"context.{what}: {asked.label} came with version {asked.since} of the class, and version "
                f"{self.version} is in force: do so only where context.version is {asked.since} or more"
            )
        self._intend(what).leave(self._time + delay, asked.pack(args, kwargs))

    def _intend(self, what: str) -> Intentions:
        if not (self._acts and self._active):
            raise RuntimeError(f"context.{what} is for commands: a query only looks, and has no effects")
        if self.intentions is None:
            self.intentions = Intentions(self._room)
        return self.intentions
