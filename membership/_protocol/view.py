"""Who is in: members, the configuration that the log agrees on, promises, and the view that follows from them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from actors._protocol.address import check_name, parse_address
from membership._protocol.quorum import Joint, Majority, QuorumSystem

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
StorageId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
ClusterId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Address = Annotated[str, msgspec.Meta(max_length=300)]
Epoch = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
PRIORITY_MAX = 100
Priority = Annotated[int, msgspec.Meta(ge=-PRIORITY_MAX, le=PRIORITY_MAX)]
"""How much a voter should lead rather than others: a hint, 0 unless somebody says otherwise."""
VERSION_MAX = 1_000_000
Version = Annotated[int, msgspec.Meta(ge=1, le=VERSION_MAX)]
"""Of the class that a group replicates (rule 29)."""
Takes = dict[str, Version]
"""The messages of a class, each as `command tag`: with which version it came. Empty if that is not told."""


def check_place(name: str, address: str) -> None:
    """Raise ValueError for what can be no node's name, or no address: who is to be a member is dialed by all."""
    check_name(name)
    if address:
        parse_address(address)


class Promise(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A node's durable word: the highest epoch it knows, and whom it granted it to (Ongaro 2014, 3.4)."""

    epoch: Epoch = 0
    granted_to: Name | None = None


class Member(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A member of a group: its name, and the id of the disk that its word is kept on (rule 16).

    address: where it is found, as it was said last; a node tries what it was told itself as well.
    """

    name: Name
    storage: StorageId
    address: Address = ""

    def __post_init__(self) -> None:
        check_place(self.name, self.address)


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
    snapshot_entries: Annotated[int, msgspec.Meta(ge=1, le=2**40)] = 50_000
    """A snapshot is taken after so many entries..."""
    snapshot_size: Annotated[int, msgspec.Meta(ge=1, le=2**40)] = 16 * 1_048_576
    """...or so many bytes of them..."""
    snapshot_batches: Annotated[int, msgspec.Meta(ge=1, le=2**40)] = 20_000
    """...or so many batches, whichever comes first (rule 11). Who starts anew reads and applies them one by one; where
    commands come one after another, each is a batch of its own."""
    effects_max: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 65_536
    """Messages of the replicated actor to itself that may wait to be due, all its commands' together (rule 21)..."""
    effects_size: Annotated[int, msgspec.Meta(ge=64, le=2**40)] = 16 * 1_048_576
    """...and bytes of them."""
    undos_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10
    """Commands that crash, or leave too much behind, that one session may have undone at once, and all twice as many
    (rule 24)..."""
    undo_interval: Annotated[int, msgspec.Meta(ge=1, le=2**40)] = 1_000_000
    """...and the log time after which it may have another one undone, and so may all. The larger the actor's state, the
    longer an undo takes."""
    leases: bool = False
    """May a leader answer `reading(Consistency.LEASE)` without a round while its lease holds (rule 20)?

    Right only as long as no two members' clocks differ by more than a tenth in what they take for the same time: one
    may run 5 % fast and another 5 % slow. Time that a suspended machine sleeps counts; that for which a hypervisor
    stops a machine together with its clocks does not. A leader that dies is replaced only after a whole election
    timeout then, also where its connections tell at once that it is gone.
    """


class Goal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The voters, all of them members already, that a group is on its way to, and what they will decide by.

    force: it goes there also while too few of them can be reached to decide.
    """

    voters: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    quorum: QuorumSystem
    force: bool = False


class Configuration(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Voters, observers, quorum system and limits: set by the formation record, then by log entries.

    None is made, and none read from a peer or a disk, whose quorums could miss each other (ValueError).
    goal: what any leader goes on to once those who are to vote have caught up; None if this is where the group stays.
    """

    voters: tuple[Member, ...]
    observers: tuple[Member, ...] = ()
    quorum: QuorumSystem | Joint = Majority()
    limits: Limits = Limits()
    goal: Goal | None = None

    def __post_init__(self) -> None:
        self.quorum.check(self.voter_names)
        names = self.names
        if len(set(names)) < len(names):
            raise ValueError(f"a member is named twice: {', '.join(sorted(names))}")
        if self.goal is not None:
            if strangers := set(self.goal.voters).difference(names):
                raise ValueError(f"{', '.join(sorted(strangers))} cannot be on the way to a vote without being members")
            self.goal.quorum.check(self.goal.voters)

    @property
    def members(self) -> tuple[Member, ...]:
        """Voters and observers."""
        return self.voters + self.observers

    @property
    def names(self) -> tuple[str, ...]:
        """Of all members."""
        return tuple(member.name for member in self.members)

    @property
    def voter_names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.voters)

    @property
    def observer_names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.observers)

    @property
    def is_joint(self) -> bool:
        """Is this the middle of a change, in which two electorates decide together (Ongaro 2014, 4.3)?"""
        return isinstance(self.quorum, Joint)

    def member(self, name: str) -> Member | None:
        """The member of that name, voter or observer."""
        return next((member for member in self.members if member.name == name), None)

    def includes(self, name: str) -> bool:
        """Is this a member, voter or observer?"""
        return self.member(name) is not None

    def storage_of(self, name: str) -> bytes | None:
        """The disk that this voter's word is kept on; None for whom is no voter."""
        for member in self.voters:
            if member.name == name:
                return member.storage
        return None

    def disk_of(self, name: str) -> bytes | None:
        """The disk that this member, voter or observer, is known by; None for whom is no member."""
        member = self.member(name)
        return None if member is None else member.storage

    def elects(self, granted: frozenset[str]) -> bool:
        """Do these voters suffice to elect a leader?"""
        return self.quorum.elects(self.voter_names, granted)

    def commits(self, acknowledged: frozenset[str]) -> bool:
        """Do these voters suffice to commit?"""
        return self.quorum.commits(self.voter_names, acknowledged)


class Formation(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The record that a group begins with, made once (rule 13). Without it a member neither votes nor accepts.

    version: of the class, in force until the log says another: the lowest of those that the founders came with.
    takes: the messages of the class in that version, the same at all founders; empty if they did not tell.
    """

    group: Name
    cluster: ClusterId
    configuration: Configuration
    version: Version = 1
    takes: tuple[str, ...] = ()


class View(msgspec.Struct, frozen=True):
    """Who is in, who leads and who is alive, as agreed: the same sequence on every member.

    One begins when the entry is delivered that begins an epoch, sets a configuration, or says who is reachable.
    number: 1, 2, 3... of this view; index: of the log entry that began it. voters, observers: names; while `quorum` is
    a `Joint`, the voters of before and after are both among them.
    reachable: members, as the leader's detector had it and the log agreed; one that is not is suspected, not removed.
    """

    number: int
    epoch: int
    leader: str
    index: int
    voters: tuple[str, ...]
    observers: tuple[str, ...]
    quorum: QuorumSystem | Joint
    reachable: tuple[str, ...]
