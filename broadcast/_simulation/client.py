"""A restless owner: it offers commands, reads, withdraws some of what was not sent, and gives up some reads.

It leaves a replica that keeps it waiting, sleeps now and then, and its link breaks, so that it comes back elsewhere, or
too late. It knows the founding members, and learns the others as any client does. It goes to who leads only now and
then: there are owners at the other members, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from broadcast._protocol.places import Places, Route
from broadcast._protocol.visits import Leading, Members
from broadcast._simulation.link import GivenUp
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND
from broadcast._simulation.owner import Owner
from broadcast._simulation.play import Expectation, Play
from broadcast._simulation.world import World
from membership._protocol.view import Limits

OUTSTANDING_MAX = 40  # calls, or two bursts; fewer where the group lets a session leave only a few open
OFFERS = 0.7  # chance that it offers commands when it does something
ENDS = 0.01  # chance that it ends its session, if nothing is open
READS_MAX = 10  # under way at once
READ_GIVEN_UP = 0.03  # chance that it gives up one of them
PATIENCE = 600 * MILLISECOND  # at most, with a replica that tells nothing
SLEEPS = 0.01  # chance that it does nothing at all for long, so that its session may expire
SLEEP = 1000 * MILLISECOND, 2500 * MILLISECOND
WITHDRAWN = 0.1  # chance that the last call of an offer is given up at once
FAREWELLS = 3  # times that it says, in the end, that its session is over: the word may be lost with a leader


class Client(Owner):
    """Offers until it is calm, then waits for what is open."""

    def __init__(
        self, name: str, world: World, nodes: Mapping[str, Node], play: Play, calls: Expectation, limits: Limits
    ) -> None:
        """nodes: by their addresses, which are their names."""
        super().__init__(name, world, play, calls, limits)
        self._nodes = nodes
        self._route, self._told = self._set_out(world.options.names)
        self._members = self._told  # by what was said last
        self._served = False
        self._leader: str | None = None
        self._asleep = False
        self._farewells = 0
        self._outstanding_max = min(max(OUTSTANDING_MAX, 2 * world.options.burst), 10 * limits.answers_max)
        world.schedule.after(world.chance.randrange(world.options.idle), self._act)
        world.schedule.after(PATIENCE, self._doubt)

    def _choose(self) -> Node:
        return self._nodes[self._route.places[self._route.target]]

    def _set_out(self, names: Sequence[str]) -> tuple[Route, set[str]]:
        """With these members' places."""
        places = Places({name: name for name in self._world.chance.sample(names, len(names))})
        return Route(places), set(names)

    def knows_any(self, names: Iterable[str]) -> bool:
        """Was it ever told of one of these?"""
        return not self._told.isdisjoint(names)

    def guide(self, names: Sequence[str]) -> None:
        """Its user starts it anew, so to say, with these members' places: all that it was told of are gone."""
        self._world.marks["clients that were away too long"] += 1
        self._route, self._told = self._set_out(names)
        if self._link is not None:
            self._leave(self._link)

    def _introduced(self, word: Members | Leading) -> None:
        self._served, world = True, self._world
        if isinstance(word, Members):
            self._members = set(word.members)
            self._told |= self._members
            self._route.learn(word.members)
        elif self._route.leads_on(word.leader, word.address) and world.chance.random() < world.options.follows:
            world.note(self.name, "is led to", word.leader)
            self._leader = word.leader
            if self._link is not None:
                self._leave(self._link)

    def _visited(self) -> None:
        self._route.visited(served=self._served, leader=self._leader)
        self._served, self._leader = False, None

    @property
    def _away(self) -> bool:
        return self._asleep

    def _answered(self, count: int) -> None:
        self._world.marks["answers"] += count
        self._world.marks["answers under faults"] += 0 if self._world.calm else count
        outlasted = self._members.isdisjoint(self._world.options.names)
        self._world.marks["answers to who outlasted the founding members"] += count * outlasted

    # -- what it does ----------------------------------------------------------------------------------------------

    def _act(self) -> None:
        """Something, and again after a while."""
        world, chance = self._world, self._world.chance
        if world.calm:
            return
        if self._asleep:
            world.schedule.after(world.options.idle, self._act)
            return
        if self._link is not None and world.strikes(world.options.hang_ups):
            world.marks["clients' links broken"] += 1
            self._leave(self._link)
        if chance.random() < OFFERS and self._submitter.outstanding < self._outstanding_max:
            self._offer_some(chance.choice((1, 1, 1, 2, 5, world.options.burst)))
        if chance.random() < world.options.reads and len(self._reads) < READS_MAX:
            levels = world.options.levels
            self._read(chance.choice(levels) if len(levels) > 1 else next(iter(levels)))
        if self._reads and chance.random() < READ_GIVEN_UP:
            self._give_up(chance.choice(list(self._reads)))
        if chance.random() < ENDS and not self._submitter.outstanding:
            self._begin_anew()
        world.schedule.after(1 + chance.randrange(world.options.idle), self._act)
        self._send()
        if chance.random() < SLEEPS:
            self._sleep(chance.randrange(*SLEEP))

    def _sleep(self, duration: int) -> None:
        """Its machine is closed: its link ends, and nothing happens until it wakes."""
        self._asleep = True
        if self._link is not None:
            self._hang_up(self._link)
        self._world.schedule.after(duration, self._wake)

    def _wake(self) -> None:
        self._asleep = False
        self._submitter.tick(self._world.now)
        self._queries.tick(self._world.now)
        self._send()

    def _offer_some(self, count: int) -> None:
        self._world.marks["commands"] += count
        ticket = self._offer(count)
        if self._world.chance.random() < WITHDRAWN and self._submitter.withdraw(ticket):
            self._world.marks["withdrawn"] += 1
            self._calls.withdrawn(self.name, self._before + ticket)

    def _begin_anew(self) -> None:
        """End the session, and be a new owner."""
        self._world.marks["sessions ended"] += 1
        self._submitter.end()
        self._send()
        self._submitter, self._before, self._timer = self._open(), self._offered, None

    def _give_up(self, number: int) -> None:
        """Do not wait for this read any more."""
        self._world.marks["reads given up"] += 1
        del self._reads[number]
        if self._queries.give_up(number) and self._link is not None:
            self._link.send(GivenUp(self._clock.tick(), number))

    def _doubt(self) -> None:
        """Give up on a replica that has told nothing for long, though it should have."""
        silent = self._world.now - self._heard_at
        if self._link is None:
            self._send()
        elif self.done:
            self._say_farewell()
        elif silent > self._world.chance.randrange(PATIENCE // 4, PATIENCE):
            self._world.marks["replicas given up"] += 1
            self._leave(self._link)
        self._world.schedule.after(PATIENCE // 8, self._doubt)

    def _say_farewell(self) -> None:
        """In the end: its session is over, so that there is room for another's."""
        if self._world.calm and self._farewells < FAREWELLS:
            self._farewells += 1
            self._submitter.end()
            self._send()
