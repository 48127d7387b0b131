"""What must hold in every state of every history, whatever strikes. Each class is one claim, and says where it is from.

Section numbers are those of Ongaro 2014, rules those of the protocol. The checks look at replicas and disks as no
replica could: from outside, all at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol

from broadcast._machine import Machine
from broadcast._protocol.entries import Commands, decode_entries, span
from broadcast._protocol.messages import Append, AppendReply, Committed, Heartbeat, HeartbeatReply, Message
from broadcast._protocol.output import Persist
from broadcast._protocol.own import CLOCK_BOUND
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.replica import Replica
from broadcast._simulation.disk import Disk
from broadcast._simulation.world import Schedule
from membership._protocol.messages import Forming, VoteReply, VoteRequest
from membership._protocol.view import Promise, View


class Violation(Exception):
    """A history broke a promise of the protocol, or did not come to its end."""

    trace: Sequence[str] = ()
    """The last events before it."""

    def told(self, text: str) -> Violation:
        """The same, with another text."""
        return Violation(text)


def check(condition: bool, claim: str, **facts: object) -> None:
    """Raise `Violation` unless the claim holds."""
    if not condition:
        broken(claim, **facts)


def broken(claim: str, **facts: object) -> NoReturn:
    shown = ", ".join(f"{name}={value!r}" for name, value in facts.items())
    raise Violation(f"{claim} ({shown})" if shown else claim)


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


class Leaders:
    """Election safety: an epoch has one leader at most, in one life (3.2)."""

    def __init__(self) -> None:
        self.by_epoch: dict[int, tuple[str, int]] = {}

    def stepped(self, process: Process) -> bool:
        """True if this process has just begun to lead."""
        leadership = process.replica.leadership
        if leadership is None:
            return False
        mine = (process.name, process.life)
        is_new = leadership.epoch not in self.by_epoch
        known = self.by_epoch.setdefault(leadership.epoch, mine)
        check(known == mine, "an epoch has one leader", epoch=leadership.epoch, leaders=(known, mine))
        return is_new


class Promises:
    """A promise is durable before anything that depends on it is said, and never forgotten (3.4; rule 1)."""

    def __init__(self, disks: Mapping[str, Disk]) -> None:
        self._disks = disks
        self._granted: dict[tuple[str, int], str] = {}
        self._vouched: dict[str, int] = {}

    def started(self, process: Process) -> None:
        if self._disks[process.name].wiped:
            return  # it remembers nothing, and vouches for nothing
        vouched = self._vouched.get(process.name, 0)
        own = process.replica.epoch
        check(own >= vouched, "an epoch is remembered over restarts", name=process.name, epoch=own, vouched=vouched)

    def sending(self, process: Process, to: str, message: Message) -> None:
        if isinstance(message, VoteReply) and message.granted and not message.pre:
            self._grant(process.name, message.campaign, to)
        elif isinstance(message, VoteRequest):
            if message.pre:
                return
            self._grant(process.name, message.epoch, process.name)
        elif not isinstance(message, VoteReply | Append | AppendReply | Heartbeat | HeartbeatReply | Committed):
            return
        durable = self._disks[process.name].promise
        check(
            durable.epoch >= message.epoch,
            "the epoch a message vouches for is durable",
            name=process.name,
            durable=durable,
            message=message,
        )
        self._vouched[process.name] = max(self._vouched.get(process.name, 0), message.epoch)

    def _grant(self, voter: str, epoch: int, candidate: str) -> None:
        known = self._granted.setdefault((voter, epoch), candidate)
        check(known == candidate, "a voter grants one candidate an epoch", voter=voter, both=(known, candidate))
        durable = self._disks[voter].promise
        check(
            durable.epoch > epoch or durable == Promise(epoch, candidate),
            "a grant is durable before it is told",
            voter=voter,
            epoch=epoch,
            durable=durable,
        )


class Standings:
    """A voter grants only to a log that is at least as up to date as its own (3.6.1; rule 4)."""

    def __init__(self) -> None:
        self._campaigns: dict[Promise, Position] = {}

    def persisting(self, process: Process, persist: Persist) -> None:
        """The promise was made in the step that asks for this."""
        promise, last = persist.promise, process.replica.log.last
        if promise is None or promise.granted_to is None:
            return
        if promise.granted_to == process.name:
            self._campaigns[promise] = last
        else:
            standing = self._campaigns[promise]
            check(standing >= last, "a grant goes to the better log", voter=process.name, own=last, candidate=standing)


class Candidates:
    """Who cannot write does not stand (rule 25)."""

    def __init__(self, disks: Mapping[str, Disk]) -> None:
        self._disks = disks

    def sending(self, process: Process, message: Message) -> None:
        formation = process.replica.formation
        if isinstance(message, VoteRequest) and message.pre and formation is not None:
            hung, floor = self._disks[process.name].hung_for, formation.configuration.limits.election_timeout
            check(hung < floor, "who cannot write does not stand", name=process.name, hung=hung)


class Acknowledgements:
    """What a follower acknowledges is durable on it, and stays while it follows that epoch (10.2.1; rules 9, 16)."""

    def __init__(self, disks: Mapping[str, Disk]) -> None:
        self._disks = disks
        self._match: dict[tuple[str, int], int] = {}

    def sending(self, process: Process, message: Message) -> None:
        if not isinstance(message, AppendReply) or message.match == 0:
            return
        batch = process.replica.log.batch_at(message.match)
        held = batch is not None and self._disks[process.name].held.get(batch.first) == batch
        check(held, "what is acknowledged is durable", name=process.name, match=message.match)
        key = process.name, message.epoch
        self._match[key] = max(self._match.get(key, 0), message.match)

    def persisting(self, process: Process, persist: Persist) -> None:
        if persist.truncate is not None:
            match = self._match.get((process.name, process.replica.epoch), 0)
            check(
                persist.truncate > match,
                "what this epoch's leader counts on is not cut",
                name=process.name,
                truncate=persist.truncate,
                match=match,
            )


class WipedDisks:
    """Who comes back with another disk has no part in the group: it says hello, tells why, and waits (rule 16)."""

    def __init__(self, disks: Mapping[str, Disk]) -> None:
        self._disks = disks

    def sending(self, process: Process, message: Message) -> None:
        says = not self._disks[process.name].wiped or isinstance(message, Forming)
        check(says, "a wiped disk has no voice", name=process.name, message=message)

    def persisting(self, process: Process, persist: Persist) -> None:
        wiped = self._disks[process.name].wiped
        check(not wiped, "a wiped disk gets nothing of the group", name=process.name, persist=persist)

    def noticed(self, process: Process, text: str) -> None:
        wiped = self._disks[process.name].wiped
        check(wiped and "by another disk" in text, "an operator has nothing to see to here", text=text)


class LogMatching:
    """(epoch, first) names one batch with one predecessor, made by that epoch's leader alone (3.5)."""

    def __init__(self, leaders: Leaders) -> None:
        self._leaders = leaders
        self._batches: dict[tuple[int, int], Batch] = {}
        self._ends: dict[int, int] = {}

    def persisting(self, process: Process, persist: Persist) -> None:
        for batch in persist.batches:
            known = self._batches.get((batch.epoch, batch.first))
            if known is None:
                self._made(process, batch)
            else:
                check(known == batch, "logs match", name=process.name, batches=(known, batch))

    def _made(self, process: Process, batch: Batch) -> None:
        leader = self._leaders.by_epoch.get(batch.epoch)
        check(leader == (process.name, process.life), "only its leader makes an epoch's batches", batch=batch)
        end = self._ends.get(batch.epoch, batch.first - 1)
        check(batch.first == end + 1, "a leader never takes a batch back", batch=batch, end=end)
        self._ends[batch.epoch] = batch.last
        self._batches[batch.epoch, batch.first] = batch


