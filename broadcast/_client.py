"""Clients: programs that use a group without being a replica of it."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from actors import Actor, LinkBroken, RemoteProtocolError
from actors._client_link import ClientLink, open_client_link
from actors._interface import Interface
from actors._node import NO_SUCH
from actors._nursery import open_background
from actors._protocol.address import parse_address
from actors._protocol.clock import LamportClock
from actors._protocol.codec import encode_struct
from actors._protocol.envelope import Envelope
from broadcast._group import GroupRef
from broadcast._handle import Handle, Way
from broadcast._log import log
from broadcast._protocol.entries import Submittable, in_messages
from broadcast._protocol.visits import (
    TO_CLIENT,
    Enter,
    FromClient,
    GiveUp,
    Leading,
    Offer,
    Read,
    ReadAnswer,
    Status,
    Told,
    Welcome,
)
from membership import Limits

A = TypeVar("A", bound=Actor)

BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 0.020, 1.0
"""Between two rounds over all members, growing twofold, less up to half by chance."""
WARNED_AFTER_ROUNDS = 5
WELCOME_SECONDS = 2.0  # within which a member answers a client's first word


@asynccontextmanager
async def connect(
    group: str, actor: type[A], *, members: Mapping[str, str], name: str | None = None
) -> AsyncGenerator[GroupRef[A]]:
    """A handle of a group from outside it: `ask`, `tell` and `pipeline`, all under one session.

    members: name -> address of some members; any one of them that can be reached is enough, and when it goes the next
    is tried. Returns at once: an `ask` waits for a link and for a quorum, for as long as its caller's scope allows.
    name: what the replicas know this client by (the `sender` of its commands); made up unless given.
    Leaving waits for what was told, within the caller's scope.
    """
    interface = Interface.of(actor)
    interface.replicable()
    if not members:
        raise ValueError("members= names nobody: give the address of at least one member of the group")
    for address in members.values():
        parse_address(address)
    who = name or f"client-{secrets.token_hex(8)}"
    handle = Handle(owner=who, nonce=os.urandom(16), clock=LamportClock(who), limits=Limits())
    async with open_background() as nursery:
        try:
            nursery.start_soon(handle.run)
            nursery.start_soon(_stay_linked, handle, who, group, dict(members))
            yield GroupRef(actor, handle)
            await handle.drained()
        finally:
            handle.close()


async def _stay_linked(handle: Handle, name: str, group: str, members: dict[str, str]) -> None:
    """Keep a link to a member that serves the group: to the leader if it can be reached, else to any other."""
    order = list(members)
    random.shuffle(order)
    turn, target = 0, order[0]
    unreachable: str | None = None  # whom not to go to when told that it leads: lost, or never reached
    rounds, troubles = 0, dict[str, str]()
    while True:
        visit = _Visit(handle, name, group, target, members, unreachable)
        why = await visit.pay()
        order += [each for each in members if each not in order]  # whom we were told of
        if visit.served:
            rounds = 0
            troubles.clear()
        else:
            troubles[target] = why
        if visit.leader is not None:
            target, unreachable = visit.leader, visit.leader  # until it has taken us in
            continue
        if visit.served:
            unreachable = target  # lost: others may not have noticed yet that it does not lead any more
        turn = (turn + 1) % len(order)
        if order[turn] == target and visit.served:  # the one just lost is the last to try
            turn = (turn + 1) % len(order)
        target = order[turn]
        if turn == 0 and troubles:
            rounds += 1
            if rounds == WARNED_AFTER_ROUNDS:
                told = "; ".join(f"{each} at {members[each]}: {trouble}" for each, trouble in troubles.items())
                log.warning("no member of the group can be used; still trying", group=group, members=told)
            pause = min(BACKOFF_SECONDS_MIN * 2**rounds, BACKOFF_SECONDS_MAX)
            await trio.sleep(pause * (1 - random.random() / 2))  # noqa: S311 - no secret


class _Visit(Way):
    """One link to one member: the way to the group for as long as it lasts."""

    def __init__(
        self, handle: Handle, name: str, group: str, member: str, members: dict[str, str], unreachable: str | None
    ) -> None:
        """`members`: addresses, added to as they become known. `unreachable`: whom not to leave for."""
        self.served = False
        """Did the member take us in?"""
        self.leader: str | None = None
        """Who leads, if that is why the visit ended."""
        self._handle = handle
        self._name = name
        self._group = group
        self._member = member
        self._members = members
        self._unreachable = unreachable
        self._link: ClientLink | None = None

    async def pay(self) -> str:
        """Link, and carry until that is lost, or the leader turns out to be elsewhere. Returns why it is over."""
        try:
            async with open_client_link(self._members[self._member], self._name) as link:
                self._link = link
                try:
                    return await self._carry(link)
                finally:
                    self._handle.take_way(None)
        except OSError as error:
            return error.strerror or str(error)

    async def _carry(self, link: ClientLink) -> str:
        self._handle.clock.witness(link.clock.counter)
        link.clock = self._handle.clock  # one clock: what is sent is stamped later than what it carries
        self._send(Enter())
        try:
            with trio.move_on_after(WELCOME_SECONDS) as waiting:
                async for envelope in link:
                    if envelope.tag == NO_SUCH:
                        return f"the node {link.node} has no group {self._group!r}"
                    self._received(envelope)
                    if self.served:
                        waiting.deadline = float("inf")
                    if self.leader is not None:
                        return f"{self.leader} leads"
        except LinkBroken as error:
            return str(error)
        except RemoteProtocolError as error:
            log.warning("link closed for a fault", node=link.node, reason=str(error))
            return str(error)
        return f"the node {link.node} did not welcome us within {WELCOME_SECONDS:g} s"

    def _received(self, envelope: Envelope) -> None:
        match TO_CLIENT.decode(envelope.body):
            case Welcome(limits=limits, members=members):
                self.served = True
                for name, address in members.items():
                    self._members.setdefault(name, address)
                self._handle.limits = limits
                self._handle.take_way(self)
            case Leading(leader=leader, address=address):
                self._led_by(leader, address)
            case Status():
                pass  # asked for by others than a handle
            case Told(report=report):
                self._handle.report(report)
            case ReadAnswer(number=number, outcome=outcome):
                self._handle.answer(number, outcome)

    def _led_by(self, leader: str, address: str | None) -> None:
        """Leave for the leader: what is asked there takes two hops less."""
        if address is not None:
            self._members[leader] = address
        if leader not in (self._member, self._unreachable) and leader in self._members:
            self.leader = leader

    # -- the way -----------------------------------------------------------------------------------------------------

    def submit(self, entries: Sequence[Submittable]) -> None:
        for part in in_messages(entries):
            self._send(Offer(part))

    def read(self, number: int, call: bytes, *, local: bool) -> None:
        self._send(Read(number, call, local))

    def give_up(self, number: int) -> None:
        self._send(GiveUp(number))

    def _send(self, message: FromClient) -> None:
        """What a lost link or a full lane swallows is sent again: by the next visit, or after too long a silence."""
        if self._link is not None and self._link.broken is None:
            self._link.send(self._group, "group", encode_struct(message))
