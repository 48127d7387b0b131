"""Only what was asked takes effect, under its owner's name, and nothing of what was withdrawn (integrity; rule 18)."""

from __future__ import annotations

from broadcast._protocol.sessions import Outcome
from broadcast._simulation.calls import Answer, Call, Fate, Ran, kind
from broadcast._simulation.invariants.base import Invariant
from broadcast._simulation.invariants.claim import check


class OnlySubmitted(Invariant):
    def ran(self, ran: Ran) -> None:
        if ran.identity is None:
            return
        call, delivery = ran.call, ran.delivery
        asked = call is not None and call.tag == delivery.tag and call.owner == delivery.sender
        check(asked, "only what was asked takes effect", delivery=delivery)
        withdrawn = call is not None and call.fate is Fate.WITHDRAWN
        check(not withdrawn, "what was withdrawn is never applied", delivery=delivery)

    def answered(self, call: Call, answer: Answer) -> None:
        if call.fate is Fate.WITHDRAWN:
            check(kind(answer.outcome) is Outcome.VOID, "what was withdrawn is void", call=call, answer=answer)
