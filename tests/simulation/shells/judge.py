"""What must hold, whatever strikes: the first simulation's invariants, about the real shells, and some of the shells.

The cores are watched where the shells drive them: what they are given, and what they ask for. The wire is watched where
bytes leave.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from actors._log import Log
from actors._protocol.envelope import Envelope, Hello, Ready, unpack
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.frames import FrameReader
from broadcast import _group, _replica
from broadcast._machine import Machine
from broadcast._protocol.entries import Commands, Entry, decode_entries
from broadcast._protocol.messages import BULK, decode_message
from broadcast._protocol.output import Input, Now, Output, Persist, Persisted, Received
from broadcast._protocol.position import Batch
from broadcast._protocol.replica import Replica
from broadcast._replica import ReplicaHost
from broadcast._simulation.invariants import INVARIANTS, Invariant, Scene, Violation, check
from broadcast._simulation.invariants.message_stamps import MessageStamps
from shells.disk import GROUP

if TYPE_CHECKING:
    from actors.testing import Way
    from shells.world import World

OVERDUE_MAX = 2_000  # microseconds that a tick may be late, when nothing keeps the loop


EVENTS = (
    "started",
    "given",
    "stepped",
    "elected",
    "heard",
    "persisting",
    "sending",
    "delivering",
    "delivered",
    "applied",
)
ASKERS = ("ran", "asked", "settling", "answered", "read", "ended")
"""Events of the first simulation's askers. Ours are judged by what they get (`work.py`)."""


def hears(kind: type[Invariant], event: str) -> bool:
    return getattr(kind, event) is not getattr(Invariant, event)


CLAIMS = [kind for kind in INVARIANTS if kind is not MessageStamps and not any(hears(kind, event) for event in ASKERS)]
"""Those about replicas. Stamps are seen on the wire, where there are some more."""


@dataclass
class Watched:
    """A replica's process, as the invariants see it."""

    name: str
    life: int
    replica: Replica
    machine: Machine[Any] | None = None

    @property
    def clock(self) -> int:
        return _replica.monotonic()

    @property
    def holds_lease(self) -> bool:
        return self.replica.holds_lease(_replica.now())


class Line:
    """One direction of a connection, as its bytes leave."""

    def __init__(self) -> None:
        self.reader = FrameReader()
        self.stamps: dict[bool, int] = {True: 0, False: 0}  # the last, of the control lane and of the other


