"""What a follower does with a leader's words: check, take, acknowledge (rules 1, 2, 8, 9; Ongaro 2014, 3.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol.entries import check_content
from broadcast._protocol.incoming import Incoming
from broadcast._protocol.log import Log
from broadcast._protocol.messages import Append, AppendReply, Committed, Heartbeat, HeartbeatReply, SnapshotPart
from broadcast._protocol.outbox import Outbox
from broadcast._protocol.output import Received
from broadcast._protocol.own import OwnLog
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.reads import Reads
from membership._protocol.election import Election


class Following:
    """A replica's part as follower, whoever leads. It has a leader in some epochs, and in others none."""

    def __init__(self, own: OwnLog, election: Election, outbox: Outbox, reads: Reads, version: int) -> None:
        """version: of our class."""
        self._own = own
        self._version = version
        self._election = election
        self._outbox = outbox
        self._reads = reads
        self.heard = (0, 0)
        """Epoch of the leader that was followed last, and the stamp of its newest word."""
        self._acknowledges = False  # something new to tell the leader
        self._asked = 0  # the number of the question that it waits to have answered
        self.incoming = Incoming(own, election, outbox)

    def on_append(self, received: Received, message: Append, now: int) -> None:
        own = self._own
        check(message, received.sender, received.stamp)
        if not self._follow(received, message.epoch, now):
            return
        previous = message.previous
        if previous.index > own.fixed and not own.log.holds(previous):
            hint = conflict(own.log, previous, own.fixed)
            self._learn_commit(message.commit)
            self._answer(received.sender, AppendReply(message.epoch, 0, previous.index, hint))
            return
        own.place(missing(own.log, message, own.fixed), now)
        own.verify(message.batches[-1].last if message.batches else previous.index)
        self._learn_commit(message.commit)
        self._asked = message.number or self._asked
        self._acknowledges = self._acknowledges or not own.writes.unsynced_size

    def on_heartbeat(self, received: Received, message: Heartbeat, now: int) -> None:
        if self._follow(received, message.epoch, now):
            self._own.hear_time(message.time, now)
            self._learn_commit(message.commit)
            reply = HeartbeatReply(message.epoch, message.round, self._election.priority, self._version)
            self._answer(received.sender, reply)
            # Told of entries that were not shown to us: either they are on their way, or the leader takes them for
            # shown because an earlier life of ours acknowledged them.
            self._acknowledges = self._acknowledges or message.commit > self._own.verified

    def on_committed(self, received: Received, message: Committed, now: int) -> None:
        if self._follow(received, message.epoch, now):
            self._learn_commit(message.commit)

    def on_part(self, received: Received, message: SnapshotPart, now: int) -> None:
        if self._follow(received, message.epoch, now) and not self.incoming.part(received.sender, message, now):
            self._acknowledges = True

    def wrote(self) -> None:
        """More is on disk."""
        self._acknowledges = True

    def acknowledge(self) -> None:
        """Tell the leader what it may count on: shown by it, and durable here (rule 9)."""
        leader, own = self._election.leader, self._own
        if self._acknowledges and leader not in (None, self._election.name):
            number = 0
            if not own.writes.unsynced_size:
                number, self._asked = self._asked, 0
            match = min(own.verified, own.writes.durable)
            self._answer(str(leader), AppendReply(self._election.epoch, match, number=number))
        self._acknowledges = False

    def _follow(self, received: Received, epoch: int, now: int) -> bool:
        """A leader speaks. False if its epoch is over: it is told the newer one (rule 2)."""
        election, sender = self._election, received.sender
        if epoch < election.epoch:
            self._answer(sender, HeartbeatReply(election.epoch, 0))
            return False
        if (election.leader, election.epoch) != (sender, epoch):  # the same member may lead again
            self._reads.lose()
            self._asked = 0
        election.follow(sender, epoch, now)
        self.heard = max(self.heard, (epoch, received.stamp))
        self._own.follow(epoch)
        return True

    def _learn_commit(self, commit: int) -> None:
        """A follower's commit: the leader's, as far as this epoch's leader has shown its log to be ours (rule 9).

        The word may overtake the batches that it is about, and is not repeated: it is kept until they have come.
        """
        own = self._own
        told = max(commit, own.told)
        index = min(told, own.verified)
        if not own.log.ends_at(index):
            raise RemoteProtocolError(f"index {index} is committed, and no batch ends there")
        own.told = told
        own.commit_up_to(index)

    def _answer(self, to: str, message: AppendReply | HeartbeatReply) -> None:
        self._outbox.bind(to, message, self._election.promise)


