"""What a follower checks before it takes a leader's batches, and where it asks the leader to go on (rule 8; 5.3)."""

from __future__ import annotations

from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol.entries import Commands
from broadcast._protocol.log import Log
from broadcast._protocol.messages import Append, Submit
from broadcast._protocol.position import Batch, Position


def check(append: Append, said: int) -> None:
    """Raise `RemoteProtocolError` unless these batches follow `previous` and each other, as a leader's log has them.

    said: Lamport counter of the message; a leader has counted every stamp that it sends.
    """
    end, time, stamp = append.previous, 0, 0
    for batch in append.batches:
        if batch.previous != end or batch.epoch < end.epoch or batch.epoch > append.epoch:
            raise RemoteProtocolError(f"a batch at {batch.first} of epoch {batch.epoch} cannot follow {end}")
        if batch.time < time or batch.stamp <= stamp:
            raise RemoteProtocolError(f"the time or stamp of the batch at {batch.first} goes back")
        end, time, stamp = batch.end, batch.time, batch.last_stamp
    if stamp > said:
        raise RemoteProtocolError(f"the stamp {stamp} of a batch is beyond that of its message, {said}")


def check_submitted(submit: Submit, said: int) -> None:
    """Raise `RemoteProtocolError` for commands stamped later than the message that brings them (`said`)."""
    for entry in submit.entries:
        if isinstance(entry, Commands) and entry.stamp > said:
            raise RemoteProtocolError(f"commands with the stamp {entry.stamp} in a message with the stamp {said}")


def check_fits(log: Log, batch: Batch) -> None:
    """Raise `RemoteProtocolError` unless this batch may stand at the end of our log."""
    if batch.previous != log.last or batch.time < log.last_time or batch.stamp <= log.last_stamp:
        raise RemoteProtocolError(f"the batch at {batch.first} does not fit the log that ends at {log.last}")


def is_new(log: Log, batch: Batch, commit: int) -> bool:
    """Is this batch missing here? What is committed is the leader's anyway."""
    return batch.last > commit and log.epoch_at(batch.last) != batch.epoch


def conflict(log: Log, previous: Position, commit: int) -> int:
    """The first index at which the leader should try again, when our log does not hold `previous`.

    Beyond our end, that is where we end. Otherwise all entries of the epoch found there are doubtful.
    """
    last = log.last.index
    first = last + 1 if previous.index > last else log.first_of_epoch_at(previous.index)
    return max(first, commit + 1)
