"""The whole replica as one step: input -> output. There is no clock, no chance and no I/O here.

`Now` comes with each input, randomness and the Lamport clock are handed in, and everything to be done is in the
`Output`. A replica has two parts, one after the other: `Beginning`, until the group has formed, and `Participant`. What
both know is its own log with its pointers (`OwnLog`), what it owes (`Outbox`), and who waits to read (`Reads`).
"""

from __future__ import annotations

from typing import Protocol

from actors._protocol.clock import LamportClock
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.forming import Beginning
from broadcast._protocol.leader import Leadership
from broadcast._protocol.log import Log
from broadcast._protocol.outbox import Outbox
from broadcast._protocol.output import Formed, Input, Now, Output, ReadAsked, ReadGivenUp
from broadcast._protocol.own import OwnLog
from broadcast._protocol.participant import Participant
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.reads import Reads
from broadcast._protocol.snapshots import Compared, Snapshot
from broadcast._protocol.writes import Writes
from membership._protocol.configurations import Agreed
from membership._protocol.election import Chance, Election
from membership._protocol.formation import Founding, Plan
from membership._protocol.messages import FormedNotice
from membership._protocol.view import Configuration, Formation, Promise


class Found(Protocol):
    """What a replica finds on its disk when it starts."""

    @property
    def storage(self) -> bytes: ...
    @property
    def formation(self) -> Formation | None: ...
    @property
    def promise(self) -> Promise: ...
    @property
    def batches(self) -> list[Batch]: ...
    @property
    def commit(self) -> int: ...
    @property
    def start(self) -> Position: ...
    @property
    def snapshot(self) -> Snapshot | None: ...
    @property
    def compared(self) -> Compared: ...


