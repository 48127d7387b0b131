"""Clients: programs that use a group without being a replica of it."""

from __future__ import annotations

import math
import os
import random
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from actors import Actor, LinkBroken, Network, RemoteProtocolError, Tls
from actors._client_link import ClientLink, open_client_link
from actors._interface import Interface
from actors._node import NO_SUCH, secured
from actors._nursery import open_background
from actors._protocol.address import check_name, parse_address
from actors._protocol.clock import LamportClock
from actors._protocol.codec import encode_struct
from actors._protocol.envelope import Envelope
from actors._tls import TlsNetwork, certified_name
from broadcast._feed import Feed
from broadcast._group import GroupRef
from broadcast._handle import Handle, Way
from broadcast._joining import check_members
from broadcast._log import log
from broadcast._protocol.entries import Submittable, in_messages
from broadcast._protocol.following import Piece, Unheld
from broadcast._protocol.places import Places, Route
from broadcast._protocol.portions import portions
from broadcast._protocol.queries import Query
from broadcast._protocol.reports import Answers, Resend
from broadcast._protocol.visits import (
    TO_CLIENT,
    Enter,
    FromClient,
    GiveUp,
    Leading,
    Members,
    Offer,
    Read,
    ReadAnswers,
    Status,
    Told,
    Welcome,
)

A = TypeVar("A", bound=Actor)

BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 0.020, 1.0
"""Between two rounds of visits from which nothing came, growing twofold, less up to half by chance."""
WARNED_AFTER_ROUNDS = 8  # some three seconds, if each member says no at once
WELCOME_SECONDS = 2.0  # within which a member takes a client in
LEADERLESS_TIMEOUTS = 3  # election timeouts for which a client stays where nobody is known to lead
NO_GROUP = "has no group"


@asynccontextmanager
async def connect(
    group: str,
    actor: type[A],
    *,
    members: Mapping[str, str],
    name: str | None = None,
    tls: Tls | None = None,
    network: Network | None = None,
) -> AsyncGenerator[GroupRef[A]]:
    """A handle of a group from outside it: `ask`, `tell` and `pipeline`, all under one session; and `deliveries`.

    members: name -> address of some members; any one of them that can be reached is enough, and when it goes the next
    is tried. Of the others it hears while it is linked, also of those that are added later. Returns at once: an `ask`
    waits for a link and for a quorum, for as long as its caller's scope allows.
    name: what the replicas know this client by (the `sender` of its commands); made up unless given. Under TLS it is
    the name in the certificate.
    tls: the certificate, of a client or of a node, by which it proves who it is.
    network: what the members are dialed on; TCP unless given.
    Leaving waits for what was told, within the caller's scope.
    """
    Interface.of(actor).replicable()
    check_name(group)
    check_members(members)
    if not members:
        raise ValueError("members= names nobody: give the address of at least one member of the group")
    network = await secured(network, tls)
    certified = certified_name(network)
    who = check_name(name) if name is not None else certified or f"client-{secrets.token_hex(8)}"
    if certified not in (None, who):
        raise ValueError(f"the certificate is that of {certified!r}, and name={name!r}: leave the name out")
    feed = Feed(group, Interface.of(actor))
    handle = Handle(group=group, owner=who, nonce=os.urandom(16), clock=LamportClock(who), order=feed.deliveries)
    async with open_background() as nursery:
        try:
            nursery.start_soon(handle.run)
            if isinstance(network, TlsNetwork):
                nursery.start_soon(network.credentials.watch)
            nursery.start_soon(_stay_linked, handle, feed, group, dict(members), network)
            yield GroupRef(actor, handle, group)
            await handle.drained()
        finally:
            handle.close()
            feed.close()


async def _stay_linked(handle: Handle, feed: Feed, group: str, members: Mapping[str, str], network: Network) -> None:
    """Keep a link to a member that serves the group: to the leader if it can be reached, else to any other."""
    places = Places(dict(random.sample(list(members.items()), len(members))))
    route = Route(places)
    fruitless, troubles = 0, dict[str, str]()  # visits in a row that came to nothing, and why
    while True:
        target = route.target
        address = places[target]
        visit = _Visit(handle, feed, group, route, network)
        why = await visit.pay()
        if visit.fruitful:
            fruitless = 0
            troubles.clear()
        else:
            fruitless += 1
            troubles[target] = f"{target} at {address}: {why}"
        route.visited(served=visit.served, leader=visit.leader)
        rounds, left_over = divmod(fruitless, len(places))
        if rounds and not left_over:
            _warn(group, rounds, troubles)
            await _pause(rounds)


def _warn(group: str, rounds: int, troubles: dict[str, str]) -> None:
    """Once it is clear that nobody can be used: at once if all of them are there, and do not know the group."""
    unknown = all(NO_GROUP in trouble for trouble in troubles.values())
    if rounds == (1 if unknown else WARNED_AFTER_ROUNDS):
        log.warning(
            "no member of the group can be used; still trying", group=group, members="; ".join(troubles.values())
        )


async def _pause(rounds: int) -> None:
    seconds = min(BACKOFF_SECONDS_MIN * 2 ** min(rounds, 10), BACKOFF_SECONDS_MAX)
    await trio.sleep(seconds * (1 - random.random() / 2))  # noqa: S311 - no secret


