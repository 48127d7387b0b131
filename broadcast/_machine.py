"""The apply loop: committed batches -> the actor, the table of sessions, views, and what to tell those who wait.

Deterministic: every replica that applies the same batches ends in the same state. It takes no input but the log; time
and chance come from there. It is total: whatever an entry holds, it has an agreed outcome, and the replica goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from actors._actor import Actor, give_context
from actors._context import Context
from actors._interface import Interface, Method
from actors._plain import encode_plain, to_plain
from actors._protocol.clock import Timestamp
from actors._protocol.codec import DecodeError, decode
from actors._protocol.errors import InvalidMessage, Refused, Rejected, TooLarge, invariant
from broadcast._protocol.entries import (
    Commands,
    EpochStart,
    SessionAsked,
    SessionEnded,
    SessionKept,
    decode_entries,
    span,
)
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.reports import Answers, Expired, Kept, Missing, Opened, Report
from broadcast._protocol.sessions import Outcome, Session, Sessions
from membership._protocol.view import Configuration, View

A = TypeVar("A", bound=Actor)

CALLS_SIZE_MAX = 2**28  # bytes of one run's calls: bounded where they enter, by the configuration's limits
CALLS_COUNT_MAX = 2**24  # values in one run's calls
ANSWER_SIZE_MAX = 8 * 1024 * 1024  # bytes of one answer: agreed, so that every replica draws the line at the same place
VERSION = 1  # class version in force

_APPLIED = bytes((0x82, Outcome.APPLIED))  # the CBOR array [APPLIED, answer], the answer's bytes to follow
_VOID = encode_plain([Outcome.VOID.value])

History = Callable[[int, int], Iterable[Batch]]
"""history(after, last): the batches with entries beyond index `after` and up to `last`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A command as it was applied: one place in the total order.

    position: (epoch, index). timestamp: its Lamport stamp. time: log time, microseconds since 1970.
    sender: who asked. tag: which command, `arguments`: with what.
    """

    position: Position
    timestamp: Timestamp
    time: int
    sender: str
    tag: str
    arguments: tuple[object, ...]


class Machine(Generic[A]):
    """One replica's actor and all that goes with it, at one index of the log."""

    def __init__(
        self, actor: Callable[[], A], interface: Interface, configuration: Configuration, history: History
    ) -> None:
        self.interface = interface
        self.configuration = configuration
        self.applied = 0
        self.time = 0
        """Log time of the last entry applied, microseconds."""
        self.stamp = 0
        """Lamport counter of the last entry applied."""
        self.views: list[View] = []
        limits = configuration.limits
        self.sessions = Sessions(term=limits.session_term, sessions_max=limits.sessions_max)
        self._make = actor
        self._history = history
        self._context = Context()
        self._owners: dict[int, str] = {}  # session -> who opened it, kept as long as its entries are
        self._others: dict[int, Outcome] = {}  # index -> outcome, of commands that were not simply applied
        self.actor = self._begin()

    # -- applying --------------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> list[Report]:
        """Apply a committed batch; returns what to tell the sessions' owners.

        `MemoryError`, `RecursionError` and what is no `Exception` end the replica: nothing of the batch counts then.
        """
        invariant(batch.first == self.applied + 1, "batches are applied in index order, once", first=batch.first)
        self.time = batch.time
        if not self.views or batch.epoch > self.views[-1].epoch:
            self.sessions.renew(batch.time)  # while nobody led, nobody could be heard of (rule 12)
        self.sessions.expire(batch.time)
        reports: list[Report] = []
        index = batch.first
        for entry in decode_entries(batch.entries):
            self._apply_entry(entry, batch, index, reports)
            index += span(entry)
        invariant(index == batch.last + 1, "a batch holds as many entries as it says", index=index)
        self.applied = batch.last
        self.stamp = batch.last_stamp
        return reports

    def _apply_entry(self, entry: object, batch: Batch, index: int, reports: list[Report]) -> None:
        match entry:
            case Commands():
                self._apply_commands(entry, batch, index, reports)
            case EpochStart():
                self._begin_view(entry.leader, batch.epoch, index)
            case SessionAsked():
                opened = self.sessions.open(index, entry.owner, batch.time)
                if opened:
                    self._owners[index] = entry.owner
                reports.append(Opened(entry.nonce, index if opened else None))
            case SessionKept():
                kept = self.sessions.touch(entry.session, batch.time) is not None
                reports.append(Kept(entry.session) if kept else Expired(entry.session))
            case SessionEnded():
                self.sessions.end(entry.session)
            case _:
                invariant(False, "every kind of entry can be applied", entry=entry)

    def _apply_commands(self, entry: Commands, batch: Batch, index: int, reports: list[Report]) -> None:
        session = self.sessions.touch(entry.session, batch.time)
        if session is None:
            self._others.update((at, Outcome.EXPIRED) for at in range(index, index + entry.count))
            reports.append(Expired(entry.session))
            return
        session.acknowledge(entry.acknowledged)
        if entry.number > session.last + 1:
            self._others.update((at, Outcome.GAP) for at in range(index, index + entry.count))
            reports.append(Missing(entry.session, session.last + 1, entry.attempt))
            return
        repeated = min(max(session.last + 1 - entry.number, 0), entry.count)
        if repeated:
            self._others.update((at, Outcome.DUPLICATE) for at in range(index, index + repeated))
        if repeated < entry.count:
            self._apply_calls(entry, session, batch, index, repeated)
        first, outcomes = session.remembered(entry.number, entry.number + entry.count - 1)
        if outcomes:
            reports.append(Answers(entry.session, first, outcomes))

    def _apply_calls(self, entry: Commands, session: Session, batch: Batch, index: int, skip: int) -> None:
        calls = open_calls(entry)
        for at in range(skip, entry.count):
            session.answered(self._apply_call(calls[at], session.owner, batch, index + at))

    def _apply_call(self, call: object, sender: str, batch: Batch, index: int) -> bytes:
        """One command; returns its encoded outcome."""
        if call is None:
            self._others[index] = Outcome.VOID
            return _VOID
        try:
            method, arguments = self._open(call)
        except InvalidMessage:
            self._others[index] = Outcome.INVALID
            return encode_plain([Outcome.INVALID.value])
        self._enter(sender, batch, index)
        try:
            return _answer(method, method.function(self.actor, *arguments))
        except Refused as refusal:
            self._others[index] = Outcome.REFUSED
            return encode_refusal(refusal)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # a bug in the user's class: agreed, and undone (rule 24)
            self._others[index] = Outcome.CRASHED
            self._undo(batch, index)
            return encode_plain([Outcome.CRASHED.value, type(error).__qualname__])
        finally:
            self._context.end()

    def _open(self, call: object) -> tuple[Method, tuple[object, ...]]:
        """The method and the typed arguments of a call."""
        if not isinstance(call, list) or not call:
            raise InvalidMessage("a call is a list that begins with a tag")
        parts = cast(list[object], call)
        method = self.interface.methods.get(parts[0]) if isinstance(parts[0], str) else None
        if method is None or method.kind != "command":
            raise InvalidMessage(f"there is no command with the tag {parts[0]!r}")
        return method, method.unpack(parts[1:])

    def understands(self, call: object) -> bool:
        """Would this call be tried, and not be found invalid?"""
        try:
            self._open(call)
        except InvalidMessage:
            return False
        return True

    def _enter(self, sender: str, batch: Batch, index: int) -> None:
        timestamp = Timestamp(batch.stamp + index - batch.first, self.views[-1].leader)
        self._context.begin(sender, timestamp, Position(batch.epoch, index), VERSION, batch.time)

    def _begin_view(self, leader: str, epoch: int, index: int) -> None:
        voters = self.configuration.voter_names
        observers = tuple(member.name for member in self.configuration.observers)
        self.views.append(View(len(self.views) + 1, epoch, leader, index, voters, observers, voters))

    # -- undoing a crash -------------------------------------------------------------------------------------------

    def _begin(self) -> A:
        actor = self._make()
        give_context(actor, self._context)
        return actor

    def _undo(self, crashed: Batch, index: int) -> None:
        """Rebuild the actor as it was before the command at `index`: replay what was applied, in a fresh instance."""
        self._context.end()
        fresh = self._begin()
        leaders = {view.epoch: view.leader for view in self.views}
        for batch in self._history(0, index - 1):
            for entry, at in _commands_of(batch):
                self._replay(fresh, entry, batch, at, min(at + entry.count, index), leaders[batch.epoch])
        self.actor = fresh

    def _replay(self, actor: A, entry: Commands, batch: Batch, first: int, end: int, leader: str) -> None:
        calls = open_calls(entry)
        for at in range(first, end):
            if at not in self._others:
                method, arguments = self._open(calls[at - first])
                stamp = Timestamp(batch.stamp + at - batch.first, leader)
                owner = self._owners[entry.session]
                self._context.begin(owner, stamp, Position(batch.epoch, at), VERSION, batch.time)
                method.function(actor, *arguments)
        self._context.end()

    # -- looking ---------------------------------------------------------------------------------------------------

    def query(self, call: bytes, sender: str) -> bytes:
        """Run a query on the state as it is; returns its encoded outcome. Changes nothing."""
        try:
            parts = cast(list[object], decode(call))
            method = self.interface.methods[cast(str, parts[0])]
            arguments = method.unpack(parts[1:])
        except (InvalidMessage, DecodeError, LookupError, TypeError):
            return encode_plain([Outcome.INVALID.value])
        if method.kind != "query":
            return encode_plain([Outcome.INVALID.value])
        epoch = self.views[-1].epoch if self.views else 0
        leader = self.views[-1].leader if self.views else ""
        self._context.begin(sender, Timestamp(self.stamp, leader), Position(epoch, self.applied), VERSION, self.time)
        try:
            return _answer(method, method.function(self.actor, *arguments))
        except Refused as refusal:
            return encode_refusal(refusal)
        except Exception as error:  # the user's bug, told to who asked; nothing of it is agreed, so nothing stops
            return encode_plain([Outcome.CRASHED.value, type(error).__qualname__])
        finally:
            self._context.end()

    def deliveries(self, batch: Batch, from_index: int = 1) -> Iterator[Delivery]:
        """The commands of an applied batch that were applied, from `from_index` on (rule 9)."""
        invariant(batch.last <= self.applied, "only what was applied is delivered", last=batch.last)
        leader = next(view.leader for view in reversed(self.views) if view.epoch == batch.epoch)
        for entry, first in _commands_of(batch):
            calls: Sequence[object] | None = None
            for index in range(max(first, from_index), first + entry.count):
                if index in self._others:
                    continue
                calls = open_calls(entry) if calls is None else calls
                method, arguments = self._open(calls[index - first])
                yield Delivery(
                    Position(batch.epoch, index),
                    Timestamp(batch.stamp + index - batch.first, leader),
                    batch.time,
                    self._owners[entry.session],
                    method.tag,
                    arguments,
                )

    def state(self) -> bytes:
        """The actor's attributes, encoded: equal bytes on replicas that agree."""
        return encode_plain(to_plain(vars(self.actor), type(self.actor).__name__))


