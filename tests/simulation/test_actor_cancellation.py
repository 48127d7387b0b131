"""Actors under cancellation: at every checkpoint of whoever uses them, and of everything that is done for it.

After each, everything is sound: the actor answers, nothing was handled twice, and nobody is waited for any more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
import structlog.testing
import trio
from shells.order import seeded
from shells.world import Steps, under_test
from trio.testing import MockClock

from actors import Actor, ActorRef, Mailbox, Node, Ref, Supervision, command, open_node
from actors.testing import MemoryNetwork

PEERS = {"a": "a:1", "b": "b:1"}
WORKERS = 6  # of a town
TOLD = {"answer", "ActorCrashed", "ActorStopped", "NoSuchActor", "OutcomeUnknown", "Overloaded"}
Action = Callable[[], Awaitable[object]]


class Crash(Exception):
    """Planted."""


@dataclass
class Notes:
    """What happened to actors, seen from outside of them."""

    handled: list[str] = field(default_factory=list)
    inside: int = 0  # lifespans that are entered
    busy: int = 0
    steps: Steps | None = None
    crash_at: int = 0


class Clerk(Actor, mailbox=Mailbox(2)):
    """Takes several checkpoints for everything."""

    def __init__(self, notes: list[Notes]) -> None:
        self.notes = notes[0]

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        await trio.sleep(0.001)
        self.notes.inside += 1
        try:
            await trio.lowlevel.checkpoint()
            yield
        finally:
            self.notes.inside -= 1

    @command
    def note(self, text: str) -> int:
        self._begin(text)
        self.notes.busy -= 1
        return len(self.notes.handled)

    @command
    async def note_slowly(self, text: str) -> int:
        self._begin(text)
        try:
            await trio.lowlevel.checkpoint()
            await trio.sleep(0.005)
            return len(self.notes.handled)
        finally:
            self.notes.busy -= 1

    @command
    async def raise_child(self) -> None:
        child = await self.context.spawn("child", Clerk, [self.notes])
        await child.ask(Clerk.note_slowly, "of the child")
        await child.stop()

    @command
    async def ask_another(self, other: Ref[Clerk], text: str) -> int:
        return await other.ask(Clerk.note_slowly, text)

    @command
    def pass_on(self, other: Ref[Clerk], text: str) -> None:
        self.context.tell(other, Clerk.note_slowly, text)

    @command
    async def crash(self) -> None:
        await trio.lowlevel.checkpoint()
        raise Crash

    def _begin(self, text: str) -> None:
        assert self.notes.busy == 0, "one message at a time"
        assert self.notes.inside > 0, "within the lifespan"
        self.notes.busy += 1
        self.notes.handled.append(text)


class Plain(Clerk):
    """Needs no task while it rests."""

    lifespan = Actor.lifespan

    def _begin(self, text: str) -> None:
        self.notes.inside = 1
        super()._begin(text)


@dataclass
class Stage:
    """Two nodes, used from a. clerk, and its sibling in a team: on either; other: on a."""

    a: Node
    b: Node
    clerk: ActorRef[Clerk]
    sibling: ActorRef[Clerk]
    other: ActorRef[Clerk]
    notes: Notes
    others: Notes
    steps: Steps


@asynccontextmanager
async def stage(place: str, kind: type[Clerk] = Clerk, policy: Supervision | None = None) -> AsyncGenerator[Stage]:
    network = MemoryNetwork(random=Random(1), latency=0.001)
    notes, others = Notes(), Notes()
    steps = Steps()
    with trio.fail_after(3_600):  # of virtual time
        async with (
            open_node("a", peers=PEERS, network=network.host("a"), random=Random(2)) as a,
            open_node("b", peers=PEERS, network=network.host("b"), random=Random(3)) as b,
        ):
            while not (a.is_linked("b") and b.is_linked("a")):  # noqa: ASYNC110 - it does not tell
                await trio.sleep(0.01)
            where = a if place == "local" else b
            spawner = where if policy is None else where.supervised(policy)
            clerk = await make(spawner, "clerk", kind, notes)
            sibling = await make(spawner, "sibling", Plain, Notes())
            other = await make(a, "other", Clerk, others)
            trio.lowlevel.add_instrument(steps)
            yield Stage(a, b, a.ref(str(clerk), Clerk), a.ref(str(sibling), Clerk), other, notes, others, steps)
            trio.lowlevel.remove_instrument(steps)


async def make(spawner: Any, name: str, kind: type[Clerk], notes: Notes) -> ActorRef[Clerk]:
    """Notes are no values to be sent; but a constructor's arguments do not travel."""
    made: ActorRef[Clerk] = await spawner.spawn(name, kind, [notes])
    return made


