"""What stands in the log: the entries of a batch, encoded once by whoever made them.

A `Commands` is a run of entries: consecutive commands of one session, one index each. All others take one index.
The calls of a run stay encoded, from the asker's hands to those who apply them. A `Due` is a run too: its calls are
those that wait in the replicated table of effects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, TypeAlias

import msgspec

from actors._protocol.codec import convert, encode_struct, join_array, parse
from actors._protocol.errors import RemoteProtocolError
from broadcast._protocol.portions import portions
from broadcast._protocol.position import Batch, Natural, Positive
from membership._protocol.view import Configuration, Name, Version

Nonce = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]

VOID = b"\xf6"
"""An encoded call that does nothing: keeps the number of a command that was given up before it was sent (rule 18)."""


class EpochStart(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="epoch"):
    """The first entry of an epoch, by its leader (rule 7; Ongaro 2014, 6.4: the no-op)."""

    leader: Name


class Configured(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="config"):
    """Sets the configuration, in force from here on (rule 14). It stands alone in its batch."""

    configuration: Configuration


class Reached(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="reached"):
    """The leader's detector has another verdict, and it has held: these members can be reached. It stands alone."""

    names: tuple[Name, ...]


class Versioned(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="version"):
    """This version of the class is in force from here on: all voters know it (rule 29). It stands alone."""

    version: Version


class SessionAsked(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="open"):
    """Opens a session, whose id is this entry's index. `nonce` tells the asker which one is its own."""

    nonce: Nonce
    owner: Name


class SessionKept(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="keep"):
    """Keeps an idle session from expiring, and tells its owner whether it is still there.

    acknowledged: as in `Commands`.
    """

    session: Positive
    acknowledged: Natural


class SessionEnded(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="end"):
    """The owner is done: nothing of this session needs to be remembered."""

    session: Positive


class Commands(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="run"):
    """`count` commands of one session, numbered `number, number + 1, ...` in it.

    acknowledged: the owner has the answers up to here; they may be forgotten.
    attempt: grows each time the owner sends again; a report names it, so that old reports can be told from new.
    stamp: the owner's Lamport counter when it sent this; every entry's own exceeds it.
    calls: an encoded array of `count` encoded calls, each `[tag, *arguments]` or null (void).
    """

    session: Positive
    number: Positive
    count: Annotated[int, msgspec.Meta(ge=1, le=65_536)]
    acknowledged: Natural
    attempt: Natural
    stamp: Natural
    calls: bytes


class Due(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="due"):
    """The group's next messages to itself are due: up to `count` of them, of those due by this batch's time (rule 21).

    One index each; where there are fewer left, those indices are void. So it does no harm if two leaders say it.
    """

    count: Annotated[int, msgspec.Meta(ge=1, le=65_536)]


Submittable: TypeAlias = Commands | SessionAsked | SessionKept | SessionEnded
"""What a session's owner may put in the log."""
Entry: TypeAlias = (
    EpochStart | Configured | Reached | Versioned | Due | Commands | SessionAsked | SessionKept | SessionEnded
)
Run: TypeAlias = Commands | Due
"""What commands come from, one for each index."""

OfMembers: TypeAlias = Configured | Reached | Versioned
"""What speaks of the members: `Agreed` follows from these."""


def span(entry: Entry) -> int:
    """How many indices this takes."""
    return entry.count if isinstance(entry, Commands | Due) else 1


def size(entry: Submittable) -> int:
    """Bytes that count against limits."""
    return 64 + len(entry.calls) if isinstance(entry, Commands) else 64


def in_messages(entries: Iterable[Submittable]) -> Iterator[tuple[Submittable, ...]]:
    """The entries in portions that a message holds."""
    return portions(entries, size)


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """The content of a batch."""
    return join_array([encode_struct(entry) for entry in entries])


class _Content(msgspec.Struct, frozen=True, array_like=True):
    """What a batch holds, as a class: msgspec remembers how to convert to one, and not to a list of a union."""

    entries: list[Entry]


def decode_entries(data: bytes) -> list[Entry]:
    """The reverse; raises `DecodeError` for what no leader of ours writes."""
    return convert([parse(data)], _Content).entries


def check_content(batch: Batch, leader: str | None = None) -> None:
    """Raise `RemoteProtocolError` unless every replica can apply what this batch holds.

    An epoch's first entry, and no other, is its epoch-start entry (rule 7). `leader`: of its epoch, if that is known.
    What changes the members, who is reachable, or the version of the class, stands alone, so that it is found without
    opening every batch.
    """
    entries = decode_entries(batch.entries)
    if sum(map(span, entries)) != batch.count:
        raise RemoteProtocolError(f"a batch of {batch.count} at {batch.first} holds another number of entries")
    starts = [(at, entry.leader) for at, entry in enumerate(entries) if isinstance(entry, EpochStart)]
    if [at for at, _ in starts] != ([0] if batch.epoch != batch.previous_epoch else []):
        raise RemoteProtocolError(
            f"the batch at {batch.first}, epoch {batch.epoch} after {batch.previous_epoch}, has epoch-start entries at "
            f"{[batch.first + at for at, _ in starts]}: the first entry of an epoch is one, and no other"
        )
    if starts and leader not in (None, starts[0][1]):
        raise RemoteProtocolError(f"{starts[0][1]} begins epoch {batch.epoch} at {batch.first}, and {leader} leads it")
    if any(isinstance(entry, OfMembers) for entry in entries) and membership_in(batch) is None:
        raise RemoteProtocolError(f"the batch at {batch.first} speaks of members, among other entries")


def membership_in(batch: Batch) -> OfMembers | None:
    """What this batch says of the members, if it does. Cheap for all that do not."""
    if batch.count > 1 or not batch.entries.startswith(_OF_MEMBERS):
        return None
    (entry,) = decode_entries(batch.entries)
    return entry if isinstance(entry, OfMembers) else None


def configuration_in(batch: Batch) -> Configuration | None:
    """The configuration that this batch sets, if it does."""
    entry = membership_in(batch)
    return entry.configuration if isinstance(entry, Configured) else None


# CBOR: [[tag, ...]]
_OF_MEMBERS = tuple(bytes((0x81, 0x82, 0x60 + len(tag))) + tag for tag in (b"config", b"reached", b"version"))
