"""Almanacs: the play of effects (rules 12, 21). What comes of a plan is told without a look at how it is done."""

from __future__ import annotations

import random
from typing import cast

from actors._interface import Interface
from actors._protocol.codec import decode
from broadcast._delivery import Delivery
from broadcast._intentions import Telling
from broadcast._protocol.position import Batch
from broadcast._simulation.almanac import Almanac
from broadcast._simulation.calls import Ran
from broadcast._simulation.disk import GROUP
from broadcast._simulation.invariants import Process, check
from broadcast._simulation.options import MILLISECOND
from broadcast._simulation.outcomes import TAGS, Diaries, Notes

PLANS = ("plan",) * 17 + ("plan_attempt",) * 3 + ("plan_failure", "refuse_plan", "refuse_plan", "crash_plan")
DELAYS = 0, 0, 1, 20, 100, 300, 1000, 2000  # milliseconds
LATER = 37  # the same, of what a history's end waits for

Kept = tuple[str, int, int]


class Almanacs(Diaries):
    """A play (see `Play`): that of diaries, and as many plans."""

    actor = Almanac
    interface = Interface.of(Almanac)

    def expectation(self) -> Keeping:
        return Keeping()

    def command(self, chance: random.Random, owner: str, number: int) -> tuple[str, bytes]:
        tag = chance.choice(TAGS + PLANS * 3)
        if tag in TAGS:
            return super().command(chance, owner, number)
        return self._plan(tag, owner, number, chance.choice(DELAYS), chance.choice((0, 0, 0, 3)))

    def plan(self, owner: str, number: int) -> tuple[str, bytes, int]:
        return *self._plan("plan", owner, number, LATER, 0), LATER * MILLISECOND

    def _plan(self, tag: str, owner: str, number: int, delay: int, more: int) -> tuple[str, bytes]:
        return tag, self.interface.methods[tag].pack((owner, number, delay, more), {})


class Keeping(Notes):
    """Each plan that was applied is kept once, in time, and told of at most once, after it was committed."""

    kept_by: tuple[str, ...] = "keep", "attempt"
    """Tags of the commands that may keep it."""

    def __init__(self) -> None:
        super().__init__()
        self._due: dict[Kept, int] = {}  # what is to be kept, and from which log time on
        self._kept: list[Kept] = []
        self._kept_at: dict[int, int] = {}  # index -> how many are kept once it is applied
        self._planned: set[tuple[str, int]] = set()
        self._told: set[tuple[str, int]] = set()

    def identify(self, delivery: Delivery) -> tuple[str, int]:
        return cast("tuple[str, int]", delivery.arguments[:2])

    def ran(self, ran: Ran) -> None:
        super().ran(ran)
        delivery = ran.delivery
        if delivery.tag in ("plan", "plan_attempt"):
            owner, number, delay, more = cast("tuple[str, int, int, int]", delivery.arguments)
            more = more if delivery.tag == "plan" else 0
            self._due[owner, number, more] = delivery.time + delay * MILLISECOND
        if delivery.tag == "plan":
            self._planned.add(self.identify(delivery))

    def fell_due(self, process: Process, delivery: Delivery) -> None:
        owner, number, more = key = cast(Kept, delivery.arguments)
        due = self._due.pop(key, None)
        is_known = due is not None and delivery.tag in self.kept_by and delivery.sender == GROUP
        check(is_known, "what is due was left by a command that was applied, and runs once", delivery=delivery)
        check(due is not None and delivery.time >= due, "nothing runs before it is due", due=due, delivery=delivery)
        self._kept.append(key)
        if more:
            self._due[owner, number, more - 1] = delivery.time

    def telling(self, process: Process, telling: Telling) -> None:
        _, *told = cast("list[object]", decode(telling.call))
        owner_and_number = cast("tuple[str, int]", tuple(told))
        replica = process.replica
        leads = replica.leadership is not None and replica.leadership.epoch == telling.epoch
        check(telling.index <= replica.commit, "what is told was committed", name=process.name, telling=telling)
        check(leads, "only the leader of its own epoch tells", name=process.name, telling=telling)
        check(owner_and_number in self._planned, "what is told was applied", name=process.name, telling=telling)
        check(owner_and_number not in self._told, "it is told at most once", name=process.name, telling=telling)
        self._told.add(owner_and_number)

    def applied(self, process: Process, batch: Batch) -> None:
        super().applied(process, batch)
        kept = self._kept[: self._kept_at.setdefault(batch.last, len(self._kept))]
        almanac = cast(Almanac, process.machine.actor)
        check(almanac.kept == kept, "each that was due once, in the log's order", name=process.name)

    def waits(self) -> bool:
        return bool(self._due)