def in_virtual_time(seed: int, scenario: Callable[[], Awaitable[None]]) -> None:
    with seeded(seed), structlog.testing.capture_logs():
        trio.run(scenario, clock=MockClock(autojump_threshold=0))


async def sound(on: Stage, actors: int = 3) -> None:
    """Both answer, and nothing is left of what was broken off."""
    with trio.fail_after(60):
        for ref in (on.clerk, on.other):
            await ref.ask(Clerk.note, "still here")
    await trio.sleep(0.1)
    for node in (on.a, on.b):
        cells = node._cells
        assert len(cells.waits) == 0
        assert not cells.post._pending
        assert not any(cells.post._questions.values())
        for cell in cells._named.values():
            assert not cell._watchers
            assert cell.message is None
            assert cell.queue.is_empty
    assert on.a.actor_statistics().actors + on.b.actor_statistics().actors == actors
    assert on.notes.busy == on.others.busy == 0


async def cancelled_everywhere(on: Stage, action: Action, *, of_all: bool) -> int:
    """Run it, cancelled at its first, second, ... checkpoint, until it comes to its end. At how many?"""
    at = 0
    while True:
        at += 1
        mark = object()
        before = under_test.set(mark)
        with trio.CancelScope() as scope:
            if of_all:
                on.steps.cancel_after(at, scope)
            else:
                on.steps.cancel_at_own(at, mark, scope)
            await action()
        under_test.reset(before)
        on.steps.cancel_at_own(0, None, scope)
        await sound(on)
        if not scope.cancelled_caught:
            return at - 1


@pytest.mark.parametrize("of_all", [False, True], ids=["its own checkpoints", "those of all"])
@pytest.mark.parametrize("kind", [Clerk, Plain])
@pytest.mark.parametrize("place", ["local", "remote"])
def test_calls(place: str, kind: type[Clerk], of_all: bool) -> None:
    counts: dict[str, int] = {}

    async def scenario() -> None:
        async with stage(place, kind) as on:
            number = 0

            def fresh() -> str:
                nonlocal number
                number += 1
                return f"{number}"

            async def full() -> None:
                async with trio.open_nursery() as nursery:
                    for _ in range(5):
                        nursery.start_soon(on.clerk.tell, Clerk.note_slowly, fresh())
                    nursery.start_soon(on.clerk.ask, Clerk.raise_child)

            async def watch() -> None:
                with trio.move_on_after(0.05):
                    await on.clerk.watch()

            async def held_up() -> None:
                """By one that asks in its turn, and one that waits for what it tells to be accepted."""
                await on.other.ask(Clerk.ask_another, on.clerk, fresh())
                await on.other.ask(Clerk.pass_on, on.clerk, fresh())

            actions: dict[str, Action] = {
                "ask": lambda: on.clerk.ask(Clerk.note, fresh()),
                "ask slowly": lambda: on.clerk.ask(Clerk.note_slowly, fresh()),
                "tell": lambda: on.clerk.tell(Clerk.note_slowly, fresh()),
                "raise a child": lambda: on.clerk.ask(Clerk.raise_child),
                "watch": watch,
                "held up": held_up,
            }
            if place == "local":
                actions["full"] = full
            for name, action in actions.items():
                counts[name] = await cancelled_everywhere(on, action, of_all=of_all)
            handled = [text for text in on.notes.handled if text.isdecimal()]
            assert len(set(handled)) == len(handled), "at most once"

    in_virtual_time(1, scenario)
    assert all(count for name, count in counts.items() if name != "tell"), counts  # which need not wait


