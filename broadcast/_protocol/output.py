"""What goes into a replica's step, and what the shell owes the protocol after it.

The shell performs an `Output` in the order of its fields, and may start the next step before anything of it has ended:
nothing here waits for anything else. What vouches for something durable (a vote, an acknowledgement) is in the output
of the step that was given `Persisted`, never beside the `Persist` it depends on (rules 0, 1, 9).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from broadcast._protocol.consistency import Consistency
from broadcast._protocol.entries import Submittable
from broadcast._protocol.messages import Message
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.snapshots import Compared, Divergence, Snapshot
from membership._protocol.messages import Verdict, Wish
from membership._protocol.view import Configuration, Formation, Member, Promise


class Now(msgspec.Struct, frozen=True, gc=False):
    """The moment of a step, in microseconds. `monotonic` measures waiting; `wall` only stamps log time (rule 12).

    boottime: on a clock that goes on while the machine is suspended, for leases (rule 20). None where there is none:
    then this replica never takes itself to hold a lease.
    """

    monotonic: int
    wall: int
    boottime: int | None = None


# -- inputs ---------------------------------------------------------------------------------------------------------


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Time has passed: at least up to the deadline that the replica named."""


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message of another member. `cluster` and `storage` are the sender's, as rule 16 wants them.

    stamp: the Lamport counter it was sent under. It strictly grows at the sender, restarts included, and so tells
    which of two of its messages was said later, whatever the network did with them.
    """

    sender: str
    cluster: bytes
    storage: bytes
    stamp: int
    message: Message


class Submitted(msgspec.Struct, frozen=True, gc=False):
    """Entries for the log from a session that ends at this replica."""

    entries: tuple[Submittable, ...]


class ReadAsked(msgspec.Struct, frozen=True, gc=False):
    """A read wants to know when this replica's state is fresh enough; answered by `ReadReady(token)`.

    consistency: LINEARIZABLE, LEASE or SESSION; the others are not waited for. index: for SESSION, that its asker has
    seen.
    """

    token: int
    consistency: Consistency = Consistency.LINEARIZABLE
    index: int = 0


class ReadGivenUp(msgspec.Struct, frozen=True, gc=False):
    """Nobody waits for this read any more."""

    token: int


class Persisted(msgspec.Struct, frozen=True, gc=False):
    """Everything up to and including `Persist(number)` is on disk."""

    number: int


class Applied(msgspec.Struct, frozen=True, gc=False):
    """Everything delivered up to and including `index` was applied to the actor.

    due: log time at which the first of its messages to itself is due then; None if none waits. count: of those that
    are due by then, or are already; at least 1 where there is one.
    """

    index: int
    due: int | None = None
    count: int = 0


class Connected(msgspec.Struct, frozen=True, gc=False):
    """A link to this member was made anew; what was sent before it may be lost."""

    name: str


class Suspected(msgspec.Struct, frozen=True, gc=False):
    """The link to this member was closed, and an immediate reconnect was refused or met its successor (rule 5)."""

    name: str


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """Somebody here wants other members, or another leader; answered by `Answered(number)`, if at all.

    number: never used before at this node, over restarts too.
    """

    number: int
    wish: Wish


class SnapshotTaken(msgspec.Struct, frozen=True, gc=False):
    """The actor's state at an index that was applied is in a file of its own, synced: it may take the log's place."""

    snapshot: Snapshot


class Uncapturable(msgspec.Struct, frozen=True, gc=False):
    """At a marker no snapshot could be taken, because of what is in the state: the log cannot be compacted."""

    why: str


class PartRead(msgspec.Struct, frozen=True, gc=False):
    """What `ReadPart` asked for; None: it could not be read."""

    to: str
    position: Position
    offset: int
    data: bytes | None


class PartStored(msgspec.Struct, frozen=True, gc=False):
    """What `StorePart` asked for is done: so many bytes of that snapshot are here. 0: it has to begin anew."""

    position: Position
    size: int


class Loaded(msgspec.Struct, frozen=True, gc=False):
    """What `Load` asked for is done: its bytes are whole and synced, and a state made of them is ready."""

    position: Position


class LoadFailed(msgspec.Struct, frozen=True, gc=False):
    """It is not, and why. The state is what it was."""

    position: Position
    why: str


Input = (
    Tick
    | Received
    | Submitted
    | ReadAsked
    | ReadGivenUp
    | Persisted
    | Applied
    | Connected
    | Suspected
    | Wanted
    | SnapshotTaken
    | Uncapturable
    | PartRead
    | PartStored
    | Loaded
    | LoadFailed
)


# -- output ---------------------------------------------------------------------------------------------------------


class Persist(msgspec.Struct, frozen=True, gc=False):
    """Make durable, all of it or nothing, in the order of the numbers; answered by `Persisted`.

    number: 1, 2, 3... in one life of the replica. The shell may join several into one disk write.
    formation: the record the group begins with, written once.
    promise: replaces the last one.
    truncate: remove all batches whose `first` is at or beyond this index, before `batches` are added.
    snapshot: takes the place of the log up to it, or of all of it; its file is complete. The others are not needed.
    compact: remove all batches whose `first` is at or below this index, after `truncate` and before `batches`.
    batches: to append, consecutive.
    divergence: keep in mind that the state here is not what the others have: it must not be used again.
    compared: replaces what was kept in mind of what replicas compare.
    commit: the commit index known when this was asked for, but below `truncate`: nothing committed is ever cut.
        Stored beside each batch, to tell a torn tail (which nobody was told of) from damage (rule 26).
    """

    number: int
    promise: Promise | None = None
    formation: Formation | None = None
    truncate: int | None = None
    batches: tuple[Batch, ...] = ()
    commit: int = 0
    snapshot: Snapshot | None = None
    compact: int = 0
    divergence: Divergence | None = None
    compared: Compared | None = None


class Send(msgspec.Struct, frozen=True, gc=False):
    """A message for another member. May be lost, doubled or overtaken: the protocol sees to all of these."""

    to: str
    message: Message


class LeaderKnown(msgspec.Struct, frozen=True, gc=False):
    """Who leads, as far as this replica knows; None while nobody does. Submitters send again what is unanswered."""

    epoch: int
    leader: str | None


class ReadReady(msgspec.Struct, frozen=True, gc=False):
    """The actor's state is now as fresh as this read has to be."""

    token: int


