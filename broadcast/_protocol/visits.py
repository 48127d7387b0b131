"""What a client, which is no replica, and the replica it is linked to say to each other."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from actors._protocol.codec import OneOf
from broadcast._protocol.entries import Submittable
from broadcast._protocol.following import Follow, Piece, Unfollow, Unheld
from broadcast._protocol.portions import COUNT_MAX
from broadcast._protocol.position import Natural, Positive
from broadcast._protocol.queries import Query
from broadcast._protocol.reports import Report
from membership._protocol.view import ClusterId, Limits, Name


class Enter(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="enter"):
    """A client's first word: it wants to speak to the group that the envelope is for."""


class StatusAsked(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="status?"):
    """What does this replica know of its group?"""


class Status(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="status"):
    """What a replica knows of its group at this moment.

    role: "forming", "follower", "canvasser", "candidate" or "leader"; "closed" once it was left here.
    leader: whom it knows to lead.
    first, snapshot, applied, commit, last, durable: indices. The log holds the entries `first` to `last`; the snapshot
    is of the state at an index beyond which none is missing, 0 without one. `snapshot <= applied <= commit <= last`.
    version, newest: of the class, in force there, and the one that this replica runs.
    members: name -> address, as this replica knows them. reachable: as leader, those heard of within an election
    timeout; else None.
    waiting: why nothing can be committed now, or soon, as far as this replica can tell; None if nothing is amiss.
    """

    node: str
    group: str
    role: str
    epoch: Natural
    leader: str | None
    commit: Natural
    applied: Natural
    last: Natural
    durable: Natural
    snapshot: Natural
    first: Positive
    sessions: Natural
    voters: tuple[str, ...]
    members: dict[str, str]
    reachable: tuple[str, ...] | None
    waiting: str | None
    version: Positive = 1
    newest: Positive = 1


class Welcome(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="welcome"):
    """The replica takes the client in. Said once its group has formed; nothing but `StatusAsked` may be said before.

    cluster: which group this is; sessions of another cluster mean nothing in it. limits: of this group.
    """

    cluster: ClusterId
    limits: Limits


class Members(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="members"):
    """The group's members from now on: their addresses by name, as far as the replica knows.

    Said after `Welcome`, and again whenever they change: a client whose link lasts longer than all members that it
    came with must know where to go when that is lost.
    """

    members: dict[str, str]


class Leading(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="leading"):
    """Who leads from now on, and its address, as far as the replica knows. `leader` is None while it knows nobody."""

    leader: Name | None
    address: str | None


class Offer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="offer"):
    """Entries that the client's session wants in the log."""

    entries: Annotated[tuple[Submittable, ...], msgspec.Meta(max_length=COUNT_MAX)]


class Read(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="read"):
    """Queries, to be answered by `ReadAnswers`. One that is under way already is not begun again."""

    queries: Annotated[tuple[Query, ...], msgspec.Meta(max_length=COUNT_MAX)]


class GiveUp(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="give up"):
    """Nobody waits for the query of this number any more."""

    number: Natural


class Told(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="told"):
    """What became of something that the client's session sent, as told by a replica that has applied up to `index`."""

    report: Report
    index: Natural


class ReadAnswer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The encoded outcome of the query of this number."""

    number: Natural
    outcome: bytes


class ReadAnswers(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="answers"):
    """What came of queries, on the state that a replica had at `index`."""

    answers: tuple[ReadAnswer, ...]
    index: Natural


FromClient: TypeAlias = Enter | StatusAsked | Offer | Read | GiveUp | Follow | Unfollow
ToClient: TypeAlias = Welcome | Members | Leading | Status | Told | ReadAnswers | Piece | Unheld

FROM_CLIENT = OneOf[FromClient](Enter, StatusAsked, Offer, Read, GiveUp, Follow, Unfollow)
TO_CLIENT = OneOf[ToClient](Welcome, Members, Leading, Status, Told, ReadAnswers, Piece, Unheld)
