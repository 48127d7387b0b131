"""A node's Lamport stamps grow with each message that it sends, over restarts too (glossary: timestamp; T5)."""

from __future__ import annotations

from broadcast._protocol.messages import Message
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check


class MessageStamps(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sent: dict[str, int] = {}

    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        before = self._sent.get(process.name, 0)
        check(stamp > before, "a node's stamps grow over restarts", name=process.name, before=before, stamp=stamp)
        self._sent[process.name] = stamp