class Formed(msgspec.Struct, frozen=True, gc=False):
    """The group has formed (or was found formed): this replica takes part from now on."""

    formation: Formation


class Noticed(msgspec.Struct, frozen=True, gc=False):
    """Something that an operator should know, and what to do about it. Told once for each text."""

    text: str


class Reconfigured(msgspec.Struct, frozen=True, gc=False):
    """Another configuration is in force, committed or not."""

    configuration: Configuration


class Linked(msgspec.Struct, frozen=True, gc=False):
    """Keep a link to each of these, and need none to others any more.

    They are the members by the committed configuration, by those after it, and by one that a member told of and that
    the log has not come to yet. A member may be among them twice, with two addresses: the later one is newer.
    """

    members: tuple[Member, ...]


class Answered(msgspec.Struct, frozen=True, gc=False):
    """What the leader made of the wish of that number."""

    number: int
    verdict: Verdict
    why: str


class Removed(msgspec.Struct, frozen=True, gc=False):
    """This replica is a member no more, and that is committed: it takes part no longer."""


class ReadPart(msgspec.Struct, frozen=True, gc=False):
    """Read up to `size` bytes of a snapshot of ours, for a member that needs it; answered by `PartRead`."""

    to: str
    snapshot: Snapshot
    offset: int
    size: int


class StorePart(msgspec.Struct, frozen=True, gc=False):
    """Keep these bytes of a snapshot that is on its way to here, after those before; answered by `PartStored`.

    At offset 0 it begins, in the place of any other that was on its way.
    """

    snapshot: Snapshot
    offset: int
    data: bytes


class Load(msgspec.Struct, frozen=True, gc=False):
    """All of it is here: see whether it is whole, sync it, and make a state of it; answered by `Loaded`/`LoadFailed`.

    Whatever comes of it, the actor's state stays what it is, until `Output.install` says otherwise.
    """

    snapshot: Snapshot


class Diverged(msgspec.Struct, frozen=True, gc=False):
    """This replica's state is not what the others have: it stops for good."""

    divergence: Divergence


class Unfit(msgspec.Struct, frozen=True, gc=False):
    """This replica's class is another than the group's: it stops, before it has taken part. difference: in what."""

    difference: str


Transfer = ReadPart | StorePart | Load

Settled = LeaderKnown | ReadReady | Formed | Noticed | Reconfigured | Linked | Answered | Removed | Diverged | Unfit


@dataclass(slots=True)
class Output:
    """What the shell owes the protocol after a step, to be done in this order."""

    persist: list[Persist] = field(default_factory=list[Persist])
    send: list[Send] = field(default_factory=list[Send])
    transfer: list[Transfer] = field(default_factory=list[Transfer])
    """Parts of snapshots to read and to keep, in this order for each member."""
    install: Snapshot | None = None
    """The state that was loaded of this snapshot takes the place of the actor's, now. Nothing answers."""
    deliver: list[Batch] = field(default_factory=list[Batch])
    """Committed batches, in index order, once; answered by `Applied`."""
    settle: list[Settled] = field(default_factory=list[Settled])
    """What those who wait here should know."""