class _Visit(Way):
    """One link to one member: the way to the group for as long as it lasts."""

    def __init__(self, handle: Handle, feed: Feed, group: str, route: Route, network: Network) -> None:
        """To the route's target; its places are added to as they become known."""
        self.served = False
        """Did the member take us in?"""
        self.leader: str | None = None
        """Who leads, if that is why the visit ended."""
        self._handle = handle
        self._feed = feed
        self._group = group
        self._route = route
        self._network = network
        self._link: ClientLink | None = None
        self._scope = trio.CancelScope()
        self._leaderless = WELCOME_SECONDS  # how long it may last without a leader
        self._led_since: float | None = None
        self._answered = False
        self._vain = False

    @property
    def fruitful(self) -> bool:
        """Was it good for anything?"""
        led = self._led_since is not None and trio.current_time() - self._led_since >= BACKOFF_SECONDS_MAX
        return self._answered or led

    async def pay(self) -> str:
        """Link, and carry until that is lost, or another member promises more. Returns why it is over."""
        try:
            address = self._route.places[self._route.target]
            async with open_client_link(address, self._handle.name, self._network) as link:
                self._link = link
                try:
                    return await self._carry(link)
                finally:
                    self._handle.lose_way()
                    self._feed.lose_way()
        except OSError as error:
            return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)

    async def _carry(self, link: ClientLink) -> str:
        self._scope.deadline = trio.current_time() + WELCOME_SECONDS
        try:
            self._handle.clock.witness(link.clock.counter)
            link.clock = self._handle.clock  # one clock: what is sent is stamped later than what it carries
            self._send(Enter())
            with self._scope:
                async for envelope in link:
                    if envelope.tag == NO_SUCH:
                        return f"the node {link.node} {NO_GROUP} {self._group!r}"
                    self._received(envelope)
                    if self.leader is not None:
                        return f"{self.leader} leads"
        except LinkBroken as error:
            return str(error)
        except RemoteProtocolError as error:
            log.warning("link closed for a fault", node=link.node, reason=str(error))
            return str(error)
        if self._vain:
            return f"nothing came of what the node {link.node} was asked"
        if self.served:
            return f"the node {link.node} knows no leader"
        return f"the node {link.node} did not take us in within {WELCOME_SECONDS:g} s: has its group formed?"

    def _received(self, envelope: Envelope) -> None:
        match TO_CLIENT.decode(envelope.body):
            case Welcome() as welcome:
                self._welcomed(welcome)
            case Members(members):
                for name, address in members.items():
                    _check_place(name, address)
                self._route.learn(members)
            case Leading(leader=leader, address=address):
                self._led_by(leader, address)
            case Status():
                pass  # asked for by others than a handle
            case Told(report=report, index=index):
                self._answered = self._answered or not isinstance(report, Resend)
                if isinstance(report, Answers):
                    self._handle.saw(index)
                self._handle.report(report)
            case ReadAnswers(answers=answers, index=index):
                self._answered = True
                self._handle.saw(index)
                for answer in answers:
                    self._handle.answer(answer.number, answer.outcome)
            case Piece() | Unheld() as answer:
                self._answered = self._feed.received(answer) or self._answered
                if isinstance(answer, Piece):
                    self._handle.saw(answer.following - 1)

    def _welcomed(self, welcome: Welcome) -> None:
        self.served = True
        self._leaderless = LEADERLESS_TIMEOUTS * welcome.limits.election_timeout / 1e6
        self._scope.deadline = trio.current_time() + self._leaderless
        self._handle.take_way(self, welcome.cluster, welcome.limits)
        self._feed.take_way(self._send, welcome.cluster)

    def _led_by(self, leader: str | None, address: str | None) -> None:
        """Leave for the leader, if that is another one."""
        if leader is None:
            self._led_since = None
            self._scope.deadline = trio.current_time() + self._leaderless
            return
        self._led_since = trio.current_time()
        self._scope.deadline = math.inf
        if address is not None:
            _check_place(leader, address)
        if self._route.leads_on(leader, address):
            self.leader = leader

    # -- the way -----------------------------------------------------------------------------------------------------

    def submit(self, entries: Sequence[Submittable]) -> None:
        for part in in_messages(entries):
            self._send(Offer(part))

    def read(self, queries: Sequence[Query]) -> None:
        for part in portions(queries, lambda query: query.size):
            self._send(Read(part))

    def give_up(self, number: int) -> None:
        self._send(GiveUp(number))

    def fruitless(self) -> None:
        """A member that is cut off from the others may not know it yet: they are worth a try."""
        self._vain = True
        self._scope.cancel()

    def _send(self, message: FromClient) -> None:
        """What a lost link or a full lane swallows is sent again: by the next visit, or after too long a silence."""
        if self._link is not None and self._link.broken is None:
            self._link.send(self._group, "group", encode_struct(message))


def _check_place(name: str, address: str) -> None:
    """Raise `RemoteProtocolError` unless a member can be called so, and be reached there."""
    try:
        check_name(name)
        parse_address(address)
    except ValueError as error:
        raise RemoteProtocolError(f"it names a member that cannot be: {error}") from None
