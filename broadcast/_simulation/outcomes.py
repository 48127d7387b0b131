"""Diaries: what their askers may rely on, checked without a look at how the product does it (rules 9, 18-20).

What was acknowledged is there, once, in order; reads are not stale.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from actors._interface import Interface
from actors._protocol.codec import decode
from broadcast._protocol.position import Batch
from broadcast._protocol.sessions import Outcome
from broadcast._simulation.diary import Diary
from broadcast._simulation.invariants import Process, check

TAGS = ("note",) * 60 + ("refuse", "refuse", "crash", "unheard-of")


class Diaries:
    """A play (see `Play`): notes, now and then one that is refused, crashes, or is not understood."""

    actor = Diary
    interface = Interface.of(Diary)

    def expectation(self) -> Calls:
        return Calls()

    def command(self, chance: random.Random, owner: str, number: int) -> tuple[str, bytes]:
        tag = chance.choice(TAGS)
        method = self.interface.methods.get(tag, self.interface.methods["note"])
        call = method.pack((owner, number), {})
        return tag, call if tag in self.interface.methods else call.replace(b"note", b"nope")

    def query(self, chance: random.Random) -> bytes:
        return self.interface.methods["count"].pack((), {})


class Fate(enum.Enum):
    """What the owner of a call knows of it."""

    OPEN = "open"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Call:
    """One command of an owner. `floor`: how many notes there certainly were when it was offered."""

    tag: str
    floor: int
    fate: Fate = Fate.OPEN


class Calls:
    """All that was asked, and what was answered.

    known: so many notes there certainly are: the highest number that any answer has named.
    """

    def __init__(self) -> None:
        self.known = 0
        self.offered_notes = 0
        self._calls: dict[tuple[str, int], Call] = {}
        self._applied: dict[tuple[str, int], int] = {}  # note -> its place among them
        self._notes: list[tuple[str, int]] = []
        self._count_at: dict[int, int] = {0: 0}  # index -> how many notes there are once it is applied

    # -- commands --------------------------------------------------------------------------------------------------

    def offered(self, owner: str, ticket: int, tag: str) -> None:
        self._calls[owner, ticket] = Call(tag, self.known)
        self.offered_notes += tag == "note"

    def withdrawn(self, owner: str, ticket: int) -> None:
        """Given up before it was sent: definitely never applied."""
        self._calls[owner, ticket].fate = Fate.WITHDRAWN

    def unknown(self, owner: str, first: int, last: int) -> None:
        for ticket in range(first, last + 1):
            self._settle(owner, ticket, Fate.UNKNOWN)

    def answered(self, owner: str, ticket: int, outcome: bytes, session: int, number: int) -> None:
        call = self._calls[owner, ticket]
        got = cast(list[object], decode(outcome))
        if call.fate is Fate.WITHDRAWN:
            check(got == [Outcome.VOID], "what was withdrawn is void", owner=owner, ticket=ticket, got=got)
            return
        self._settle(owner, ticket, Fate.ANSWERED)
        if call.tag == "note":
            place = self._applied.get((owner, ticket))
            check(got == [Outcome.APPLIED, place], "an answer tells the note's place", got=got, place=place)
            check(place is not None and place > call.floor, "a command is later than what was known", floor=call.floor)
            self.known = max(self.known, place or 0)
        else:
            expected = {
                "refuse": [Outcome.REFUSED, "Refused", [owner, ticket]],
                "crash": [Outcome.CRASHED, "ArithmeticError"],
            }.get(call.tag, [Outcome.INVALID])
            check(got == expected, "each call has its outcome", owner=owner, ticket=ticket, got=got)

    def _settle(self, owner: str, ticket: int, fate: Fate) -> None:
        call = self._calls[owner, ticket]
        if call.fate is not Fate.WITHDRAWN:
            check(call.fate is Fate.OPEN, "an outcome is told once", owner=owner, ticket=ticket, before=call.fate)
            call.fate = fate

    # -- reads -----------------------------------------------------------------------------------------------------

    def read(self, floor: int, call: bytes, outcome: bytes) -> None:
        """A linearizable read that began when `floor` notes were known has ended (6.4)."""
        got = cast(list[object], decode(outcome))
        value = got[1] if len(got) == 2 and isinstance(got[1], int) else -1
        check(got[0] == Outcome.APPLIED and value >= floor, "a read is not stale", floor=floor, got=got)
        check(value <= self.offered_notes, "a read sees only what was asked", offered=self.offered_notes, got=got)
        self.known = max(self.known, value)

    # -- the log, applied ------------------------------------------------------------------------------------------

    def applied(self, process: Process, batch: Batch) -> None:
        """A replica has applied this."""
        diary = cast(Diary, process.machine.actor)
        if batch.last not in self._count_at:
            for delivery in process.machine.deliveries(batch):
                owner, number = cast(tuple[str, int], delivery.arguments)
                self._applied_first(owner, number, delivery.sender, delivery.tag)
            self._count_at[batch.last] = len(self._notes)
        notes = self._notes[: self._count_at[batch.last]]
        check(diary.notes == notes, "each note once, in the log's order", name=process.name)

    def _applied_first(self, owner: str, number: int, sender: str, tag: str) -> None:
        note = owner, number
        call = self._calls.get(note)
        check(call is not None and call.tag == tag == "note", "only what was asked is delivered", note=note, tag=tag)
        check(call is None or call.fate is not Fate.WITHDRAWN, "what was withdrawn is never applied", note=note)
        check(sender == owner, "a command is its session's", note=note, sender=sender)
        check(note not in self._applied, "each command is applied once (rule 18)", note=note)
        last = next((known for who, known in reversed(self._notes) if who == owner), 0)
        check(number > last, "an owner's commands keep their order", note=note, last=last)
        self._notes.append(note)
        self._applied[note] = len(self._notes)

    # -- the end ---------------------------------------------------------------------------------------------------

    def ended(self, processes: Mapping[str, Process]) -> None:
        """All is level: what was acknowledged is there, and all states are equal."""
        for (owner, ticket), call in self._calls.items():
            check(call.fate is not Fate.OPEN, "every call has an end", owner=owner, ticket=ticket)
            if call.fate is Fate.ANSWERED and call.tag == "note":
                check((owner, ticket) in self._applied, "what was acknowledged is there", owner=owner, ticket=ticket)
        states = {name: process.machine.state() for name, process in processes.items()}
        check(len(dict.fromkeys(states.values())) == 1, "all states are equal", states=states)
        for name, process in processes.items():
            check(cast(Diary, process.machine.actor).notes == self._notes, "all notes are there", name=name)
