"""What an invariant is: a claim about all states of all histories, told of every event that it wants to hear of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from broadcast._delivery import Delivery
from broadcast._intentions import Telling
from broadcast._machine import Machine
from broadcast._protocol.entries import Entry
from broadcast._protocol.messages import Message
from broadcast._protocol.output import Input, Persist
from broadcast._protocol.position import Batch
from broadcast._protocol.replica import Replica
from broadcast._protocol.reports import Report
from broadcast._protocol.snapshots import Snapshot
from broadcast._simulation.calls import Answer, Call, Calls, Fate, Ran, Read
from broadcast._simulation.disk import Disk
from broadcast._simulation.world import Schedule


class Process(Protocol):
    """A replica's process, as the checks see it. `life` counts its starts."""

    @property
    def name(self) -> str: ...
    @property
    def life(self) -> int: ...
    @property
    def replica(self) -> Replica: ...
    @property
    def machine(self) -> Machine[Any]: ...
    @property
    def clock(self) -> int:
        """Its monotonic clock, which waiting is measured on; with leases it may run fast or slow, or stand still."""
        ...

    @property
    def holds_lease(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Scene:
    """What an invariant can look at besides the process that an event is about."""

    schedule: Schedule
    disks: Mapping[str, Disk]
    calls: Calls


def hung_for(process: Process, scene: Scene) -> int:
    """For how long a write of its disk has been under way. 0 where its clock may not show that."""
    formation = process.replica.formation
    tells = formation is not None and not formation.configuration.limits.leases
    return scene.disks[process.name].hung_for if tells else 0


class Invariant:
    """One claim. Each method is an event; `Watch` calls those that a subclass defines, and they raise `Violation`."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    # -- replicas --------------------------------------------------------------------------------------------------

    def started(self, process: Process) -> None:
        """A process starts, on what its disk holds."""

    def given(self, process: Process, given: Input) -> None:
        """An input comes; the replica has not taken it in yet."""

    def stepped(self, process: Process) -> None:
        """A replica took a step; its output is not performed yet."""

    def elected(self, process: Process) -> None:
        """In the step that was told last, this replica began to lead."""

    def heard(self, process: Process, sender: str, message: Message) -> None:
        """A message was taken in."""

    def persisting(self, process: Process, persist: Persist) -> None:
        """A write is asked for."""

    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        """A message leaves."""

    def noticed(self, process: Process, text: str) -> None:
        """An operator is told something."""

    # -- the order -------------------------------------------------------------------------------------------------

    def delivering(self, process: Process, batch: Batch) -> None:
        """A replica has this committed batch next."""

    def delivered(self, process: Process, batch: Batch, entries: Sequence[Entry]) -> None:
        """The same, for the first replica that has it. In the order of the log."""

    def ran(self, ran: Ran) -> None:
        """A command took effect, at the first replica that came to it. In the order of the log."""

    def fell_due(self, process: Process, delivery: Delivery) -> None:
        """A message of the actor to itself took effect, at the first replica that came to it. In the log's order."""

    def telling(self, process: Process, telling: Telling) -> None:
        """A replica tells an actor on a node."""

    def applied(self, process: Process, batch: Batch) -> None:
        """A replica has applied this batch; its commands were told before."""

    def taken(self, process: Process, snapshot: Snapshot) -> None:
        """A snapshot of what was applied is complete."""

    def installing(self, process: Process, snapshot: Snapshot) -> None:
        """A snapshot takes the place of the actor's state next."""

    def installed(self, process: Process, snapshot: Snapshot) -> None:
        """It has done so; or a process has begun on it."""

    # -- askers ----------------------------------------------------------------------------------------------------

    def asked(self, call: Call) -> None:
        """An owner has offered a command to its session."""

    def settling(self, call: Call, fate: Fate) -> None:
        """A call that was not withdrawn gets this fate. Its old one is still in `call`."""

    def answered(self, call: Call, answer: Answer) -> None:
        """Its outcome is known; for a call that was withdrawn, that of its void."""

    def lapsed(self, session: int | None) -> None:
        """Something was under way when an owner was told that this session is over, or by its own doing (None)."""

    def read(self, read: Read) -> None:
        """A query that is not for the log is answered."""

    def told(self, owner: str, report: Report) -> None:
        """An owner hears what became of something that a session sent."""

    # -- the end ---------------------------------------------------------------------------------------------------

    def ended(self, processes: Mapping[str, Process]) -> None:
        """All is repaired and level, and nothing is open."""


class Judge(Invariant):
    """What the askers of one play may rely on besides: the claims that its actor's meaning gives."""

    def __init__(self) -> None:
        """It is made before there is a scene."""

    def identify(self, delivery: Delivery) -> tuple[str, int] | None:
        """Whose command is this, and which of its owner's (the ticket)? None if its arguments do not tell."""
        return None

    def seen(self, read: Read) -> int | None:
        """The first index at which a state may give this answer. None if the answer does not tell."""
        return None

    def waits(self) -> bool:
        """Is something still to come of what was applied, without anybody's doing?"""
        return False

    def failed(self, error: BaseException) -> None:
        """The history failed so. Raises a `Violation` that tells why, if it is the actor's doing."""
