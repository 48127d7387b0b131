"""A process: it runs the real replica, machine and desk, and performs each `Output` in its order.

It can crash, also in the midst of what it does, restart and be paused. A restart finds what the disk kept, and nothing
else: a stamp above every one that was sent, and the replica's durable word. If the disk cannot be used, it stays down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from actors._interface import Interface
from actors._protocol.errors import invariant
from broadcast._errors import Outdated
from broadcast._machine import Machine, check_version
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.desk import Desk
from broadcast._protocol.entries import Submittable
from broadcast._protocol.messages import decode_message, encode_message
from broadcast._protocol.output import (
    Answered,
    Applied,
    Diverged,
    Formed,
    Input,
    LeaderKnown,
    Linked,
    Noticed,
    Output,
    Persisted,
    ReadAsked,
    ReadGivenUp,
    ReadReady,
    Received,
    Reconfigured,
    Removed,
    Settled,
    Submitted,
    Tick,
    Wanted,
)
from broadcast._protocol.position import Batch
from broadcast._protocol.queries import Query
from broadcast._protocol.replica import Replica
from broadcast._protocol.reports import Expired, Missing
from broadcast._protocol.snapshots import Snapshot
from broadcast._sifting import sifted
from broadcast._simulation.archive import Archive
from broadcast._simulation.disk import GROUP, Disk
from broadcast._simulation.invariants import broken
from broadcast._simulation.invariants.in_force import along
from broadcast._simulation.life import Asker, Killed, Life
from broadcast._simulation.network import Network
from broadcast._simulation.options import MILLISECOND
from broadcast._simulation.play import Play
from broadcast._simulation.undos import CountedBase
from broadcast._simulation.watch import Watch
from broadcast._simulation.world import World
from broadcast._storage import DiskDamaged, DiskRefused
from membership._protocol.formation import Plan
from membership._protocol.messages import CampaignNow, Verdict, Wish
from membership._protocol.view import Formation

STAMPS_RESERVED = 64  # stamps that one write of the mark covers
APPLY_DELAY = 2 * MILLISECOND  # at most, from delivery to application
RESTARTED_AFTER = 400 * MILLISECOND  # that a replica was stopped by its class


class Node:
    """One member of the group, over all its lives."""

    def __init__(self, name: str, world: World, plan: Plan, disk: Disk, play: Play, watch: Watch) -> None:
        self.name = name
        self.life = 0
        self.removed = False
        """It was a member, and has learnt that it is one no more: there is nothing left for it to do."""
        self._world = world
        self._plan = plan
        self._disk = disk
        self._play = play
        self._watch = watch
        self._network: Network | None = None
        self._mark = 0  # durable: at or above every stamp that was ever sent
        self._tokens = 0
        self._wall = 0  # what the wall clock of the last life was set to
        self._kind = play.actor
        if world.options.upgrades:
            self.choose_class()
        self._now: Life | None = None

    # -- its lives -------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self._now is not None

    @property
    def replica(self) -> Replica:
        return self._living.replica

    @property
    def machine(self) -> Machine[Any]:
        machine = self._living.machine
        if machine is None:
            raise AttributeError("a machine runs once the group has formed")
        return machine

    @property
    def _living(self) -> Life:
        if self._now is None:
            raise AttributeError("a process that is gone has no state")
        return self._now

    def begin(self, network: Network, *, observer: bool) -> None:
        """A spare's first start: from now on it asks to be added. observer: without a vote, and by itself."""
        self._plan = replace(self._plan, observer=observer)
        self.start(network)

    def start(self, network: Network) -> None:
        """The process starts, on what its disk holds. If that is not to be trusted it ends at once, with the reason."""
        if self.removed:
            return
        self._network = network
        self.life += 1
        self._world.note(self.name, "start", self.life)
        try:
            found = self._disk.open()
        except (DiskDamaged, DiskRefused) as error:
            self._world.note(self.name, "ends", error)
            self._world.marks["disks refused"] += 1
            return
        plan = replace(self._plan, version=self._kind.version)
        self._now = life = Life(self.name, self._world, plan, found, self._mark)
        life.archive = Archive(
            self._world, self._disk, self._guard, self._step, self._restore, partial(self._watch.taken, self)
        )
        try:
            self._begin(life, found.snapshot)
        except Outdated as error:
            self._stopped(error)
        else:
            network.started(self.name)

    def _begin(self, life: Life, snapshot: Snapshot | None) -> None:
        if snapshot is not None:
            life.archive.loaded = self._restore(snapshot)
            self._world.marks["restarts on a snapshot"] += 1
            self._world.marks["restarts with effects that wait"] += len(life.archive.loaded.effects) > 0
        self._world.marks["restarts with an older clock"] += life.wall < self._wall
        self._wall = life.wall
        self._watch.started(self)
        self._perform(life.replica.take_output())
        self._set_timer()

    def choose_class(self) -> None:
        """Its next lives run any version of the class."""
        self._kind = self._world.chance.choice((self._play.actor, *self._play.later))

    def _stopped(self, error: Outdated) -> None:
        """Its class is too old. Somebody reads what it says, and does that."""
        self._world.note(self.name, "ends", error)
        self._world.marks["replicas stopped by their class"] += 1
        self.crash()
        self._kind = self._play.later[-1]
        network = self._network
        if network is not None:
            self._world.schedule.after(RESTARTED_AFTER, lambda: None if self.alive else self.start(network))

    def crash(self) -> None:
        """The process is gone, and with it all that its disk does not hold."""
        askers = list(self._living.askers.values())
        self._world.note(self.name, "crash", self.life)
        self._world.marks["crashes"] += 1
        self._now = None
        self._disk.crash()
        if self._network is not None:
            self._network.crashed(self.name)
        for asker in askers:
            asker.broken()

    def set_clock(self) -> None:
        """Somebody sets its wall clock, rightly or not."""
        self._world.note(self.name, "clock set")
        self._world.marks["clocks set"] += 1
        self._living.set_clock(self._world)

    def ambush(self, count: int) -> None:
        """After so many things that it does, a write, a message, a batch to apply, it dies."""
        self._living.dies_in = count

    def spare(self) -> None:
        """It need not die."""
        if self._now is not None:
            self._now.dies_in = None

    def pause(self, *, asleep: bool = False) -> None:
        """The process is stopped: what comes waits. asleep: and so is its machine."""
        self._world.note(self.name, "pause")
        self._world.marks["pauses"] += 1
        self._living.paused = True
        if asleep:
            self._world.marks["machines that slept"] += 1
            self._living.fall_asleep(self._world.now)

    def resume(self) -> None:
        """It goes on, with all that has come meanwhile."""
        self._world.note(self.name, "resume")
        living = self._living
        living.paused = False
        living.wake_up(self._world.now)
        while living.waiting and self._now is living:
            self._do(living.waiting.popleft())

    @property
    def paused(self) -> bool:
        return self._now is not None and self._now.paused

    def _enter(self, action: Callable[[], None]) -> None:
        """Something comes from outside: to this life, when it is not stopped."""
        if self._now is None:
            return
        if self._now.paused:
            self._now.waiting.append(action)
        else:
            self._do(action)

    def _do(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Killed:
            self._world.marks["ambushes"] += not self.removed
            self.crash()
        except Outdated as error:
            self._stopped(error)

    def _guard(self, action: Callable[[], None]) -> Callable[[], None]:
        """For what this life has under way: forgotten if it ends before."""
        life = self._now

        def come() -> None:
            if self._now is life:
                self._enter(action)

        return come

    # -- steps -----------------------------------------------------------------------------------------------------

    def give(self, given: Input) -> None:
        """An input of the shell's."""
        self._enter(partial(self._step, given))

    def receive(self, sender: str, stamp: int, data: bytes) -> None:
        """A message of another member arrives."""
        self._enter(partial(self._receive, sender, stamp, data))

    def _receive(self, sender: str, stamp: int, data: bytes) -> None:
        came = decode_message(data)
        self._living.clock.witness(stamp)
        self._step(Received(sender, came.cluster, came.storage, stamp, came.message), data)
        self._watch.heard(self, sender, came.message)

    def _step(self, given: Input, data: bytes | None = None) -> None:
        living, now = self._living, self._world.now
        self._world.note(self.name, "step", given, data)
        self._watch.given(self, given)
        living.replica.step(given, living.at(now))
        self._watch.stepped(self)
        self._perform(living.replica.take_output())
        self._set_timer()

    def _set_timer(self) -> None:
        living = self._living
        due = max(living.when(living.replica.deadline), self._world.now)
        if living.tick_at is None or due < living.tick_at:
            living.tick_at = due
            self._world.schedule.at(due, self._guard(partial(self._wake, due)))

    def _wake(self, due: int) -> None:
        living = self._living
        if living.tick_at != due:
            return  # an earlier one was set since, and has done this one's work
        living.tick_at = None
        if living.replica.deadline <= living.at(self._world.now).monotonic:
            self._step(Tick())
        else:
            self._set_timer()

    # -- output, in its order --------------------------------------------------------------------------------------

    def _perform(self, output: Output) -> None:
        living = self._living
        for persist in output.persist:
            if living.dies_in is not None:
                living.count_down()
            self._world.note(self.name, "persist", persist)
            self._watch.persisting(self, persist)
            self._disk.submit(persist, self._persisted, self._disk_failed)
        for send in output.send:
            if living.dies_in is not None:
                living.count_down()
            replica = living.replica
            stamp = self._stamp()
            data = encode_message(replica.cluster, replica.storage, send.message)
            self._watch.sending(self, send.to, stamp, send.message)
            self._world.marks["leaders that handed over"] += type(send.message) is CampaignNow
            if self._network is not None:
                self._network.send(self.name, send.to, stamp, data)
        for transfer in output.transfer:
            if living.dies_in is not None:
                living.count_down()
            living.archive.perform(transfer)
        if output.install is not None:
            if living.dies_in is not None:
                living.count_down()
            self._install(output.install)
        if output.deliver:
            if living.dies_in is not None:
                living.count_down()
            self._watch.delivering(self, output.deliver)
            self._deliver(output.deliver)
        for settled in output.settle:
            if living.dies_in is not None:
                living.count_down()
            self._world.note(self.name, "settle", settled)
            self._settle(settled)

    def _persisted(self, number: int) -> None:
        self._guard(partial(self._tidy, number))()

    def _tidy(self, number: int) -> None:
        self._step(Persisted(number))
        if self._disk.snapshot is not None:
            self._disk.snapshots.retain(self._disk.snapshot, self.replica.snapshots_in_use)

    def _install(self, snapshot: Snapshot) -> None:
        """What was delivered and not applied is in it."""
        living = self._living
        loaded = living.archive.loaded
        invariant(loaded is not None and loaded.applied == snapshot.index, "what is installed was loaded")
        self._watch.installing(self, snapshot)
        self._world.note(self.name, "install", snapshot.position)
        self._world.marks["snapshots installed"] += 1
        living.applying.clear()
        living.machine, living.archive.loaded = loaded, None
        if living.desk is not None and loaded is not None:
            living.desk.installed(loaded.sessions, loaded.applied)
        self._watch.installed(self, snapshot)

    def _disk_failed(self) -> None:
        """As the real shell: nothing more is said to anyone, and the process ends (rule 25)."""
        self._world.marks["replicas stopped by their disk"] += 1
        self._guard(self.crash)()

    def _stamp(self) -> int:
        """A stamp to send under; the mark above it is durable first."""
        clock = self._living.clock
        stamp = clock.tick()
        if stamp > clock.reserved:
            self._mark = stamp + STAMPS_RESERVED
            clock.reserve(self._mark)
        return stamp

    def _deliver(self, batches: list[Batch]) -> None:
        applying = self._living.applying
        if not applying:
            self._apply_later()
        applying.extend(batches)

    def _apply_later(self) -> None:
        delay = self._world.chance.randrange(APPLY_DELAY)
        self._world.schedule.after(delay, self._guard(self._apply))

    def _apply(self) -> None:
        """Apply some of what was delivered."""
        living, machine = self._living, self.machine
        if not living.applying:
            return  # a snapshot has taken its place
        count = 1 + self._world.chance.randrange(len(living.applying))
        for _ in range(count):
            batch = living.applying.popleft()
            version = machine.version
            reports = machine.apply(batch)
            self._world.marks["versions put in force"] += machine.version > version
            self._watch.applied(self, batch)
            if living.replica.speaks_for(batch.epoch):
                for telling in machine.tells:
                    self._watch.telling(self, telling)
            if machine.at_marker:
                living.archive.take(machine)
            if living.dies_in is not None:
                living.count_down()
            for report in reports:
                self._world.marks["expired sessions"] += isinstance(report, Expired)
                self._world.marks["reports of gaps"] += isinstance(report, Missing)
            if living.desk is not None:
                living.desk.route(reports, batch.last)
        if living.applying:
            self._apply_later()
        self._step(Applied(machine.applied, *machine.due))

    def _settle(self, settled: Settled) -> None:
        living = self._living
        match settled:
            case Formed(formation):
                self._watch.register.formed(formation.configuration)
                machine = living.archive.loaded or self._begin_machine(formation)
                living.machine, living.archive.loaded = machine, None
                living.desk = Desk(machine.sessions)
            case LeaderKnown(leader=leader):
                if leader is not None and living.desk is not None:
                    living.desk.lost()
            case ReadReady(token):
                self._on_read_ready(token)
            case Reconfigured():
                self._note_configurations()
            case Linked():
                pass  # here everybody is linked to everybody
            case Answered(number, verdict):
                told = living.wishes.pop(number, None)
                if told is not None:
                    told(verdict)
            case Removed():
                self._world.marks["members that learnt of their removal"] += 1
                self.removed = True
                raise Killed
            case Diverged(divergence):
                broken("no replica differs from a majority", name=self.name, divergence=divergence)
            case Noticed(text):
                self._watch.noticed(self, text)

    def _begin_machine(self, formation: Formation) -> Machine[Any]:
        interface, history = Interface.of(self._kind), self._living.replica.log.between
        base, configuration, version = CountedBase(self._world.marks), formation.configuration, formation.version
        return Machine(self._kind, interface, configuration, history, group=GROUP, base=base, version=version)

    def _restore(self, snapshot: Snapshot) -> Machine[Any]:
        """A machine at this snapshot, which is on the disk."""
        interface, history = Interface.of(self._kind), self._living.replica.log.between
        check_version(GROUP, interface, snapshot.agreed.version, snapshot.index)
        load = partial(self._disk.snapshots.pieces, snapshot)
        base = CountedBase(self._world.marks)
        return Machine.restored(self._kind, interface, history, load, group=GROUP, base=base)

    def _note_configurations(self) -> None:
        """Another is in force."""
        living, marks = self._living, self._world.marks
        count = len(along(living.replica))
        marks["configurations set"] += max(0, count - living.configurations)
        marks["configurations taken back"] += count < living.configurations
        living.configurations = count

    # -- members ---------------------------------------------------------------------------------------------------

    def want(self, wish: Wish, told: Callable[[Verdict], None]) -> None:
        """An operator here wants this; `told` gets the leader's word, if one comes."""
        self._enter(partial(self._want, wish, told))

    def _want(self, wish: Wish, told: Callable[[Verdict], None]) -> None:
        living = self._living
        number = living.clock.tick()
        living.wishes[number] = told
        self._step(Wanted(number, wish))

    # -- clients ---------------------------------------------------------------------------------------------------

    def connect(self, asker: Asker) -> bool:
        """A client's link begins. False if nobody listens."""
        if self._now is None:
            return False
        self._now.askers[id(asker)] = asker
        return True

    def disconnect(self, asker: Asker) -> None:
        self._enter(partial(self._leave, asker))

    def _leave(self, asker: Asker) -> None:
        living = self._living
        living.askers.pop(id(asker), None)
        for number in [number for number, read in living.reads.items() if read[0] is asker]:
            if number in living.reads:  # giving up one may have answered another
                self._give_up(number)
        if living.desk is not None:
            living.desk.leave(asker)

    def submit(self, asker: Asker, stamp: int, entries: tuple[Submittable, ...]) -> None:
        """A client wants these in the log."""
        self._enter(partial(self._submit, asker, stamp, entries))

    def _submit(self, asker: Asker, stamp: int, entries: tuple[Submittable, ...]) -> None:
        living = self._living
        living.clock.witness(stamp)
        if living.desk is not None and id(asker) in living.askers:
            open_entries = living.desk.submit(asker, [sifted(entry, self.machine) for entry in entries])
            if open_entries:
                self._step(Submitted(open_entries))

    @property
    def clock(self) -> int:
        return self._living.at(self._world.now).monotonic

    @property
    def holds_lease(self) -> bool:
        living = self._now
        return living is not None and living.replica.holds_lease(living.at(self._world.now))

    @property
    def applied(self) -> int:
        """The index of the state that queries see."""
        machine = self._living.machine
        return machine.applied if machine else 0

    def ask(self, asker: Asker, queries: tuple[Query, ...]) -> None:
        """A client asks these; `asker.told(number, ...)` answers each. One that is under way is not begun again."""
        for query in queries:
            self._enter(partial(self._ask, asker, query))

    def _ask(self, asker: Asker, query: Query) -> None:
        if self._token_of(asker, query.number) is None and id(asker) in self._living.askers:
            leased = query.consistency is Consistency.LEASE and not self.holds_lease
            self._begin_read(asker, query, Consistency.LINEARIZABLE if leased else query.consistency)

    def _begin_read(self, asker: Asker, query: Query, consistency: Consistency) -> None:
        self._tokens += 1
        self._living.reads[self._tokens] = asker, query, consistency
        self._step(ReadAsked(self._tokens, consistency, query.seen))

    def _on_read_ready(self, token: int) -> None:
        """Run it. If it went by a lease which has ended since, it has to wait for a round after all (rule 20)."""
        asker, query, consistency = self._living.reads.pop(token)
        outcome = self.machine.query(query.call, "reader")
        if consistency is Consistency.LEASE and not self.holds_lease:
            self._world.marks["leases that ended during a read"] += 1
            again = partial(self._begin_read, asker, query, Consistency.LINEARIZABLE)
            self._world.schedule.after(0, self._guard(again))
            return
        self._world.marks["reads by lease"] += consistency is Consistency.LEASE
        asker.told(query.number, outcome)

    def _token_of(self, asker: Asker, number: int) -> int | None:
        reads = self._living.reads.items()
        return next((token for token, read in reads if read[0] is asker and read[1].number == number), None)

    def give_up(self, asker: Asker, number: int) -> None:
        """A client does not wait for that query any more."""
        self._enter(partial(self._give_up_asked, asker, number))

    def _give_up_asked(self, asker: Asker, number: int) -> None:
        token = self._token_of(asker, number)
        if token is not None:
            self._give_up(token)

    def _give_up(self, token: int) -> None:
        del self._living.reads[token]
        self._step(ReadGivenUp(token))

    def stamp(self) -> int:
        """A stamp for a message to a client."""
        return self._stamp()
