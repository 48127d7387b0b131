"""The end of a history: the group works, and at the pace of its network and disks (liveness).

That nothing is open does not say that anything could still be done. So new clients, one at each member that works, ask
for something, one after the other; then the leader's process dies while all of them wait, and is started again. What
they wait for is bounded by what a call has to wait for: some round trips and some writes. A wake-up that was lost, and
that only the next heartbeat, a retry or a client's patience makes good, takes longer than that, where these are quick.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from broadcast._protocol.consistency import Consistency
from broadcast._simulation import applying, link, network
from broadcast._simulation.invariants import broken
from broadcast._simulation.network import Network
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND, SECOND, Options
from broadcast._simulation.owner import Owner
from broadcast._simulation.play import Expectation, Play
from broadcast._simulation.world import World
from membership._protocol.view import Limits

REPAIRED_FOR_MAX = 30 * SECOND  # for what may have to wait until sessions expire, or for somebody's patience
ELECTIONS = 5  # that it takes, at most, to replace a leader: votes may be split
LOOK_INTERVAL = MILLISECOND
SPANS_MAX = 8
FAR = 100  # entries that a log is ahead of another


class Prober(Owner):
    """One owner at one member, patient: it goes nowhere else, and does nothing but ask and wait."""

    def __init__(self, at: Node, world: World, play: Play, calls: Expectation, limits: Limits) -> None:
        self._node = at
        super().__init__(f"prober-{at.name}", world, play, calls, limits)

    def ask(self) -> None:
        """A command, and a query if there are any."""
        self._offer(1)
        self._read(Consistency.LEASE if self._world.options.leases else Consistency.LINEARIZABLE)
        self._send()

    def plan(self) -> int | None:
        """A command of which something comes later; returns after how long, if there is such a one."""
        later = self._play.plan(self.name, self._offered + 1)
        if later is None:
            return None
        tag, call, delay = later
        self._offer_call(tag, call)
        self._send()
        return delay

    def leave(self) -> None:
        """Its session is over."""
        self._submitter.end()
        self._send()

    @property
    def refused(self) -> bool:
        """Was there no room for its session? Then it waits until another's has expired."""
        return self._submitter.full

    def _choose(self) -> Node:
        return self._node


def _has_word(prober: Prober) -> bool:
    return prober.done or prober.refused


def spans(nodes: Sequence[Node]) -> Iterator[int]:
    """How often to wait: once, and some more while much is on its way to one of these, in parts that are tiny here, and
    many, from a disk that may be slow: a snapshot, or a log that is far ahead of it."""
    yield 0
    for more in range(1, SPANS_MAX):
        if _is_restoring(nodes) or _is_far_behind(nodes):
            yield more


def _is_far_behind(nodes: Sequence[Node]) -> bool:
    logs = [(each.replica.log.last.index, each.replica.leadership is not None) for each in nodes if each.alive]
    ahead = max((last for last, leads in logs if leads), default=0)
    return any(last + FAR < ahead for last, _ in logs)


def _is_restoring(nodes: Sequence[Node]) -> bool:
    leaderships = [each.replica.leadership for each in nodes if each.alive]
    followers = [each.followers for each in leaderships if each is not None]
    names = [each.name for each in nodes]
    return any(each[name].outgoing is not None for each in followers for name in names if name in each)


def call_time(options: Options) -> int:
    """The longest that a call takes which nothing stands in the way of: from a client and back.

    The member passes it on to the leader; the leader's disk may be busy, and so may the followers', and what they
    acknowledge may have to make room first for what is to be acknowledged; and the member hears of the commit. A
    linearizable query takes less: two rounds of heartbeats, if one is under way already.
    """
    messages, writes, applications = 6, 4, 3
    if options.bounds:
        messages += 4  # one batch at a time may be on its way here, and what was due before is one of its own
    return (
        2 * link.LATENCY
        + messages * options.latency
        + writes * options.disk_latency
        + applications * applying.APPLY_DELAY
        + LOOK_INTERVAL
    )


def due_time(options: Options) -> int:
    """The longest that it takes, in an idle group, from when something is due until its leader has done it.

    The leader may still have to apply what leaves it; then its disk and the followers' write, and it applies that.
    """
    return 2 * options.latency + 2 * options.disk_latency + 2 * applying.APPLY_DELAY + LOOK_INTERVAL


def held_up_time(options: Options, nodes: Iterable[Node]) -> int:
    """The longest that it takes until what is held up has run, if each of it crashes."""
    return max((node.effects_waiting for node in nodes), default=0) * options.undo_interval


def election_time(options: Options) -> int:
    """The longest that it takes, within reason, to replace a leader that is gone, and to be level with the new one.

    Each attempt waits for a timeout, asks twice, and writes twice at the candidate and twice at the voters.
    """
    attempt = 2 * options.election_timeout + 4 * options.latency + 4 * options.disk_latency
    return network.NOTICE_DELAY + ELECTIONS * attempt + call_time(options)


