"""What strikes: crashes, power cuts, pauses, wiped disks, clocks set, links cut in every pattern. Each ends in a while.

The leader is struck more often than it deserves: that is where the rules are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from broadcast._simulation.disk import Disk
from broadcast._simulation.network import Network
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND
from broadcast._simulation.world import World

Links = list[tuple[str, str]]

LEADER_STRUCK = 0.5  # chance that a fault chooses the leader
DOWN = 800 * MILLISECOND  # a process stays down for at most this
CUT = 1500 * MILLISECOND  # and links stay cut
WIPED = 2500 * MILLISECOND  # and a wiped disk is in use


class Faults:
    """Strikes until `end` is called, which repairs everything."""

    def __init__(self, world: World, nodes: Mapping[str, Node], disks: Mapping[str, Disk], network: Network) -> None:
        self._world = world
        self._nodes = nodes
        self._disks = disks
        self._names = list(nodes)
        self._network = network
        self._cuts: list[Links] = []
        options = world.options
        weights = {
            self._crash: options.crashes,
            self._cut_power: options.power_cuts,
            self._pause: options.pauses,
            self._cut: options.cuts if len(nodes) > 1 else 0,
            self._wipe: options.wipes if len(nodes) > 2 else 0,
            self._set_clock: options.clock_jumps,
        }
        self._choices = [fault for fault, weight in weights.items() for _ in range(weight)]
        if options.strike_interval and self._choices:
            world.schedule.at(options.faults_from, self._strike)

    def end(self) -> None:
        """Everything works again."""
        self._world.calm = True
        for links in self._cuts:
            self._network.heal(links)
        for name, node in self._nodes.items():
            if self._disks[name].wiped:
                self._bring_back(name)
            if node.paused:
                node.resume()
            if not node.alive:
                node.start(self._network)

    def _strike(self) -> None:
        world = self._world
        if not world.calm:
            world.chance.choice(self._choices)()
            world.schedule.after(world.chance.randrange(2 * world.options.strike_interval), self._strike)

    def _later(self, delay_max: int, action: Callable[[], None]) -> None:
        self._world.schedule.after(1 + self._world.chance.randrange(delay_max), action)

    def _victim(self) -> Node:
        chance = self._world.chance
        leaders = [node for node in self._nodes.values() if node.alive and node.replica.leadership is not None]
        if leaders and chance.random() < LEADER_STRUCK:
            return chance.choice(leaders)
        return self._nodes[chance.choice(self._names)]

    # -- processes -------------------------------------------------------------------------------------------------

    def _crash(self) -> None:
        self._crash_one(self._victim())

    def _cut_power(self) -> None:
        self._world.marks["power cuts"] += 1
        for node in self._nodes.values():
            self._crash_one(node)

    def _crash_one(self, node: Node) -> None:
        if node.alive:
            node.crash()
            self._later(DOWN, partial(self._restart, node))

    def _restart(self, node: Node) -> None:
        if not node.alive:
            node.start(self._network)

    def _pause(self) -> None:
        node = self._victim()
        if node.alive and not node.paused:
            node.pause()
            self._later(4 * self._world.options.election_timeout, partial(self._resume, node, node.life))

    def _resume(self, node: Node, life: int) -> None:
        if node.paused and node.life == life:
            node.resume()

    def _wipe(self) -> None:
        """One disk at a time; and all have the record, or it would be right that the group forms anew without it."""
        node, disks = self._victim(), list(self._disks.values())
        if node.alive and all(disk.formed and not disk.wiped for disk in disks):
            self._crash_one(node)
            self._disks[node.name].wipe()
            self._later(WIPED, partial(self._bring_back, node.name))

    def _bring_back(self, name: str) -> None:
        """An operator finds the old disk."""
        if self._disks[name].wiped:
            self._crash_one(self._nodes[name])
            self._disks[name].bring_back()

    def _set_clock(self) -> None:
        node = self._victim()
        if node.alive:
            node.set_clock()

    # -- links -----------------------------------------------------------------------------------------------------

    def _cut(self) -> None:
        links = self._pattern(self._victim().name)
        self._world.note("", "cut", links)
        self._world.marks["links cut"] += 1
        self._network.cut(links)
        self._cuts.append(links)
        self._later(CUT, partial(self._heal, links))

    def _heal(self, links: Links) -> None:
        if not self._world.calm:
            self._world.note("", "heal", links)
            self._cuts.remove(links)
            self._network.heal(links)

    def _pattern(self, name: str) -> Links:
        """Which directions are cut, around this member."""
        others = [other for other in self._names if other != name]
        return self._world.chance.choice(_PATTERNS)(name, others, self._world.chance.choice(others))


def _isolated(name: str, others: Sequence[str], _: str) -> Links:
    return _mute(name, others, _) + _deaf(name, others, _)


def _mute(name: str, others: Sequence[str], _: str) -> Links:
    return [(name, other) for other in others]


def _deaf(name: str, others: Sequence[str], _: str) -> Links:
    return [(other, name) for other in others]


def _pair(name: str, _: Sequence[str], other: str) -> Links:
    return [(name, other), (other, name)]


def _one_way(name: str, _: Sequence[str], other: str) -> Links:
    return [(name, other)]


def _halves(name: str, others: Sequence[str], _: str) -> Links:
    """This member with half of the others, against the rest."""
    middle = len(others) // 2
    side, rest = [name, *others[:middle]], others[middle:]
    return [link for one in side for other in rest for link in ((one, other), (other, one))]


_PATTERNS = (_isolated, _isolated, _mute, _deaf, _pair, _one_way, _halves)
