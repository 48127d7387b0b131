"""The network between replicas: messages lost, doubled, delayed, reordered; links cut, each way for itself.

It also tells what a link layer would: that a link was made anew (`Connected`), and that a process is gone because a
reconnect was refused or met its successor (`Suspected`). Either may be late, or missing, and the latter wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from broadcast._protocol.output import Connected, Input, Suspected
from broadcast._simulation.options import MILLISECOND
from broadcast._simulation.world import World

Receive = Callable[[str, str, int, bytes], None]
"""receive(to, sender, stamp, data)"""
Give = Callable[[str, Input], None]
"""give(to, input)"""

TOLD = 0.8  # chance that the link layer notices
NOTICE_DELAY = 30 * MILLISECOND  # at most


class Network:
    """Carries bytes between the members `names`."""

    def __init__(self, world: World, names: Sequence[str], receive: Receive, give: Give) -> None:
        self._world = world
        self._names = names
        self._receive = receive
        self._give = give
        self._cut: Counter[tuple[str, str]] = Counter()
        self._arrives: dict[tuple[str, str], int] = {}  # when the last message in order arrives
        self._connected: dict[tuple[str, str], int] = {}  # when one was told of a new link to the other

    def send(self, sender: str, to: str, stamp: int, data: bytes) -> None:
        """Carry this, or not."""
        options, world = self._world.options, self._world
        if self._cut[sender, to] or world.strikes(options.loss):
            world.marks["messages lost"] += 1
            return
        copies = 2 if world.strikes(options.duplication) else 1
        for _ in range(copies):
            world.schedule.at(self._arrival(sender, to), partial(self._arrive, sender, to, stamp, data, world.now))

    def _arrival(self, sender: str, to: str) -> int:
        world, options = self._world, self._world.options
        usual = world.now + 1 + world.chance.randrange(options.latency)
        if world.strikes(options.reordering):
            return usual + world.chance.randrange(options.delay)
        self._arrives[sender, to] = max(usual, self._arrives.get((sender, to), 0))
        return self._arrives[sender, to]

    def _arrive(self, sender: str, to: str, stamp: int, data: bytes, sent_at: int) -> None:
        if not self._cut[sender, to]:
            self._world.marks["messages of an earlier link"] += sent_at < self._connected.get((to, sender), 0)
            self._receive(to, sender, stamp, data)

    # -- links -----------------------------------------------------------------------------------------------------

    def cut(self, links: Sequence[tuple[str, str]]) -> None:
        """Cut these directions, until each is healed as often as it was cut.

        Where there are leases it may look as if the other end were gone: whatever cuts them refuses reconnects, too.
        """
        self._cut.update(links)
        for one, other in links if self._world.options.leases else ():
            if self._noticed():
                self._later(partial(self._give, other, Suspected(one)))

    def heal_all(self) -> None:
        """Nothing is cut any more."""
        self.heal_between(self._names)

    def heal_between(self, names: Sequence[str]) -> None:
        """Nothing is cut any more from one of these to another."""
        self.heal([link for link in self._cut.elements() if set(link).issubset(names)])

    def heal(self, links: Sequence[tuple[str, str]]) -> None:
        self._cut.subtract(links)
        for one, other in links:
            self._tell(one, other)
            self._tell(other, one)

    def started(self, name: str) -> None:
        """A process listens: the others connect to it."""
        for other in self._others(name):
            self._tell(name, other)
            self._tell(other, name)

    def crashed(self, name: str) -> None:
        """A process is gone: its machine refuses reconnects, where it can be reached."""
        for other in self._others(name):
            if self._whole(name, other) and self._noticed():
                self._later(partial(self._give, other, Suspected(name)))

    def _tell(self, name: str, of: str) -> None:
        if self._noticed():
            self._later(partial(self._connect, name, of))

    def _connect(self, name: str, of: str) -> None:
        if self._whole(name, of):
            self._connected[name, of] = self._world.now
            self._give(name, Connected(of))

    def _noticed(self) -> bool:
        return self._world.calm or self._world.chance.random() < TOLD

    def _later(self, action: Callable[[], None]) -> None:
        self._world.schedule.after(self._world.chance.randrange(NOTICE_DELAY), action)

    def _whole(self, one: str, other: str) -> bool:
        return not self._cut[one, other] and not self._cut[other, one]

    def _others(self, name: str) -> list[str]:
        return [other for other in self._names if other != name]