class Trial:
    """Of the members `sound`, which suffice; the others are as they may be."""

    def __init__(
        self,
        world: World,
        nodes: Mapping[str, Node],
        sound: Sequence[Node],
        net: Network,
        play: Play,
        calls: Expectation,
        limits: Limits,
    ) -> None:
        self._world = world
        self._nodes = nodes
        self._sound = sound
        self._network = net
        self._make = partial(Prober, world=world, play=play, calls=calls, limits=limits)
        self._together = limits.sessions_max
        self._probers: list[Prober] = []
        self.marks = Counter[str]()
        self._call_time = call_time(world.options)
        self._election_time = election_time(world.options)

    def run(self) -> None:
        """Raises `Violation`."""
        self._world.note("", "trial")
        self._be_led()
        for first in range(0, len(self._sound), self._together):
            self._open(self._sound[first : first + self._together])
        self._change_leader()
        self._try_each()
        self._wait_for_due()

    # -- who leads -------------------------------------------------------------------------------------------------

    @property
    def _leader(self) -> Node | None:
        """Who leads, and has all of them where it is; None if there is nobody."""
        known = {(each.replica.epoch, each.replica.leader) for each in self._sound}
        epoch, name = next(iter(known))
        if len(known) > 1 or name is None or not self._nodes[name].alive:
            return None
        leader = self._nodes[name]
        leadership = leader.replica.leadership
        if leadership is None or leadership.epoch != epoch:
            return None
        return leader if all(each.replica.applied >= leadership.start for each in self._sound) else None

    def _be_led(self) -> Node:
        """Wait until one of them leads. Another that does is stopped: it may be slow, or about to find out."""
        while True:
            if not any(self._wait(self._is_led, self._election_time) for _ in spans(self._sound)):
                broken("a leader that is gone is replaced", bound=self._election_time, members=self._told())
            leader = self._leader
            if leader is not None and leader in self._sound:
                return leader
            if leader is not None:
                self.marks["leaders stopped that were not repaired"] += 1
                leader.crash()

    def _is_led(self) -> bool:
        return self._leader is not None

    def _change_leader(self) -> None:
        """The leader's process dies while calls are under way, and is started at once."""
        leader = self._be_led()
        for prober in self._probers:
            self._ask(prober)
        self._run(self._world.chance.randrange(self._call_time))
        leader.crash()
        leader.start(self._network)
        self._be_led()
        self.marks["leaders replaced in the end"] += 1
        # Once to learn that it has to be sent again, and once more where the session has to be asked for first.
        self._answered(self._probers, 2 * self._call_time, "what was under way is sent again once a leader is known")

    # -- what is asked ---------------------------------------------------------------------------------------------

    def _ask(self, prober: Prober) -> None:
        self.marks["fresh commands"] += 1
        prober.ask()

    def _open(self, members: Sequence[Node]) -> None:
        """Others ask from now on. The first call of each takes a session, for which there may be no room at once."""
        for prober in self._probers:
            prober.leave()
        self._probers = []
        for member in members:
            prober = self._make(member)
            self._probers.append(prober)
            self._be_level()
            self._ask(prober)
            self._wait(partial(_has_word, prober), 2 * self._call_time)
            bound = REPAIRED_FOR_MAX if prober.refused else 0
            self._answered([prober], bound, "a new client is served by each member that works")

    def _try_each(self) -> None:
        for prober in self._probers:
            self._be_level()
            self._ask(prober)
            self._answered([prober], self._call_time, "a call takes some round trips and writes, and no longer")

    def _wait_for_due(self) -> None:
        """What is due runs by itself, in a group that nobody asks for anything."""
        self._be_idle(REPAIRED_FOR_MAX + held_up_time(self._world.options, self._sound))
        for prober in self._probers:
            self._be_level()
            delay = prober.plan()
            if delay is None:
                return
            self._answered([prober], self._call_time, "a call takes some round trips and writes, and no longer")
            self.marks["fresh plans"] += 1
            self._be_idle(delay + due_time(self._world.options))

    def _be_level(self) -> None:
        """Nothing of before should stand in the way of the next call: each has what the leader has, and nothing waits
        there, such as what clients have sent again and again. But not for ever: there may always be more."""
        self._wait(lambda: not self._is_behind(), 10 * self._call_time)

    def _is_behind(self) -> bool:
        leader = self._leader
        leadership = None if leader is None else leader.replica.leadership
        if leader is None or leadership is None or leadership.pending:
            return True
        return any(each.replica.applied < leader.replica.log.last.index for each in self._sound)

    def _be_idle(self, bound: int) -> None:
        """Wait until nothing waits to be due at who leads. One of a higher priority may be handed the lead meanwhile:
        then once more."""
        led_by, known = self._be_led(), max(each.replica.applied for each in self._sound)
        is_idle = partial(self._is_idle, known)
        if self._wait(is_idle, bound):
            return
        if self._be_led() is led_by or not self._wait(is_idle, bound):
            broken("what is due runs in an idle group too", bound=bound, members=self._told())

    def _is_idle(self, known: int) -> bool:
        """Has the leader applied what others have, and does nothing wait to be due? Sessions are kept alive for ever,
        so the end of its log may always be ahead."""
        leader = self._leader
        return leader is not None and leader.replica.applied >= known and not leader.machine.effects

    def _answered(self, probers: Sequence[Prober], bound: int, claim: str) -> None:
        if not self._wait(lambda: all(prober.done for prober in probers), bound):
            waiting = [prober.name for prober in probers if not prober.done]
            broken(claim, waiting=waiting, bound=bound, members=self._told())

    # -- time ------------------------------------------------------------------------------------------------------

    def _wait(self, until: Callable[[], bool], span: int) -> bool:
        """Wait for that, no longer than for `span`. Has it come?"""
        end = self._world.now + span
        while not until():
            if self._world.now >= end:
                return False
            self._run(LOOK_INTERVAL)
        return True

    def _run(self, span: int) -> None:
        self._world.schedule.run(self._world.now + span)

    def _told(self) -> list[str]:
        return [_told(each) for each in self._sound]


def _told(node: Node) -> str:
    if not node.alive:
        return f"{node.name}: gone"
    replica = node.replica
    return (
        f"{node.name}: {replica.role} of {replica.epoch}, leader {replica.leader}, applied {replica.applied}, "
        f"commit {replica.commit}, last {replica.log.last.index}"
    )
