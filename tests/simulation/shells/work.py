"""What users do with a group, and what they may rely on: each note once, in its task's order, and none lost."""

from __future__ import annotations

import enum
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import outcome
import trio

from actors import OutcomeUnknown, Refused
from broadcast import Consistency, GroupClosed, GroupRef
from broadcast._simulation.diary import Diary
from broadcast._simulation.invariants import check

if TYPE_CHECKING:
    from shells.world import World

STEPS_MAX = 300  # of all tasks, after which a call is cancelled, at most
CALM = 0.005  # between two of the last calls


class Fate(enum.Enum):
    OPEN = "open"
    ANSWERED = "answered"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    REFUSED = "refused"


class Notes:
    """All that was asked, and what came of it. `known`: so many notes there certainly are."""

    def __init__(self, world: World) -> None:
        self.known = 0
        self.offered = 0
        self.fates: dict[tuple[str, int], Fate] = {}
        self.places: dict[tuple[str, int], int] = {}
        self._world = world
        self._numbers: dict[str, int] = defaultdict(int)

    def offer(self, owner: str) -> int:
        self.offered += 1
        self._numbers[owner] += 1
        self.fates[owner, self._numbers[owner]] = Fate.OPEN
        return self._numbers[owner]

    def settle(self, owner: str, number: int, fate: Fate) -> None:
        self.fates[owner, number] = fate
        self._world.note(fate.value, owner, number)
        self._world.marks[fate.value] += 1

    def answered(self, owner: str, number: int, place: object, floor: int) -> None:
        """A command's answer, asked for when `floor` notes were known."""
        self.settle(owner, number, Fate.ANSWERED)
        check(isinstance(place, int) and place > floor, "an answer tells a later place", place=place, floor=floor)
        self.places[owner, number] = place
        self.known = max(self.known, place)
        holders = [name for name, store in self._world.stores.items() if (owner, number) in store.notes]
        check(len(holders) >= 2, "what is acknowledged is durable on a quorum", note=(owner, number), holders=holders)

    def read(self, floor: int, value: object) -> None:
        check(isinstance(value, int) and value >= floor, "a read is not stale", floor=floor, value=value)
        check(isinstance(value, int) and value <= self.offered, "a read sees only what was asked", value=value)
        self.known = max(self.known, value)

    def ended(self, notes: list[tuple[str, int]]) -> None:
        """`notes`: as all replicas have them in the end."""
        places = {note: place for place, note in enumerate(notes, 1)}
        check(len(places) == len(notes), "each note is there once", notes=notes)
        last: dict[str, int] = defaultdict(int)
        for owner, number in notes:
            check((owner, number) in self.fates, "only what was asked is there", note=(owner, number))
            check(number > last[owner], "a task's notes keep their order", note=(owner, number), last=last[owner])
            last[owner] = number
        for note, fate in self.fates.items():
            check(fate is not Fate.OPEN, "every call comes to an end", note=note)
            if fate is Fate.ANSWERED and note in self.places:
                check(places.get(note) == self.places[note], "what was acknowledged is there, where it was", note=note)
            elif fate is Fate.ANSWERED:
                check(note in places, "what was acknowledged is there", note=note)
            elif fate is Fate.REFUSED:
                check(note not in places, "what was refused is not there", note=note)


class Worker:
    """One task with a handle of the group."""

    def __init__(self, world: World, notes: Notes, ref: GroupRef[Diary], owner: str) -> None:
        self._world = world
        self._notes = notes
        self._ref = ref
        self._owner = owner

    async def run(self) -> None:
        """Until calm, and one last call; or until the handle is closed."""
        world, chance = self._world, self._world.chance
        world.working += 1
        try:
            while not world.calm:
                await trio.sleep(chance.uniform(0.001, world.options.idle))
                await chance.choices(
                    (
                        self.ask,
                        self.ask_and_give_up,
                        self.tell,
                        self.read,
                        self.read_and_give_up,
                        self.pipe,
                        self.refused,
                    ),
                    (8, 5, 2, 3, 2, 1, 1),
                )[0]()
            await trio.sleep(chance.uniform(0, CALM))
            await self.ask()
        except GroupClosed:
            pass
        finally:
            world.working -= 1

    async def ask(self) -> None:
        notes, owner = self._notes, self._owner
        number, floor = notes.offer(owner), notes.known
        try:
            place = await self._ref.ask(Diary.note, owner, number)
        except OutcomeUnknown:
            notes.settle(owner, number, Fate.UNKNOWN)
            raise
        except trio.Cancelled:
            notes.settle(owner, number, Fate.CANCELLED)
            raise
        notes.answered(owner, number, place, floor)

    async def ask_and_give_up(self) -> None:
        with trio.CancelScope() as scope:
            self._give_up(scope)
            await self.ask()

    async def tell(self) -> None:
        number = self._notes.offer(self._owner)
        self._notes.settle(self._owner, number, Fate.UNKNOWN)
        await self._ref.tell(Diary.note, self._owner, number)

    async def read(self) -> None:
        floor = self._notes.known
        count = await self._ref.ask(Diary.count)
        self._notes.read(floor, count)
        for level in (Consistency.SESSION, Consistency.LOG):
            self._notes.read(count, await self._ref.reading(level).ask(Diary.count))
        self._notes.read(0, await self._ref.reading(Consistency.LOCAL).ask(Diary.count))

    async def read_and_give_up(self) -> None:
        with trio.CancelScope() as scope:
            self._give_up(scope)
            await self.read()

    async def refused(self) -> None:
        number = self._notes.offer(self._owner)
        self._notes.settle(self._owner, number, Fate.REFUSED)
        try:
            await self._ref.ask(Diary.refuse, self._owner, number)
        except Refused as refused:
            check(refused.args == (self._owner, number), "each call has its own answer", got=refused.args)
        else:
            check(False, "what is refused is refused", note=(self._owner, number))

    async def pipe(self) -> None:
        notes, owner, count = self._notes, self._owner, self._world.chance.randint(2, 20)
        sent: list[int] = []
        floor = notes.known
        try:
            async with self._ref.pipeline(window=8) as pipe, trio.open_nursery() as nursery:
                nursery.start_soon(self._answers, pipe, sent, floor)
                for _ in range(count):
                    sent.append(notes.offer(owner))
                    await pipe.send(Diary.note, owner, sent[-1])
                pipe.end()
        except* OutcomeUnknown:
            pass
        finally:
            for number in sent:
                if notes.fates[owner, number] is Fate.OPEN:
                    notes.settle(owner, number, Fate.UNKNOWN)

    async def _answers(self, pipe: Any, sent: list[int], floor: int) -> None:
        place, at = 0, 0
        async for answer in pipe:
            number, at = sent[at], at + 1
            if isinstance(answer, outcome.Value):
                self._notes.answered(self._owner, number, answer.value, floor)
                check(answer.value > place, "a pipeline's commands keep their order", place=answer.value)
                place = answer.value
            else:
                check(isinstance(answer.error, OutcomeUnknown), "a note is never refused", error=answer.error)

    def _give_up(self, scope: trio.CancelScope) -> None:
        chance = self._world.chance
        if chance.random() < 0.3:
            scope.deadline = trio.current_time() + chance.uniform(0, 0.05)
        else:
            self._world.steps.cancel_after(chance.randint(1, STEPS_MAX), scope)
