"""What only a leader does: sequence, replicate, count, confirm (rules 3, 7, 9, 10, 12, 20, 29).

A `Leadership` lives for one epoch of one replica and is dropped with it, so that nothing of an old epoch can be taken
for something of a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from actors._protocol.errors import RemoteProtocolError, invariant
from broadcast._protocol.effects import Alarm
from broadcast._protocol.entries import (
    Commands,
    Configured,
    Entry,
    EpochStart,
    Reached,
    Versioned,
    encode_entries,
    size,
    span,
)
from broadcast._protocol.lease import Lease
from broadcast._protocol.log import Log
from broadcast._protocol.messages import (
    Append,
    AppendReply,
    Committed,
    Heartbeat,
    HeartbeatReply,
    PartReply,
    ReadIndex,
    ReadIndexReply,
    Submit,
)
from broadcast._protocol.outbox import Outbox
from broadcast._protocol.output import Applied, Now, Received
from broadcast._protocol.own import OwnLog
from broadcast._protocol.pending import BATCH_SIZE_MAX, Pending
from broadcast._protocol.portions import is_portion
from broadcast._protocol.position import Batch
from broadcast._protocol.progress import Flow, Progress
from broadcast._protocol.reads import ReadRounds, Reads
from broadcast._protocol.regrouping import Regrouping
from broadcast._protocol.submitter import check_run
from broadcast._protocol.succession import Succession
from broadcast._protocol.supply import Supply
from broadcast._protocol.versions import Versions
from membership._protocol.change import Change, Newcomer
from membership._protocol.configurations import Configurations
from membership._protocol.detector import Detector
from membership._protocol.election import Election
from membership._protocol.messages import HandOver, Joining, Verdict, Wish
from membership._protocol.view import Configuration, Limits

HEARTBEATS_PER_TIMEOUT = 5
SEALED_AT_ONCE_MAX = 8 * 1024 * 1024  # bytes sealed before our disk has them
COMMIT_TOLD_WITHIN = 5_000  # microseconds: who does not wait for a commit hears of it with what comes next, or by then
WHY_LENGTH_MAX = 2_000  # characters of why a change is not made
UNCOMMITTED_SIZE_MAX = 64 * 1024 * 1024  # bytes sequenced and not yet committed


class Leadership:
    """One epoch of leading. It begins with the epoch-start entry, and heartbeats to all."""

    def __init__(
        self,
        own: OwnLog,
        configurations: Configurations,
        election: Election,
        outbox: Outbox,
        now: Now,
        version: int = 1,
    ) -> None:
        """version: of our class."""
        self.name = election.name
        self.epoch = election.epoch
        self.start = own.log.last.index + 1
        """Index of the epoch-start entry: before it is committed, nothing is known to be (rule 7)."""
        self.heartbeat_at = now.monotonic
        self.pending = Pending()
        self.alarm = Alarm()
        self.rounds = ReadRounds(self.name)
        self.followers: dict[str, Progress] = {}
        self.is_over = False
        """This leader has no vote any more, and has seen to its succession."""
        self._own = own
        self._configurations = configurations
        self._election = election
        self._outbox = outbox
        self._uncommitted_size = 0
        self._tell_at: int | None = None  # when those are to be told who have not heard yet how far is committed
        self._submitters: dict[str, None] = {}  # whose entries are pending
        self._versions = Versions(self.name, version)
        self.regrouping = Regrouping(own, configurations, election, outbox, self.followers, self._versions)
        self.supply = Supply(own, election, outbox, self.followers)
        self.succession = Succession(own, election, outbox, self.followers, now.monotonic)
        self.lease = Lease(self.name, election.floor)
        self.detector = Detector(
            expected_interval=election.floor // HEARTBEATS_PER_TIMEOUT, hold=election.floor, now=now.monotonic
        )
        self.configured(now.monotonic)
        self._seal([EpochStart(self.name)], now)
        self.beat(now)

    @property
    def deadline(self) -> int:
        """When a `Tick` is due."""
        due = self.heartbeat_at if self._tell_at is None else min(self.heartbeat_at, self._tell_at)
        for other in (self.succession.until, self.alarm.rings_at):
            if other is not None and other < due:
                due = other
        return due

    # -- sequencing ------------------------------------------------------------------------------------------------

    def sequence(self, now: Now) -> None:
        """Seal what waits, unless a disk write is under way: then it joins the next batch."""
        if self.succession.is_under_way or self.is_over:
            return  # it is for the next leader (rule 17): submitters send it again
        writes = self._own.writes
        if self.alarm.is_set:
            self._sequence_due(now)
        while not writes.busy and self.pending and self._uncommitted_size < UNCOMMITTED_SIZE_MAX:
            self._seal(self.pending.take(), now)
            for name in self._submitters:
                self.followers[name].awaits = self._own.log.last.index
            if writes.unsynced_size >= SEALED_AT_ONCE_MAX:
                break
        if not self.pending:
            self._submitters.clear()

    def _sequence_due(self, now: Now) -> None:
        """Say that effects are due, if they are (rules 12, 21)."""
        is_due = self.alarm.wind(now.monotonic, self._own.time(now))
        if is_due and not self._own.writes.busy and self._uncommitted_size < UNCOMMITTED_SIZE_MAX:
            self._seal([self.alarm.say(self._own.log.last.index + 1)], now)

    def applied(self, given: Applied, now: Now) -> bool:
        """The actor was given all up to there, and these effects wait. Returns whether there is something to sequence.

        What it was before our epoch-start entry was applied says nothing: earlier entries may have run them (rule 7).
        """
        if given.index < self.start or not self.alarm.told(given.index, given.due, given.count):
            return False
        return self.alarm.wind(now.monotonic, self._own.time(now))

    def _seal(self, entries: Sequence[Entry], now: Now) -> None:
        """Give these entries their places. Their stamps exceed all of the log, of this node and of their askers."""
        own = self._own
        asked = max((entry.stamp for entry in entries if isinstance(entry, Commands)), default=0)
        last = own.log.last
        batch = Batch(
            epoch=self.epoch,
            previous_epoch=last.epoch,
            first=last.index + 1,
            count=sum(span(entry) for entry in entries),
            time=own.time(now),
            stamp=max(own.clock.counter, asked, own.log.last_stamp) + 1,
            entries=encode_entries(entries),
        )
        self._uncommitted_size += batch.size
        own.append(batch)
        own.verify(batch.last)

    # -- replicating -----------------------------------------------------------------------------------------------

    def replicate(self, now: int) -> None:
        """Send to each follower what it may be sent, and how far is committed."""
        election = self._election
        for name, progress in self.followers.items():
            if progress.flow is Flow.SNAPSHOT or progress.next <= self._own.log.start.index:
                self.supply.go_on(name, progress, now)
            if progress.may_send():
                self._append_to(name, progress, now, listening=election.heard_within(name, now, election.floor))
        self._tell_commit(now)
        self.succession.go_on()

    def _tell_commit(self, now: int) -> None:
        """At once where an asker waits for it. For the others a message of its own can mostly be spared."""
        commit, followers = self._own.commit, self.followers
        late = self._tell_at is not None and now >= self._tell_at
        for name, progress in followers.items():
            if progress.commit < commit and (late or progress.commit < progress.awaits):
                progress.commit = commit
                self._outbox.send(name, Committed(self.epoch, commit))
        if all(progress.commit >= commit for progress in followers.values()):
            self._tell_at = None
        elif self._tell_at is None:
            self._tell_at = now + COMMIT_TOLD_WITHIN

    def _append_to(self, name: str, progress: Progress, now: int, *, listening: bool) -> None:
        """One that is not `listening`, or was silent about the last one, gets probes without content.

        A stream goes on (it is bounded by what is in flight) until its silence turns it into a probe.
        """
        log, commit = self._own.log, self._own.commit
        while progress.may_send() and (progress.next <= log.last.index or progress.flow is Flow.PROBE):
            speaks = listening and not progress.is_silent
            has_content = progress.next > log.start.index and (speaks or progress.flow is Flow.STREAM)
            batches = log.read(progress.next, BATCH_SIZE_MAX) if has_content else ()
            previous = batches[0].previous if batches else log.last
            if not batches and log.start.index < progress.next <= log.last.index:
                held = log.batch_at(progress.next)
                invariant(held is not None, "a probe names a place in the log", next=progress.next)
                previous = held.previous if held else previous
            self._outbox.send(name, Append(self.epoch, previous, batches, commit))
            progress.sent(previous.index, batches, now)
            progress.commit = commit

    def _ask(self, name: str, progress: Progress, now: int) -> None:
        """What has it of that which it is silent about?"""
        number, log = progress.ask(now), self._own.log
        held = log.batch_at(progress.match + 1) if number else None
        if held is not None:
            self._outbox.send(name, Append(self.epoch, held.previous, (), self._own.commit, number))
        elif number:
            progress.probe()

    def on_append_reply(self, received: Received, message: AppendReply, now: int) -> None:
        """A follower tells what it holds."""
        check(message, self._own.log)
        progress = self.followers.get(received.sender)
        if progress is None:
            return
        if message.conflict is None or message.rejected is None:
            progress.acknowledged(message.match, received.stamp, now, message.number)
        else:
            progress.rejected(message.rejected, message.conflict, received.stamp)
        if progress.flow is Flow.SNAPSHOT and progress.match >= self._own.log.start.index:
            progress.stream()
        if progress.lost:
            self._election.distrust(received.storage)
            self.rounds.retract(received.sender)
            self.lease.retract(received.sender)
            self._outbox.notice(
                f"{received.sender} has lost entries that it had acknowledged: it is not counted any more; stop it, "
                "remove it, and add it again with an empty data directory"
            )

    def on_part_reply(self, received: Received, message: PartReply, now: int) -> None:
        """A follower tells how much it has of a snapshot."""
        self.supply.on_part_reply(received, message, now)

    # -- counting --------------------------------------------------------------------------------------------------

    def count(self) -> None:
        """Commit what a commit quorum holds (rule 9)."""
        index = self.committable(self._election.configuration, self._own.writes.durable)
        committed = self._own.commit_up_to(index)
        self._uncommitted_size -= sum(batch.size for batch in committed if batch.epoch == self.epoch)

    def committable(self, configuration: Configuration, durable: int) -> int:
        """The highest index that is durable on a commit quorum, our own disk counted like any other (rule 9).

        Only from the epoch-start entry on: older entries commit through it, never by counting (rule 7; 3.6.2).
        """
        held = {name: progress.match for name, progress in self.followers.items() if not progress.lost}
        held[self.name] = durable
        for index in sorted({held.get(name, 0) for name in configuration.voter_names}, reverse=True):
            if index < self.start or index <= self._own.commit:
                break
            if configuration.commits(frozenset(name for name, match in held.items() if match >= index)):
                return index
        return 0

    # -- members ---------------------------------------------------------------------------------------------------

    def configured(self, now: int) -> None:
        """Another configuration is in force: its members are followed up, the others no more (rule 14)."""
        configuration = self._configurations.latest
        for member in configuration.members:
            if member.name != self.name and member.name not in self.followers:
                self.followers[member.name] = Progress(self._own.log.last.index + 1)
                self.detector.watch(member.name, now, reachable=member.name in self._configurations.reachable)
        for name in [name for name in self.followers if not configuration.includes(name)]:
            del self.followers[name]
            self._submitters.pop(name, None)
            self.lease.retract(name)
            self._versions.forget(name)
            self.detector.forget(name)
            self.regrouping.left(name)

    def go_on(self, now: Now) -> None:
        """The next step of a change of members, or what a leader does that is none any more (rules 14, 15).

        And where neither is due, a later version of the class is put in force, once all voters know one (rule 29).
        """
        regrouping = self.regrouping
        if not self._knows_commit or not regrouping.is_settled or self.succession.is_under_way:
            return
        following = regrouping.go_on(now.monotonic)
        if following is not None:
            self._seal([Configured(following)], now)
        elif self._configurations.latest.storage_of(self.name) is None:
            self.is_over = True
            self._outbox.broadcast(Committed(self.epoch, self._own.commit), list(self.followers))
            self.succession.abdicate(now.monotonic)
        else:
            raised = self._versions.raised(self._configurations.latest, self._configurations.version)
            if raised is not None:
                self._seal([Versioned(raised)], now)

    def _judge(self, now: Now) -> None:
        """Say who can be reached, if that is not what the log says (views: `reachable`)."""
        configurations = self._configurations
        names = configurations.latest.names
        reached = frozenset((self.name, *self.detector.reachable(now.monotonic))).intersection(names)
        known = (configurations.reachable | {self.name}).intersection(names)
        if reached != known and self._knows_commit and not self.succession.is_under_way:
            self._seal([Reached(tuple(sorted(reached)))], now)

    def greet(self, joining: Joining, now: Now) -> None:
        """An empty disk that is no member's said hello; one that wants no vote is added without being asked for."""
        self.regrouping.greet(joining, now.monotonic)
        if joining.observer:
            member = joining.member
            self._change(Change(add=(Newcomer(member.name, member.address, observer=True),)), now)

    def consider(self, wish: Wish, now: Now) -> tuple[Verdict, str]:
        """What becomes of a wish, and why."""
        if isinstance(wish, HandOver):
            return self.succession.consider(wish.to, now.monotonic)
        return self._change(wish.change, now)

    def _change(self, change: Change, now: Now) -> tuple[Verdict, str]:
        if not self._knows_commit:
            return Verdict.WAITS, "this epoch has just begun"
        if self.succession.is_under_way:
            return Verdict.WAITS, "the leader is handing over"
        verdict, why, following = self.regrouping.consider(change, now.monotonic)
        if following is not None:
            self._seal([Configured(following)], now)
        return verdict, why[:WHY_LENGTH_MAX]

    # -- heartbeats ------------------------------------------------------------------------------------------------

    def tick(self, now: Now) -> list[str]:
        """Time has passed. Returns who has shown nothing so far, although something was sent."""
        silent: list[str] = []
        for name, progress in self.followers.items():
            if not progress.overdue(now.monotonic, self._election.floor // 2):
                continue
            if progress.flow is Flow.SNAPSHOT:
                progress.repeat(now.monotonic)
            else:
                self._ask(name, progress, now.monotonic)  # what was sent may be lost
                if not progress.match:
                    silent.append(name)
        self.succession.tick(now.monotonic)
        self.alarm.rang(now.monotonic)
        if now.monotonic >= self.heartbeat_at:  # reads put it off, so it is no measure of silence
            self._judge(now)
            if self._knows_commit and self.regrouping.is_calm:
                self.succession.look_up(self.detector.reachable(now.monotonic), now.monotonic)
            self.beat(now)
        return silent

    def beat(self, now: Now) -> None:
        """Heartbeats to all; the reads that wait join this round (rule 20)."""
        number = self.rounds.begin(self._own.commit if self._knows_commit else None)
        self.lease.begin(now)
        for name in self.followers:
            self._beat_to(name, number, now)
        self.succession.beat()
        self.heartbeat_at = now.monotonic + self._election.floor // HEARTBEATS_PER_TIMEOUT

    def connected(self, name: str, now: Now) -> None:
        """A new link: what was under way on the old one may be lost."""
        self._versions.forget(name)
        if name in self.followers:
            self.followers[name].probe()
            self._beat_to(name, self.rounds.number, now)

    def on_heartbeat_reply(self, received: Received, message: HeartbeatReply, now: int) -> None:
        self.detector.heard(received.sender, now)
        self._versions.told(received.sender, message.version)
        self.succession.rate(received.sender, message.priority)
        self.rounds.confirm(received.sender, message.round)
        self.lease.confirm(received.sender, message.round)

    def _beat_to(self, name: str, number: int, now: Now) -> None:
        self.followers[name].commit = self._own.commit
        self._outbox.send(name, Heartbeat(self.epoch, self._own.commit, number, self._own.time(now)))

    @property
    def _knows_commit(self) -> bool:
        """Is the epoch-start entry committed, and with it all that any earlier leader had committed (rule 7)?"""
        return self._own.commit >= self.start

    # -- what members ask for --------------------------------------------------------------------------------------

    def on_submit(self, received: Received, message: Submit) -> None:
        check_submitted(message, received.stamp, self._election.configuration.limits)
        self.pending.add(message.entries)
        if received.sender in self.followers:
            self._submitters[received.sender] = None

    def on_read_index(self, received: Received, message: ReadIndex) -> None:
        if message.epoch == self.epoch:
            self.rounds.ask(received.sender, message.number)

    def confirm_reads(self, reads: Reads, now: Now) -> None:
        """Answer the reads that a round has vouched for, and begin one for others (rule 20). `reads`: our own."""
        self._answer_reads(reads)
        if self.rounds.wants_round and self._knows_commit:
            self.beat(now)
            self._answer_reads(reads)

    def holds_lease(self, now: Now) -> bool:
        """May reads be answered without a round, as of now?

        Void for the rest of the epoch once a hand-over was tried: its heir is granted by who still hears us.
        """
        configuration = self._election.configuration
        return (
            configuration.limits.leases
            and self._knows_commit
            and not self.succession.was_tried
            and self.lease.holds(configuration, now)
        )

    def _answer_reads(self, reads: Reads) -> None:
        for asker, number, index in self.rounds.take_confirmed(self._election.configuration):
            if asker == self.name:
                reads.answered(number, index)
            else:
                self._outbox.send(asker, ReadIndexReply(number, index))


ANSWERS: dict[type, Callable[[Leadership, Received, Any, int], None]] = {
    AppendReply: Leadership.on_append_reply,
    HeartbeatReply: Leadership.on_heartbeat_reply,
    PartReply: Leadership.on_part_reply,
}
"""What followers answer: counted only in this epoch, and from the disk that the group knows."""

REQUESTS: dict[type, Callable[[Leadership, Received, Any], None]] = {
    Submit: Leadership.on_submit,
    ReadIndex: Leadership.on_read_index,
}
"""What any member may ask of a leader."""


def check(reply: AppendReply, log: Log) -> None:
    """Raise `RemoteProtocolError` unless it speaks of places where a batch of our log ends: others were never shown.

    A batch counts whole or not at all, so an acknowledgement within one would commit a part of it.
    """
    if not log.ends_at(reply.match):
        raise RemoteProtocolError(f"index {reply.match} is acknowledged, and no batch ends there")
    if reply.rejected is None and reply.conflict is None:
        return
    if reply.rejected is None or reply.conflict is None:
        raise RemoteProtocolError(f"a rejection names two places, not {reply.rejected} and {reply.conflict}")
    if not log.ends_at(reply.rejected) or reply.conflict > reply.rejected:
        raise RemoteProtocolError(f"index {reply.rejected} is rejected, with the hint to go on at {reply.conflict}")


def check_submitted(submit: Submit, said: int, limits: Limits) -> None:
    """Raise `RemoteProtocolError` for what no member passes on: too much, or stamped later than its message (`said`).

    Once sealed it has to reach every follower: what no message holds would be the end of the group.
    """
    if not is_portion(map(size, submit.entries)):
        raise RemoteProtocolError("more in one message than a member passes on at once")
    for entry in submit.entries:
        if isinstance(entry, Commands):
            if entry.stamp > said:
                raise RemoteProtocolError(f"commands with the stamp {entry.stamp} in a message with the stamp {said}")
            check_run(entry, limits)
