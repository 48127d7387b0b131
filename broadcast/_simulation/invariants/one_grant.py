"""A voter grants one candidate in an epoch, over restarts too (Ongaro 2014, 3.4; rule 1)."""

from __future__ import annotations

from broadcast._protocol.messages import Message
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check
from membership._protocol.messages import VoteReply, VoteRequest


class OneGrant(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._granted: dict[tuple[str, int], str] = {}

    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        if type(message) is VoteReply:
            if message.granted and not message.pre:
                self._grants(process.name, message.campaign, to)
        elif type(message) is VoteRequest and not message.pre:
            self._grants(process.name, message.epoch, process.name)

    def _grants(self, voter: str, epoch: int, candidate: str) -> None:
        known = self._granted.setdefault((voter, epoch), candidate)
        check(known == candidate, "a voter grants one candidate an epoch", voter=voter, both=(known, candidate))
