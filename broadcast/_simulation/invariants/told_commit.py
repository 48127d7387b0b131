"""A follower knows what it was told is committed, as far as it was shown, in whichever order the two came (rule 9)."""

from __future__ import annotations

from broadcast._protocol.messages import Append, Committed, Heartbeat, Message
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check

_Words = tuple[int, int, int]  # of which epoch's leader; up to where committed, by its word; up to where shown


class ToldCommit(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._words: dict[str, _Words] = {}

    def started(self, process: Process) -> None:
        self._words[process.name] = (0, 0, 0)

    def heard(self, process: Process, sender: str, message: Message) -> None:
        replica = process.replica
        if not isinstance(message, Append | Committed | Heartbeat) or message.epoch != replica.epoch:
            return
        epoch, told, shown = self._words[process.name]
        if epoch != message.epoch:
            told = shown = 0
        told = max(told, message.commit)
        if isinstance(message, Append):
            end = message.batches[-1].end if message.batches else message.previous
            if replica.log.holds(end):  # a disk that is behind takes less
                shown = max(shown, end.index)
        self._words[process.name] = message.epoch, told, shown
        known = replica.commit >= min(told, shown)
        check(
            known, "what is told and shown is known", name=process.name, commit=replica.commit, told=told, shown=shown
        )
