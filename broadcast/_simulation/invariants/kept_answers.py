"""Answers are kept until their owner has said that it has them, and no longer (rules 18, 22; Ongaro 2014, 6.3).

Whose answer is not kept is told so only if it asks again; who asks once is told all (rule 22).
"""

from __future__ import annotations

from actors._protocol.codec import decode
from broadcast._protocol.entries import Commands, SessionKept, decode_entries
from broadcast._protocol.position import Batch
from broadcast._protocol.sessions import Outcome
from broadcast._simulation.calls import Answer, Call
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check

NO_ANSWER = [Outcome.APPLIED]


def is_without_answer(outcome: bytes) -> bool:
    """Does this say that a command was applied, and not what it answered?"""
    return decode(outcome) == NO_ANSWER


class KeptAnswers(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._applied = 0
        self._said: dict[int, int] = {}  # session -> up to which number its owner has said that it has the answers
        self._said_at: dict[int, dict[int, int]] = {}  # index of a batch's end -> the same
        self._had: dict[int, int] = {}  # session -> up to which number it has them

    def applied(self, process: Process, batch: Batch) -> None:
        if batch.first > self._applied:
            self._applied = batch.last
            self._hear(batch)
        for number, session in process.machine.sessions:
            said, had = self._said_at[batch.last].get(number, 0), self._had.get(number, 0)
            known = {"name": process.name, "session": number, "acknowledged": session.acknowledged}
            check(session.acknowledged <= had, "no answer is forgotten that its owner has not had", had=had, **known)
            check(session.acknowledged == said, "what is acknowledged is forgotten, and no more", said=said, **known)

    def _hear(self, batch: Batch) -> None:
        for entry in decode_entries(batch.entries):
            if isinstance(entry, Commands | SessionKept):
                self._said[entry.session] = max(self._said.get(entry.session, 0), entry.acknowledged)
        self._said_at[batch.last] = self._said.copy()

    def answered(self, call: Call, answer: Answer) -> None:
        self._had[answer.session] = max(self._had.get(answer.session, 0), answer.number)
        told = answer.again or not is_without_answer(answer.outcome)
        check(told, "an answer is missing only for who asks again", call=call, answer=answer)
