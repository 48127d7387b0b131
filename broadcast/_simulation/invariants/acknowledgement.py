"""What a follower acknowledges is durable on it, and stays while it follows that epoch (10.2.1; rules 9, 16)."""

from __future__ import annotations

from broadcast._protocol.messages import AppendReply, Message
from broadcast._protocol.output import Persist
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class Acknowledgement(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._match: dict[tuple[str, int], int] = {}

    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        if type(message) is not AppendReply or message.match == 0:
            return
        batch, disk = process.replica.log.batch_at(message.match), self.scene.disks[process.name]
        # Where there is none, a snapshot has taken its place, which may not have come to the disk yet.
        held = disk.ends_at(message.match) if batch is None else disk.holds(batch)
        check(held, "what is acknowledged is durable", name=process.name, match=message.match)
        key = process.name, message.epoch
        self._match[key] = max(self._match.get(key, 0), message.match)

    def persisting(self, process: Process, persist: Persist) -> None:
        if persist.truncate is not None:
            match = self._match.get((process.name, process.replica.epoch), 0)
            check(
                persist.truncate > match,
                "what this epoch's leader counts on is not cut",
                name=process.name,
                truncate=persist.truncate,
                match=match,
            )
