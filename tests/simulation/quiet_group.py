"""A group of three under no faults but those that a test makes, in virtual time."""

from __future__ import annotations

from random import Random

from broadcast._protocol.entries import SessionAsked
from broadcast._protocol.output import Submitted
from broadcast._simulation.disk import Disk
from broadcast._simulation.history import Stage
from broadcast._simulation.network import Network
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND, SECOND, Options
from broadcast._simulation.outcomes import Diaries

FLOOR = 100 * MILLISECOND  # the shortest election timeout
QUIET = Options(
    clients=0,
    loss=0,
    duplication=0,
    reordering=0,
    disk_latency=2 * MILLISECOND,
    stall=0,
    strike_interval=0,
    election_timeout=FLOOR,
)
NAMES = "abc"
SEED = 1


class QuietGroup:
    """Formed, with a leader, when it is made. Every invariant is checked at every step."""

    def __init__(self, seed: int = SEED, options: Options = QUIET) -> None:
        self._stage = Stage(seed, options, Diaries())
        self.idle(SECOND)

    @property
    def now(self) -> int:
        return self._stage.world.now

    @property
    def network(self) -> Network:
        return self._stage.network

    @property
    def nodes(self) -> dict[str, Node]:
        return self._stage.nodes

    @property
    def disks(self) -> dict[str, Disk]:
        return self._stage.disks

    @property
    def chance(self) -> Random:
        return self._stage.world.chance

    def idle(self, span: int) -> None:
        self._stage.world.schedule.run(self.now + span)

    def ask(self, times: int, *, pause: int = FLOOR) -> None:
        """Want something in the log at every member that lives, again and again."""
        for _ in range(times):
            for node in self.nodes.values():
                node.give(Submitted((SessionAsked(self._stage.world.chance.randbytes(16), "asker"),)))
            self.idle(pause)

    @property
    def alive(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.alive]

    @property
    def epoch(self) -> int:
        return max(node.replica.epoch for node in self.alive)

    @property
    def elections(self) -> int:
        """How many have led so far."""
        return self._stage.world.marks["elections"]

    @property
    def commits(self) -> list[int]:
        return [node.replica.commit for node in self.alive]

    @property
    def leader(self) -> str | None:
        """Who leads, if all agree about that."""
        leaders = [node.replica.leader for node in self.alive]
        return leaders[0] if len(dict.fromkeys(leaders)) == 1 else None

    @property
    def led_by(self) -> list[str]:
        """Who takes itself for the leader, and is the newest."""
        leading = [node for node in self.alive if node.replica.leadership is not None]
        return [node.name for node in leading if node.replica.epoch == self.epoch]
