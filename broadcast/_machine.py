"""The apply loop: committed batches -> the actor, the table of sessions, views, and what to tell those who wait.

Deterministic: every replica that applies the same batches ends in the same state. It takes no input but the log; time
and chance come from there. It is total: whatever an entry holds, it has an agreed outcome, and the replica goes on.

Or it stops before the entry, and leaves it to others, where the outcome would follow from which class this process runs
(rule 29). That is so for a later version of the class than ours, and for a message that our class does not take: it was
accepted by a replica whose class does take it, newer or older than ours, or another under the same version. To call it
invalid here would be a silent divergence. So what is not in the interface is kept out where it comes in (`_sifting`),
and a command that came with a version is not run before that is in force, which the log alone says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NoReturn, TypeVar, cast

from trio.lowlevel import enable_ki_protection

from actors._actor import VERSION_MAX, Actor
from actors._interface import Interface
from actors._protocol.errors import InvariantViolation, invariant, violated
from broadcast._base import Base, Load
from broadcast._calls import is_call, open_calls, open_effect, runs_of, tag_of
from broadcast._capture import Counted, Tables, decode_tables, encode_tables
from broadcast._crashes import BY_CHANCE, NOT_ALONE, NOT_UNDERSTOOD, comes_again, name_of
from broadcast._errors import CannotApply, Outdated
from broadcast._intentions import Intentions, Room, Telling, Unheard
from broadcast._outcomes import (
    NOT_KEPT,
    VOID,
    pack_crash,
    pack_no_room,
    pack_overload,
    pack_wait,
)
from broadcast._past import Markers
from broadcast._protocol.crashes import GROUP, Undos
from broadcast._protocol.effects import Effects
from broadcast._protocol.entries import (
    Commands,
    Configured,
    Due,
    EpochStart,
    Reached,
    Run,
    SessionAsked,
    SessionEnded,
    SessionKept,
    Versioned,
    decode_entries,
    span,
)
from broadcast._protocol.position import Batch
from broadcast._protocol.reports import Answers, Expired, Kept, Missing, Opened, Report
from broadcast._protocol.sessions import Outcome, Session
from broadcast._restoring import restore_state
from broadcast._running import NotUnderstood, Running
from broadcast._state import encode_state
from membership._protocol.view import Configuration, View

A = TypeVar("A", bound=Actor)
B = TypeVar("B", bound=Actor)

History = Callable[[int, int], Iterable[Batch]]
"""history(after, last): the batches with entries beyond index `after` and up to `last`."""

_APPLIED = Outcome.APPLIED  # to look it up in its class is slow
_NO_ROOM = Outcome.OVERLOADED, b""
_RAN = (_APPLIED, Outcome.REFUSED, Outcome.QUERIED)
"""Outcomes of commands whose effects, if any, stayed: what a replay runs again. (A query has none, or is wrong.)"""


class Turn:
    """For how long commands are applied, one after another. now: a clock; until: when the turn is over on it."""

    __slots__ = ("now", "until")

    def __init__(self, now: Callable[[], float], until: float = math.inf) -> None:
        self.now = now
        self.until = until


_ENDLESS = Turn(float)


def check_version(group: str, interface: Interface, in_force: int, index: int) -> None:
    """Raise `Outdated` if the version in force from `index` on is later than what this class is."""
    if in_force > interface.version:
        name = interface.actor.__name__
        raise Outdated(group or name, index, name, in_force, interface.version)


class Machine(Running[A]):
    """One replica's actor and all that goes with it, at one index of the log."""

    def __init__(
        self,
        actor: Callable[[], A],
        interface: Interface,
        configuration: Configuration,
        history: History,
        *,
        group: str = "",
        base: Base | None = None,
        version: int = 1,
    ) -> None:
        """`actor` makes an instance as it is before the first command; `group`: its name; the class's
        unless given.

        base: where undos begin, if one is to be watched. version: of the class, that the group was formed with. Raises
        `Outdated` if that is a later one than ours.
        """
        check_version(group, interface, version, 0)
        super().__init__(actor, interface, configuration, group, version)
        self.effects = Effects()
        """Messages of the actor to itself that are not due yet, or were not said to be."""
        self.tells: list[Telling] = []
        """What the commands of the last batch tell actors on nodes: by who leads in its epoch, and by nobody else."""
        self.unheard: list[Unheard] = []
        """What was due in the last batch and was not applied, so that nobody hears of it; but for what was refused."""
        commands = [method for method in interface.methods.values() if method.kind == "command" and method.idempotent]
        self._idempotent = {method.tag: int(method.idempotent) for method in commands}  # and since which version
        self._history = history
        self._base = Base() if base is None else base
        self._markers = Markers()
        self._due_size = 0  # bytes of the calls that were due in the present batch
        self._payer: Session | Effects = self.effects  # whose commands are run at present
        self._undos = Undos()  # of all, whoever pays
        self._turn = _ENDLESS

    @property
    def due(self) -> tuple[int | None, int]:
        """Log time at which the first of the actor's messages to itself is due; how many are by then, or already."""
        due = self.effects.due(self._free_at)
        return (None, 0) if due is None else (due, self.effects.due_by(max(due, self.time), self._free_at))

    @property
    def at_marker(self) -> bool:
        """Is a snapshot due here (rule 11)? All replicas come to the same places."""
        return self.applied == self._markers.latest > 0

    def due_in(self, batch: Batch) -> dict[int, bytes]:
        """The calls that were due in an applied batch, by index."""
        indices = range(batch.first, batch.last + 1)
        return {index: call for index in indices if (call := self._past.due_at(index)) is not None}

    # -- applying --------------------------------------------------------------------------------------------------

    @enable_ki_protection
    def apply(self, batch: Batch) -> list[Report]:
        """Apply a committed batch; returns what to tell the sessions' owners.

        What it raises ends the replica: nothing of the batch counts then, and this machine is of no use any more.
        `CannotApply`: an entry has no outcome that is sure to be the same everywhere.
        """
        reports: list[Report] = []
        for _ in self.applying(batch, reports, _ENDLESS):
            violated("in a turn without an end all is done at once")
        return reports

    @enable_ki_protection
    def applying(self, batch: Batch, reports: list[Report], turn: Turn) -> Iterator[None]:
        """The same bit by bit: it stops behind each command with which its turn is over, and counts when it has ended.

        reports: what to tell is added there. What is looked at meanwhile is of no index that there is, so that nobody
        should look; no other batch, and no snapshot, comes in between.
        """
        invariant(batch.first == self.applied + 1, "batches are applied in index order, once", first=batch.first)
        self.time = batch.time
        if not self.views or batch.epoch > self.views[-1].epoch:
            self.sessions.renew(batch.time)  # while nobody led, nobody could be heard of (rule 12)
        for number, session in self.sessions.expire(batch.time):
            self._past.left(number, session.owner, batch.first)
        self._due_size, self._turn = 0, turn
        if self.tells or self.unheard:
            self.tells, self.unheard = [], []
        entries, index = decode_entries(batch.entries), batch.first
        begins = not self._past.began(batch.epoch)
        invariant(not begins or isinstance(entries[0], EpochStart), "an epoch begins with its epoch-start entry")
        for entry in entries:
            match entry:
                case Commands():
                    yield from self._apply_commands(entry, batch, index, reports)
                case Due():
                    yield from self._apply_due(entry, batch, index)
                case _:
                    self._apply_entry(entry, batch, index, reports)
            index += span(entry)
        invariant(index == batch.last + 1, "a batch holds as many entries as it says", index=index)
        self.applied = batch.last
        self.stamp = batch.last_stamp
        if self._markers.passed(batch, self._due_size, self.configuration.limits):
            self._forget()

    def _apply_entry(self, entry: object, batch: Batch, index: int, reports: list[Report]) -> None:
        """One that is no run of commands."""
        match entry:
            case EpochStart():
                once = not self._past.began(batch.epoch)
                invariant(once, "an epoch has one epoch-start entry", epoch=batch.epoch, index=index)
                self._past.begin(batch.epoch, entry.leader, index)
                self._begin_view(batch.epoch, index)
            case Configured():
                self.agreed = self.agreed.configured(entry.configuration, index, batch.epoch)
                self._begin_view(batch.epoch, index)
            case Reached():
                self.agreed = self.agreed.reached(entry.names)
                self._begin_view(batch.epoch, index)
            case Versioned(version):
                check_version(self.group, self.interface, version, index)
                self.agreed = self.agreed.versioned(version)
                self._past.raised(self.agreed.version, index)
            case SessionAsked():
                session = self.sessions.open(index, entry.nonce, entry.owner, batch.time)
                reports.append(Opened(entry.nonce, entry.owner, session))
            case SessionKept():
                kept = self.sessions.touch(entry.session, batch.time)
                if kept is not None:
                    kept.acknowledge(entry.acknowledged)
                reports.append(Expired(entry.session) if kept is None else Kept(entry.session))
            case SessionEnded():
                ended = self.sessions.end(entry.session)
                if ended is not None:
                    self._past.left(entry.session, ended.owner, index)
            case _:
                invariant(False, "every kind of entry can be applied", entry=entry)

    def _apply_commands(self, entry: Commands, batch: Batch, index: int, reports: list[Report]) -> Iterator[None]:
        session = self.sessions.touch(entry.session, batch.time)
        if session is None:
            self._past.note(index, entry.count, Outcome.EXPIRED)
            reports.append(Expired(entry.session))
            return
        session.acknowledge(entry.acknowledged)
        if entry.number > session.last + 1:
            self._past.note(index, entry.count, Outcome.GAP)
            reports.append(Missing(entry.session, session.last + 1, entry.attempt))
            return
        repeated = min(max(session.last + 1 - entry.number, 0), entry.count)
        if repeated:
            self._past.note(index, repeated, Outcome.DUPLICATE)
        first, outcomes = session.remembered(entry.number, entry.number + entry.count - 1)
        if repeated < entry.count:
            outcomes += yield from self._apply_calls(entry, session, batch, index, repeated)
        if outcomes:
            reports.append(Answers(entry.session, first, outcomes))

    def _apply_calls(
        self, entry: Commands, session: Session, batch: Batch, index: int, skip: int
    ) -> Generator[None, None, list[bytes]]:
        """Returns what to tell the asker, which is more than what is kept for one that asks again (rule 22)."""
        calls, told, kept = open_calls(entry), list[bytes](), list[bytes]()
        self._enter(entry, batch, session)
        turn, room = self._turn, session.room
        for at in range(skip, entry.count):
            call = calls[at]
            if room <= 0 and call is not None:
                outcome, answer = Outcome.OVERLOADED, pack_overload(session.size + session.room - room)
            else:
                outcome, answer = self._apply_call(call, entry, index, index + at)
            told.append(answer)
            if outcome is not _APPLIED:
                self._past.note(index + at, 1, outcome)
            elif self._idempotent and self._is_idempotent(call):
                answer = NOT_KEPT
            kept.append(answer)
            room -= len(answer)
            if turn.now() >= turn.until:
                yield from self._pause(entry, batch, session)
        session.answered(kept)
        self._applied_calls(index + entry.count - 1)
        return told

    def _is_idempotent(self, call: object) -> bool:
        """As of the version in force: one way for all replicas, whatever class they run."""
        return self._idempotent.get(tag_of(call), VERSION_MAX + 1) <= self._context.version

    def _apply_due(self, entry: Due, batch: Batch, index: int) -> Iterator[None]:
        """Run those that are due. Nobody waits for their answers; what became of them is told by `deliveries`.

        One that is held up is set aside, and waits (rule 24): so each index does one thing, whatever waits.
        """
        self._enter(entry, batch, self.effects)
        last = index + entry.count - 1
        for at in range(index, last + 1):
            effect = self.effects.take(batch.time, self._free_at)
            if effect is None:
                # Another leader has said so before, or a crash holds the rest up.
                self._past.note(at, last + 1 - at, Outcome.VOID)
                break
            call = effect[2]
            opened = open_effect(call)
            if self._undos.tags and self._held_up(opened) is not None:
                self.effects.hold(tag_of(opened), effect)
                self._past.note(at, 1, Outcome.OVERLOADED)
                continue
            self._past.was_due(at, call)
            self._due_size += len(call)
            outcome, _ = self._apply_call(opened, entry, index, at)
            if outcome is not _APPLIED:
                self._past.note(at, 1, outcome)
                if outcome is not Outcome.REFUSED:
                    self.unheard.append(Unheard(at, call, outcome))
            if self._turn.now() >= self._turn.until:
                yield from self._pause(entry, batch, self.effects)
        self._applied_calls(last)

    def _pause(self, entry: Run, batch: Batch, payer: Session | Effects) -> Iterator[None]:
        """Let others have a turn, in the midst of a run."""
        self._context.end()
        yield
        self._enter(entry, batch, payer)

    def _enter(self, entry: Run, batch: Batch, payer: Session | Effects) -> None:
        """payer: for what has to be undone."""
        self._payer = payer
        self._context.enter(self._moment(self._owner(entry), batch), Room(self.effects, self.configuration.limits))

    def _applied_calls(self, last: int) -> None:
        self._context.end()
        if last >= self._base.due:
            self._base.take(self.actor, last)

    def _apply_call(self, call: object, entry: Run, first: int, index: int) -> tuple[Outcome, bytes]:
        """What becomes of a command. `first`: index of the first one in its run."""
        if call is None:
            return Outcome.VOID, VOID
        if self._undos.tags and (held_up := self._held_up(call)) is not None:
            return Outcome.OVERLOADED, held_up
        context = self._context
        try:
            came = self._run(self.actor, call, index)
        except BaseException as error:
            intentions = context.intentions
            if intentions is None or error is not intentions.overflow:
                return self._crashed(error, call, entry, first, index)
            came = _NO_ROOM
        if context.intentions is None:
            return came
        if context.intentions.overflow is not None:
            self._undo(index)
            self._pay(call)
            return Outcome.OVERLOADED, pack_no_room(len(self.effects), self.effects.size)
        if came[0] is _APPLIED:
            self._do(context.intentions, index)
        return came

    def _do(self, intentions: Intentions, index: int) -> None:
        """What a command wanted that was applied (rule 21)."""
        for due, call in intentions.due:
            self.effects.add(due, call)
        for tell in intentions.tells:
            self.tells.append(Telling(self._context.moment.epoch, index, *tell))

    def _begin_view(self, epoch: int, index: int) -> None:
        """By the entry at `index`. Who leads can be reached, if it is still a member."""
        configuration, leader = self.configuration, self._past.leader(epoch)
        self.views.append(
            View(
                self.views[-1].number + 1 if self.views else 1,
                epoch,
                leader,
                index,
                configuration.voter_names,
                configuration.observer_names,
                configuration.quorum,
                tuple(sorted({*self.agreed.reachable, leader}.intersection(configuration.names))),
            )
        )

    # -- a command that raised (rule 24) ---------------------------------------------------------------------------

    def _crashed(self, error: BaseException, call: object, entry: Run, first: int, index: int) -> tuple[Outcome, bytes]:
        """A bug in the user's class: undone, and agreed. Raises what ends this replica instead, if it may not be."""
        if isinstance(error, InvariantViolation):
            raise error
        if isinstance(error, NotUnderstood):
            self._stop(call, index, f"{error}: {NOT_UNDERSTOOD}", error)
        if isinstance(error, (MemoryError, RecursionError)):
            self._stop(call, index, f"it raised {name_of(error)}, {BY_CHANCE}", error)
        self._undo(index)
        if not isinstance(error, Exception):
            call = self._calls(entry, first)[index - first]  # what a command was given, it may have changed
            if not comes_again(error, lambda: self._run(self.actor, call, index)):
                raise error
            self._undo(index)
        self._pay(call)
        return Outcome.CRASHED, pack_crash(error)

    def _held_up(self, call: object) -> bytes | None:
        """The answer to a command that is not run, since too many of its kind were undone; None if it is run."""
        if not is_call(call):
            return None
        tag, limits, own = tag_of(call), self.configuration.limits, self._payer.undos
        if own is not None and (wait := own.wait(tag, self.time, limits)):
            return pack_wait(wait)
        wait = self._undos.wait(tag, self.time, limits, GROUP)
        return pack_wait(wait, of_all=True) if wait else None

    def _free_at(self, tag: str) -> int:
        """Log time from which on what is due with this tag is run; 0 if it is not held up."""
        own, limits = self.effects.undos, self.configuration.limits
        free_at = self._undos.free_at(tag, limits, GROUP)
        return free_at if own is None else max(free_at, own.free_at(tag, limits))

    def _pay(self, call: object) -> None:
        """It was run, and undone."""
        own = self._payer.undos = self._payer.undos or Undos()
        for undos in (own, self._undos):
            undos.undone(tag_of(call), self.time, self.configuration.limits)

    def _undo(self, index: int) -> None:
        """Rebuild the actor as it was before the command at `index`: run again what was run since the base."""
        moment, room = self._context.moment, Room(self.effects, self.configuration.limits)
        self._context.end()
        self.actor = self._begin()
        base = done = self._base.move_to(self.actor)
        for batch in self._history(base, index - 1):
            invariant(batch.first <= done + 1, "an undo needs nothing that was compacted", first=batch.first, base=base)
            done = batch.last
            for entry, first in runs_of(batch):
                self._replay(entry, batch, first, range(max(first, base + 1), min(first + entry.count, index)))
        invariant(done >= index - 1, "an undo needs all up to where it undoes", done=done, index=index)
        self._base.undone(self.actor, index - 1)
        self._context.enter(moment, room)

    def _replay(self, entry: Run, batch: Batch, first: int, indices: Iterable[int]) -> None:
        """Run again what was run: all that it wants done was done, and is not done again."""
        ran = [index for index in indices if self._past.came_to(index) in _RAN]
        if not ran:
            return
        calls = self._calls(entry, first)
        self._context.enter(self._moment(self._owner(entry), batch))
        for index in ran:
            before, call = self._past.came_to(index), calls[index - first]
            try:
                outcome, _ = self._run(self.actor, call, index)
            except Exception as error:
                self._stop(call, index, f"it was {before.name}, and raised {name_of(error)} {NOT_ALONE}", error)
            if outcome is not before:
                self._stop(call, index, f"it was {before.name}, and is {outcome.name} {NOT_ALONE}", None)
        self._context.end()

    def _stop(self, call: object, index: int, why: str, error: BaseException | None) -> NoReturn:
        label = f"{self.interface.actor.__name__}.{tag_of(call)}"
        method = self.interface.methods.get(tag_of(call))
        label = label if method is None else method.label
        raise CannotApply(self.group, index, label, why) from error

    # -- snapshots (rule 11) ---------------------------------------------------------------------------------------

    def capture(self) -> Iterator[bytes]:
        """The bytes of a snapshot: all that is agreed up to `applied`, and equal on all replicas that applied the same.

        They are made as they are taken, and nothing may be applied meanwhile. Raises `CannotCapture`.
        """
        at = self.applied
        sessions = [(number, session) for number, session in self.sessions]
        view = self.views[-1] if self.views else None
        effects, undos, past, markers = self.effects, self._undos, self._past, self._markers
        tables = Tables(at, self.time, self.stamp, self.agreed, view, sessions, effects, undos, past, markers)
        yield from encode_state(self.actor)
        yield from encode_tables(tables)
        invariant(at == self.applied, "nothing is applied while a snapshot is taken", at=at, applied=self.applied)

    @classmethod
    def restored(
        cls,
        actor: Callable[[], B],
        interface: Interface,
        history: History,
        load: Load,
        *,
        group: str = "",
        base: Base | None = None,
    ) -> Machine[B]:
        """The machine that `capture()` was called on, as `load` gives its bytes, from their beginning at each call.

        An undo may call that later. Touches nothing that is shared, so that it may run in another thread. Raises
        `CannotRestore`.
        """
        made = actor()
        pieces = Counted(load())
        tables = decode_tables(restore_state(made, pieces))
        configuration, make = tables.agreed.configuration, cast(Any, cls)
        machine: Machine[B] = make(lambda: made, interface, configuration, history, group=group, base=base)
        machine._make = actor
        machine.applied, machine.time, machine.stamp = tables.applied, tables.time, tables.stamp
        machine.agreed = tables.agreed
        machine.views = [] if tables.view is None else [tables.view]
        machine.sessions.restore(tables.sessions)
        machine.effects, machine._undos = tables.effects, tables.undos
        machine._past, machine._markers = tables.past, tables.markers
        machine._base.move(tables.applied, pieces.size, load)
        return machine

    def snapshot_taken(self, index: int, size: int, load: Load) -> None:
        """A snapshot of what was captured at `index` is complete: from now on an undo begins there, or later.

        So the log before it may go. size: of its bytes, which `load` gives from their beginning at each call.
        """
        self._base.move(index, size, load)
        self._forget()

    def _forget(self) -> None:
        """What lies before the marker before the last, unless an undo begins further back."""
        self._past.forget(min(self._markers.previous, self._base.index))
