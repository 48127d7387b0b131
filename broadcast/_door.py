"""Where clients come in: what a linked client says goes to the replica, what becomes of it goes back.

A client's word is checked here, once, before anything of it is sequenced: sizes, and every call against the actor's
annotations. A call that does not fit is replaced by one that no class understands, so that it keeps its number, and its
outcome is agreed like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from actors import Envelope, Origin
from actors._protocol.codec import encode, encode_struct, join_array
from actors._protocol.errors import RemoteProtocolError
from broadcast._machine import Machine, open_calls
from broadcast._protocol.entries import Commands, Submittable
from broadcast._protocol.reports import Answers, Report
from broadcast._protocol.submitter import RUN_SIZE_MAX
from broadcast._protocol.visits import (
    FROM_CLIENT,
    Enter,
    FromClient,
    GiveUp,
    Leading,
    Offer,
    Read,
    ReadAnswer,
    StatusAsked,
    ToClient,
    Told,
    Welcome,
)
from broadcast._replica import ReplicaHost
from broadcast._status import members_of, status_of

NOT_UNDERSTOOD = b"\xf4"
"""An encoded call that no class understands."""

TOLD_SIZE_MAX = 1024 * 1024  # bytes of answers in one message; a single larger one still gets one
TOLD_COUNT_MAX = 2_000  # answers in one message
READS_MAX = 10_000  # queries that one client may have under way


class Visitor:
    """One client's link, as the owner of its sessions at this replica."""

    def __init__(self, origin: Origin, host: ReplicaHost[Any]) -> None:
        self._origin = origin
        self._host = host
        self._reads: dict[int, int] = {}  # the client's number -> our token

    def received(self, message: FromClient, stamp: int) -> None:
        """The client says something, under this Lamport counter. Raises `RemoteProtocolError` for more than it may."""
        match message:
            case Enter():
                self._send(Welcome(self._host.limits, members_of(self._host)))
                self.tell_leader(self._host.replica.leader if self._host.replica else None)
            case StatusAsked():
                self._send(status_of(self._host))
            case Offer():
                self._host.submit(self, [self._checked(entry, stamp) for entry in message.entries])
            case Read():
                self._read(message)
            case GiveUp():
                token = self._reads.pop(message.number, None)
                if token is not None:
                    self._host.give_up(token)

    def report(self, report: Report) -> None:
        """Something the client's session sent came to this. What finds no room is remembered, and asked for again."""
        parts = _parts(report) if isinstance(report, Answers) else [report]
        for part in parts:
            self._send(Told(part))

    def tell_leader(self, leader: str | None) -> None:
        """Somebody else leads now."""
        if leader is not None:
            self._send(Leading(leader, self._host.node.address_of(leader)))

    def leave(self) -> None:
        """The link is gone."""
        for token in self._reads.values():
            self._host.give_up(token)
        self._host.leave(self)

    def _read(self, message: Read) -> None:
        if len(self._reads) >= READS_MAX:
            raise RemoteProtocolError(f"{READS_MAX} queries are under way on this link, and no more are taken")
        number = message.number

        def answer(outcome: bytes) -> None:
            self._reads.pop(number, None)
            if not self._send(ReadAnswer(number, outcome)) and not self._origin.closed:
                self._origin.close("does not read what it is answered")

        self._reads[number] = 0
        token = self._host.read(message.call, self._origin.name, answer, local=message.local)
        if number in self._reads:
            self._reads[number] = token

    def _checked(self, entry: Submittable, stamp: int) -> Submittable:
        """The entry as it may be sequenced."""
        machine = self._host.machine
        if isinstance(entry, Commands) and entry.stamp > stamp:
            raise RemoteProtocolError(f"commands with the stamp {entry.stamp} in a message with the stamp {stamp}")
        if not isinstance(entry, Commands) or machine is None:
            return entry
        limits = self._host.limits
        if len(entry.calls) > max(RUN_SIZE_MAX, limits.command_size_max) + 1024:
            raise RemoteProtocolError(f"a run of {len(entry.calls)} bytes, beyond the group's limits")
        if entry.number + entry.count - 1 - entry.acknowledged > limits.answers_max:
            raise RemoteProtocolError("more commands under way in one session than the group allows")
        return _sifted(entry, machine)

    def _send(self, message: ToClient) -> bool:
        return self._origin.send(self._host.to, "group", encode_struct(message))


def _parts(answers: Answers) -> Iterator[Answers]:
    """The answers in messages that a frame holds."""
    number, size, part = answers.number, 0, list[bytes]()
    for outcome in answers.outcomes:
        if part and (size + len(outcome) > TOLD_SIZE_MAX or len(part) == TOLD_COUNT_MAX):
            yield Answers(answers.session, number, part)
            number, size, part = number + len(part), 0, []
        part.append(outcome)
        size += len(outcome)
    yield Answers(answers.session, number, part)


def _sifted(entry: Commands, machine: Machine[Any]) -> Commands:
    """The run, with every call that does not fit replaced."""
    calls = open_calls(entry)
    understood = [call is None or machine.understands(call) for call in calls]
    if all(understood):
        return entry
    packed = [encode(call) if fits else NOT_UNDERSTOOD for call, fits in zip(calls, understood, strict=True)]
    return msgspec.structs.replace(entry, calls=join_array(packed))


class Door:
    """The receiver of a group's envelopes: members' go to the replica, clients' to their visitor."""

    def __init__(self, host: ReplicaHost[Any]) -> None:
        self._host = host
        self._visitors: dict[Origin, Visitor] = {}
        host.leader_known = self._leader_known

    def received(self, origin: Origin, envelope: Envelope) -> None:
        if not origin.is_client:
            self._host.received(origin, envelope)
            return
        visitor = self._visitors.get(origin)
        if visitor is None:
            visitor = self._visitors[origin] = Visitor(origin, self._host)
        visitor.received(FROM_CLIENT.decode(envelope.body), envelope.counter)

    def connected(self, peer: str) -> None:
        self._host.connected(peer)

    def suspected(self, peer: str) -> None:
        self._host.suspected(peer)

    def _leader_known(self, leader: str | None) -> None:
        for visitor in self._visitors.values():
            visitor.tell_leader(leader)

    def disconnected(self, origin: Origin) -> None:
        visitor = self._visitors.pop(origin, None)
        if visitor is not None:
            visitor.leave()