@pytest.mark.parametrize("way", ["stop", "kill"])
@pytest.mark.parametrize("place", ["local", "remote"])
def test_beginnings_and_ends(place: str, way: str) -> None:
    """A spawn that is cancelled leaves nothing; a stop that is cancelled is made all the same."""
    cancelled = 0

    async def scenario() -> None:
        nonlocal cancelled
        async with stage(place) as on:
            where = on.a if place == "local" else on.b
            at = 0
            while True:
                at += 1
                notes = Notes()
                with trio.CancelScope() as scope:
                    on.steps.cancel_after(at, scope)
                    guest = await make(where, "guest", Clerk, notes)
                    await guest.tell(Clerk.note_slowly, "x")
                    far = on.a.ref(str(guest), Clerk)
                    await (far.stop() if way == "stop" else far.kill())
                await trio.sleep(0.1)
                if scope.cancelled_caught and notes.inside:
                    await where.ref("guest", Clerk).stop()
                assert notes.inside == 0
                assert notes.busy == 0
                await sound(on)
                if not scope.cancelled_caught:
                    break
                cancelled += 1

    in_virtual_time(2, scenario)
    assert cancelled > 5


async def struck_at(at: int, place: str, kind: type[Clerk], what: str) -> bool:
    """One try: the clerk is struck after so many steps of all tasks. False if all was over by then."""
    outcomes: list[str] = []
    policy = Supervision("one-for-all", restarts_max=5, backoff_min=0.001, backoff_max=0.001)
    async with stage(place, kind, policy) as on:

        async def ask(marked: Any, *args: Any) -> None:
            try:
                await on.clerk.ask(marked, *args)
                outcomes.append("answer")
            except Exception as error:
                outcomes.append(type(error).__name__)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, Clerk.note_slowly, "1")
            nursery.start_soon(ask, Clerk.raise_child)
            nursery.start_soon(ask, Clerk.ask_another, on.other, "2")
            nursery.start_soon(ask, Clerk.note, "3")
            with trio.CancelScope() as scope:
                on.steps.cancel_after(at, scope)
                await trio.sleep(0.5)
            if scope.cancelled_caught:
                match what:
                    case "crash":
                        await ask(Clerk.crash)
                    case "a sibling's crash":
                        await on.sibling.tell(Clerk.crash)
                    case "kill":
                        await on.clerk.kill()
                    case _:
                        await on.clerk.stop()
        assert set(outcomes) <= TOLD, outcomes
        assert len(outcomes) == 4 + (what == "crash" and scope.cancelled_caught)
        if what in ("kill", "stop") and scope.cancelled_caught:
            await make(on.a if place == "local" else on.b, "clerk", kind, on.notes)
        await trio.sleep(1)
        await sound(on)
        assert kind is Plain or on.notes.inside == 1
        return scope.cancelled_caught


@pytest.mark.parametrize("what", ["crash", "a sibling's crash", "kill", "stop"])
@pytest.mark.parametrize("kind", [Clerk, Plain])
@pytest.mark.parametrize("place", ["local", "remote"])
def test_it_ends_at_any_moment_and_nobody_waits_in_vain(place: str, kind: type[Clerk], what: str) -> None:
    """Every asker gets an answer, or is told why not; a crash is restarted, and the others go on."""
    moments = 0

    async def scenario() -> None:
        nonlocal moments
        while await struck_at(moments + 1, place, kind, what):
            moments += 1

    in_virtual_time(3, scenario)
    assert moments > 20


# -- teams ------------------------------------------------------------------------------------------------------------


