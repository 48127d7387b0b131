"""The whole replica as one step: input -> output (rules 0-10, 12, 13, 16, 20, 25).

An election's promise and the fence against an old leader are taken in the same step, so nothing can slip between. There
is no clock, no chance and no I/O here: `Now` comes with each input, randomness and the Lamport clock are handed in, and
everything to be done is in the `Output`.

The pointers, on every replica: applied <= commit <= verified or durable <= last. `commit` is learnt anew in each life
(rule 1): a restarted replica delivers only what it again knows to be committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from actors._protocol.clock import LamportClock
from actors._protocol.errors import RemoteProtocolError, invariant
from broadcast._protocol import follower
from broadcast._protocol.entries import Entry, EpochStart, in_messages
from broadcast._protocol.leader import Leadership
from broadcast._protocol.log import Log
from broadcast._protocol.messages import (
    Append,
    AppendReply,
    Committed,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    Submit,
)
from broadcast._protocol.output import (
    Applied,
    Connected,
    Formed,
    Input,
    LeaderKnown,
    Noticed,
    Now,
    Output,
    Persisted,
    ReadAsked,
    ReadGivenUp,
    ReadReady,
    Received,
    Send,
    Submitted,
    Suspected,
    Tick,
)
from broadcast._protocol.position import Batch
from broadcast._protocol.reads import Reads
from broadcast._protocol.writes import Writes
from membership._protocol.election import Chance, Election
from membership._protocol.formation import HELLO_INTERVAL, Founding, Plan
from membership._protocol.messages import FormedNotice, Forming, VoteReply, VoteRequest
from membership._protocol.view import Formation, Promise

HEARTBEATS_PER_TIMEOUT = 5
UNSYNCED_SIZE_MAX = 64 * 1024 * 1024  # bytes a follower takes in before its disk has them
SEALED_AT_ONCE_MAX = 8 * 1024 * 1024  # bytes a leader seals before its disk has them
CLOCK_BOUND = 1_000_000  # microseconds by which a new leader's clock may run ahead of the last stamp (rule 12)


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
        self.log = Log(found.batches)
        self.formation: Formation | None = None
        self.commit = 0
        self.applied = 0
        self.verified = 0
        """Entries up to here are those of this epoch's leader, as far as it has shown them."""
        self._verified_in = 0  # the epoch that `verified` speaks of
        self.leadership: Leadership | None = None
        self._writes = Writes(self.log.last.index, found.promise)
        self._reads = Reads()
        self._chance = chance
        self._now = now
        self._output = Output()
        self._forming: Formation | None = None  # a record on its way to disk
        self._founding: Founding | None = None
        self._election: Election | None = None
        self._told: LeaderKnown | None = None
        self._noticed: dict[str, None] = {}
        self._anchor: tuple[int, int] | None = None  # (log time, monotonic time we received it at)
        self._acknowledges = False  # something new to tell the leader
        clock.advance(self.log.last_stamp)
        if found.formation is None:
            self._founding = Founding(name=name, storage=self.storage, plan=plan, cluster=cluster, now=now.monotonic)
        else:
            self._begin(found.formation, found.promise)

    # -- what the shell may ask ------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self.promise.epoch

    @property
    def promise(self) -> Promise:
        return self._election.promise if self._election else self._writes.promise

    @property
    def leader(self) -> str | None:
        """Who leads, as far as this replica knows."""
        return self._election.leader if self._election else None

    @property
    def role(self) -> str:
        return self._election.role.value if self._election else "forming"

    @property
    def durable(self) -> int:
        """Entries up to here are on this disk."""
        return self._writes.durable

    @property
    def cluster(self) -> bytes:
        return self.formation.cluster if self.formation else b""

    @property
    def deadline(self) -> int:
        """When a `Tick` is due on the monotonic clock, if nothing else happens before."""
        if self._election is None:
            if self._founding is None or self._forming is not None:
                return self._now.monotonic + HELLO_INTERVAL
            return self._founding.deadline
        due = self._election.deadline
        if self.leadership is not None:
            due = min(due, self.leadership.heartbeat_at)
        lost_at = self._reads.overdue_at(self._election.floor)
        return due if lost_at is None else min(due, lost_at)

    def reachable(self) -> list[str] | None:
        """As leader: the members heard within the shortest election timeout, itself included. None for others."""
        if self.leadership is None:
            return None
        now, election = self._now.monotonic, self._elected
        heard = [name for name in self.leadership.followers if election.heard_within(name, now, election.floor)]
        return sorted([self.name, *heard])

    # -- the step --------------------------------------------------------------------------------------------------

    def step(self, given: Input, now: Now) -> None:
        """Take one input in. Raises `RemoteProtocolError` for a message that no correct peer sends."""
        self._now = now
        _ON_INPUT[type(given)](self, given)
        if self._election is None:
            self._form()
        else:
            self._advance()
        self._check()

    def take_output(self) -> Output:
        """What is owed since the last call."""
        output, self._output = self._output, Output()
        return output

    def _advance(self) -> None:
        """What follows from the new state, whatever changed it."""
        self._change_office()
        self._count()
        self._sequence()
        self._write()
        self._vote()
        self._replicate()
        self._acknowledge()
        self._read()
        self._tell_leader()

    def _check(self) -> None:
        last = self.log.last
        invariant(self.applied <= self.commit <= last.index, "applied <= commit <= last")
        invariant(self.durable <= last.index and self.verified <= last.index, "durable, verified <= last")
        invariant(self._writes.promise.epoch <= self.epoch, "the epoch never goes down")
        invariant(last.epoch <= self.epoch, "no entry is of a later epoch than ours")

    @property
    def _elected(self) -> Election:
        election = self._election
        if election is None:
            raise AttributeError("a replica takes part in elections once its group has formed")
        return election

    # -- forming a group (rule 13) ---------------------------------------------------------------------------------

    def _form(self) -> None:
        founding = self._founding
        if founding is None or self._forming is not None:
            return
        if self._now.monotonic >= founding.deadline:
            self._broadcast(founding.hello(self._now.monotonic), self.plan.members)
        if founding.complaint is not None:
            self._notice(founding.complaint)
        record = founding.record()
        if record is not None:
            self._record(record)

    def _record(self, formation: Formation) -> None:
        """Write the record; take part once it is durable."""
        self._forming = formation
        self._writes.form(formation)
        self._write()

    def _begin(self, formation: Formation, promise: Promise) -> None:
        self.formation = formation
        self._founding = None
        self._election = Election(
            name=self.name,
            storage=self.storage,
            configuration=formation.configuration,
            promise=promise,
            chance=self._chance,
            now=self._now.monotonic,
        )
        self._output.settle.append(Formed(formation))

    def _on_forming(self, received: Received, message: Forming) -> None:
        if self.formation is not None:
            self._send(received.sender, FormedNotice(self.formation))
        elif self._founding is not None:
            self._founding.heard(received.sender, received.storage, message)

    def _on_formed(self, received: Received, message: FormedNotice) -> None:
        if self._founding is None or self._forming is not None:
            return
        misfit = self._founding.misfit(message.formation)
        if misfit is not None:
            self._notice(misfit)
        else:
            self._record(message.formation)

    # -- inputs ----------------------------------------------------------------------------------------------------

    def _on_tick(self, given: Tick) -> None:
        election, now = self._election, self._now.monotonic
        if election is None:
            return
        election.tick(now, self._standing, able=self._writes.answers(now, election.floor))
        lost_at = self._reads.overdue_at(election.floor)
        if lost_at is not None and now >= lost_at:
            self._reads.lose()
        leadership = self.leadership
        if leadership is not None and election.leads:
            leadership.probe_silent(now, patience=election.floor // 2)
            if now >= leadership.heartbeat_at:  # reads put it off, so it is no measure of silence
                self._beat()

    def _on_received(self, given: Received) -> None:
        forming = isinstance(given.message, Forming | FormedNotice)
        if given.cluster == self.cluster != b"" or forming:
            _ON_MESSAGE[type(given.message)](self, given, given.message)
        elif given.cluster and self.cluster:
            self._notice(
                f"{given.sender} takes part in another cluster's group {self.plan.group!r} (cluster "
                f"{given.cluster.hex()[:8]}, ours is {self.cluster.hex()[:8]}): its messages are ignored; check the "
                "addresses of the members, and whose data directory it was started with"
            )

    def _on_submitted(self, given: Submitted) -> None:
        """Sequence it, or pass it on. Without a leader it is dropped: submitters send again when one is known."""
        if self.leadership is not None:
            self.leadership.submit(given.entries)
        elif self.leader is not None:
            for part in in_messages(given.entries):
                self._send(self.leader, Submit(part))

    def _on_persisted(self, given: Persisted) -> None:
        self._writes.persisted(given.number, self.log)
        if self._election is None:
            formation, self._forming = self._forming, None
            invariant(formation is not None, "an unformed replica writes nothing but its record")
            if formation is not None:
                self._begin(formation, self._writes.promise)
                self._elected.hurry(self._now.monotonic)  # nobody can have led yet
                self._broadcast(FormedNotice(formation), formation.configuration.voter_names)
            return
        self._election.promised(self._writes.promise, self._now.monotonic)
        self._output.send.extend(self._writes.release(self.epoch))
        self._acknowledges = True

    def _on_applied(self, given: Applied) -> None:
        invariant(
            self.applied <= given.index <= self.commit,
            "only what was delivered is applied",
            index=given.index,
        )
        self.applied = given.index

    def _on_connected(self, given: Connected) -> None:
        """A new link: what was under way on the old one may be lost."""
        if self._founding is not None:
            self._send(given.name, Forming(self.plan.members))
        elif self.leadership is not None:
            if given.name in self.leadership.followers:
                self.leadership.followers[given.name].probe()
                self._send(given.name, Heartbeat(self.epoch, self.commit, self.leadership.rounds.number))
        elif given.name == self.leader:
            self._reads.lose()
            self._told = None  # so that submitters send again

    def _on_suspected(self, given: Suspected) -> None:
        if self._election is not None:
            self._election.suspect(given.name, self._now.monotonic)

    def _on_read_asked(self, given: ReadAsked) -> None:
        self._reads.wait(given.token)

    def _on_read_given_up(self, given: ReadGivenUp) -> None:
        self._reads.give_up(given.token)

    # -- messages --------------------------------------------------------------------------------------------------

    @property
    def _standing(self) -> tuple[int, int]:
        """What elections compare: the last position of the log (rule 4)."""
        last = self.log.last
        return last.epoch, last.index

    def _on_ballot(self, received: Received, message: VoteRequest | VoteReply) -> None:
        now = self._now.monotonic
        self._elected.receive(received.sender, received.storage, message, self._standing, now)

    def _on_append(self, received: Received, message: Append) -> None:
        follower.check(message, received.stamp)
        if not self._follow(received.sender, message.epoch):
            return
        previous = message.previous
        if previous.index > self.commit and not self.log.holds(previous):
            conflict = follower.conflict(self.log, previous, self.commit)
            self._bind(received.sender, AppendReply(self.epoch, 0, previous.index, conflict))
            return
        self._place(message.batches)
        covered = message.batches[-1].last if message.batches else previous.index
        self.verified = max(self.verified, min(covered, self.log.last.index))
        self._learn_commit(message.commit)
        self._acknowledges = self._acknowledges or not self._writes.unsynced_size

    def _on_heartbeat(self, received: Received, message: Heartbeat) -> None:
        if self._follow(received.sender, message.epoch):
            self._learn_commit(message.commit)
            self._bind(received.sender, HeartbeatReply(message.epoch, message.round))
            # Told of entries that were not shown to us: either they are on their way, or the leader takes them for
            # shown because an earlier life of ours acknowledged them.
            self._acknowledges = self._acknowledges or message.commit > self.verified

    def _on_committed(self, received: Received, message: Committed) -> None:
        if self._follow(received.sender, message.epoch):
            self._learn_commit(message.commit)

    def _on_append_reply(self, received: Received, message: AppendReply) -> None:
        leadership = self._answered(received, message.epoch)
        if leadership is None or received.sender not in leadership.followers:
            return
        leadership.replied(received.sender, message, received.stamp, self.log, self._now.monotonic)
        if leadership.followers[received.sender].lost:
            self._notice(
                f"{received.sender} has lost entries that it had acknowledged: it is not counted any more; stop it, "
                "remove it, and add it again with an empty data directory"
            )

    def _on_heartbeat_reply(self, received: Received, message: HeartbeatReply) -> None:
        leadership = self._answered(received, message.epoch)
        if leadership is not None:
            leadership.rounds.confirm(received.sender, message.round)

    def _on_submit(self, received: Received, message: Submit) -> None:
        follower.check_submitted(message, received.stamp)
        if self.leadership is not None:
            self.leadership.submit(message.entries)

    def _on_read_index(self, received: Received, message: ReadIndex) -> None:
        if self.leadership is not None and message.epoch == self.epoch:
            self.leadership.rounds.ask(received.sender, message.number)

    def _on_read_index_reply(self, received: Received, message: ReadIndexReply) -> None:
        if message.epoch == self.epoch and received.sender == self.leader:
            self._reads.answered(message.number, message.index)

    def _follow(self, sender: str, epoch: int) -> bool:
        """A leader speaks. False if its epoch is over: it is told the newer one (rule 2)."""
        if epoch < self.epoch:
            self._bind(sender, HeartbeatReply(self.epoch, 0))
            return False
        if self.leader != sender:
            self._reads.lose()
        self._elected.follow(sender, epoch, self._now.monotonic)
        if self._verified_in != epoch:
            # What is committed is in the log of every later leader (leader completeness): so far it is verified.
            self._verified_in = epoch
            self.verified = self.commit
        return True

    def _answered(self, received: Received, epoch: int) -> Leadership | None:
        """A follower answers. It counts only in this epoch, and from the disk that the group knows (rule 16)."""
        election = self._elected
        if epoch > self.epoch:
            election.adopt(epoch, self._now.monotonic)
        if self.leadership is None or not election.leads or epoch != self.epoch:
            return None
        if election.configuration.storage_of(received.sender) != received.storage:
            self._notice(
                f"{received.sender} answers from another disk than the group knows: it is not counted; bring its old "
                "data back, or remove and add the member"
            )
            return None
        election.heard(received.sender, self._now.monotonic)
        return self.leadership

    # -- as follower -----------------------------------------------------------------------------------------------

    def _place(self, batches: Sequence[Batch]) -> None:
        """Take in what is new; cut from the first batch that differs, never at or below commit (rule 8)."""
        for batch in batches:
            if not follower.is_new(self.log, batch, self.commit):
                continue  # an old or repeated batch removes nothing
            if batch.first <= self.log.last.index:
                self._truncate(batch.first)
            follower.check_fits(self.log, batch)
            if self._writes.unsynced_size > UNSYNCED_SIZE_MAX:
                return  # the disk is behind; the leader will send this again
            self._append(batch)
            self._anchor = (batch.time, self._now.monotonic)

    def _truncate(self, first: int) -> None:
        invariant(first > self.commit, "nothing committed is ever removed", first=first, commit=self.commit)
        self.log.truncate(first)
        self._writes.truncate(first)
        self.verified = min(self.verified, first - 1)

    def _learn_commit(self, commit: int) -> None:
        """A follower's commit: the leader's, as far as this epoch's leader has shown its log to be ours (rule 9)."""
        index = min(commit, self.verified)
        batch = self.log.batch_at(index)
        if batch is not None and batch.last != index:
            raise RemoteProtocolError(f"index {index} is committed, and the batch it is part of ends at {batch.last}")
        self._commit_up_to(index)

    def _acknowledge(self) -> None:
        """Tell the leader what it may count on: shown by it, and durable here (rule 9)."""
        if self._acknowledges and self.leader not in (None, self.name):
            self._bind(str(self.leader), AppendReply(self.epoch, min(self.verified, self.durable)))
        self._acknowledges = False

    # -- as leader -------------------------------------------------------------------------------------------------

    def _change_office(self) -> None:
        election = self._elected
        if self.leadership is not None and (not election.leads or self.leadership.epoch != self.epoch):
            self.leadership = None
            self._reads.lose()
        if self.leadership is None and election.leads:
            now = self._now.monotonic
            self.leadership = Leadership(self.name, self.epoch, election.configuration, self.log, now)
            self._seal([EpochStart(self.name)])
            self._beat()

    def _sequence(self) -> None:
        """Seal what waits, unless a disk write is under way: then it joins the next batch."""
        while self.leadership is not None and not self._writes.busy and self.leadership.has_pending:
            self._seal(self.leadership.take_pending())
            if self._writes.unsynced_size >= SEALED_AT_ONCE_MAX:
                return

    def _seal(self, entries: Sequence[Entry]) -> None:
        leadership = self.leadership
        invariant(leadership is not None, "only a leader sequences")
        if leadership is not None:
            batch = leadership.seal(entries, self.log, time=self._log_time(), stamp_after=self.clock.counter)
            self._append(batch)
            self.verified = batch.last

    def _log_time(self) -> int:
        """Our clock, but ahead of the last stamp we received by no more than the time since, and a bound (rule 12)."""
        wall = self._now.wall
        if self._anchor is None:
            self._anchor = (max(wall, self.log.last_time), self._now.monotonic)
        time, received_at = self._anchor
        return max(self.log.last_time, min(wall, time + self._now.monotonic - received_at + CLOCK_BOUND))

    def _replicate(self) -> None:
        leadership = self.leadership
        if leadership is None:
            return
        now, election = self._now.monotonic, self._elected
        for name, progress in leadership.followers.items():
            if progress.may_send():
                listening = election.heard_within(name, now, election.floor)
                for message in leadership.appends(name, self.log, self.commit, now, listening=listening):
                    self._send(name, message)
            if progress.commit < self.commit:  # told at once: askers may wait at any replica
                progress.commit = self.commit
                self._send(name, Committed(self.epoch, self.commit))

    def _count(self) -> None:
        """Commit what a commit quorum holds (rule 9)."""
        if self.leadership is not None:
            self._commit_up_to(self.leadership.committable(self._elected.configuration, self.durable))

    def _beat(self) -> None:
        """Heartbeats to all; the reads that wait join this round (rule 20)."""
        leadership = self.leadership
        if leadership is None:
            return
        known = self.commit if self.commit >= leadership.start else None
        number = leadership.rounds.begin(known)
        for name, progress in leadership.followers.items():
            progress.commit = self.commit
            self._send(name, Heartbeat(self.epoch, self.commit, number))
        leadership.heartbeat_at = self._now.monotonic + self._elected.floor // HEARTBEATS_PER_TIMEOUT

    # -- both ------------------------------------------------------------------------------------------------------

    def _append(self, batch: Batch) -> None:
        self.log.append(batch)
        self._writes.append(batch)
        self.clock.advance(batch.last_stamp)

    def _commit_up_to(self, index: int) -> None:
        """Deliver what is newly committed, in index order, once (rule 9)."""
        if index <= self.commit:
            return
        self._output.deliver.extend(self.log.between(self.commit, index))
        if self.leadership is not None:
            self.leadership.committed(self.log.between(self.commit, index))
        self.commit = index

    def _write(self) -> None:
        asked = self._writes.flush(self.promise, self.commit, self._now.monotonic)
        if asked is not None:
            self._output.persist.append(asked)

    def _vote(self) -> None:
        election = self._elected
        for ballot in election.sends:
            if ballot.binding:
                self._bind(ballot.to, ballot.message)
            else:
                self._send(ballot.to, ballot.message)
        election.sends.clear()

    def _read(self) -> None:
        """Linearizable reads: ask the leader, or as leader prove that we still are (rule 20)."""
        leadership = self.leadership
        if self._reads.wants_request and self.leader is not None:
            number = self.clock.tick()
            self._reads.request(number, self._now.monotonic)
            if leadership is not None:
                leadership.rounds.ask(self.name, number)
            else:
                self._send(self.leader, ReadIndex(self.epoch, number))
        if leadership is not None:
            self._confirm_reads(leadership)
            if leadership.rounds.wants_round and self.commit >= leadership.start:
                self._beat()
                self._confirm_reads(leadership)
        self._output.settle.extend(ReadReady(token) for token in self._reads.take_ready(self.applied))

    def _confirm_reads(self, leadership: Leadership) -> None:
        for asker, number, index in leadership.rounds.take_confirmed(self._elected.configuration):
            if asker == self.name:
                self._reads.answered(number, index)
            else:
                self._send(asker, ReadIndexReply(self.epoch, number, index))

    def _tell_leader(self) -> None:
        known = LeaderKnown(self.epoch, self.leader)
        if known != self._told:
            self._told = known
            self._output.settle.append(known)

    # -- sending ---------------------------------------------------------------------------------------------------

    def _send(self, to: str, message: Message) -> None:
        self._output.send.append(Send(to, message))

    def _broadcast(self, message: Message, names: Sequence[str]) -> None:
        for name in names:
            if name != self.name:
                self._send(name, message)

    def _bind(self, to: str, message: Message) -> None:
        """Send what vouches for our promise: not before that is on disk (rule 1)."""
        self._output.send.extend(self._writes.bind(Send(to, message), self.promise))

    def _notice(self, text: str) -> None:
        if text not in self._noticed and len(self._noticed) < 1000:
            self._noticed[text] = None
            self._output.settle.append(Noticed(text))


# The tables that dispatch. Their values are methods of the class above; a table has no way to say that each takes
# exactly the type of its key, hence Any.
_ON_INPUT: dict[type, Callable[[Replica, Any], None]] = {
    Tick: Replica._on_tick,  # pyright: ignore[reportPrivateUsage]
    Received: Replica._on_received,  # pyright: ignore[reportPrivateUsage]
    Submitted: Replica._on_submitted,  # pyright: ignore[reportPrivateUsage]
    Persisted: Replica._on_persisted,  # pyright: ignore[reportPrivateUsage]
    Applied: Replica._on_applied,  # pyright: ignore[reportPrivateUsage]
    Connected: Replica._on_connected,  # pyright: ignore[reportPrivateUsage]
    Suspected: Replica._on_suspected,  # pyright: ignore[reportPrivateUsage]
    ReadAsked: Replica._on_read_asked,  # pyright: ignore[reportPrivateUsage]
    ReadGivenUp: Replica._on_read_given_up,  # pyright: ignore[reportPrivateUsage]
}

_ON_MESSAGE: dict[type, Callable[[Replica, Received, Any], None]] = {
    VoteRequest: Replica._on_ballot,  # pyright: ignore[reportPrivateUsage]
    VoteReply: Replica._on_ballot,  # pyright: ignore[reportPrivateUsage]
    Forming: Replica._on_forming,  # pyright: ignore[reportPrivateUsage]
    FormedNotice: Replica._on_formed,  # pyright: ignore[reportPrivateUsage]
    Append: Replica._on_append,  # pyright: ignore[reportPrivateUsage]
    AppendReply: Replica._on_append_reply,  # pyright: ignore[reportPrivateUsage]
    Heartbeat: Replica._on_heartbeat,  # pyright: ignore[reportPrivateUsage]
    HeartbeatReply: Replica._on_heartbeat_reply,  # pyright: ignore[reportPrivateUsage]
    Committed: Replica._on_committed,  # pyright: ignore[reportPrivateUsage]
    Submit: Replica._on_submit,  # pyright: ignore[reportPrivateUsage]
    ReadIndex: Replica._on_read_index,  # pyright: ignore[reportPrivateUsage]
    ReadIndexReply: Replica._on_read_index_reply,  # pyright: ignore[reportPrivateUsage]
}
