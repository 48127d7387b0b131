"""A process: it runs the real replica, machine and desk, and performs each `Output` in its order.

It can crash, restart and be paused. A restart finds what the disk kept, and nothing else: a stamp above every one that
was sent, and the replica's durable word.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from actors._protocol.clock import LamportClock
from broadcast._machine import Machine
from broadcast._protocol.desk import Desk
from broadcast._protocol.entries import Submittable
from broadcast._protocol.messages import decode_message, encode_message
from broadcast._protocol.output import (
    Applied,
    Formed,
    Input,
    LeaderKnown,
    Noticed,
    Now,
    Output,
    Persisted,
    ReadAsked,
    ReadReady,
    Received,
    Settled,
    Submitted,
    Tick,
)
from broadcast._protocol.position import Batch
from broadcast._protocol.replica import Replica
from broadcast._protocol.reports import Expired, Missing, Report
from broadcast._simulation.disk import Disk
from broadcast._simulation.network import Network
from broadcast._simulation.options import MILLISECOND, SECOND
from broadcast._simulation.play import Play
from broadcast._simulation.watch import Watch
from broadcast._simulation.world import World
from membership._protocol.formation import Plan

WALL_START = 1_700_000_000 * SECOND  # the wall clock when a history begins
STAMPS_RESERVED = 64  # stamps that one write of the mark covers
APPLY_DELAY = 2 * MILLISECOND  # at most, from delivery to application


class Asker(Protocol):
    """The near end of a client's link."""

    @property
    def name(self) -> str: ...
    def report(self, report: Report) -> None: ...
    def told(self, token: int, outcome: bytes) -> None: ...
    def broken(self) -> None: ...


class Life:
    """What a process has in memory, from one start to the next crash."""

    def __init__(self, node: Node, world: World, plan: Plan, disk: Disk, mark: int) -> None:
        self.clock = LamportClock(node.name, mark, mark)
        self.boot = world.chance.randrange(1000 * SECOND)  # the monotonic clock at time 0
        self.wall = _wall(world)
        self.replica = Replica(
            name=node.name,
            plan=plan,
            found=disk.open(),
            cluster=world.chance.randbytes(16),
            clock=self.clock,
            chance=world.chance,
            now=Now(self.boot + world.now, self.wall + world.now),
        )
        self.machine: Machine[Any] | None = None
        self.desk: Desk | None = None
        self.askers: dict[int, Asker] = {}
        self.reads: dict[int, tuple[Asker, int, bytes]] = {}
        self.applying: deque[Batch] = deque()
        self.tick_at: int | None = None
        self.paused = False
        self.waiting: deque[Callable[[], None]] = deque()


def _wall(world: World) -> int:
    """What a wall clock showed when the history began."""
    return WALL_START + world.chance.randrange(-world.options.clock_error, world.options.clock_error + 1)


