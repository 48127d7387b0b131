"""An almanac that grows: the play of histories with both effects and upgrades (rules 21, 29).

What is due runs under the version in force when it is, at whichever class a process was started with; and what came
with a version is left by those commands only that found it in force.
"""

from __future__ import annotations

import random

from actors._actor import command
from actors._interface import Interface
from broadcast._simulation.almanac import Almanac
from broadcast._simulation.diary import Diary
from broadcast._simulation.keeping import Almanacs, Keeping
from broadcast._simulation.upgrades import Second, Underlined, underlining


class SecondAlmanac(Second, Almanac):
    """What is planned is kept in another way from when this version is in force; what is kept is counted apart."""

    @command
    def plan(self, owner: str, number: int, delay: int, more: int) -> int:
        if self.context.version < 2:
            return super().plan(owner, number, delay, more)
        self.context.after(delay / 1000, SecondAlmanac.keep_anew, owner, number, more)
        self.tell_clerk(owner, number)
        return self.note(owner, number)

    @command
    def keep(self, owner: str, number: int, more: int) -> None:
        if self.context.version >= 2:
            self.counted += self.context.version
        super().keep(owner, number, more)

    @command(since=2)
    def keep_anew(self, owner: str, number: int, more: int) -> None:
        """It is due; what is to come of it once more is so in the old way."""
        self.keep(owner, number, more)


class ThirdAlmanac(SecondAlmanac):
    """The same: the version between is put in force first, or passed over."""

    version = 3


class GrowingAlmanacs(Almanacs):
    """A play (see `Play`): that of almanacs and that of upgrades in one."""

    actor = Almanac
    later: tuple[type[Diary], ...] = (SecondAlmanac, ThirdAlmanac)
    interface = Interface.of(ThirdAlmanac)

    def expectation(self) -> KeepingAnew:
        return KeepingAnew()

    def command(self, chance: random.Random, owner: str, number: int) -> tuple[str, bytes]:
        return underlining(self.interface, chance, owner, number) or super().command(chance, owner, number)


class KeepingAnew(Underlined, Keeping):
    """Each plan is kept once, in whichever way."""

    kept_by = "keep", "keep_anew", "attempt"
