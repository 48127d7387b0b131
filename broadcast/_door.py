"""Where clients come in: what a linked client says goes to the replica, what becomes of it goes back.

A client's word is checked here, once, before anything of it is sequenced: whose session it is, sizes, and every call
against the actor's annotations (`_sifting`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from actors import Envelope, Origin
from actors._node import NO_SUCH
from actors._protocol.codec import encode, encode_struct
from actors._protocol.errors import RemoteProtocolError
from broadcast._feeder import Feeder
from broadcast._outcomes import INVALID
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.entries import Commands, Submittable, size
from broadcast._protocol.following import Follow, Unfollow
from broadcast._protocol.portions import COUNT_MAX, is_portion, portions
from broadcast._protocol.queries import UNDER_WAY_MAX, UNDER_WAY_SIZE_MAX, Query
from broadcast._protocol.reports import Answers, Report
from broadcast._protocol.submitter import check_run
from broadcast._protocol.visits import (
    FROM_CLIENT,
    Enter,
    FromClient,
    GiveUp,
    Leading,
    Members,
    Offer,
    Read,
    ReadAnswer,
    ReadAnswers,
    StatusAsked,
    ToClient,
    Told,
    Welcome,
)
from broadcast._reader import Reader
from broadcast._replica import ReplicaHost
from broadcast._sifting import sifted
from broadcast._status import members_of, status_of

VALUES_MAX = 10 * COUNT_MAX
"""In what a client says, where the largest of its things is a run of commands, of nine values: to count what is within
a command is left for when it is opened."""


class Visitor:
    """One client's link, as the owner of its sessions at this replica. name: the client's."""

    def __init__(self, origin: Origin, host: ReplicaHost[Any], feeder: Feeder) -> None:
        self.name = origin.name
        self._origin = origin
        self._host = host
        self._feeder = feeder
        self._entered = False
        self._welcomed = False
        self._knows_members = True
        self._reader = Reader(host, origin.name, self._tell)

    def received(self, message: FromClient, stamp: int) -> None:
        """The client says something, under this Lamport counter. Raises `RemoteProtocolError` for more than it may."""
        match message:
            case StatusAsked() if self._host.replica is None:
                self.turn_away()
            case StatusAsked():
                self._send(status_of(self._host))
            case Enter():
                self._entered = True
                self.welcome()
            case _ if not self._welcomed:
                raise RemoteProtocolError("it did not wait to be welcomed")
            case Offer():
                self._offer(message, stamp)
            case Read():
                self._read(message.queries)
            case GiveUp():
                self._reader.give_up(message.number)
            case Follow() | Unfollow():
                self._feeder.asked(self._send, message)

    def welcome(self) -> None:
        """Take the client in, if it wants to and the group has formed."""
        replica = self._host.replica
        formation = replica.formation if replica else None
        if replica is not None and formation is not None and self._entered and not self._welcomed:
            self._welcomed = True
            self._send(Welcome(formation.cluster, self._host.limits))
            self._knows_members = False  # it is told before anything else is
            self.tell_leader(replica.leader)

    def tell_members(self) -> None:
        """They have changed."""
        if self._welcomed:
            self._knows_members = self._say(Members(members_of(self._host)))

    def tell_leader(self, leader: str | None) -> None:
        """Somebody else leads now, or nobody."""
        if self._welcomed:
            self._send(Leading(leader, None if leader is None else self._host.node.address_of(leader)))

    def report(self, report: Report) -> None:
        """Something the client's session sent came to this. What finds no room is remembered, and asked for again."""
        if not isinstance(report, Answers):
            self._send(Told(report, self._host.applied))
            return
        number = report.number
        for part in portions(report.outcomes, len):
            if not self._send(Told(Answers(report.session, number, list(part)), self._host.applied)):
                return
            number += len(part)

    def turn_away(self) -> None:
        """This replica is here no more: what the node itself says of a group that it does not have."""
        self._origin.send("", NO_SUCH, encode(self._host.to))

    def leave(self) -> None:
        """The link is gone."""
        self._reader.leave()
        self._feeder.leave(self._send)
        self._host.leave(self)

    # -- commands --------------------------------------------------------------------------------------------------

    def _offer(self, offer: Offer, stamp: int) -> None:
        if not is_portion(map(size, offer.entries)):
            raise RemoteProtocolError("more in one offer than a message holds")
        self._host.submit(self, [self._checked(entry, stamp) for entry in offer.entries])

    def _checked(self, entry: Submittable, stamp: int) -> Submittable:
        """The entry as it may be sequenced."""
        machine = self._host.machine
        if not isinstance(entry, Commands) or machine is None:
            return entry
        if entry.stamp > stamp:
            raise RemoteProtocolError(f"commands with the stamp {entry.stamp} in a message with the stamp {stamp}")
        check_run(entry, self._host.limits)
        fitting = sifted(entry, machine)
        if fitting is not entry:
            self._origin.suspect()
        return fitting

    # -- queries ---------------------------------------------------------------------------------------------------

    def _read(self, queries: Iterable[Query]) -> None:
        for query in queries:
            if len(query.call) > self._host.limits.command_size_max:
                raise RemoteProtocolError(f"a query of {len(query.call)} bytes, beyond the group's limits")
            if query.consistency is Consistency.LOG:
                raise RemoteProtocolError("a query for the log that is not offered to it")
            reader = self._reader
            full = reader.outstanding >= UNDER_WAY_MAX or reader.size + query.size > UNDER_WAY_SIZE_MAX
            if reader.outstanding and full:
                raise RemoteProtocolError("more queries are under way on this link than may be")
        self._reader.read(queries)

    def _tell(self, answers: Iterator[ReadAnswer]) -> None:
        """What finds no room is asked for again."""
        for part in portions(answers, lambda answer: len(answer.outcome) + 16):
            if any(answer.outcome == INVALID for answer in part):
                self._origin.suspect()
            if not self._send(ReadAnswers(part, self._host.applied)):
                return

    def _send(self, message: ToClient) -> bool:
        """Is there room for it? Members that had none come first."""
        if not self._knows_members:
            self.tell_members()
        return self._say(message)

    def _say(self, message: ToClient) -> bool:
        return self._origin.send(self._host.to, "group", encode_struct(message))


