"""One history: a group and its clients, under faults and then without, all of it following from one seed.

First safety: whatever strikes, no invariant breaks. Then liveness: with everything repaired, or just enough for a
quorum, that must elect, commit, answer and level within a bound of virtual time; and then, with nothing left to do,
show that it can do more (`trial`).
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from actors._protocol.errors import InvariantViolation, RemoteProtocolError
from broadcast._errors import CannotApply
from broadcast._simulation import bounds
from broadcast._simulation.actor_fault import ActorFault
from broadcast._simulation.client import Client
from broadcast._simulation.disk import GROUP, Disk
from broadcast._simulation.faults import Faults
from broadcast._simulation.faults.field import Field
from broadcast._simulation.following import Following
from broadcast._simulation.growing import GrowingAlmanacs
from broadcast._simulation.invariants import Violation, broken
from broadcast._simulation.invariants.in_force import along
from broadcast._simulation.keeping import Almanacs
from broadcast._simulation.network import Network
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND, SECOND, Options
from broadcast._simulation.outcomes import Diaries
from broadcast._simulation.play import Play
from broadcast._simulation.trial import REPAIRED_FOR_MAX, Trial, held_up_time, spans
from broadcast._simulation.upgrades import Upgrades
from broadcast._simulation.watch import Watch
from broadcast._simulation.world import World
from membership._protocol.formation import Plan
from membership._protocol.view import Limits

_PLAYS: Mapping[tuple[bool, bool], Callable[[], Play]] = {
    (False, False): Diaries,
    (False, True): Almanacs,
    (True, False): Upgrades,
    (True, True): GrowingAlmanacs,
}
"""The protocol's own play, by whether there are upgrades, and effects."""
LOOK_INTERVAL = 20 * MILLISECOND


FAILURES = (Violation, InvariantViolation, RemoteProtocolError, CannotApply)


@dataclass(frozen=True, slots=True)
class History:
    """What came of a seed.

    digest: of everything that happened; one seed has one digest.
    marks: how often which fault, or what follows from it, was met, up to the trial; and what that came to.
    ended_at: virtual microseconds.
    trace: the last events, a line each.
    """

    seed: int
    options: Options
    digest: str
    marks: Counter[str]
    ended_at: int
    trace: list[str]


