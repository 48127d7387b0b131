"""Clients: programs that use a group without being a replica of it."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from actors import Actor, LinkBroken, RemoteProtocolError
from actors._client_link import ClientLink, open_client_link
from actors._interface import Interface
from actors._node import NO_SUCH
from actors._protocol.address import parse_address
from actors._protocol.clock import LamportClock
from actors._protocol.codec import encode_struct
from actors._protocol.envelope import Envelope
from broadcast._group import GroupRef
from broadcast._handle import Handle, Way
from broadcast._log import log
from broadcast._protocol.entries import Submittable
from broadcast._protocol.visits import TO_CLIENT, Enter, FromClient, GiveUp, Offer, Read, ReadAnswer, Told, Welcome
from membership import Limits

A = TypeVar("A", bound=Actor)

BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 0.020, 1.0
"""Between two rounds over all members, growing twofold, less up to half by chance."""
OFFER_COUNT_MAX = 1_000  # entries in one message
WELCOME_SECONDS = 2.0  # within which a member answers a client's first word


@asynccontextmanager
async def connect(
    group: str, actor: type[A], *, members: Mapping[str, str], name: str | None = None
) -> AsyncIterator[GroupRef[A]]:
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
    async with trio.open_nursery() as nursery:
        try:
            nursery.start_soon(handle.run)
            nursery.start_soon(_stay_linked, handle, who, group, dict(members))
            yield GroupRef(actor, handle)
            await handle.drained()
        finally:
            handle.close()
            nursery.cancel_scope.cancel()


async def _stay_linked(handle: Handle, name: str, group: str, members: dict[str, str]) -> None:
    """Keep a link to one member that serves the group; go on to the next when it is lost."""
    order = list(members)
    random.shuffle(order)
    pause, warned = BACKOFF_SECONDS_MIN, False
    while True:
        troubles: dict[str, str] = {}
        for member in order:
            served, troubles[member] = await _Visit(handle, name, group).pay(members[member])
            if served:
                pause, warned = BACKOFF_SECONDS_MIN, False
                troubles.clear()
        if troubles and not warned:
            warned = True
            told = "; ".join(f"{member} at {members[member]}: {trouble}" for member, trouble in troubles.items())
            log().warning("no member of the group can be used; still trying", group=group, members=told)
        await trio.sleep(pause * (1 - random.random() / 2))  # noqa: S311 - no secret
        pause = min(2 * pause, BACKOFF_SECONDS_MAX)


class _Visit(Way):
    """One link to one member: the way to the group for as long as it lasts."""

    def __init__(self, handle: Handle, name: str, group: str) -> None:
        self._handle = handle
        self._name = name
        self._group = group
        self._link: ClientLink | None = None
        self._served = False

    async def pay(self, address: str) -> tuple[bool, str]:
        """Link, and carry until that is lost. Returns whether the group was served here, and why it is over."""
        try:
            async with open_client_link(address, self._name) as link:
                self._link = link
                try:
                    why = await self._carry(link)
                finally:
                    self._handle.take_way(None)
                return self._served, why
        except OSError as error:
            return self._served, error.strerror or str(error)

    async def _carry(self, link: ClientLink) -> str:
        link.clock.witness(self._handle.clock.counter)
        self._send(Enter())
        try:
            with trio.move_on_after(WELCOME_SECONDS) as waiting:
                async for envelope in link:
                    if envelope.tag == NO_SUCH:
                        return f"the node {link.node} has no group {self._group!r}"
                    self._handle.clock.witness(envelope.counter)
                    self._received(envelope)
                    if self._served:
                        waiting.deadline = float("inf")
        except LinkBroken as error:
            return str(error)
        except RemoteProtocolError as error:
            log().warning("link closed for a fault", node=link.node, reason=str(error))
            return str(error)
        return f"the node {link.node} did not welcome us within {WELCOME_SECONDS:g} s"

    def _received(self, envelope: Envelope) -> None:
        match TO_CLIENT.decode(envelope.body):
            case Welcome(limits=limits):
                self._served = True
                self._handle.limits = limits
                self._handle.take_way(self)
            case Told(report=report):
                self._handle.report(report)
            case ReadAnswer(number=number, outcome=outcome):
                self._handle.answer(number, outcome)

    # -- the way -----------------------------------------------------------------------------------------------------

    def submit(self, entries: Sequence[Submittable]) -> None:
        for at in range(0, len(entries), OFFER_COUNT_MAX):
            self._send(Offer(tuple(entries[at : at + OFFER_COUNT_MAX])))

    def read(self, number: int, call: bytes) -> None:
        self._send(Read(number, call))

    def give_up(self, number: int) -> None:
        self._send(GiveUp(number))

    def _send(self, message: FromClient) -> None:
        """What a lost link or a full lane swallows is sent again: by the next visit, or when the silence is too long."""
        if self._link is not None and self._link.broken is None:
            self._link.send(self._group, "group", encode_struct(message))
