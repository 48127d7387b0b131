"""Clients that follow the order, at one replica after the other, and the order that they must be delivered (rule 9).

They look on, and have a source of chance of their own: a history is what it would be without them. The rules are the
real ones: slots, turns, pieces, and what is held; only who carries them is played.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial

from broadcast._held import first_held, piece
from broadcast._protocol.following import Follow, Ordered, Piece, Slots, Turns, Unheld
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants import Process, check
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND
from broadcast._simulation.watch import Watch
from broadcast._simulation.world import World

FOLLOWERS = 2
LATENCY = MILLISECOND  # at most, to a replica or back
DOUBT = 40 * MILLISECOND  # at most, between two times that one thinks of something else to do
LEAVES, ASKS_AGAIN, TAKES_LONG = 0.2, 0.1, 0.1  # chances that it is that
LONG = 1500 * MILLISECOND  # at most

Visit = tuple["Follower", int]
"""Who follows, and by which of its links."""


class Following:
    """The order as it was first applied, and who waits for it at which life of which replica."""

    def __init__(self, seed: int, world: World, nodes: Mapping[str, Node], watch: Watch) -> None:
        self.chance = random.Random(f"following {seed}")  # noqa: S311 - it has to be reproducible
        self.nodes = nodes
        self.world = world
        self._order: dict[int, Ordered] = {}
        self._last = 0
        self._turns = defaultdict[tuple[str, int], Turns[Visit]](Turns)
        watch.also("applied", self._applied)
        self.followers = [Follower(self) for _ in range(FOLLOWERS)]

    def after(self, delay: int, do: partial[None]) -> None:
        self.world.schedule.after(1 + self.chance.randrange(delay), do)

    # -- replicas --------------------------------------------------------------------------------------------------

    def ask(self, visit: Visit, name: str, message: Follow) -> None:
        """This has come to the replica."""
        node = self.nodes[name]
        if node.alive:
            self._turns[name, node.life].ask(visit, message.slot, message.index)
            self._serve(name, node.life)

    def _applied(self, process: Process, batch: Batch) -> None:
        if batch.first > self._last:
            self._last = batch.last
            self._order.update((each.index, each) for each in process.machine.ordered(batch))
        life = self.nodes[process.name].life
        if (process.name, life) in self._turns:
            self._turns[process.name, life].progressed()
            self.after(LATENCY, partial(self._serve, process.name, life))

    def _serve(self, name: str, life: int) -> None:
        """Answer whose turn it is, if it is that life still, and runs."""
        node = self.nodes[name]
        if not node.alive or node.life != life or node.paused:
            return
        try:
            machine, log = node.machine, node.replica.log
        except AttributeError:
            return  # its group has not formed
        first = first_held(machine, log)
        while (asked := self._turns[name, life].next(first, machine.applied)) is not None:
            follower, link = asked.who
            answer: Piece | Unheld
            if 0 < asked.index < first:
                answer = Unheld(asked.slot, asked.index, first)
            else:
                answer = Piece(asked.slot, asked.index, *piece(machine, log, asked.index or first))
            self.after(LATENCY, partial(follower.receive, link, answer))

    # -- what must hold --------------------------------------------------------------------------------------------

    def check(self, commands: Iterable[Ordered], start: int, following: int) -> None:
        """A follower was delivered these, from `start` on, and is to go on at `following`."""
        ordered = [self._order[index] for index in range(start, following) if index in self._order]
        claim = "who follows is delivered a gap-free piece of the one order, whoever it is linked to"
        check([*commands] == ordered and following <= self._last + 1, claim, start=start, following=following)
        self.world.marks["commands followed"] += len(ordered)


class Follower:
    """One that follows for ever. All that it has is its next index, 0 in the beginning: the first that is held."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._index = 0
        self._slots = Slots()
        self._slot: int | None = None
        self._link = 0
        self._at = ""
        self._busy = False
        self._go_elsewhere()
        self._ask()
        following.after(DOUBT, partial(self._doubt))

    def _go_elsewhere(self) -> None:
        self._link += 1
        self._at = self._following.chance.choice(list(self._following.nodes))

    def _ask(self) -> None:
        if self._slot is None:
            self._slot = self._slots.take(self._index)
        message = Follow(self._slot, self._index)
        node, visit = self._following.nodes[self._at], (self, self._link)
        ask = partial(self._following.ask, visit, self._at, message)
        self._following.after(LATENCY, partial(node.serve, lambda _: ask()))

    def _doubt(self) -> None:
        """Now and then its link breaks, or it takes a piece for lost, or it takes a long time over one."""
        following, marks, chance = self._following, self._following.world.marks, self._following.chance.random()
        if chance < LEAVES:
            marks["followers that went elsewhere"] += 1
            self._go_elsewhere()
        if chance < LEAVES + ASKS_AGAIN and not self._busy:
            self._ask()
        following.after(DOUBT, partial(self._doubt))

    def receive(self, link: int, answer: Piece | Unheld) -> None:
        """From a replica, by that link."""
        following, marks = self._following, self._following.world.marks
        if link != self._link or not self._slots.is_answered_by(answer):
            marks["pieces that nobody waited for"] += 1
            return
        self._slots.leave(answer.slot)
        self._slot = None
        if isinstance(answer, Unheld):
            marks["followers that were too slow"] += 1
            self._index = answer.first
        else:
            start = self._index or min((each.index for each in answer.commands), default=answer.following)
            following.check(answer.commands, start, answer.following)
            self._index = answer.following
        self._busy = following.chance.random() < TAKES_LONG
        if self._busy:
            following.after(LONG, partial(self._take_next))
        else:
            self._ask()

    def _take_next(self) -> None:
        """It is done with the last piece, at last."""
        self._busy = False
        self._ask()