class Order:
    """State machine safety: all lives of all replicas deliver the same batches, in order, without a gap (3.6.3).

    A batch is durable on a commit quorum when it is first delivered, and stays in the log of every later leader.
    """

    def __init__(self, disks: Mapping[str, Disk]) -> None:
        self.batches: dict[int, Batch] = {}
        """What was delivered by any, by first index."""
        self.end = 0
        self._epochs: dict[int, int] = {}  # first index -> the epoch it was delivered in, by whoever was first
        self._disks = disks
        self._delivered: dict[str, int] = {}

    def started(self, process: Process) -> None:
        self._delivered[process.name] = 0

    def delivering(self, process: Process, batches: Sequence[Batch]) -> list[Batch]:
        """Returns those that nobody has delivered before."""
        replica = process.replica
        if batches and replica.leadership is not None:
            check(
                batches[-1].epoch == replica.epoch,
                "a leader commits older entries only through one of its own (3.6.2)",
                name=process.name,
                batch=batches[-1],
            )
        return [batch for batch in batches if self._is_new(process, batch)]

    def _is_new(self, process: Process, batch: Batch) -> bool:
        before = self._delivered[process.name]
        check(batch.first == before + 1, "no gap, nothing twice", name=process.name, before=before, batch=batch)
        self._delivered[process.name] = batch.last
        known = self.batches.get(batch.first)
        if known is not None:
            check(known == batch, "all deliver the same", name=process.name, batches=(known, batch))
            return False
        check(batch.first == self.end + 1, "batches do not overlap", end=self.end, batch=batch)
        self._check_durable(process, batch)
        self.batches[batch.first] = batch
        self._epochs[batch.first] = process.replica.epoch
        self.end = batch.last
        return True

    def _check_durable(self, process: Process, batch: Batch) -> None:
        holders = [name for name, disk in self._disks.items() if disk.held.get(batch.first) == batch]
        formation = process.replica.formation
        enough = formation is not None and formation.configuration.commits(frozenset(holders))
        check(enough, "a delivered batch is durable on a commit quorum (rule 9)", batch=batch, holders=holders)

    def elected(self, process: Process) -> None:
        """Leader completeness: a leader holds all that was delivered in earlier epochs (3.6.3)."""
        log, epoch = process.replica.log, process.replica.epoch
        for first, batch in self.batches.items():
            if self._epochs[first] < epoch:
                check(
                    log.batch_at(first) == batch,
                    "a leader holds all that was delivered in earlier epochs",
                    name=process.name,
                    batch=batch,
                )

    def persisting(self, process: Process, persist: Persist) -> None:
        if persist.truncate is not None:
            delivered = self._delivered[process.name]
            check(persist.truncate > delivered, "what was delivered is not cut", name=process.name, persist=persist)


