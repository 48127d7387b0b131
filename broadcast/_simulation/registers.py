"""Registers: a play that is judged by nothing but what its clients saw (linearizability; Herlihy and Wing 1990)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import cast

from actors._actor import Actor, command, query
from actors._interface import Interface
from actors._protocol.codec import decode
from broadcast._delivery import Delivery
from broadcast._errors import AnswerNotKept
from broadcast._protocol.sessions import Outcome
from broadcast._simulation import linearizability
from broadcast._simulation.calls import Answer, Call, Fate, Read
from broadcast._simulation.invariants import Judge, Process, check, is_without_answer
from broadcast._simulation.linearizability import Operation

KEYS = "abcdefghijklmnopqrstuvwx"


class Registers(Actor):
    """Values by key. A value is (owner, number) of the command that wrote it."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[str, int]] = {}

    @command
    def swap(self, key: str, value: tuple[str, int]) -> tuple[str, int] | None:
        """Returns what was there."""
        before = self.values.get(key)
        self.values[key] = value
        return before

    @command(idempotent=True)
    def save(self, key: str, value: tuple[str, int]) -> tuple[str, int] | None:
        """The same. What it comes to is the same as often as it comes, and nobody needs what it answers."""
        return self.swap(key, value)

    @query
    def read(self, key: str) -> tuple[str, int] | None:
        return self.values.get(key)


class Swaps:
    """A play (see `Play`): registers are swapped, saved, read. Which one, and how, follows from a command's number."""

    actor = Registers
    later = ()
    interface = Interface.of(Registers)

    def expectation(self) -> Linearizable:
        return Linearizable()

    def command(self, chance: random.Random, owner: str, number: int) -> tuple[str, bytes]:
        tag = "save" if number % 3 == 0 else "swap"
        return tag, self.interface.methods[tag].pack(_arguments(owner, number), {})

    def plan(self, owner: str, number: int) -> None:
        """Registers do nothing later."""

    def query(self, chance: random.Random) -> bytes:
        return self.interface.methods["read"].pack((chance.choice(KEYS),), {})


def _arguments(owner: str, number: int) -> tuple[str, tuple[str, int]]:
    return KEYS[number % len(KEYS)], (owner, number)


class Linearizable(Judge):
    """There is one order of all calls, each between its beginning and its end, that the class itself would give."""

    def __init__(self) -> None:
        super().__init__()
        self._operations: list[Operation] = []

    def identify(self, delivery: Delivery) -> tuple[str, int]:
        return cast("tuple[str, int]", delivery.arguments[1])

    def settling(self, call: Call, fate: Fate) -> None:
        if fate is Fate.UNKNOWN:
            self._note(call, None, None)

    def answered(self, call: Call, answer: Answer) -> None:
        if call.fate is not Fate.WITHDRAWN:
            lost = call.tag == "save" and is_without_answer(answer.outcome)
            self._note(call, answer.moment, AnswerNotKept(call.tag) if lost else _value(answer.outcome))

    def _note(self, call: Call, ended: int | None, outcome: object) -> None:
        name = call.tag
        arguments: tuple[object, ...] = _arguments(call.owner, call.ticket)
        if call.query is not None:
            name, key = cast("list[str]", decode(call.query))
            arguments = (key,)
        self._operations.append(Operation(call.owner, name, arguments, call.after + 0.5, ended, outcome))

    def read(self, read: Read) -> None:
        if read.is_linearizable:
            _, key = cast("list[str]", decode(read.call))
            outcome = _value(read.outcome)
            self._operations.append(Operation("a reader", "read", (key,), read.after + 0.5, read.moment, outcome))

    def ended(self, processes: Mapping[str, Process]) -> None:
        verdict = linearizability.check(self._operations, Registers, lambda operation: operation.arguments[0])
        check(verdict.linearizable is True, "the clients' history is linearizable", verdict=str(verdict))


def _value(outcome: bytes) -> object:
    kind, *value = cast("list[object]", decode(outcome))
    check(kind == Outcome.APPLIED and len(value) == 1, "a register always answers", outcome=outcome)
    return value[0] if value[0] is None else tuple(cast("list[object]", value[0]))
