"""The shell of a replica: performs what the core asks for, in its order, and decides nothing.

There is no task between an input and its step: whoever brings an input (a link, the disk, a handle) steps the core then
and there, in the one thread of Trio, and no `await` stands between reading protocol state and acting on it (rule 0).
An input that comes up while another is being performed waits for its turn.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import trio

from actors import Envelope, Node, Origin
from actors._actor import Actor
from actors._interface import Interface
from actors._protocol.errors import RemoteProtocolError, TooLarge, invariant, violated
from broadcast import _errors as errors
from broadcast._applying import Applier
from broadcast._errors import GroupClosed, Outdated
from broadcast._handle import monotonic
from broadcast._log import log
from broadcast._machine import Machine, check_version
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.desk import Desk, Owner
from broadcast._protocol.entries import Submittable
from broadcast._protocol.messages import BULK, Message, decode_message, encode_message
from broadcast._protocol.output import (
    Answered,
    Applied,
    Connected,
    Diverged,
    Formed,
    Input,
    LeaderKnown,
    Linked,
    Noticed,
    Now,
    Output,
    Persisted,
    ReadAsked,
    ReadGivenUp,
    ReadReady,
    Received,
    Reconfigured,
    Removed,
    Send,
    Settled,
    Submitted,
    Suspected,
    Tick,
)
from broadcast._protocol.position import Batch
from broadcast._protocol.replica import Replica
from broadcast._protocol.snapshots import Divergence, Snapshot
from broadcast._snapshots import Pieces, SnapshotKeeper
from broadcast._storage import DiskDamaged, DiskFailed, Stored
from broadcast._trace import described
from broadcast._transfers import Unable
from broadcast._wishes import Wishes
from broadcast._writer import Reports, Writer
from membership._errors import MemberRemoved
from membership._membership import Membership
from membership._protocol.formation import Plan
from membership._protocol.messages import HandOver, Verdict
from membership._protocol.view import Limits, Member

A = TypeVar("A", bound=Actor)


class Watcher(Protocol):
    """Who wants to know what becomes of the group here. Called in Trio's thread; must not block."""

    def formed(self) -> None:
        """The group has formed: from now on it can be submitted to and read from here."""
        ...

    def members_known(self) -> None:
        """The group has other members than before, or they are found elsewhere."""
        ...

    def leader_known(self, leader: str | None) -> None:
        """Another leader, or none, is known."""
        ...


_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
"""The clock that goes on while the machine is suspended; Trio's does not. Linux has one."""