class Node:
    """One member of the group, over all its lives."""

    def __init__(self, name: str, world: World, plan: Plan, disk: Disk, play: Play, watch: Watch) -> None:
        self.name = name
        self.life = 0
        self._world = world
        self._plan = plan
        self._disk = disk
        self._play = play
        self._watch = watch
        self._network: Network | None = None
        self._mark = 0  # durable: at or above every stamp that was ever sent
        self._tokens = 0
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

    def start(self, network: Network) -> None:
        """The process starts, on what its disk holds."""
        self._network = network
        self.life += 1
        self._world.note(self.name, "start", self.life)
        self._now = Life(self, self._world, self._plan, self._disk, self._mark)
        self._watch.started(self)
        self._perform(self._now.replica.take_output())
        self._set_timer()
        network.started(self.name)

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
        self._living.wall = _wall(self._world)

    def pause(self) -> None:
        """The process is stopped: what comes waits."""
        self._world.note(self.name, "pause")
        self._world.marks["pauses"] += 1
        self._living.paused = True

    def resume(self) -> None:
        """It goes on, with all that has come meanwhile."""
        self._world.note(self.name, "resume")
        living = self._living
        living.paused = False
        while living.waiting and self._now is living:
            living.waiting.popleft()()

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
            action()

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
        shown = f"{given.sender}> {given.message}" if isinstance(given, Received) else given
        self._world.note(self.name, "step", shown, data)
        living.replica.step(given, Now(living.boot + now, living.wall + now))
        self._watch.stepped(self)
        self._perform(living.replica.take_output())
        self._set_timer()

    def _set_timer(self) -> None:
        living = self._living
        due = max(living.replica.deadline - living.boot, self._world.now)
        if living.tick_at is None or due < living.tick_at:
            living.tick_at = due
            self._world.schedule.at(due, self._guard(partial(self._wake, due)))

    def _wake(self, due: int) -> None:
        living = self._living
        if living.tick_at != due:
            return  # an earlier one was set since, and has done this one's work
        living.tick_at = None
        if living.replica.deadline - living.boot <= self._world.now:
            self._step(Tick())
        else:
            self._set_timer()

    # -- output, in its order --------------------------------------------------------------------------------------

    def _perform(self, output: Output) -> None:
        for persist in output.persist:
            self._world.note(self.name, "persist", persist)
            self._watch.persisting(self, persist)
            self._disk.submit(persist, self._persisted)
        for send in output.send:
            replica = self._living.replica
            stamp = self._stamp()
            data = encode_message(replica.cluster, replica.storage, send.message)
            self._watch.sending(self, send.to, stamp, send.message)
            if self._network is not None:
                self._network.send(self.name, send.to, stamp, data)
        if output.deliver:
            self._watch.delivering(self, output.deliver)
            self._deliver(output.deliver)
        for settled in output.settle:
            self._world.note(self.name, "settle", settled)
            self._settle(settled)

    def _persisted(self, number: int) -> None:
        self._guard(partial(self._step, Persisted(number)))()

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
        count = 1 + self._world.chance.randrange(len(living.applying))
        for _ in range(count):
            batch = living.applying.popleft()
            reports = machine.apply(batch)
            self._watch.applied(self, batch)
            for report in reports:
                self._world.marks["expired sessions"] += isinstance(report, Expired)
                self._world.marks["reports of gaps"] += isinstance(report, Missing)
            if living.desk is not None:
                living.desk.route(reports, batch.last)
        if living.applying:
            self._apply_later()
        self._step(Applied(machine.applied))

    def _settle(self, settled: Settled) -> None:
        living = self._living
        match settled:
            case Formed(formation):
                play, history = self._play, living.replica.log.between
                machine = Machine(play.actor, play.interface, formation.configuration, history, group=formation.group)
                living.machine, living.desk = machine, Desk(machine.sessions)
            case LeaderKnown(leader=leader):
                if leader is not None and living.desk is not None:
                    living.desk.lost()
            case ReadReady(number):
                asker, token, call = living.reads.pop(number)
                asker.told(token, self.machine.query(call, "reader"))
            case Noticed(text):
                self._watch.noticed(self, text)

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
        if living.desk is not None:
            living.desk.leave(asker)

    def submit(self, asker: Asker, stamp: int, entries: tuple[Submittable, ...]) -> None:
        """A client wants these in the log."""
        self._enter(partial(self._submit, asker, stamp, entries))

    def _submit(self, asker: Asker, stamp: int, entries: tuple[Submittable, ...]) -> None:
        living = self._living
        living.clock.witness(stamp)
        if living.desk is not None and id(asker) in living.askers:
            open_entries = living.desk.submit(asker, entries)
            if open_entries:
                self._step(Submitted(open_entries))

    def ask(self, asker: Asker, token: int, call: bytes) -> None:
        """A client asks a linearizable query; `asker.told(token, ...)` answers it."""
        self._enter(partial(self._ask, asker, token, call))

    def _ask(self, asker: Asker, token: int, call: bytes) -> None:
        self._tokens += 1
        self._living.reads[self._tokens] = asker, token, call
        self._step(ReadAsked(self._tokens))

    def stamp(self) -> int:
        """A stamp for a message to a client."""
        return self._stamp()
