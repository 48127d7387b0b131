"""Whose answer is not kept is told so only if it asks again; who asks once is told all (rule 22)."""

from __future__ import annotations

from actors._protocol.codec import decode
from broadcast._protocol.sessions import Outcome
from broadcast._simulation.calls import Answer, Call
from broadcast._simulation.invariants.base import Invariant
from broadcast._simulation.invariants.claim import check

NO_ANSWER = [Outcome.APPLIED]


def is_without_answer(outcome: bytes) -> bool:
    """Does this say that a command was applied, and not what it answered?"""
    return decode(outcome) == NO_ANSWER


class KeptAnswers(Invariant):
    def answered(self, call: Call, answer: Answer) -> None:
        told = answer.again or not is_without_answer(answer.outcome)
        check(told, "an answer is missing only for who asks again", call=call, answer=answer)