def now() -> Now:
    """This moment: Trio's clock for waiting, the wall clock for log time, one that never stands still for leases."""
    boottime = None if _BOOTTIME is None else time.clock_gettime_ns(_BOOTTIME) // 1_000
    return Now(monotonic(), time.time_ns() // 1_000, boottime)


class ReplicaHost(Generic[A]):
    """One replica in this process: the core, its actor, and what connects them to node, disk and handles."""

    def __init__(
        self,
        node: Node,
        writer: Writer,
        plan: Plan,
        actor: Callable[[], A],
        interface: Interface,
    ) -> None:
        self.node = node
        self.plan = plan
        self._wishes = Wishes(node.clock, self.give, lambda: self.limits.election_timeout)
        self.membership = Membership(self._wishes)
        self.replica: Replica | None = None
        self.waiting_for_disk: str | None = None
        """Why the disk takes nothing at present, if so."""
        self.stepped_down = trio.lowlevel.ParkingLot()
        """Woken whenever another leads, or nobody, or this replica has stopped."""
        self.closed = False
        self.watchers: list[Watcher] = []
        self._writer = writer
        self._actor = actor
        self._interface = interface
        self._keeper: SnapshotKeeper[A] | None = None
        self._inputs: deque[Input | None] = deque()  # None: go on applying
        self._stepping = False
        self._failure: BaseException | None = None
        self._wake = trio.Event()
        self._wakes_at = 0  # on the monotonic clock, unless it is woken before
        self._reads: dict[int, Callable[[], None]] = {}
        self._tokens = 0
        self._applier = Applier[A](node, plan.group, self.membership, self._speaks_for, self._on_batch)

    @property
    def to(self) -> str:
        """The name that envelopes for this group bear."""
        return self.plan.group

    @property
    def limits(self) -> Limits:
        """The limits that the group agreed on; before it has formed, those this node was started with."""
        configuration = self.replica.configuration if self.replica else None
        return configuration.limits if configuration else self.plan.limits

    # -- life ------------------------------------------------------------------------------------------------------

    async def open(self, cluster: bytes) -> None:
        """Read the disk and begin. `cluster`: 16 random bytes, in case it falls to this replica to found the group.

        Raises what `Disk.open_group` does, CannotRestore for a snapshot that this class cannot make a state of, and
        Outdated for one of a later version of it.
        """
        if self.node.trace is not None:
            self.node.trace.describers[self.to] = described
        reports = Reports(self._on_written, self._on_disk_full, self._on_disk_failed)
        stored: Stored = await self._writer.open_group(self.plan.group, reports)
        stored.check(self.plan.group)
        if stored.divergence is not None:
            raise self._diverged(stored.divergence)
        files = await self._writer.snapshots(self.plan.group)
        keeper = SnapshotKeeper[A](self.plan.group, files, self._restored, self.give, self._on_unable)
        await keeper.open(stored)
        self._keeper = keeper
        self.replica = Replica(
            name=self.node.name,
            plan=self.plan,
            found=stored,
            cluster=cluster,
            clock=self.node.clock,
            chance=random.SystemRandom(),
            now=now(),
        )
        self._perform(self.replica.take_output())

    @property
    def tasks(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """To be run, once it is open, until it is closed."""
        return self.run, self.go_on_applying, *(self._keeper.tasks if self._keeper else ())

    async def run(self) -> None:
        """Tick when it is due, until cancelled. Raises what stopped this replica: a failed disk, or a bug of ours."""
        while True:
            self._check_failure()
            self._wakes_at = self.replica.deadline if self.replica else monotonic()
            with trio.move_on_at(self._wakes_at / 1_000_000):
                await self._wake.wait()
            self._wake = trio.Event()
            self._check_failure()
            if self.replica is not None and monotonic() >= self.replica.deadline:
                self.give(Tick())

    async def go_on_applying(self) -> None:
        """Apply what took too long to be applied at once, by and by, until cancelled."""
        while True:
            await self._applier.wait_turn()
            self._take(None)

    async def hand_over(self) -> None:
        """Before this replica leaves: if it leads, another should, at once, and not after a silence (rule 17)."""
        replica = self.replica
        if replica is None or replica.role != "leader" or self.stopped:
            return
        with trio.move_on_after(self.limits.election_timeout / 1_000_000, shield=True):
            match await self._wishes.wish(HandOver()):
                case (Verdict.TAKEN, _):
                    # Until another leads: it may need this node's vote, which has to be on disk before it leaves.
                    while replica.leader in (None, self.node.name) and not self.stopped:
                        await self.stepped_down.park()
                case _:
                    pass

    async def take_last_snapshot(self) -> None:
        """Before a clean stop: keep what was applied as a snapshot, if that takes no longer than a few seconds."""
        if self._keeper is not None and not self.stopped and self._applier.is_between:
            await self._keeper.take_last()

    def close(self) -> None:
        """Take part no more."""
        self.closed = True
        self._writer.forget_group(self.plan.group)
        if self._keeper is not None:
            self._keeper.close()
        self.membership.end(
            GroupClosed(f"the group {self.plan.group} is closed here: what it agrees on is seen by who joins it")
        )
        self.progressed.unpark_all()

    def _check_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    @property
    def machine(self) -> Machine[A] | None:
        """What applies commands here; None until the group has formed."""
        return self._applier.machine

    @property
    def progressed(self) -> trio.lowlevel.ParkingLot:
        """Woken whenever more was applied."""
        return self._applier.progressed

    @property
    def _desk(self) -> Desk | None:
        return self._applier.desk

    @property
    def applied(self) -> int:
        """The index of the state that queries see here."""
        return self.machine.applied if self.machine else 0

    @property
    def stopped(self) -> bool:
        """Has something ended this replica for good?"""
        return self._failure is not None

    # -- stepping --------------------------------------------------------------------------------------------------

    def give(self, given: Input) -> None:
        """Step the core, and perform what it asks for. Raises `RemoteProtocolError` for a peer's nonsense."""
        self._take(given)

    @trio.lowlevel.enable_ki_protection
    def _take(self, given: Input | None) -> None:
        if self._failure is not None or self.closed or self.replica is None:
            return
        self._inputs.append(given)
        if self._stepping:
            return
        self._stepping = True
        nonsense: RemoteProtocolError | None = None
        try:
            while self._inputs:
                given = self._inputs.popleft()
                if given is None:
                    self._give_applied(self._applier.go_on())
                    continue
                try:
                    self.replica.step(given, now())
                except RemoteProtocolError as error:
                    nonsense = error
                self._perform(self.replica.take_output())
        except BaseException as error:  # whatever it is: what was half done must not be gone on with
            self._fail(error)
        finally:
            self._stepping = False
        if self.replica.deadline < self._wakes_at:
            self._wake.set()
        if nonsense is not None:
            raise nonsense

    def _fail(self, error: BaseException) -> None:
        """This replica stops: it says nothing more to anyone."""
        if self._failure is None:
            self._failure = error
            self._wake.set()
            self.stepped_down.unpark_all()

    def _perform(self, output: Output) -> None:
        for persist in output.persist:
            self._writer.submit(self.plan.group, persist)
            self._keep.asked(persist)
        for send in output.send:
            self._send(send)
        for transfer in output.transfer:
            self._keep.perform(transfer)
        if output.install is not None:
            self._install(output.install)
        if output.deliver:
            self._give_applied(self._applier.deliver(output.deliver))
        for settled in output.settle:
            self._settle(settled)

    def _send(self, send: Send) -> None:
        replica = self.replica
        if replica is not None:
            message: Message = send.message
            body = encode_message(replica.cluster, replica.storage, message)
            try:
                self.node.send(send.to, self.to, "replica", body, control=not isinstance(message, BULK))
            except TooLarge as error:  # the protocol takes it for lost
                log.error("a message was dropped", group=self.plan.group, to=send.to, reason=str(error))

    # -- the actor and all that goes with it -----------------------------------------------------------------------

    @property
    def _keep(self) -> SnapshotKeeper[A]:
        if self._keeper is None:
            violated("a replica is open before it does anything", group=self.plan.group)
        return self._keeper

    def _give_applied(self, applied: Applied | None) -> None:
        """The core is told next, before all that comes in later."""
        if applied is not None:
            self._inputs.append(applied)

    def _speaks_for(self, epoch: int) -> bool:
        return self.replica is not None and self.replica.speaks_for(epoch)

    def _on_batch(self, batch: Batch, machine: Machine[A]) -> None:
        self._keep.applied(batch, machine)

    def _history(self, after: int, last: int) -> Iterable[Batch]:
        return self.replica.log.between(after, last) if self.replica else ()

    def _restored(self, snapshot: Snapshot, pieces: Pieces) -> Machine[A]:
        """A machine of a snapshot's bytes. In another thread: it touches nothing here."""
        check_version(self.plan.group, self._interface, snapshot.agreed.version, snapshot.index)
        return Machine.restored(self._actor, self._interface, self._history, pieces, group=self.plan.group)

    def _install(self, snapshot: Snapshot) -> None:
        self._applier.enter(self._keep.install(snapshot))

    def _settle(self, settled: Settled) -> None:
        match settled:
            case Formed():
                self._on_formed(settled)
            case LeaderKnown():
                self._on_leader_known(settled)
            case ReadReady():
                self._on_read_ready(settled)
            case Reconfigured(configuration):
                log.info("configuration", group=self.plan.group, voters=configuration.voter_names)
            case Linked(members):
                self._on_linked(members)
            case Answered():
                self._wishes.answered(settled)
            case Removed():
                self._on_removed()
            case Diverged(divergence):
                error = self._diverged(divergence)
                log.error("diverged: this replica stops", group=self.plan.group, reason=str(error))
                self._fail(error)
            case Noticed():
                log.warning(settled.text, group=self.plan.group, node=self.node.name)

    def _diverged(self, divergence: Divergence) -> errors.Diverged:
        return errors.Diverged(self.plan.group, divergence.at, divergence.agreed)

    # -- what the core tells ---------------------------------------------------------------------------------------

    def _on_formed(self, formed: Formed) -> None:
        machine = self._keep.machine
        if machine is None:
            configuration, version = formed.formation.configuration, formed.formation.version
            group, history = self.plan.group, self._history
            machine = Machine(self._actor, self._interface, configuration, history, group=group, version=version)
        self._applier.enter(machine)
        log.info("formed", group=self.plan.group, cluster=formed.formation.cluster.hex())
        for watcher in self.watchers:
            watcher.formed()

    def _on_leader_known(self, known: LeaderKnown) -> None:
        log.info("leader", group=self.plan.group, epoch=known.epoch, leader=known.leader)
        self.stepped_down.unpark_all()
        for watcher in self.watchers:
            watcher.leader_known(known.leader)
        if known.leader is not None and self._desk is not None:
            self._desk.lost()

    def _on_linked(self, members: Sequence[Member]) -> None:
        """Keep a link to each member, where this node was told to find it, or where the group says."""
        found = {member.name: member.address for member in members if member.address}
        self.node.learn_peers(self.plan.group, found)
        for watcher in self.watchers:
            watcher.members_known()

    def _on_removed(self) -> None:
        error = MemberRemoved(
            f"{self.node.name} is a member of the group {self.plan.group!r} no more: it was removed. Its data is of no "
            "further use; to take part again it has to be added, with an empty data directory"
        )
        log.warning("removed", group=self.plan.group, node=self.node.name)
        self.membership.end(error)
        self._fail(error)

    def _on_read_ready(self, ready: ReadReady) -> None:
        fresh = self._reads.pop(ready.token, None)
        if fresh is not None:
            self._applier.between(fresh)

    # -- the disk --------------------------------------------------------------------------------------------------

    def _on_written(self, number: int) -> None:
        self.waiting_for_disk = None
        self.give(Persisted(number))
        if self.replica is not None:
            self._keep.written(number, self.replica.snapshots_in_use)

    def _on_disk_full(self, reason: str) -> None:
        self.waiting_for_disk = reason
        log.warning("the disk takes nothing at present", group=self.plan.group, reason=reason)

    def _on_disk_failed(self, error: DiskFailed) -> None:
        log.error("the disk failed: this replica stops", group=self.plan.group, reason=str(error))
        self._fail(error)

    def _on_unable(self, error: Unable) -> None:
        """What was to be done with a snapshot cannot be."""
        match error:
            case DiskFailed():
                self._on_disk_failed(error)
            case DiskDamaged():
                log.error("the disk is damaged: this replica stops", group=self.plan.group, reason=str(error))
                self._fail(error)
            case Outdated():
                self._fail(error)

    # -- the node (see `actors.Receiver`) --------------------------------------------------------------------------

    def received(self, origin: Origin, envelope: Envelope) -> None:
        """A member sent something. Raises `RemoteProtocolError` for what is no message of a member."""
        said = decode_message(envelope.body)
        self.give(Received(origin.name, said.cluster, said.storage, envelope.counter, said.message))

    def connected(self, peer: str) -> None:
        self.give(Connected(peer))

    def suspected(self, peer: str) -> None:
        self.give(Suspected(peer))

    # -- handles ---------------------------------------------------------------------------------------------------

    def submit(self, owner: Owner, entries: Sequence[Submittable]) -> None:
        """Take what a session's owner wants in the log. What comes of it is reported to the owner.

        Raises `RemoteProtocolError` for another's session.
        """
        invariant(self._desk is not None, "nothing is submitted before the group has formed")
        if self._desk is not None:
            onward = self._desk.submit(owner, entries)
            if onward:
                self.give(Submitted(onward))

    def freshen(self, fresh: Callable[[], None], consistency: Consistency, index: int) -> int:
        """Have `fresh` called once the state here is fresh enough; returns a token to give it up with (rule 20).

        See `ReadAsked`. At the level of a lease it may come to be too late for that: ask `holds_lease` afterwards.
        """
        self._tokens += 1
        token = self._tokens
        self._reads[token] = fresh
        self.give(ReadAsked(token, consistency, index))
        return token

    def state(self) -> bytes:
        """The actor, encoded. A batch that is half applied is finished first, however long that takes."""
        while not (self._applier.is_between or self._stepping or self.stopped or self.closed):
            self._take(None)
        machine = self.machine
        if machine is None:
            raise RuntimeError(f"the group {self.plan.group} has not formed yet")
        return machine.state()

    def between(self, then: Callable[[], None]) -> None:
        """Call this when the state here is one of an index: now, or soon, as a batch is half applied."""
        self._applier.between(then)

    def holds_lease(self) -> bool:
        """Does this replica lead for certain, at this moment (rule 20)?"""
        return self.replica is not None and not self.stopped and self.replica.holds_lease(now())

    def give_up(self, token: int) -> None:
        """Nobody waits for this freshness any more."""
        if self._reads.pop(token, None) is not None:
            self.give(ReadGivenUp(token))

    def query(self, call: bytes, sender: str) -> bytes:
        """Run a query on the state as it is; returns its encoded outcome."""
        machine = self.machine
        if machine is None:
            violated("nothing is asked before the group has formed", group=self.plan.group)
        invariant(self._failure is None, "a replica that has stopped answers nobody", group=self.plan.group)
        invariant(self._applier.is_between, "nobody looks while a batch is half applied", group=self.plan.group)
        return machine.query(call, sender)

    def leave(self, owner: Owner) -> None:
        """This owner is gone."""
        if self._desk is not None:
            self._desk.leave(owner)
