"""Who is in: members, the configuration that the log agrees on, promises, and the view that follows from them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from membership._protocol.quorum import Joint, Majority, QuorumSystem

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
StorageId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
ClusterId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Epoch = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Promise(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A node's durable word: the highest epoch it knows, and whom it granted it to (Ongaro 2014, 3.4)."""

    epoch: Epoch = 0
    granted_to: Name | None = None


class Member(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A member of a group: its name, and the id of the disk that its word is kept on (rule 16)."""

    name: Name
    storage: StorageId


class Limits(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What all replicas of a group must agree on. Times in microseconds, sizes in bytes."""

    election_timeout: Annotated[int, msgspec.Meta(ge=1_000, le=600_000_000)] = 500_000
    """The floor: timeouts are drawn between this and twice this (rule 5)."""
    session_term: Annotated[int, msgspec.Meta(ge=1_000, le=2**50)] = 600_000_000
    """A session not heard of for this long (log time) has expired (rule 18)."""
    sessions_max: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 100_000
    answers_max: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 65_536
    """Answers that one session may leave unacknowledged."""
    command_size_max: Annotated[int, msgspec.Meta(ge=64, le=2**23)] = 1_048_576


class Configuration(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Voters, observers, quorum system and limits: set by the formation record, then by log entries.

    None is made, and none read from a peer or a disk, whose quorums could miss each other (ValueError).
    """

    voters: tuple[Member, ...]
    observers: tuple[Member, ...] = ()
    quorum: QuorumSystem | Joint = Majority()
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        self.quorum.check(self.voter_names)

    @property
    def voter_names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.voters)

    def includes(self, name: str) -> bool:
        """Is this a member, voter or observer?"""
        return any(member.name == name for member in self.voters + self.observers)

    def storage_of(self, name: str) -> bytes | None:
        """The disk that this voter's word is kept on; None for whom is no voter."""
        for member in self.voters:
            if member.name == name:
                return member.storage
        return None

    def elects(self, granted: frozenset[str]) -> bool:
        """Do these voters suffice to elect a leader?"""
        return self.quorum.elects(self.voter_names, granted)

    def commits(self, acknowledged: frozenset[str]) -> bool:
        """Do these voters suffice to commit?"""
        return self.quorum.commits(self.voter_names, acknowledged)


class Formation(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The record that a group begins with, made once (rule 13). Without it a member neither votes nor accepts."""

    group: Name
    cluster: ClusterId
    configuration: Configuration


class View(msgspec.Struct, frozen=True):
    """Who is in and who leads, as agreed: the same sequence on every member, beginning when its entry is delivered.

    number: 1, 2, 3... of this view; index: of the log entry that began it.
    """

    number: int
    epoch: int
    leader: str
    index: int
    voters: tuple[str, ...]
    observers: tuple[str, ...]
    reachable: tuple[str, ...]