def _answer(method: Method, answer: object) -> bytes:
    """The outcome of a method that went through. Raises `TooLarge` if its answer is: a bug in the class."""
    packed = method.pack_answer(answer)
    if len(packed) > ANSWER_SIZE_MAX:
        raise TooLarge(f"the answer of {method.label}", len(packed), ANSWER_SIZE_MAX)
    return _APPLIED + packed


def open_calls(entry: Commands) -> Sequence[object]:
    """The calls of a run, opened. What cannot be opened counts as a call that no class understands."""
    try:
        calls = decode(entry.calls, CALLS_SIZE_MAX, CALLS_COUNT_MAX)
    except DecodeError:
        calls = None
    if not isinstance(calls, list) or len(cast(list[object], calls)) != entry.count:
        return [False] * entry.count
    return cast(list[object], calls)


def encode_refusal(refusal: Refused) -> bytes:
    """A refusal's class by name, and its arguments: agreed, so nothing that may differ between nodes."""
    name = type(refusal).__qualname__
    try:
        arguments = to_plain(list(refusal.args), name)
        packed = encode_plain([Outcome.REFUSED.value, name, arguments])
        if len(packed) > ANSWER_SIZE_MAX:
            raise TooLarge(f"the arguments of {name}", len(packed), ANSWER_SIZE_MAX)
        return packed
    except (Rejected, ValueError):
        nothing: list[object] = []
        return encode_plain([Outcome.REFUSED.value, name, nothing])


def _commands_of(batch: Batch) -> Iterator[tuple[Commands, int]]:
    """The runs of a batch, each with its first index."""
    index = batch.first
    for entry in decode_entries(batch.entries):
        if isinstance(entry, Commands):
            yield entry, index
        index += span(entry)