WORDS: dict[type, Callable[[Following, Received, Any, int], None]] = {
    Append: Following.on_append,
    Heartbeat: Following.on_heartbeat,
    Committed: Following.on_committed,
    SnapshotPart: Following.on_part,
}
"""What only a leader says. A table has no way to say that each takes exactly the type of its key, hence Any."""


def check(append: Append, leader: str, said: int) -> None:
    """Raise `RemoteProtocolError` unless these batches follow `previous` and each other, as a leader's log has them.

    leader: who sent it. said: Lamport counter of the message; a leader has counted every stamp that it sends.
    """
    end, time, stamp = append.previous, 0, 0
    for batch in append.batches:
        if batch.previous != end or batch.epoch < end.epoch or batch.epoch > append.epoch:
            raise RemoteProtocolError(f"a batch at {batch.first} of epoch {batch.epoch} cannot follow {end}")
        if batch.time < time or batch.stamp <= stamp:
            raise RemoteProtocolError(f"the time or stamp of the batch at {batch.first} goes back")
        check_content(batch, leader if batch.epoch == append.epoch else None)
        end, time, stamp = batch.end, batch.time, batch.last_stamp
    if stamp > said:
        raise RemoteProtocolError(f"the stamp {stamp} of a batch is beyond that of its message, {said}")


def missing(log: Log, append: Append, fixed: int) -> tuple[Batch, ...]:
    """The batches that are not here yet. An old or repeated message has none, and so removes nothing.

    fixed: up to here our log is this leader's, because it is committed, or because this leader has said so itself: what
    we have acknowledged to it is among that. Our log holds `append.previous`, or has it below that. Raises
    `RemoteProtocolError`, before anything of the message is taken, for a log that cannot be this leader's: it would
    change what is fixed, or cut a batch in two.
    """
    _check_shared(log, append.previous, fixed)
    for at, batch in enumerate(append.batches):
        if is_new(log, batch, fixed):
            _check_fits(log, batch, fixed)
            return append.batches[at:]
        _check_shared(log, batch.end, fixed)
    return ()


def is_new(log: Log, batch: Batch, fixed: int) -> bool:
    """Is this batch missing here? What is fixed is the leader's anyway."""
    return batch.last > fixed and log.epoch_at(batch.last) != batch.epoch


def _check_shared(log: Log, end: Position, fixed: int) -> None:
    """A batch of the leader's ends at `end`. Where our log holds that entry, it holds that batch (log matching).

    What is committed it does hold: every later leader has it (leader completeness; 3.6.3).
    """
    if log.start.index <= end.index <= fixed and not log.holds(end):
        raise RemoteProtocolError(
            f"another epoch than {end.epoch} is committed at {end.index}, or was shown there by this leader itself"
        )
    if log.holds(end) and not log.ends_at(end.index):
        raise RemoteProtocolError(f"a batch ends at {end}, within one that we hold")


def _check_fits(log: Log, batch: Batch, fixed: int) -> None:
    """This batch is new, and what it follows is held here."""
    if batch.first <= fixed:
        raise RemoteProtocolError(
            f"the batch from {batch.first} to {batch.last} changes what is committed, or was shown by this leader "
            f"itself: all up to {fixed}"
        )
    time, stamp = log.before_batch(batch.first)
    if batch.time < time or batch.stamp <= stamp:
        raise RemoteProtocolError(f"the time or stamp of the batch at {batch.first} is older than that before it")


def conflict(log: Log, previous: Position, fixed: int) -> int:
    """The first index at which the leader should try again, when our log does not hold `previous`.

    Beyond our end, that is where we end. Otherwise all entries of the epoch found there are doubtful.
    """
    last = log.last.index
    first = last + 1 if previous.index > last else log.first_of_epoch_at(previous.index)
    return max(first, fixed + 1)