@dataclass
class Town:
    """A team x, y, z on b; workers who ask and tell it from both nodes, and what came of each text, as they know."""

    network: MemoryNetwork
    chance: Random
    nodes: tuple[Node, Node]
    outcomes: dict[str, str] = field(default_factory=dict)

    async def work(self, worker: int) -> None:
        chance = self.chance
        ref = chance.choice(self.nodes).ref(f"b/{chance.choice('xyz')}", Clerk)
        for number in range(40):
            text = f"{worker} {number}"
            self.outcomes[text] = "open"
            with trio.move_on_after(chance.uniform(0.001, 0.1)):
                self.outcomes[text] = await self._say(ref, text)
            await trio.sleep(chance.uniform(0, 0.02))

    async def _say(self, ref: ActorRef[Clerk], text: str) -> str:
        marked = self.chance.choice((Clerk.note, Clerk.note_slowly))
        try:
            await (ref.ask if self.chance.random() < 0.6 else ref.tell)(marked, text)
        except Exception as error:
            return type(error).__name__
        return "done"

    async def strike(self) -> None:
        """Lose the link, or have one of the team crash, again and again."""
        chance, (_, b) = self.chance, self.nodes
        while True:
            await trio.sleep(chance.uniform(0, 0.05))
            ref = b.ref(chance.choice("xyz"), Clerk)
            if chance.random() < 0.3:
                self.network.lose("a", "b")
            else:
                with trio.move_on_after(0.1):
                    await ref.tell(Clerk.crash)


async def struck_town(seed: int, notes: dict[str, Notes]) -> dict[str, str]:
    """What came of all that was said in a town, which is sound in the end."""
    chance = Random(seed)
    network = MemoryNetwork(random=chance, latency=0.002)
    strategy = chance.choice(("one-for-one", "one-for-all", "rest-for-one"))
    policy = Supervision(strategy, restarts_max=1_000, backoff_min=0.001, backoff_max=0.01)  # type: ignore[arg-type]
    with trio.fail_after(3_600):
        async with (
            open_node("a", peers=PEERS, network=network.host("a"), random=chance) as a,
            open_node("b", peers=PEERS, network=network.host("b"), random=chance) as b,
        ):
            team, town = b.supervised(policy), Town(network, chance, (a, b))
            for name, kind in zip("xyz", (Clerk, Plain, Clerk), strict=True):
                await make(team, name, kind, notes[name])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(town.strike)
                async with trio.open_nursery() as workers:
                    for worker in range(WORKERS):
                        workers.start_soon(town.work, worker)
                nursery.cancel_scope.cancel()
            await trio.sleep(1)
            for name in "xyz":
                await b.ref(name, Clerk).ask(Clerk.note, "end")
            assert len(b._cells.waits) == 0
            assert not a._cells.post._pending
    return town.outcomes


def check_handled(handled: list[str]) -> None:
    texts = [text for text in handled if text != "end"]
    assert len(set(texts)) == len(texts), "at most once"
    for worker in range(WORKERS):
        numbers = [int(text.split()[1]) for text in texts if text.split()[0] == str(worker)]
        assert numbers == sorted(numbers), "in order"


@pytest.mark.parametrize("seed", range(8))
def test_teams_under_random_strikes(seed: int) -> None:
    """Whatever strikes, in whatever order tasks run: at most once, in order, and an outcome for everybody."""
    notes = {name: Notes() for name in "xyz"}
    outcomes: dict[str, str] = {}

    async def scenario() -> None:
        outcomes.update(await struck_town(seed, notes))

    in_virtual_time(seed, scenario)
    assert [notes[name].inside for name in "xz"] == [0, 0]
    for each in notes.values():
        check_handled(each.handled)
    came = set(outcomes.values())
    assert came <= {"done", "open", "ActorCrashed", "OutcomeUnknown", "LinkBroken", "Overloaded"}, came
    assert sum(outcome == "done" for outcome in outcomes.values()) > len(outcomes) / 4


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    with structlog.testing.capture_logs():
        yield
