"""Snapshots: the state at one place of the log, which takes the place of all of the log up to there (rule 11).

What a snapshot holds is bytes to the protocol: they are made and opened by the machine, kept in a file of their own by
the storage, and travel in parts. A `Snapshot` says what they are of, and how to tell that they are whole.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from broadcast._protocol.position import Natural, Position, Positive
from membership._protocol.configurations import Agreed

DIGEST_SIZE = 32  # bytes of a BLAKE2b digest
PART_SIZE_MAX = 256 * 1024  # bytes of content in one message

Digest = Annotated[bytes, msgspec.Meta(min_length=DIGEST_SIZE, max_length=DIGEST_SIZE)]


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What there is to know of a snapshot without opening it.

    position, time, stamp: of the last entry that it has seen; a batch ends there.
    agreed: what stands in the log up to there of members.
    size, digest: of its bytes; BLAKE2b of 32 bytes.
    layout: version of how they are laid out: the digests of two layouts say nothing of each other.
    """

    position: Position
    time: Natural
    stamp: Natural
    agreed: Agreed
    size: Natural
    digest: Digest
    layout: Natural = 1

    @property
    def index(self) -> int:
        """Of the last entry that it has seen."""
        return self.position.index


class Divergence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A majority of the voters has another state at index `at` than this replica (rule 28).

    agreed: the newest index at which a majority had the same; 0 if none is known.
    """

    at: Positive
    agreed: Natural


class Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What this replica's own state came to at one place. voters: those that it had, who decide what is right there."""

    position: Position
    layout: Natural
    digest: Digest
    voters: tuple[str, ...]


class Compared(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a replica keeps in mind over a restart of what replicas compare (rule 28).

    places: the newest of its own, the last at the end.
    divided: where voters differ first, and no majority was known to agree.
    """

    places: tuple[Place, ...] = ()
    divided: Position | None = None


NOTHING = Compared()