class Replica:
    """One replica of one group. `step` it with inputs; perform what `take_output` hands out."""

    def __init__(
        self,
        *,
        name: str,
        plan: Plan,
        found: Found,
        cluster: bytes,
        clock: LamportClock,
        chance: Chance,
        now: Now,
    ) -> None:
        """`cluster`: 16 random bytes, the group's id if it falls to this replica to found it."""
        self.name = name
        self.plan = plan
        self.storage = found.storage
        self.clock = clock
        self.log = log_of(found)
        self._writes = Writes(self.log.last.index, found.promise)
        self._outbox = Outbox(self._writes)
        self._own = OwnLog(self.log, self._writes, self._outbox, clock, found.commit, found.snapshot)
        self._reads = Reads()
        self._compared = found.compared
        self._chance = chance
        self._now = now
        founding = Founding(name=name, storage=found.storage, plan=plan, cluster=cluster, now=now.monotonic)
        self._beginning = Beginning(founding, self._own, self._outbox)
        self._participant: Participant | None = None
        if found.formation is not None:
            self._participant = self._take_part(found.formation)
            self._participant.election.refrain(now.monotonic)
        else:
            self._beginning.begin()

    # -- the step --------------------------------------------------------------------------------------------------

    def step(self, given: Input, now: Now) -> None:
        """Take one input in. Raises `RemoteProtocolError` for a message that no correct peer sends."""
        self._now = now
        if isinstance(given, ReadAsked):
            self._ask(given)
        elif isinstance(given, ReadGivenUp):
            self._reads.give_up(given.token)
        if self._participant is not None:
            self._participant.step(given, now)
            return
        self._beginning.step(given, now)
        if self._beginning.formed is not None:
            self._participant = self._take_part(self._beginning.formed, self._beginning.ahead)
            self._participant.begin(now)

    def _ask(self, asked: ReadAsked) -> None:
        """A read: from which index on is the state fresh enough for it, if that is known here and now (rule 20)?"""
        if asked.consistency is Consistency.SESSION:
            self._reads.wait_for(asked.token, asked.index)
        elif asked.consistency is Consistency.LEASE and self.holds_lease(self._now):
            self._reads.wait_for(asked.token, self._own.commit)
        else:
            self._reads.wait(asked.token)

    def take_output(self) -> Output:
        """What is owed since the last call."""
        return self._outbox.take()

    def _take_part(self, formation: Formation, ahead: FormedNotice | None = None) -> Participant:
        election = Election(
            name=self.name,
            storage=self.storage,
            configuration=formation.configuration,
            promise=self._writes.promise,
            chance=self._chance,
            now=self._now.monotonic,
            priority=self.plan.priority,
        )
        self._outbox.settle(Formed(formation))
        plan, own, outbox, reads = self.plan, self._own, self._outbox, self._reads
        known = plan.version, plan.interface, plan.address
        participant = Participant(formation, own, election, outbox, reads, self._now, self._compared, ahead, *known)
        overruled = self.plan.overruled(ahead.configuration if ahead else participant.configuration)
        if overruled is not None:
            self._outbox.notice(overruled)
        return participant

    # -- what the shell may ask ------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int:
        """When a `Tick` is due on the monotonic clock, if nothing else happens before."""
        if self._participant is None:
            return self._beginning.deadline(self._now.monotonic)
        return self._participant.deadline

    @property
    def formation(self) -> Formation | None:
        return self._participant.formation if self._participant else None

    @property
    def configuration(self) -> Configuration | None:
        """The one in force: the latest in the log, committed or not. None before the group has formed."""
        return self._participant.configuration if self._participant else None

    @property
    def committed(self) -> Agreed | None:
        """What is agreed of members, as far as that is known to be committed."""
        return self._participant.committed if self._participant else None

    @property
    def cluster(self) -> bytes:
        return self._participant.formation.cluster if self._participant else b""

    @property
    def complaints(self) -> tuple[str, ...]:
        """Why this replica cannot take part, as far as the members' words have shown it."""
        return () if self._participant else tuple(self._beginning.complaints.values())

    @property
    def promise(self) -> Promise:
        return self._participant.election.promise if self._participant else self._writes.promise

    @property
    def epoch(self) -> int:
        return self.promise.epoch

    @property
    def role(self) -> str:
        return self._participant.election.role.value if self._participant else "forming"

    @property
    def leader(self) -> str | None:
        """Who leads, as far as this replica knows."""
        return self._participant.election.leader if self._participant else None

    @property
    def leadership(self) -> Leadership | None:
        return self._participant.leadership if self._participant else None

    @property
    def version(self) -> int:
        """Of the class, in force at the end of our log: whatever we sequence goes by this one, or a later."""
        return self._participant.version if self._participant else 1

    def is_alike(self, name: str) -> bool:
        """As leader: is it told that this member's class takes just what ours does (rule 29)?"""
        return self.leadership is not None and self.leadership.is_alike(name)

    def holds_lease(self, now: Now) -> bool:
        """Is it certain that this replica leads, and nobody else: may it answer a read without a round (rule 20)?"""
        return self.leadership is not None and self.leadership.holds_lease(now)

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest that takes the place of the log up to it."""
        return self._own.snapshot

    @property
    def snapshots_in_use(self) -> tuple[Snapshot, ...]:
        """That one, and those that are on their way to followers."""
        return self._participant.snapshots_in_use if self._participant else ()

    @property
    def divided(self) -> int | None:
        """The index at which voters have different states, while no majority of them is known to have the same."""
        return self._participant.divided if self._participant else None

    @property
    def uncapturable(self) -> str | None:
        """Why no snapshot can be taken at present, and what follows from that."""
        return self._participant.uncapturable if self._participant else None

    @property
    def commit(self) -> int:
        return self._own.commit

    @property
    def applied(self) -> int:
        return self._own.applied

    @property
    def durable(self) -> int:
        """Entries up to here are on this disk."""
        return self._writes.durable

    def speaks_for(self, epoch: int) -> bool:
        """Do the effects of this epoch's entries on others leave here, as they are applied (rule 21)?

        Only its leader says so, in the one life in which it leads: so they leave at most once.
        """
        leadership = self.leadership
        return leadership is not None and leadership.epoch == epoch

    def reachable(self) -> list[str] | None:
        """As leader: the members heard within the shortest election timeout, itself included. None for others."""
        return self._participant.reachable(self._now.monotonic) if self._participant else None


def log_of(found: Found) -> Log:
    """The log that a disk holds."""
    snapshot = found.snapshot
    if snapshot is not None and snapshot.position == found.start:
        return Log(found.batches, found.start, stamp=snapshot.stamp, time=snapshot.time)
    return Log(found.batches, found.start)
