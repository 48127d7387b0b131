"""A session's owner, outside of the group: a real `Submitter`, real `Queries`, and a link to one replica at a time.

What it asks and when, and which replica it goes to, is for its kinds to say: the restless `Client`, and the `Prober`
that shows in the end that the group works.
"""

from __future__ import annotations

from functools import partial

from actors._protocol.clock import LamportClock
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.patience import FAR
from broadcast._protocol.queries import Queries
from broadcast._protocol.reports import Answers, Expired, Report
from broadcast._protocol.submitter import Answered, Submitter, Unknown
from broadcast._protocol.visits import Leading, Members
from broadcast._simulation.invariants import is_held_up, is_without_answer
from broadcast._simulation.link import Asked, Link, Offered, Reported, ToClient
from broadcast._simulation.node import Node
from broadcast._simulation.play import Expectation, Play
from broadcast._simulation.world import World
from membership._protocol.view import Limits

CLUSTER = b"c" * 16  # the group's id, as owners have it: there is one group


class Owner:
    """One owner of one session after the other."""

    def __init__(self, name: str, world: World, play: Play, calls: Expectation, limits: Limits) -> None:
        self.name = name
        self._world = world
        self._play = play
        self._calls = calls
        self._limits = limits
        self._clock = LamportClock(name)
        self._offered = 0
        self._before = 0  # calls offered to earlier sessions' submitters
        self._queries = Queries()
        self._reads: dict[int, tuple[int, bytes, Consistency]] = {}  # number -> what was known when it began, and what
        self._link: Link | None = None
        self._at: str | None = None  # the replica it went to last
        self._heard_at = 0
        self._timer: int | None = None
        self._opened = 0  # submitters so far
        self._submitter = self._open()

    @property
    def done(self) -> bool:
        """Is all answered?"""
        return not (self._reads or self._submitter.outstanding)

    # -- for its kinds ---------------------------------------------------------------------------------------------

    def _choose(self) -> Node:
        """Which replica to go to."""
        raise NotImplementedError

    @property
    def _away(self) -> bool:
        """Can it do nothing at present?"""
        return False

    def _answered(self, count: int) -> None:
        """So many commands were answered."""

    def _introduced(self, word: Members | Leading) -> None:
        """The replica that it is linked to says who belongs to the group, or who leads."""

    def _visited(self) -> None:
        """Its link to a replica is over, or did not come about."""

    # -- what it asks ----------------------------------------------------------------------------------------------

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
        submitter.enter(CLUSTER, term=limits.session_term, window=limits.answers_max, now=self._world.now)

    def _offer(self, count: int) -> int:
        """Take so many commands into the session; returns the last ticket."""
        ticket = 0
        chance, logged = self._world.chance, self._world.options.logged
        for _ in range(count):
            query = self._play.query(chance) if logged and chance.random() < logged else None
            if query is None:
                ticket = self._offer_call(*self._play.command(chance, self.name, self._offered + 1))
            else:
                self._world.marks["queries for the log"] += 1
                ticket = self._offer_call("", query, query)
        return ticket

    def _offer_call(self, tag: str, call: bytes, query: bytes | None = None) -> int:
        self._offered += 1
        ticket = self._submitter.offer(call)
        self._calls.offered(self.name, self._before + ticket, tag, query)
        return ticket

    def _read(self, consistency: Consistency) -> None:
        call = self._play.query(self._world.chance)
        if call is not None:
            self._reads[self._queries.ask(call, consistency)] = self._calls.known, call, consistency

    def _send(self) -> None:
        """Send what the session wants sent, and be back when it wants to be."""
        now = self._world.now
        if self._away:
            return
        if self._submitter.full:
            self._world.marks["sessions refused"] += 1
        if self._link is None:
            self._go_to(self._choose())
        queries = self._queries.take(now) if self._queries.outstanding else ()
        if queries and self._link is not None:
            self._link.send(Asked(self._clock.tick(), tuple(queries)))
        entries = self._submitter.take(self._clock.counter, now)
        if entries and self._link is not None:
            self._calls.sent(entries)
            self._link.send(Offered(self._clock.tick(), tuple(entries)))
        due = min(self._submitter.deadline, self._queries.deadline)
        if due < FAR and (self._timer is None or due < self._timer):
            self._timer = due
            self._world.schedule.at(due, partial(self._tick, due))

    def _tick(self, due: int) -> None:
        if self._timer == due:
            self._timer = None
            if not self._away:  # else it does so when it is back
                self._submitter.tick(self._world.now)
                self._queries.tick(self._world.now)
                self._send()

    # -- its link --------------------------------------------------------------------------------------------------

    def _go_to(self, node: Node) -> None:
        """A link to this replica; all that is open goes by it again."""
        link = Link(self._world, self, node)
        if not link.stands:
            self._visited()
            return
        self._world.note(self.name, "goes to", node.name)
        self._world.marks["went elsewhere"] += self._at not in (None, node.name)
        self._link, self._at = link, node.name
        self._heard_at = self._world.now
        self._enter(self._submitter)
        self._queries.enter(CLUSTER)

    def cut_off(self, link: Link) -> None:
        """The other end is gone."""
        if link is self._link:
            self._leave(link)

    def _leave(self, link: Link) -> None:
        self._hang_up(link)
        self._send()

    def _hang_up(self, link: Link) -> None:
        link.close()
        self._link = None
        self._visited()

    # -- what comes back -------------------------------------------------------------------------------------------

    def receive(self, message: ToClient) -> None:
        self._heard_at = self._world.now
        if isinstance(message, Members | Leading):
            self._introduced(message)
            return
        self._clock.witness(message.stamp)
        if isinstance(message, Reported):
            self._world.note(self.name, "report", message.report)
            self._calls.told(self.name, message.report)
            if isinstance(message.report, Answers):
                self._queries.saw(message.index)
            self._submitter.receive(message.report, self._world.now)
            self._collect(message.report)
            self._send()
        else:
            self._queries.saw(message.index)
            self._queries.answered(message.number, self._world.now)
            asked = self._reads.pop(message.number, None)
            if asked is not None:
                self._world.note(self.name, "read", message.outcome)
                self._world.marks["reads"] += 1
                self._world.marks["reads within a session"] += asked[2] is Consistency.SESSION
                self._calls.read(self.name, *asked, message.outcome)

    def _collect(self, report: Report) -> None:
        """What became known by this report."""
        for result in self._submitter.take_results():
            if isinstance(result, Answered) and isinstance(report, Answers):
                self._answered(len(result.outcomes))
                number = report.number + len(report.outcomes) - len(result.outcomes)
                for at, outcome in enumerate(result.outcomes):
                    self._world.marks["answers not kept"] += is_without_answer(outcome)
                    self._world.marks["crashes held up"] += is_held_up(outcome)
                    ticket = self._before + result.first + at
                    self._calls.answered(self.name, ticket, outcome, report.session, number + at)
            elif isinstance(result, Unknown):
                self._world.marks["unknown outcomes"] += 1
                first, last = self._before + result.first, self._before + result.last
                expired = report.session if isinstance(report, Expired) else None
                self._calls.unknown(self.name, first, last, expired)