class Pointers:
    """applied <= commit <= last; neither goes down in one life, and no epoch ever (rule 1)."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int, int]] = {}

    def started(self, process: Process) -> None:
        self._before[process.name] = (0, 0, 0)

    def stepped(self, process: Process) -> None:
        replica = process.replica
        epoch, commit, applied = self._before[process.name]
        check(
            replica.epoch >= epoch and replica.commit >= commit and replica.applied >= applied,
            "epoch, commit and applied never go down",
            name=process.name,
            before=self._before[process.name],
            now=(replica.epoch, replica.commit, replica.applied),
        )
        check(replica.applied <= replica.commit <= replica.log.last.index, "applied <= commit <= last")
        self._before[process.name] = replica.epoch, replica.commit, replica.applied


class Stamps:
    """Lamport stamps grow with each message of a node, and along the log; each exceeds its asker's (glossary)."""

    def __init__(self) -> None:
        self._sent: dict[str, int] = {}
        self._stamp = 0
        self._time = 0

    def sending(self, process: Process, stamp: int) -> None:
        before = self._sent.get(process.name, 0)
        check(stamp > before, "stamps grow over restarts", name=process.name, before=before, stamp=stamp)
        self._sent[process.name] = stamp

    def delivered(self, batch: Batch) -> None:
        """In the order of the log."""
        check(batch.stamp > self._stamp, "stamps grow along the log", batch=batch, before=self._stamp)
        check(batch.time >= self._time, "log time never goes back (rule 12)", batch=batch, before=self._time)
        self._stamp, self._time = batch.last_stamp, batch.time
        stamp = batch.stamp
        for entry in decode_entries(batch.entries):
            if isinstance(entry, Commands):
                check(stamp > entry.stamp, "an entry is later than its asker", stamp=stamp, entry=entry)
            stamp += span(entry)


class LogTime:
    """Log time goes on as fast as time does, whatever wall clocks say, within a bound for each leader (rule 12).

    Who leads without having heard a leader since its start may begin with any time; all that follows is held to that.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._heard: dict[str, int] = {}  # name -> how far log time was ahead of `schedule`, by its last leader's word
        self._ahead: dict[int, int] = {}  # epoch -> the same, by its first batch

    def started(self, process: Process) -> None:
        self._heard.pop(process.name, None)

    def heard(self, process: Process, sender: str, message: Message) -> None:
        replica = process.replica
        if isinstance(message, Heartbeat) and (message.epoch, sender) == (replica.epoch, replica.leader):
            self._heard[process.name] = max(message.time, replica.log.last_time) - self._schedule.now

    def persisting(self, process: Process, persist: Persist) -> None:
        leadership = process.replica.leadership
        for batch in persist.batches:
            if leadership is not None and batch.epoch == leadership.epoch:
                self._stamped(process, batch)

    def _stamped(self, process: Process, batch: Batch) -> None:
        ahead = batch.time - self._schedule.now
        known = self._heard.get(process.name, ahead)
        before = process.replica.log.batch_at(batch.first - 1)
        repeated = before is not None and before.time == batch.time
        check(
            known <= ahead and (repeated or ahead <= known + CLOCK_BOUND),
            "a leader goes on from the log time it was told",
            name=process.name,
            known=known,
            ahead=ahead,
        )
        began = self._ahead.setdefault(batch.epoch, ahead)
        check(abs(ahead - began) <= 2 * CLOCK_BOUND, "log time gets on as time does", began=began, ahead=ahead)


class Views:
    """All replicas see one sequence of views (glossary: view)."""

    def __init__(self) -> None:
        self._views: list[View] = []

    def applied(self, process: Process) -> None:
        mine = process.machine.views
        if len(mine) > len(self._views):
            self._views.extend(mine[len(self._views) :])
        if mine:
            known = self._views[len(mine) - 1]
            check(known == mine[-1], "views are one sequence", name=process.name, views=(known, mine[-1]))
