"""Who cannot write does not stand (rule 25)."""

from __future__ import annotations

from broadcast._protocol.messages import Message
from broadcast._simulation.invariants.base import Invariant, Process, hung_for
from broadcast._simulation.invariants.claim import check
from membership._protocol.messages import VoteRequest


class AbleCandidate(Invariant):
    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        if type(message) is not VoteRequest or not message.pre:
            return
        formation = process.replica.formation
        if formation is not None:
            hung, floor = hung_for(process, self.scene), formation.configuration.limits.election_timeout
            check(hung < floor, "who cannot write does not stand", name=process.name, hung=hung)
