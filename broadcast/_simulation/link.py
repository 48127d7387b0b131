"""A client's link to one life of one replica. Keeps its order and loses nothing, as long as it stands."""

from __future__ import annotations

from functools import partial
from typing import Protocol, TypeAlias

import msgspec

from actors._protocol.codec import OneOf, encode_struct
from broadcast._protocol.entries import Submittable
from broadcast._protocol.queries import Query
from broadcast._protocol.reports import Report
from broadcast._protocol.visits import Leading, Members
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND
from broadcast._simulation.reception import Reception
from broadcast._simulation.world import World

LATENCY = MILLISECOND  # at most


class Offered(msgspec.Struct, frozen=True, array_like=True, tag="offered"):
    """From the client: for the log."""

    stamp: int
    entries: tuple[Submittable, ...]


class Asked(msgspec.Struct, frozen=True, array_like=True, tag="asked"):
    """From the client: queries."""

    stamp: int
    queries: tuple[Query, ...]


class GivenUp(msgspec.Struct, frozen=True, array_like=True, tag="given up"):
    """From the client: it does not wait for that query any more."""

    stamp: int
    number: int


class Reported(msgspec.Struct, frozen=True, array_like=True, tag="reported"):
    """To the client: about its session, as of the index that is applied there."""

    stamp: int
    report: Report
    index: int


class Told(msgspec.Struct, frozen=True, array_like=True, tag="told"):
    """To the client: what the query gave, and on the state of which index."""

    stamp: int
    number: int
    outcome: bytes
    index: int


ToNode: TypeAlias = Offered | Asked | GivenUp
ToClient: TypeAlias = Reported | Told | Members | Leading
_TO_NODE = OneOf[ToNode](Offered, Asked, GivenUp)
_TO_CLIENT = OneOf[ToClient](Reported, Told, Members, Leading)


class End(Protocol):
    """The client at this end."""

    @property
    def name(self) -> str: ...
    def receive(self, message: ToClient) -> None: ...
    def cut_off(self, link: Link) -> None: ...


class Link:
    """`stands` until either end is gone."""

    def __init__(self, world: World, client: End, node: Node) -> None:
        self.name = client.name
        self.node = node
        self._world = world
        self._client = client
        self._life = node.life
        self._latency = 1 + world.chance.randrange(LATENCY)
        self.stands = node.connect(self)

    def close(self) -> None:
        """The client hangs up."""
        self.stands = False
        if self._same_life:
            self._world.schedule.after(self._latency, self._hang_up)

    def _hang_up(self) -> None:
        self.node.serve(lambda reception: reception.leave(self))

    def broken(self) -> None:
        """The replica's process is gone."""
        self._world.schedule.after(self._latency, partial(self._client.cut_off, self))

    @property
    def _same_life(self) -> bool:
        return self.node.alive and self.node.life == self._life

    # -- to the replica --------------------------------------------------------------------------------------------

    def send(self, message: ToNode) -> None:
        self._world.schedule.after(self._latency, partial(self._arrive, encode_struct(message)))

    def _arrive(self, data: bytes) -> None:
        if not self._same_life:
            return
        message = _TO_NODE.decode(data)
        match message:
            case Offered(stamp, entries):
                self.node.serve(lambda reception: reception.submit(self, stamp, entries))
            case Asked(queries=queries):
                for query in queries:
                    self.node.serve(partial(_ask, self, query))
            case GivenUp(number=number):
                self.node.serve(lambda reception: reception.give_up(self, number))

    # -- to the client ---------------------------------------------------------------------------------------------

    def report(self, report: Report) -> None:
        self._answer(Reported(self.node.stamp(), report, self.node.applied))

    def told(self, number: int, outcome: bytes) -> None:
        self._answer(Told(self.node.stamp(), number, outcome, self.node.applied))

    def introduce(self, word: Members | Leading) -> None:
        self._answer(word)

    def _answer(self, message: ToClient) -> None:
        self._world.schedule.after(self._latency, partial(self._answered, encode_struct(message)))

    def _answered(self, data: bytes) -> None:
        if self.stands and self._same_life:
            self._client.receive(_TO_CLIENT.decode(data))
        else:
            self._world.marks["answers lost"] += 1


def _ask(link: Link, query: Query, reception: Reception) -> None:
    reception.ask(link, query)