class Stage:
    """Everything that takes part, set up."""

    def __init__(self, seed: int, options: Options | None, play: Play | None) -> None:
        if options is None:
            options = Options.drawn(random.Random(seed))  # noqa: S311 - it has to be reproducible
        if play is None:
            play = _PLAYS[bool(options.upgrades), options.effects]()
        # A source of its own, so that one option more to draw does not change what happens under given ones.
        chance = random.Random(f"history {seed}")  # noqa: S311
        self.world = world = World(chance, options)
        names = list(options.names + options.spare_names)
        limits = Limits(
            election_timeout=options.election_timeout,
            session_term=options.session_term,
            sessions_max=options.sessions_max,
            answers_max=options.answers_max,
            command_size_max=options.command_size_max,
            snapshot_entries=options.snapshot_entries,
            snapshot_size=options.snapshot_size,
            undos_max=options.undos_max,
            undo_interval=options.undo_interval,
            leases=options.leases,
        )
        plan = Plan(GROUP, options.names, options.quorum, limits)
        world.marks[f"decided by {type(options.quorum).__name__}"] += 1
        self.disks = disks = {name: Disk(world, name) for name in names}
        self.judge = play.expectation()
        self.watch = Watch(world, disks, self.judge)
        self._play = play
        self._limits = limits
        plans = {
            name: replace(plan, priority=priority)
            for name, priority in zip(names, itertools.cycle(options.priorities), strict=False)
        }
        self.nodes = {name: Node(name, world, plans[name], disks[name], play, self.watch) for name in names}
        founders = [self.nodes[name] for name in options.names]
        self.network = Network(
            world,
            names,
            receive=lambda to, sender, stamp, data: self.nodes[to].receive(sender, stamp, data),
            give=lambda to, given: self.nodes[to].give(given),
        )
        for node in founders:
            world.schedule.after(chance.randrange(50 * MILLISECOND), partial(node.start, self.network))
        self.clients = [
            Client(f"client-{number}", world, self.nodes, play, self.watch.calls, limits)
            for number in range(options.clients)
        ]
        self.faults = Faults(Field(world, self.nodes, disks, self.network, self.watch.register))
        self.following = Following(seed, world, self.nodes, self.watch)
        self.marks = Counter[str]()
        self._sound = founders

    def play(self) -> None:
        """Raises `Violation`, or what a core raises."""
        world = self.world
        world.schedule.run(world.options.duration)
        world.note("", "calm")
        self._sound = [self.nodes[name] for name in self.faults.end()]
        if world.options.regroupings:
            self._let_wishes_come()
        self._come_to_an_end()
        self.marks = Counter(world.marks)
        trial = Trial(world, self.nodes, self._sound, self.network, self._play, self.watch.calls, self._limits)
        trial.run()
        self.marks.update(trial.marks)
        self._come_to_an_end()
        self.watch.ended({node.name: node for node in self._sound})

    def _let_wishes_come(self) -> None:
        """What was wished for may still be on its way. Then it may take others to decide than those who work again:
        who was asked for that brings them back."""
        world, more = self.world, True
        while more:
            world.schedule.run(world.now + 2 * (world.options.latency + world.options.delay))
            names = self.faults.need([node.name for node in self._sound])
            self._sound += [self.nodes[name] for name in names]
            more = bool(names)

    def _come_to_an_end(self) -> None:
        """Wait until nothing is open."""
        bound = REPAIRED_FOR_MAX + held_up_time(self.world.options, self._sound)
        if not any(self._comes_to_an_end(bound) for _ in spans(self._sound)):
            broken("with a quorum repaired the group comes to an end", open=self._open())

    def _comes_to_an_end(self, within: int) -> bool:
        world = self.world
        end = world.now + within
        while not self._is_level():
            if world.now >= end:
                return False
            world.schedule.run(world.now + LOOK_INTERVAL)
        return True

    def _is_level(self) -> bool:
        """Is everybody done, and every replica that works where the others are?"""
        self._guide_who_is_lost()
        if self.judge.waits() or not all(client.done for client in self.clients):
            return False
        self._sound = [node for node in self._sound if not node.removed]
        if not all(node.alive for node in self._sound):  # one was stopped by its class, and is to be started anew
            return False
        self._sound = [node for node in self._sound if not self._is_lost(node)]
        if any(self.disks[node.name].held_up for node in self._sound):  # with what takes no index, maybe
            return False
        replicas = [node.replica for node in self._sound]
        ends = {(replica.applied, replica.durable, replica.log.last, replica.leader) for replica in replicas}
        applied, durable, last, leader = next(iter(ends))
        is_level = len(ends) == 1 and leader is not None and applied == durable == last.index > 0
        return is_level and not self._is_changing()

    def _guide_who_is_lost(self) -> None:
        """Who was not there while all members went that it knew cannot find the others."""
        there = [node.name for node in self._sound if not node.removed and not (node.alive and self._is_lost(node))]
        for client in self.clients:
            if there and not client.done and not client.knows_any(there):
                client.guide(there)

    def _is_lost(self, node: Node) -> bool:
        """Was it removed before the log that it has made it a member, or taken back by who wanted to add it?

        It cannot tell that from not being added yet.
        """
        register = self.watch.register
        if register.committed is None:  # all are still to form the group
            return False
        if any(configuration.includes(node.name) for _, configuration in along(node.replica)):
            return False
        # What logs of others hold that take no part in the end is decided against by those who do.
        there = {each.name: each for each in self._sound}
        disks = {name: self.disks[name] for name in there}
        is_coming = any(each.includes(node.name) for each in register.open(there, disks))
        return node.name in register.removed or not is_coming

    def _is_changing(self) -> bool:
        """Is a change of members under way that nobody has to be waited for, or has somebody yet to learn of it?"""
        configuration = self.watch.register.committed
        if configuration is None:
            return True
        goal, there = configuration.goal, {node.name for node in self._sound}
        is_coming = goal is not None and there.issuperset({*goal.voters}.difference(configuration.voter_names))
        return is_coming or configuration.is_joint or not there.issubset(configuration.names)

    def _open(self) -> list[str]:
        """Who is not done."""
        waiting = [client.name for client in self.clients if not client.done]
        waiting += [f"{node.name}: down" for node in self._sound if not node.alive]
        waiting += ["what is due"] * self.judge.waits()
        for node in self._sound:
            if not node.alive:
                continue
            replica = node.replica
            waiting.append(
                f"{node.name}: {replica.role} of {replica.epoch}, leader {replica.leader}, applied {replica.applied}, "
                f"commit {replica.commit}, durable {replica.durable}, last {replica.log.last}"
            )
        return waiting


def replay(seed: int) -> str:
    """What to type to see the history of this seed."""
    return f"python -m broadcast._simulation --seed {seed} --trace"


def run(seed: int, *, options: Options | None = None, play: Play | None = None, again: str | None = None) -> History:
    """Play the history of this seed. Raises `Violation`, which says how to see it again.

    options: instead of those that follow from the seed. play: instead of the protocol's own. again: what to type then.
    """
    __tracebackhide__ = True
    if again is None:
        custom = options is not None and play is None
        again = f"broadcast._simulation.history.run({seed}, options={options})" if custom else replay(seed)
    stage = Stage(seed, options, play)
    world = stage.world
    try:
        with bounds.in_force(world.options.bounds):
            stage.play()
    except FAILURES as error:
        cause = _cause(stage, error)
        text = f"seed {seed}, at {world.now / SECOND:.6f} s: {cause}\n  see it again: {again}"
        violation = cause.told(text) if isinstance(cause, Violation) else Violation(text)
        violation.trace = world.trace.lines()
        raise violation from (None if isinstance(cause, ActorFault) else error)
    except Exception as error:
        error.add_note(f"in the history of seed {seed}; see it again: {again}")
        raise
    return History(seed, world.options, world.trace.digest(), stage.marks, world.now, world.trace.lines())


def _cause(stage: Stage, error: BaseException) -> BaseException:
    """Why it failed: what the judge finds, if it is the actor's doing."""
    try:
        stage.judge.failed(error)
    except (Violation, InvariantViolation) as cause:
        return cause
    return error
