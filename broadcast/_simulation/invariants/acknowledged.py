"""What was acknowledged took effect, and later than all that was known when it was asked (rules 9, 18; T25: I3)."""

from __future__ import annotations

from broadcast._protocol.sessions import Outcome
from broadcast._simulation.calls import Answer, Call, kind
from broadcast._simulation.invariants.base import Invariant
from broadcast._simulation.invariants.claim import check


class Acknowledged(Invariant):
    def answered(self, call: Call, answer: Answer) -> None:
        if kind(answer.outcome) is not Outcome.APPLIED or call.query is not None:
            return
        index = None if answer.ran is None else answer.ran.index
        check(index is not None, "what is acknowledged took effect", call=call, answer=answer)
        floor = self.scene.calls.floor.at(call.after)
        check(index is not None and index > floor, "a command is later than what was known", index=index, floor=floor)
