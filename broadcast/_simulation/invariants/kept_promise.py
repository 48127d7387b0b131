"""An epoch that a disk's owner has vouched for is never forgotten, over restarts too (Ongaro 2014, 3.4; rule 1)."""

from __future__ import annotations

from broadcast._protocol.messages import Message
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check
from broadcast._simulation.invariants.durable_promise import vouches


class KeptPromise(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._vouched: dict[str, int] = {}

    def started(self, process: Process) -> None:
        if self.scene.disks[process.name].wiped:
            return  # it remembers nothing, and vouches for nothing
        vouched, own = self._vouched.get(process.name, 0), process.replica.epoch
        check(own >= vouched, "an epoch is remembered over restarts", name=process.name, epoch=own, vouched=vouched)

    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        if vouches(message) and message.epoch > self._vouched.get(process.name, 0):
            self._vouched[process.name] = message.epoch
