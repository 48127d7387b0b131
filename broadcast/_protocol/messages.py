"""What replicas say to each other. What was true only in one epoch names it, and is fenced by it."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from actors._protocol.codec import decode_struct, encode_struct
from broadcast._protocol.entries import Submittable
from broadcast._protocol.position import Batch, Natural, Position, Positive
from broadcast._protocol.snapshots import PART_SIZE_MAX, Digest, Snapshot
from membership._protocol.messages import (
    CampaignNow,
    Dismissed,
    FormedNotice,
    Forming,
    Joining,
    MemberAsked,
    VoteReply,
    VoteRequest,
    WishAnswer,
    Wished,
)
from membership._protocol.view import Epoch, Priority, Version


class Append(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="append"):
    """The leader's batches for a follower, to stand right after `previous` (Ongaro 2014, 3.5: AppendEntries).

    number: of the question what it has of all that went before this; 0 if that is not asked.
    """

    epoch: Epoch
    previous: Position
    batches: tuple[Batch, ...]
    commit: Natural
    number: Natural = 0


class AppendReply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="appended"):
    """Up to `match` the follower holds durably what this epoch's leader holds.

    With `conflict`, it could not place the batches that follow index `rejected`; the leader should go on at `conflict`.
    number: of the question that this answers: all that had come before that is durable.
    """

    epoch: Epoch
    match: Natural
    rejected: Natural | None = None
    conflict: Positive | None = None
    number: Natural = 0


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="beat"):
    """The leader lives. `round` numbers the confirmations that reads wait for, and is never reused (rule 20).

    time: log time, as the leader reads it now; in an idle group no batch tells it (rule 12).
    """

    epoch: Epoch
    commit: Natural
    round: Natural
    time: Natural


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="beaten"):
    """The follower still follows this epoch, as of `round`.

    priority: how much it should lead rather than others. version: of its class.
    """

    epoch: Epoch
    round: Natural
    priority: Priority = 0
    version: Version = 1


class Committed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="commit"):
    """The commit index has moved on, and there is nothing else to send with it. Not answered."""

    epoch: Epoch
    commit: Natural


class SnapshotPart(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="part"):
    """Bytes of a snapshot for a follower that needs what the leader's log does not hold any more (rule 11)."""

    epoch: Epoch
    snapshot: Snapshot
    offset: Natural
    data: Annotated[bytes, msgspec.Meta(min_length=1, max_length=PART_SIZE_MAX)]


class PartReply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="part+"):
    """So many bytes of the snapshot at `position` are here; the next one wanted is at that offset."""

    epoch: Epoch
    position: Position
    size: Natural


class Digested(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="digest"):
    """What the snapshot at this place comes to at the sender (rule 28). True in whatever epoch it is heard."""

    position: Position
    layout: Natural
    digest: Digest


class Submit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="submit"):
    """Entries that sessions at another replica want in the log."""

    entries: tuple[Submittable, ...]


class ReadIndex(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="read?"):
    """From which index on does a state include all that was answered before now? `number` is never reused."""

    epoch: Epoch
    number: Natural


class ReadIndexReply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="read"):
    """A state at `index` or later is fresh enough for the reads of that number. True in whatever epoch it is heard."""

    number: Natural
    index: Natural


Message: TypeAlias = (
    VoteRequest
    | VoteReply
    | CampaignNow
    | Forming
    | FormedNotice
    | Joining
    | MemberAsked
    | Dismissed
    | Wished
    | WishAnswer
    | Append
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | Committed
    | SnapshotPart
    | PartReply
    | Digested
    | Submit
    | ReadIndex
    | ReadIndexReply
)

BULK = (Append, Submit, SnapshotPart)
"""What may wait in a queue. Everything else is control, and overtakes it."""


class GroupMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A message with what rule 16 wants beside it: the group's cluster id and the sender's storage id."""

    cluster: bytes
    storage: bytes
    message: Message


def encode_message(cluster: bytes, storage: bytes, message: Message) -> bytes:
    return encode_struct(GroupMessage(cluster, storage, message))


def decode_message(data: bytes) -> GroupMessage:
    """Raises `DecodeError` for what is no message."""
    return decode_struct(data, GroupMessage)
