"""Diaries: the protocol's own play. What their askers may rely on is told without a look at how the product does it."""

from __future__ import annotations

import random
from typing import cast

from actors._interface import Interface
from actors._protocol.codec import decode
from broadcast._delivery import Delivery
from broadcast._protocol.position import Batch
from broadcast._protocol.sessions import Outcome
from broadcast._simulation.calls import Answer, Call, Fate, Ran, Read
from broadcast._simulation.diary import Diary
from broadcast._simulation.invariants import Judge, Process, check, is_held_up, is_without_answer

CRASHING = "crash", "crash_plan"
TAGS = ("note",) * 45 + ("memo",) * 15 + ("refuse", "refuse", "crash", "unheard-of")


class Diaries:
    """A play (see `Play`): notes, now and then one that is refused, crashes, or is not understood.

    Some are said to be idempotent.
    """

    actor: type[Diary] = Diary
    later: tuple[type[Diary], ...] = ()
    interface = Interface.of(Diary)

    def expectation(self) -> Notes:
        return Notes()

    def command(self, chance: random.Random, owner: str, number: int) -> tuple[str, bytes]:
        tag = chance.choice(TAGS)
        method = self.interface.methods.get(tag, self.interface.methods["note"])
        call = method.pack((owner, number), {})
        return tag, call if tag in self.interface.methods else call.replace(b"note", b"nope")

    def plan(self, owner: str, number: int) -> tuple[str, bytes, int] | None:
        return None

    def query(self, chance: random.Random) -> bytes:
        return self.interface.methods["count"].pack((), {})


class Notes(Judge):
    """A diary holds each note once, in the log's order; an answer tells its place, a query how many there are."""

    def __init__(self) -> None:
        super().__init__()
        self._notes: list[tuple[str, int]] = []
        self._count_at: dict[int, int] = {}  # index -> how many notes there are once it is applied

    def identify(self, delivery: Delivery) -> tuple[str, int]:
        return cast("tuple[str, int]", delivery.arguments)

    def seen(self, read: Read) -> int:
        got = cast("list[object]", decode(read.outcome))
        ran = self.scene.calls.ran
        count = got[1] if len(got) == 2 and isinstance(got[1], int) else -1
        check(0 <= count <= len(ran), "a read sees what took effect", got=got, ran=len(ran))
        return ran[count - 1].index if count else 0

    def ran(self, ran: Ran) -> None:
        self._notes.append(self.identify(ran.delivery))

    def answered(self, call: Call, answer: Answer) -> None:
        if call.fate is not Fate.WITHDRAWN:
            got = cast("list[object]", decode(answer.outcome))
            if call.query is not None:
                self._looked(call, got)
                return
            expected = self._expected(call, answer)
            if call.tag == "memo" and is_without_answer(answer.outcome):
                expected = expected[:1] if expected[1] is not None else expected
            if call.tag in CRASHING and is_held_up(answer.outcome):
                return
            check(got == expected, "each call has its outcome", call=call, got=got)

    def _looked(self, call: Call, got: list[object]) -> None:
        """A query of the log sees what was known when it was asked, and what has its place before it."""
        calls = self.scene.calls
        known = sum(ran.index <= calls.floor.at(call.after) for ran in calls.ran)
        count = got[1] if len(got) == 2 and got[0] == Outcome.APPLIED and isinstance(got[1], int) else -1
        check(known <= count <= len(calls.ran), "a query in the log sees what is before it", got=got, known=known)

    def _expected(self, call: Call, answer: Answer) -> list[object]:
        """A note's place is by the log, and not by what the answer says it was numbered."""
        match call.tag:
            case "note" | "memo" | "plan" | "plan_attempt" | "plan_failure":
                return [Outcome.APPLIED, answer.ran.place if answer.ran and answer.ran.call is call else None]
            case "refuse" | "refuse_plan":
                return [Outcome.REFUSED, "Refused", [call.owner, call.ticket]]
            case "crash" | "crash_plan":
                return [Outcome.CRASHED, "ArithmeticError"]
            case _:
                return [Outcome.INVALID]

    def applied(self, process: Process, batch: Batch) -> None:
        notes = self._notes[: self._count_at.setdefault(batch.last, len(self._notes))]
        diary = cast(Diary, process.machine.actor)
        check(diary.notes == notes, "each note once, in the log's order", name=process.name)
