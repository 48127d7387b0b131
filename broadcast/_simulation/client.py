"""A session's owner, outside of the group: a real `Submitter`, and a link to one replica at a time.

It offers commands, reads, withdraws some of what was not sent, gives up some reads, and leaves a replica that keeps it
waiting. It sleeps now and then, and its link breaks, so that it comes back elsewhere, or too late.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from actors._protocol.clock import LamportClock
from broadcast._protocol.patience import FAR
from broadcast._protocol.reports import Answers, Report
from broadcast._protocol.submitter import Answered, Submitter, Unknown
from broadcast._simulation.link import Asked, GivenUp, Link, Offered, Reported, ToClient
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND
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


class Client:
    """One owner of one session after the other. Offers until it is calm, then waits for what is open."""

    def __init__(
        self, name: str, world: World, nodes: Sequence[Node], play: Play, calls: Expectation, limits: Limits
    ) -> None:
        self.name = name
        self._world = world
        self._nodes = nodes
        self._play = play
        self._calls = calls
        self._offered = 0
        self._clock = LamportClock(name)
        self._limits = limits
        self._opened = 0  # submitters so far
        self._submitter = self._open()
        self._before = 0  # calls offered to earlier sessions' submitters
        self._link: Link | None = None
        self._at: str | None = None  # the replica it went to last
        self._reads: dict[int, tuple[int, bytes]] = {}  # token -> what was known when it began, and the query
        self._tokens = 0
        self._timer: int | None = None
        self._heard_at = 0
        self._asleep = False
        self._farewells = 0
        self._outstanding_max = min(max(OUTSTANDING_MAX, 2 * world.options.burst), 10 * limits.answers_max)
        world.schedule.after(world.chance.randrange(world.options.idle), self._act)
        world.schedule.after(PATIENCE, self._doubt)

    def _open(self) -> Submitter:
        nonce = self._world.chance.randbytes(16)
        if self._world.options.copied_nonces:
            self._opened += 1
            nonce = self._opened.to_bytes(16)
            self._world.marks["nonces copied"] += 1
        submitter = Submitter(owner=self.name, nonce=nonce)
        self._enter(submitter)
        return submitter

    def _enter(self, submitter: Submitter) -> None:
        """There is a way, or a new one; to the same group always."""
        limits = self._limits
        submitter.enter(b"c" * 16, term=limits.session_term, window=limits.answers_max, now=self._world.now)

    @property
    def done(self) -> bool:
        """Is all answered?"""
        return not (self._reads or self._submitter.outstanding)

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
            self._offer(chance.choice((1, 1, 1, 2, 5, world.options.burst)))
        if chance.random() < world.options.reads and len(self._reads) < READS_MAX:
            self._read()
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
            self._link.close()
            self._link = None
        self._world.schedule.after(duration, self._wake)

    def _wake(self) -> None:
        self._asleep = False
        self._submitter.tick(self._world.now)
        self._send()

    def _offer(self, count: int) -> None:
        chance = self._world.chance
        self._world.marks["commands"] += count
        ticket = 0
        for _ in range(count):
            self._offered += 1
            tag, call = self._play.command(chance, self.name, self._offered)
            ticket = self._submitter.offer(call)
            self._calls.offered(self.name, self._before + ticket, tag)
        if chance.random() < WITHDRAWN and self._submitter.withdraw(ticket):
            self._world.marks["withdrawn"] += 1
            self._calls.withdrawn(self.name, self._before + ticket)

    def _begin_anew(self) -> None:
        """End the session, and be a new owner."""
        self._world.marks["sessions ended"] += 1
        self._submitter.end()
        self._send()
        self._submitter, self._before, self._timer = self._open(), self._offered, None

    def _read(self) -> None:
        call = self._play.query(self._world.chance)
        if call is not None:
            self._tokens += 1
            self._reads[self._tokens] = self._calls.known, call
            self._ask(self._tokens)

    def _give_up(self, token: int) -> None:
        """Do not wait for this read any more."""
        self._world.marks["reads given up"] += 1
        del self._reads[token]
        if self._link is not None:
            self._link.send(GivenUp(self._clock.tick(), token))

    def _ask(self, token: int) -> None:
        if self._link is not None:
            self._link.send(Asked(self._clock.tick(), token, self._reads[token][1]))

    def _send(self) -> None:
        """Send what the session wants sent, and be back when it wants to be."""
        now = self._world.now
        if self._asleep:
            return
        if self._submitter.full:
            self._world.marks["sessions refused"] += 1
        if self._link is None:
            self._go_to(self._world.chance.choice(self._nodes))
        entries = self._submitter.take(self._clock.counter, now)
        if entries and self._link is not None:
            self._link.send(Offered(self._clock.tick(), tuple(entries)))
        due = self._submitter.deadline
        if due < FAR and (self._timer is None or due < self._timer):
            self._timer = due
            self._world.schedule.at(due, partial(self._tick, due))

    def _tick(self, due: int) -> None:
        if self._timer == due:
            self._timer = None
            if not self._asleep:  # else it does so when it wakes
                self._submitter.tick(self._world.now)
                self._send()

    # -- its link --------------------------------------------------------------------------------------------------

    def _go_to(self, node: Node) -> None:
        """A link to this replica; all that is open goes by it again."""
        link = Link(self._world, self, node)
        if not link.stands:
            return
        self._world.note(self.name, "goes to", node.name)
        self._world.marks["went elsewhere"] += self._at not in (None, node.name)
        self._link, self._at = link, node.name
        self._heard_at = self._world.now
        self._enter(self._submitter)
        for token in self._reads:
            self._ask(token)

    def cut_off(self, link: Link) -> None:
        """The other end is gone."""
        if link is self._link:
            self._leave(link)

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

    def _leave(self, link: Link) -> None:
        link.close()
        self._link = None
        self._send()

    # -- what comes back -------------------------------------------------------------------------------------------

    def receive(self, message: ToClient) -> None:
        self._clock.witness(message.stamp)
        self._heard_at = self._world.now
        if isinstance(message, Reported):
            self._world.note(self.name, "report", message.report)
            self._calls.told(self.name, message.report)
            self._submitter.receive(message.report, self._world.now)
            self._collect(message.report)
            self._send()
        else:
            asked = self._reads.pop(message.token, None)
            if asked is not None:
                self._world.note(self.name, "read", message.outcome)
                self._world.marks["reads"] += 1
                self._calls.read(*asked, message.outcome)

    def _collect(self, report: Report) -> None:
        """What became known by this report."""
        for result in self._submitter.take_results():
            if isinstance(result, Answered) and isinstance(report, Answers):
                self._world.marks["answers"] += len(result.outcomes)
                self._world.marks["answers under faults"] += 0 if self._world.calm else len(result.outcomes)
                number = report.number + len(report.outcomes) - len(result.outcomes)
                for at, outcome in enumerate(result.outcomes):
                    ticket = self._before + result.first + at
                    self._calls.answered(self.name, ticket, outcome, report.session, number + at)
            elif isinstance(result, Unknown):
                self._world.marks["unknown outcomes"] += 1
                self._calls.unknown(self.name, self._before + result.first, self._before + result.last)
