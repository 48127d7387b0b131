"""A class that grows: the play of histories in which processes are started with one version of it or another."""

from __future__ import annotations

import random

from actors._actor import command
from actors._interface import Interface
from broadcast._protocol.sessions import Outcome
from broadcast._simulation.calls import Answer, Call
from broadcast._simulation.diary import Diary
from broadcast._simulation.outcomes import Diaries, Notes


class Second(Diary):
    """Notes are counted apart, from when this version is in force; and there is another way to note."""

    version = 2
    counted: int = 0

    @command
    def note(self, owner: str, number: int) -> int:
        if self.context.version >= 2:
            self.counted += self.context.version
        return super().note(owner, number)

    @command(since=2)
    def underline(self, owner: str, number: int) -> int:
        self.notes.append((owner, number))
        return len(self.notes)


class Third(Second):
    """The same: the version between is put in force first, or passed over."""

    version = 3


class Upgrades(Diaries):
    """A play (see `Play`): clients have the newest class, and use what replicas may not have yet."""

    later = (Second, Third)
    interface = Interface.of(Third)

    def expectation(self) -> Underlined:
        return Underlined()

    def command(self, chance: random.Random, owner: str, number: int) -> tuple[str, bytes]:
        return underlining(self.interface, chance, owner, number) or super().command(chance, owner, number)


def underlining(interface: Interface, chance: random.Random, owner: str, number: int) -> tuple[str, bytes] | None:
    """Now and then, a call of what came with a version."""
    if chance.random() < 0.2:
        return "underline", interface.methods["underline"].pack((owner, number), {})
    return None


class Underlined(Notes):
    """What came with a version is run or refused, the same on all."""

    def _expected(self, call: Call, answer: Answer) -> list[object]:
        if call.tag == "underline" and answer.ran is not None and answer.ran.call is call:
            return [Outcome.APPLIED, answer.ran.place]
        return super()._expected(call, answer)
