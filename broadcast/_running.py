"""A replica's actor at one index of the log: how what stands in the log is run on it, and how it is looked at.

What moves it on, by the batches that are committed, is `_machine.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from trio.lowlevel import enable_ki_protection

from actors._actor import Actor, give_context
from actors._interface import Interface
from actors._plain import encode_plain, to_plain
from actors._protocol.codec import DecodeError, decode, encode_again
from actors._protocol.errors import InvalidMessage, InvariantViolation, Refused, invariant
from broadcast._calls import is_call, open_call, open_calls, open_effect, runs_of
from broadcast._crashes import comes_again
from broadcast._delivery import Delivery
from broadcast._moment import LogContext, Moment
from broadcast._outcomes import INVALID, pack_answer, pack_crash, pack_refusal
from broadcast._past import Past
from broadcast._protocol.entries import Commands, Due, Run
from broadcast._protocol.following import Ordered
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.sessions import Outcome, Sessions
from membership._protocol.configurations import Agreed
from membership._protocol.view import Configuration, View

A = TypeVar("A", bound=Actor)

_APPLIED = Outcome.APPLIED  # to look it up in its class is slow


class NotUnderstood(Exception):
    """A command that this class does not take. Says why."""


class Running(Generic[A]):
    """What is at that index, and can be asked there.

    group: its name. applied: the index. time, stamp: log time in microseconds, and Lamport counter, of the entry there.
    views: those that began up to there. agreed: what stands in the log of members. sessions: those that are open.
    """

    def __init__(
        self, actor: Callable[[], A], interface: Interface, configuration: Configuration, group: str, version: int
    ) -> None:
        """`actor` makes an instance as it is before the first command."""
        self.group = group or interface.actor.__name__
        self.interface = interface
        self.applied = 0
        self.time = 0
        self.stamp = 0
        self.views: list[View] = []
        self.agreed = Agreed.formed(configuration, version)
        limits = configuration.limits
        self.sessions = Sessions(term=limits.session_term, sessions_max=limits.sessions_max)
        self._make = actor
        self._context = LogContext(self.group, interface)
        self._past = Past(version)
        self.actor = self._begin()

    def _begin(self) -> A:
        actor = self._make()
        give_context(actor, self._context)
        return actor

    @property
    def configuration(self) -> Configuration:
        """The one that was applied last."""
        return self.agreed.configuration

    @property
    def position(self) -> Position:
        """Of the last entry applied."""
        return Position(self.views[-1].epoch if self.views else 0, self.applied)

    @property
    def first_index(self) -> int:
        """The first entry of which it is known here what became of it."""
        return self._past.start + 1

    def came_to(self, index: int) -> Outcome:
        """What became of the command there, which is held."""
        return self._past.came_to(index)

    # -- running what stands in the log ------------------------------------------------------------------------------

    def _run(self, actor: A, call: object, index: int) -> tuple[Outcome, bytes]:
        """Run a command, or a query that has its place in the log; raises what it raises, but for a refusal.

        `NotUnderstood` if the class does not take it.
        """
        context = self._context
        context.intentions = None
        try:
            method, arguments = open_call(self.interface, call)
        except InvalidMessage as error:
            if is_call(call):
                raise NotUnderstood(str(error)) from error
            return Outcome.INVALID, INVALID
        if method.since > context.version:
            return Outcome.INVALID, INVALID
        acts = method.kind == "command"
        context.at(index, acts)
        try:
            return _APPLIED if acts else Outcome.QUERIED, pack_answer(method, method.function(actor, *arguments))
        except Refused as refusal:
            return Outcome.REFUSED, pack_refusal(method, refusal)

    def understands(self, call: object, version: int | None = None) -> bool:
        """Would this call be tried by the version in force, here or as given? Not what only some could open, either."""
        try:
            method, _ = open_call(self.interface, call)
        except Exception:
            return False
        return method.since <= (version or self.version)

    @property
    def version(self) -> int:
        """The version of the class in force."""
        return self.agreed.version

    @property
    def understands_all(self) -> bool:
        """Is all in force that our class has? Then what was packed by it is understood."""
        return self.interface.newest <= self.version

    def _owner(self, entry: Run) -> str:
        """Who has sent the commands of a run."""
        if isinstance(entry, Due):
            return self.group
        known = self.sessions.get(entry.session)
        return self._past.owner(entry.session) if known is None else known.owner

    def _calls(self, entry: Run, first: int) -> Sequence[object]:
        """The calls of a run, as far as it was applied, opened."""
        if isinstance(entry, Commands):
            return open_calls(entry)
        calls = [self._past.due_at(at) for at in range(first, first + entry.count)]
        return [None if call is None else open_effect(call) for call in calls]

    def _moment(self, owner: str, batch: Batch) -> Moment:
        leader, version = self._past.leader(batch.epoch), self._past.version(batch.first)
        return Moment(owner, leader, batch.epoch, batch.time, batch.stamp - batch.first, version)

    # -- looking ---------------------------------------------------------------------------------------------------

    @enable_ki_protection
    def query(self, call: bytes, sender: str) -> bytes:
        """Run a query on the state as it is; returns its encoded outcome. Changes nothing, and stops nobody."""
        try:
            return self._look(call, sender)
        except InvariantViolation:
            raise
        except BaseException as error:  # the user's bug, told to who asked
            if not isinstance(error, Exception) and not comes_again(error, lambda: self._look(call, sender)):
                raise
            return pack_crash(error)
        finally:
            self._context.end()

    def _look(self, call: bytes, sender: str) -> bytes:
        try:
            method, arguments = open_call(self.interface, decode(call), "query")
        except (InvalidMessage, DecodeError):
            return INVALID
        epoch = self.views[-1].epoch if self.views else 0
        leader = self.views[-1].leader if self.views else ""
        self._context.enter(Moment(sender, leader, epoch, self.time, self.stamp - self.applied, self.version))
        self._context.at(self.applied, False)
        try:
            return pack_answer(method, method.function(self.actor, *arguments))
        except Refused as refusal:
            return pack_refusal(method, refusal)

    def deliveries(self, batch: Batch, from_index: int = 1) -> Iterator[Delivery]:
        """The commands of an applied batch that were applied, from `from_index` on (rule 9)."""
        for index, moment, call in self._applied(batch, from_index):
            method, arguments = open_call(self.interface, call, "command")
            position, timestamp = moment.position(index), moment.timestamp(index)
            yield Delivery(position, timestamp, moment.time, moment.sender, method.tag, arguments)

    def ordered(self, batch: Batch, from_index: int = 1) -> Iterator[Ordered]:
        """The same, for those who open the calls themselves."""
        for index, moment, call in self._applied(batch, from_index):
            stamp = moment.timestamp(index)
            yield Ordered(
                moment.epoch, index, stamp.counter, stamp.node, moment.time, moment.sender, encode_again(call)
            )

    def _applied(self, batch: Batch, from_index: int) -> Iterator[tuple[int, Moment, object]]:
        """Index, moment and call of each."""
        invariant(batch.last <= self.applied, "only what was applied is delivered", last=batch.last)
        for entry, first in runs_of(batch):
            moment: Moment | None = None
            calls: Sequence[object] = ()
            for index in range(max(first, from_index), first + entry.count):
                if self._past.came_to(index) is not _APPLIED:
                    continue
                if moment is None:
                    moment, calls = self._moment(self._owner(entry), batch), self._calls(entry, first)
                yield index, moment, calls[index - first]

    def state(self) -> bytes:
        """The actor's attributes, encoded: equal bytes on replicas that agree."""
        return encode_plain(to_plain(vars(self.actor), type(self.actor).__name__))
