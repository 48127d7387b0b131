"""Who cannot write does not stand (rule 25)."""

from __future__ import annotations

from broadcast._protocol.messages import Message
from broadcast._simulation.invariants.base import Invariant, Process
from broadcast._simulation.invariants.claim import at_most, check
from membership._protocol.messages import VoteRequest


class AbleCandidate(Invariant):
    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        if type(message) is not VoteRequest or not message.pre:
            return
        formation = process.replica.formation
        if formation is not None:
            hung, limits = self.scene.disks[process.name].hung_for, formation.configuration.limits
            floor = at_most(limits.election_timeout, limits)
            check(hung < floor, "who cannot write does not stand", name=process.name, hung=hung)