class Judge:
    """Looks on. `failure` is the first thing that was wrong: what is raised inside the product may be caught there."""

    def __init__(self, world: World) -> None:
        self.failure: Violation | None = None
        self.hosts: list[ReplicaHost[Any]] = []
        self._world = world
        scene: Any = Scene(world, world.stores, None)  # type: ignore[arg-type]  # as much of it as replicas' claims need
        claims = [kind(scene) for kind in CLAIMS]
        self._hear = {event: [getattr(each, event) for each in claims if hears(type(each), event)] for event in EVENTS}
        self._epochs: dict[int, int] = defaultdict(int)
        self._delivered = 0
        self._highest: dict[int, int] = defaultdict(int)  # number in the order, by session
        self._leading: dict[str, object] = {}
        self._watched: dict[int, Watched] = {}  # by the identity of a replica
        self._asked: dict[int, dict[int, Persist]] = defaultdict(dict)
        self._lines: dict[int, Line] = defaultdict(Line)
        self._stamps: dict[str, int] = defaultdict(int)

    def fail(self, violation: Violation) -> None:
        self.failure = self.failure or violation

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Have the shells drive cores that are watched."""
        judge = self

        class WatchedReplica(Replica):
            def __init__(self, **given: Any) -> None:
                super().__init__(**given)
                judge.guard(judge.started, self)

            def step(self, given: Input, now: Now) -> None:
                judge.guard(judge.given, self, given)
                super().step(given, now)
                judge.guard(judge.stepped, self, given)

            def take_output(self) -> Output:
                output = super().take_output()
                judge.guard(judge.put_out, self, output)
                return output

        class WatchedMachine(Machine[Any]):
            def apply(self, batch: Batch) -> Any:
                reports = super().apply(batch)
                judge.guard(judge.applied, self, batch)
                return reports

        class WatchedHost(ReplicaHost[Any]):
            def __init__(self, *given: Any) -> None:
                super().__init__(*given)
                judge.hosts.append(self)

        patch.setattr(_replica, "Replica", WatchedReplica)
        patch.setattr(_replica, "Machine", WatchedMachine)
        patch.setattr(_group, "ReplicaHost", WatchedHost)
        patch.setattr(Log, "_say", self._said)
        self._world.network.tap = lambda way, data: self.guard(self.left, way, data)

    def guard(self, look: Callable[..., None], *given: Any) -> None:
        try:
            look(*given)
        except Violation as violation:
            self.fail(violation)
            raise

    def _said(self, level: str, event: str, facts: dict[str, object]) -> None:
        self._world.note("log", "", f"{level}: {event} {facts}", counts=False)
        if "please report" in event:
            self.fail(Violation(f"{event} ({facts})"))

    def _tell(self, event: str, *facts: object) -> None:
        for hear in self._hear[event]:
            hear(*facts)

    # -- the core --------------------------------------------------------------------------------------------------

    def started(self, replica: Replica) -> None:
        watched = Watched(replica.name, self._world.starts[replica.name], replica)
        self._world.starts[replica.name] += 1
        self._watched[id(replica)] = watched
        self._tell("started", watched)

    def given(self, replica: Replica, given: Input) -> None:
        self._tell("given", self._watched[id(replica)], given)
        if isinstance(given, Persisted):
            store, asked = self._world.stores[replica.name], self._asked[id(replica)]
            check(given.number in asked, "a completion is of this life", name=replica.name, number=given.number)
            for number in [number for number in asked if number <= given.number]:
                persist = asked.pop(number)
                check(store.is_durable(persist), "a completion is true", name=replica.name, number=number)

    def stepped(self, replica: Replica, given: Input) -> None:
        watched = self._watched[id(replica)]
        if replica.epoch > self._epochs[id(replica)]:
            self._epochs[id(replica)] = replica.epoch
            self._world.marks["epochs that began during a write"] += bool(self._asked[id(replica)])
        self._tell("stepped", watched)
        leadership = replica.leadership
        if leadership is not self._leading.get(replica.name):
            self._leading[replica.name] = leadership
            if leadership is not None:
                self._world.marks["elections"] += 1
                self._tell("elected", watched)
        if isinstance(given, Received):
            self._tell("heard", watched, given.sender, given.message)

    def put_out(self, replica: Replica, output: Output) -> None:
        watched = self._watched[id(replica)]
        for persist in output.persist:
            self._asked[id(replica)][persist.number] = persist
            self._tell("persisting", watched, persist)
        for send in output.send:
            self._stamps[replica.name] += 1  # the true ones are seen on the wire
            self._tell("sending", watched, send.to, self._stamps[replica.name], send.message)
        for batch in output.deliver:
            self._tell("delivering", watched, batch)
            if batch.first > self._delivered:
                self._delivered = batch.last
                entries = decode_entries(batch.entries)
                self._tell("delivered", watched, batch, entries)
                self._count_repeats(entries)

    def _count_repeats(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, Commands):
                self._world.marks["repeated commands"] += entry.number <= self._highest[entry.session]
                self._highest[entry.session] = max(self._highest[entry.session], entry.number + entry.count - 1)

    def applied(self, machine: Machine[Any], batch: Batch) -> None:
        for host in self.hosts:
            if host.machine is machine and host.replica is not None:
                watched = self._watched[id(host.replica)]
                watched.machine = machine
                self._tell("applied", watched, batch)

    # -- the shells ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Nothing is overdue: whoever should have been woken was."""
        if self.failure is not None:
            raise self.failure
        self.hosts = [host for host in self.hosts if not host.closed]
        for host in self.hosts:
            if host.replica is not None and not host.stopped and not self._world.lives[host.node.name].over:
                late = self._world.now - host.replica.deadline
                check(late <= OVERDUE_MAX, "a tick is given when it is due", name=host.node.name, late=late)

    # -- the wire --------------------------------------------------------------------------------------------------

    def left(self, way: Way, data: bytes) -> None:
        """Bytes leave. Streams carry whole frames; no stamp leaves before a mark at or above it is durable."""
        line, store = self._lines[way.number], self._world.stores.get(way.sender)
        self._world.note("sent", f"{way.sender}>{way.receiver}", f"{way.number} {len(data)} {hash_of(data)}")
        try:
            line.reader.receive_data(data)
            while (payload := line.reader.next_frame()) is not None:
                message = unpack(payload)
                if store is not None and isinstance(message, Envelope | Hello | Ready):
                    check(
                        message.counter <= store.mark,
                        "no stamp leaves before its mark is durable",
                        sender=way.sender,
                        stamp=message.counter,
                        mark=store.mark,
                    )
                if isinstance(message, Envelope):
                    self._in_order(line, way, message)
        except RemoteProtocolError as error:
            raise Violation(f"streams carry whole frames ({way.sender}>{way.receiver}: {error})") from error

    def _in_order(self, line: Line, way: Way, envelope: Envelope) -> None:
        control = (
            envelope.to == GROUP
            and envelope.tag == "replica"
            and not isinstance(decode_message(envelope.body).message, BULK)
        )
        check(
            envelope.counter > line.stamps[control],
            "what goes by one lane of a link arrives in order",
            way=(way.sender, way.receiver),
            before=line.stamps[control],
            stamp=envelope.counter,
        )
        line.stamps[control] = envelope.counter


def hash_of(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=6).hexdigest()