class Door:
    """The receiver of a group's envelopes: members' go to the replica, clients' to their visitor."""

    def __init__(self, host: ReplicaHost[Any]) -> None:
        self.feeder = Feeder(host)
        self._host = host
        self._visitors: dict[Origin, Visitor] = {}
        host.watchers.append(self)

    def close(self) -> None:
        """The replica is going: its visitors need another."""
        for visitor in self._visitors.values():
            visitor.turn_away()

    # -- of the node (see `actors.Receiver`) -----------------------------------------------------------------------

    def received(self, origin: Origin, envelope: Envelope) -> None:
        if not origin.is_client:
            self._host.received(origin, envelope)
            return
        visitor = self._visitors.get(origin)
        if visitor is None:
            visitor = self._visitors[origin] = Visitor(origin, self._host, self.feeder)
        visitor.received(FROM_CLIENT.decode(envelope.body, count_max=VALUES_MAX), envelope.counter)

    def connected(self, peer: str) -> None:
        self._host.connected(peer)

    def suspected(self, peer: str) -> None:
        self._host.suspected(peer)

    def disconnected(self, origin: Origin) -> None:
        visitor = self._visitors.pop(origin, None)
        if visitor is not None:
            visitor.leave()

    # -- of the replica (see `Watcher`) ----------------------------------------------------------------------------

    def formed(self) -> None:
        for visitor in self._visitors.values():
            visitor.welcome()

    def members_known(self) -> None:
        for visitor in self._visitors.values():
            visitor.tell_members()

    def leader_known(self, leader: str | None) -> None:
        for visitor in self._visitors.values():
            visitor.tell_leader(leader)
