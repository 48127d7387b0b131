"""A few real cores on a stage without chance: nothing happens but what is asked for, and all of it is noted.

Messages wait in the network until they are delivered or dropped, disks write at once unless they are told to be slow,
what is delivered is applied at once, and time passes only when somebody says so.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from actors._actor import Actor, command, query
from actors._interface import Interface
from actors._protocol.clock import LamportClock
from actors._protocol.codec import decode, join_array
from broadcast._machine import Machine
from broadcast._protocol.desk import Desk
from broadcast._protocol.entries import Commands, EpochStart, Submittable, encode_entries
from broadcast._protocol.messages import Message, decode_message, encode_message
from broadcast._protocol.output import (
    Applied,
    Connected,
    Formed,
    Input,
    LeaderKnown,
    Noticed,
    Now,
    Persist,
    Persisted,
    ReadAsked,
    ReadReady,
    Received,
    Settled,
    Submitted,
    Suspected,
    Tick,
)
from broadcast._protocol.position import START, Batch
from broadcast._protocol.replica import Replica
from broadcast._protocol.reports import Report
from broadcast._protocol.submitter import Submitter
from broadcast._storage import MemoryDisk
from membership._protocol.formation import Plan
from membership._protocol.quorum import Majority
from membership._protocol.view import Configuration, Formation, Limits, Member, Promise

MILLISECOND = 1_000
FLOOR = 100 * MILLISECOND
GROUP = "bank"
CLUSTER = b"c" * 16
WALL = 10**15
NOBODY = 10**6
"""A session that nobody has opened."""


class Words(Actor):
    """What the groups here agree on: words, in the order they were said."""

    def __init__(self) -> None:
        self.words: list[str] = []

    @command
    def say(self, word: str) -> int:
        self.words.append(word)
        return len(self.words)

    @query
    def said(self) -> list[str]:
        return self.words


INTERFACE = Interface.of(Words)
SAID = INTERFACE.method_for(Words.said).pack((), {})


def call(word: str) -> bytes:
    return INTERFACE.method_for(Words.say).pack((word,), {})


class WholeMilliseconds:
    """Chance of a seed of its own, for each member the same in every run; times are easy to read."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def randrange(self, stop: int, /) -> int:
        return self._random.randrange(max(1, stop // MILLISECOND)) * MILLISECOND


# -- what happens ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flight:
    """A message on its way."""

    sender: str
    to: str
    stamp: int
    data: bytes

    @property
    def message(self) -> Message:
        return decode_message(self.data).message


@dataclass(frozen=True, slots=True)
class Sent:
    flight: Flight


@dataclass(frozen=True, slots=True)
class Arrived:
    flight: Flight


@dataclass(frozen=True, slots=True)
class Lost:
    flight: Flight


@dataclass(frozen=True, slots=True)
class Became:
    """Another role than before, or the same in another epoch."""

    role: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Delivered:
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class Wrote:
    """A slow disk has done what was asked of it."""


@dataclass(frozen=True, slots=True)
class ReadAnswered:
    label: str
    words: list[str]


@dataclass(frozen=True, slots=True)
class Offered:
    """A client gives this to a replica."""

    to: str
    entry: Submittable


@dataclass(frozen=True, slots=True)
class Told:
    """A replica tells a client this."""

    by: str
    report: Report


What: TypeAlias = (
    Sent | Arrived | Lost | Became | Persist | Wrote | Delivered | ReadAnswered | Offered | Told | Settled | str
)


@dataclass(frozen=True, slots=True)
class Event:
    """now: milliseconds. who: at whom it happened."""

    now: int
    who: str
    what: What


# -- who is there ---------------------------------------------------------------------------------------------------


@dataclass
class Core:
    """A replica in one of its lives."""

    replica: Replica
    clock: LamportClock
    machine: Machine[Words] | None = None
    desk: Desk | None = None
    asked: list[Persist] = field(default_factory=list[Persist])
    """What its disk has still to write."""
    reads: dict[int, str] = field(default_factory=dict[int, str])
    leader: str | None = None
    """Whom it knew to lead, when it was last told of."""

    @property
    def state(self) -> tuple[str, int]:
        return self.replica.role, self.replica.epoch


class Asker:
    """A client, at the replica that it is linked to now."""

    def __init__(self, client: Client, at: str) -> None:
        self.name = client.submitter.owner
        self.at = at
        self._client = client

    def report(self, report: Report) -> None:
        if self._client.asker is self:
            self._client.told(self.at, report)


class Client:
    """The owner of a session: a real submitter, at one replica after the other."""

    def __init__(self, name: str, stage: Stage) -> None:
        self.submitter = Submitter(owner=name, nonce=name.encode().ljust(16, b"."))
        self.asker: Asker | None = None
        self._stage = stage

    def told(self, by: str, report: Report) -> None:
        self._stage.note(self.submitter.owner, Told(by, report))
        self.submitter.receive(report, self._stage.now)
        self.submitter.take_results()
        self._stage.later(self.flush)

    def flush(self) -> None:
        """Give the replica what there is to send."""
        asker, stage = self.asker, self._stage
        core = None if asker is None else stage.cores.get(asker.at)
        if asker is None or core is None or core.desk is None:
            return
        entries = self.submitter.take(core.clock.counter, stage.now)
        for entry in entries:
            stage.note(asker.name, Offered(asker.at, entry))
        open_entries = core.desk.submit(asker, entries)
        if open_entries:
            stage.step(asker.at, Submitted(open_entries))


class Stage:
    """The cores, their disks, and what is on its way between them. Time is in microseconds."""

    def __init__(self, names: str | Iterable[str] = "abc", *, formed: bool = True) -> None:
        self.names = tuple(names)
        self.formed = formed
        self.now = 0
        self.cores: dict[str, Core] = {}
        self.clients: dict[str, Client] = {}
        self.flights: list[Flight] = []
        self.events: list[Event] = []
        self.slow: set[str] = set()
        self.limits = Limits(election_timeout=FLOOR)
        self._cut: list[tuple[frozenset[str], frozenset[str]]] = []
        self._disks = {name: MemoryDisk(partial(_disk_id, name)) for name in self.names}
        self._marks = dict.fromkeys(self.names, 0)
        self._todo: deque[Callable[[], None]] = deque()
        self._reads = 0
        self._submitted = 0
        self._wiped: set[str] = set()

    # -- its disks -------------------------------------------------------------------------------------------------

    @property
    def formation(self) -> Formation:
        members = tuple(Member(name, _disk_id(name, 16)) for name in self.names)
        return Formation(GROUP, CLUSTER, Configuration(members, limits=self.limits))

    @property
    def plan(self) -> Plan:
        return Plan(GROUP, self.names, Majority(), self.limits)

    def holds(self, name: str, *entries: str, promise: Promise | None = None) -> None:
        """Before it starts: its disk holds these entries, each `epoch:word`; `epoch` alone is a start of that epoch.

        The promise is of the last of their epochs, unless given.
        """
        batches: list[Batch] = []
        last = START
        for entry in entries:
            number, _, word = entry.partition(":")
            epoch = int(number)
            index = last.index + 1
            content = _commands(word, index) if word else EpochStart("z")
            batches.append(Batch(epoch, last.epoch, index, 1, WALL, index, encode_entries([content])))
            last = batches[-1].end
        formation = self.formation if self.formed else None
        promise = promise or Promise(last.epoch, None)
        self._disks[name].open_group(GROUP)
        self._disks[name].write([(GROUP, Persist(1, promise, formation, None, tuple(batches), 0))])

    def wipe(self, name: str) -> None:
        """While it is down: an empty disk takes its disk's place."""
        self._disks[name] = MemoryDisk(partial(_disk_id, name.upper()))
        self._wiped.add(name)

    # -- its lives -------------------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        for name in names or self.names:
            if self.formed and name not in self._wiped and self._disks[name].open_group(GROUP).formation is None:
                self.holds(name)
            clock = LamportClock(name, self._marks[name])
            replica = Replica(
                name=name,
                plan=self.plan,
                found=self._disks[name].open_group(GROUP),
                cluster=CLUSTER,
                clock=clock,
                chance=WholeMilliseconds(name),
                now=self._moment(),
            )
            self.cores[name] = Core(replica, clock)
            self._perform(name)
        self._finish()

    def crash(self, name: str) -> None:
        """All that its disk has not written is gone. What it has sent is on its way."""
        self._marks[name] = self.cores.pop(name).clock.counter

    # -- time ------------------------------------------------------------------------------------------------------

    def wait(self, milliseconds: int) -> None:
        """Time passes, and nobody notices."""
        self.now += milliseconds * MILLISECOND

    def tick(self, name: str) -> None:
        """Its next deadline is here."""
        self.now = max(self.now, self.cores[name].replica.deadline)
        self.step(name, Tick())

    def run(self, milliseconds: int) -> None:
        """Time passes for all replicas, and messages take none."""
        until = self.now + milliseconds * MILLISECOND
        self.settle()
        while min(core.replica.deadline for core in self.cores.values()) <= until:
            self.tick(min(self.cores, key=lambda name: self.cores[name].replica.deadline))
            self.settle()
        self.now = until

    # -- the network -----------------------------------------------------------------------------------------------

    def take(self, sender: str, to: str) -> Flight:
        """The oldest message from one to the other; it is not on its way any more."""
        flight = next((each for each in self.flights if (each.sender, each.to) == (sender, to)), None)
        if flight is None:
            raise LookupError(f"nothing is on its way from {sender} to {to}")
        self.flights.remove(flight)
        return flight

    def deliver(self, sender: str, to: str) -> None:
        self.arrive(self.take(sender, to))

    def drop(self, sender: str, to: str) -> None:
        self._lose(self.take(sender, to))

    def drop_all(self) -> None:
        while self.flights:
            self._lose(self.flights.pop(0))

    def settle(self) -> None:
        """Deliver everything, in the order of sending, until nothing is on its way."""
        while self.flights:
            self.arrive(self.flights.pop(0))

    def arrive(self, flight: Flight) -> None:
        core = self.cores.get(flight.to)
        if core is None or self._is_cut(flight):
            self._lose(flight)
            return
        self.note(flight.to, Arrived(flight))
        core.clock.witness(flight.stamp)
        came = decode_message(flight.data)
        self.step(flight.to, Received(flight.sender, came.cluster, came.storage, flight.stamp, came.message))

    def hear(self, to: str, sender: str, message: Message) -> None:
        """A message that the test has made up."""
        core = self.cores.get(sender)
        stamp = self.cores[to].clock.counter + 100
        data = encode_message(CLUSTER, _disk_id(sender, 16) if core is None else core.replica.storage, message)
        self.arrive(Flight(sender, to, stamp, data))

    def cut(self, some: str, others: str) -> None:
        """No message passes between these any more, nor one that is on its way."""
        self._cut.append((frozenset(some), frozenset(others)))

    def heal(self) -> None:
        self._cut.clear()

    def connect(self, one: str, other: str) -> None:
        """A link between them was made anew."""
        self.step(one, Connected(other))
        self.step(other, Connected(one))

    def suspect(self, name: str, gone: str) -> None:
        """Its link to the other was closed, and a reconnect refused."""
        self.step(name, Suspected(gone))

    def _is_cut(self, flight: Flight) -> bool:
        return any(
            (flight.sender in one and flight.to in other) or (flight.sender in other and flight.to in one)
            for one, other in self._cut
        )

    def _lose(self, flight: Flight) -> None:
        self.note(flight.sender, Lost(flight))

    # -- steps -----------------------------------------------------------------------------------------------------

    def step(self, name: str, given: Input) -> None:
        """One input, and what follows from it at this replica alone."""
        core = self.cores[name]
        before = core.state
        core.replica.step(given, self._moment())
        if core.state != before:
            self.note(name, Became(*core.state))
        self._perform(name)
        self._finish()

    def persist(self, name: str, count: int | None = None) -> None:
        """A slow disk does what was asked of it so far, or the first `count` of that."""
        asked = self.cores[name].asked[:count]
        if not asked:
            raise LookupError(f"nothing is asked of the disk of {name}")
        self.note(name, Wrote())
        self._write(name, asked[-1])
        self._finish()

    def submit(self, name: str, *words: str) -> None:
        """Commands of nobody's session."""
        self._submitted += 1
        self.step(name, Submitted(tuple(_commands(word, self._submitted) for word in words)))

    def read(self, name: str, label: str) -> None:
        """A linearizable read of all words."""
        self._reads += 1
        self.cores[name].reads[self._reads] = label
        self.step(name, ReadAsked(self._reads))

    def client(self, name: str, at: str) -> None:
        """A client goes to this replica, which may be another than before."""
        client = self.clients.setdefault(name, Client(name, self))
        if client.asker is not None and (before := self.cores.get(client.asker.at)) and before.desk:
            before.desk.leave(client.asker)
        client.asker = Asker(client, at)
        limits = self.limits
        client.submitter.enter(CLUSTER, term=limits.session_term, window=limits.answers_max, now=self.now)
        client.flush()
        self._finish()

    def say(self, name: str, *words: str) -> None:
        """A client asks for these commands."""
        client = self.clients[name]
        for word in words:
            client.submitter.offer(call(word))
        client.flush()
        self._finish()

    def note(self, who: str, what: What) -> None:
        self.events.append(Event(self.now // MILLISECOND, who, what))

    def later(self, action: Callable[[], None]) -> None:
        self._todo.append(action)

    def _moment(self) -> Now:
        return Now(self.now, WALL + self.now)

    def _perform(self, name: str) -> None:
        core = self.cores[name]
        output = core.replica.take_output()
        for persist in output.persist:
            self.note(name, persist)
            core.asked.append(persist)
            if name not in self.slow:
                self.later(partial(self._write, name, persist))
        for send in output.send:
            data = encode_message(core.replica.cluster, core.replica.storage, send.message)
            flight = Flight(name, send.to, core.clock.tick(), data)
            self.note(name, Sent(flight))
            self.flights.append(flight)
        if output.deliver:
            self.note(name, Delivered(tuple(output.deliver)))
        for batch in output.deliver:
            self.later(partial(self._apply, name, core, batch))
        for settled in output.settle:
            self._settle(name, core, settled)

    def _finish(self) -> None:
        while self._todo:
            self._todo.popleft()()

    def _write(self, name: str, last: Persist) -> None:
        core = self.cores[name]
        done = [each for each in core.asked if each.number <= last.number]
        core.asked = core.asked[len(done) :]
        self._disks[name].write([(GROUP, each) for each in done])
        self.step(name, Persisted(last.number))

    def _apply(self, name: str, core: Core, batch: Batch) -> None:
        if core.machine is None or core.desk is None:
            raise LookupError(f"{name} delivers before it has formed")
        core.desk.route(core.machine.apply(batch), batch.last)
        self.step(name, Applied(batch.last))

    def _settle(self, name: str, core: Core, settled: Settled) -> None:
        match settled:
            case Formed(formation):
                core.machine = Machine(Words, INTERFACE, formation.configuration, core.replica.log.between, group=GROUP)
                core.desk = Desk(core.machine.sessions)
                if not self.formed or name in self._wiped:
                    self.note(name, settled)
            case LeaderKnown(leader=leader):
                if core.replica.role == "follower" and (leader or core.leader):
                    self.note(name, settled)
                core.leader = leader
                if leader is not None and core.desk is not None:
                    self.later(core.desk.lost)
            case ReadReady(token):
                label = core.reads.pop(token)
                answer: Any = decode(core.machine.query(SAID, "reader")) if core.machine else None
                self.note(name, ReadAnswered(label, answer[1]))
            case Noticed():
                self.note(name, settled)

    # -- looking ---------------------------------------------------------------------------------------------------

    def replica(self, name: str) -> Replica:
        return self.cores[name].replica

    def epochs(self, name: str) -> list[int]:
        """The epochs of its log's entries, in order: how the papers draw a log."""
        log = self.replica(name).log
        return [batch.epoch for batch in log.between(0, log.last.index) for _ in range(batch.count)]

    def words(self, name: str) -> list[str]:
        """What its actor has heard."""
        machine = self.cores[name].machine
        return list(machine.actor.words) if machine else []

    def sent(self, kind: type[Message] | tuple[type[Message], ...], *, by: str | None = None) -> Sequence[Flight]:
        """What of this kind is on its way."""
        return [each for each in self.flights if isinstance(each.message, kind) and by in (None, each.sender)]


def _commands(word: str, number: int) -> Commands:
    """Nobody's. Equal in logs that hold the same."""
    return Commands(NOBODY, number, 1, 0, 0, 0, join_array([call(word)]))


def _disk_id(name: str, size: int) -> bytes:
    return (name.encode() * size)[:size]
