"""What can be struck, and what is over when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from broadcast._simulation.disk import Disk
from broadcast._simulation.network import Network
from broadcast._simulation.node import Node
from broadcast._simulation.register import Register, suffice
from broadcast._simulation.world import World

LEADER_STRUCK = 0.5  # chance that a fault chooses the leader: there the rules are tried


@dataclass(frozen=True, slots=True)
class Field:
    """All members, by name, with their disks, and the network between them."""

    world: World
    nodes: Mapping[str, Node]
    disks: Mapping[str, Disk]
    network: Network
    register: Register

    def later(self, delay_max: int, action: Callable[[], None], *, delay_min: int = 1) -> None:
        """Do this after a while, unless all faults have ended by then."""

        def act() -> None:
            if not self.world.calm:
                action()

        self.world.schedule.after(self.world.chance.randrange(delay_min, delay_max + 1), act)

    def victim(self) -> Node:
        """Any member, a leader more often than it deserves."""
        chance = self.world.chance
        leaders = [node for node in self.nodes.values() if node.alive and node.replica.leadership is not None]
        if leaders and chance.random() < LEADER_STRUCK:
            return chance.choice(leaders)
        return chance.choice(self.members)

    @property
    def members(self) -> list[Node]:
        """Who takes part, or is about to: not a spare that was never wanted, and nobody who was removed."""
        founders = self.world.options.names
        return [node for name, node in self.nodes.items() if (node.life or name in founders) and not node.removed]

    def suffice(self, names: Iterable[str]) -> bool:
        """Can these elect a leader and commit, whatever is in force?"""
        return suffice(names, self.register.open(self.nodes, self.disks))

    def recover(self, node: Node) -> None:
        """Nothing threatens this process any more, and if it is down it starts."""
        node.spare()
        self.disks[node.name].spare()
        if not node.alive:
            node.start(self.network)

    def crash(self, node: Node, down: int) -> None:
        """It goes down, and comes back after `down` at most."""
        if node.alive:
            node.crash()
            self.later(down, lambda: self.recover(node))
