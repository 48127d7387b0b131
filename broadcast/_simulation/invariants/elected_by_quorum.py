"""Who leads was granted it by an election quorum, each voice counted once (Ongaro 2014, 3.4; rules 1, 6)."""

from __future__ import annotations

from broadcast._protocol.messages import Message
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check
from broadcast._simulation.invariants.in_force import along, elect_by
from membership._protocol.messages import VoteReply
from membership._protocol.view import Promise


class ElectedByQuorum(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._granted: dict[Promise, set[str]] = {}

    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        if type(message) is VoteReply and message.granted and not message.pre:
            self._granted.setdefault(Promise(message.campaign, to), set()).add(process.name)

    def elected(self, process: Process) -> None:
        replica = process.replica
        granted = set(self._granted.get(replica.promise, ()))
        if self.scene.disks[process.name].promise == replica.promise:
            granted.add(process.name)
        configuration = along(replica)[-1][1]  # the latest in its log, committed or not (4.1)
        check(
            elect_by(configuration, frozenset(granted)),
            "who leads was granted it by an election quorum",
            name=process.name,
            epoch=replica.epoch,
            granted=sorted(granted),
        )
