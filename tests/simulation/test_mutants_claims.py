"""Planted bugs, continued: one at least for each claim that is made of a history.

`test_every_claim_is_broken_by_a_planted_bug` sees to it that this stays so.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import pytest
import test_mutants
import test_mutants_effects
import test_mutants_idempotent
import test_mutants_liveness
import test_mutants_members
import test_mutants_reads
import test_mutants_snapshots
import test_mutants_undos
import test_mutants_versions
from planting import (
    ALONE,
    EXPIRING,
    HARSH,
    LOSSY,
    NARROW,
    PARTED,
    SLOW,
    STALLING,
    Mutant,
    planted,
)

from actors._actor import Actor
from actors._interface import Interface
from actors._protocol.errors import InvalidMessage
from broadcast import _running as running
from broadcast import testing
from broadcast._base import Base
from broadcast._machine import Machine
from broadcast._protocol import leader, sessions, submitter
from broadcast._protocol.copies import Copies
from broadcast._protocol.entries import Commands
from broadcast._protocol.leader import Leadership
from broadcast._protocol.output import Now
from broadcast._protocol.own import OwnLog
from broadcast._protocol.position import Batch
from broadcast._protocol.progress import Progress
from broadcast._protocol.reads import ReadRounds, Reads
from broadcast._protocol.reports import Missing
from broadcast._protocol.sessions import Session, Sessions
from broadcast._protocol.submitter import Submitter
from broadcast._simulation import applying, history
from broadcast._simulation.diary import Diary
from broadcast._simulation.options import MILLISECOND, SECOND
from broadcast._simulation.play import Play
from broadcast._simulation.registers import Swaps
from membership._protocol.election import Election, Role

READING = replace(NARROW, clients=6, reads=1.0, cuts=20, crashes=0, pauses=0)
IDLE_AND_CUT = replace(PARTED, clients=1, idle=SECOND, strike_interval=300 * MILLISECOND)
ROOTED = replace(ALONE, crashes=0, power_cuts=0, pauses=0, clock_error=0)


# -- who leads ---------------------------------------------------------------------------------------------------------


def grants_though_it_hears_its_leader(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Election, "_sticks", lambda self, now: False)


def a_leader_is_disloyal_to_itself(patch: pytest.MonkeyPatch) -> None:
    """Followers stick to it, and it grants whoever asks."""
    sticks: Callable[[Any, int], bool] = Election._sticks
    patch.setattr(Election, "_sticks", lambda self, now: self.role is not Role.LEADER and sticks(self, now))


def would_grant_though_it_hears_its_leader(patch: pytest.MonkeyPatch) -> None:
    """Only pre-votes are given away: they cost nothing, it thinks."""
    asked: Callable[..., None] = Election._asked

    def easy(self: Any, sender: str, request: Any, standing: Any, now: int) -> None:
        heard = self._heard_leader
        if request.pre:
            self._heard_leader = None
        asked(self, sender, request, standing, now)
        self._heard_leader = heard if self.leader is not None else None

    patch.setattr(Election, "_asked", easy)


def leads_whoever_answers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Election, "in_touch", lambda self, now: True)


def leads_on_a_disk_that_hangs(patch: pytest.MonkeyPatch) -> None:
    """Only who wants to stand looks at its disk."""
    tick: Callable[..., None] = Election.tick

    def careless(self: Any, now: int, standing: Any, *, able: bool) -> None:
        tick(self, now, standing, able=able or self.role is Role.LEADER)

    patch.setattr(Election, "tick", careless)


# -- the log -----------------------------------------------------------------------------------------------------------


def uncommitted_without_end(patch: pytest.MonkeyPatch) -> None:
    """What was sequenced before does not count."""
    sequence: Callable[[Any, Now], None] = Leadership.sequence

    def goes_on(self: Any, now: Now) -> None:
        self._uncommitted_size = 0
        sequence(self, now)

    patch.setattr(leader, "UNCOMMITTED_SIZE_MAX", 500)
    patch.setattr(Leadership, "sequence", goes_on)


def a_round_for_each_read(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the round, or the request, that is under way."""
    patch.setattr(ReadRounds, "wants_round", property(lambda self: bool(self._waiting)))
    patch.setattr(Reads, "wants_request", property(lambda self: bool(self._waiting)))


def stamps_of_a_clock_that_lags(patch: pytest.MonkeyPatch) -> None:
    """They count neither what is in the log nor what came in messages."""
    patch.setattr(leader, "Batch", lambda **given: Batch(**{**given, "stamp": max(1, given["stamp"] - 30)}))


def log_time_is_the_clock_s(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OwnLog, "time", lambda self, now: now.wall)


def log_time_stands_still(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OwnLog, "time", lambda self, now: self.log.last_time or now.wall)


def applied_runs_ahead(patch: pytest.MonkeyPatch) -> None:
    def apply_up_to(self: Any, index: int) -> None:
        self.applied = index + 1

    patch.setattr(OwnLog, "apply_up_to", apply_up_to)


def an_old_rejection_counts(patch: pytest.MonkeyPatch) -> None:
    """A follower that has caught up since is taken for one that has lost its data (rule 16)."""
    rejected: Callable[[Any, int, int, int], None] = Progress.rejected

    def hasty(self: Any, index: int, conflict: int, stamp: int) -> None:
        rejected(self, index, conflict, max(stamp, self._stamp))

    patch.setattr(Progress, "rejected", hasty)


# -- sessions ----------------------------------------------------------------------------------------------------------


def answers_of_any_size(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sessions, "ANSWERS_SIZE_MAX", 20)
    patch.setattr(Session, "room", 2**30)


def numbers_given_again(patch: pytest.MonkeyPatch) -> None:
    """Now and then a new command is called what the last one was, and gets its answer."""
    next_run: Callable[[Any, int], Any] = Submitter._next_run

    def again(self: Any, count_max: int) -> Any:
        if not self._runs and self._answered > self._offset and self._answered % 5 == 0:
            self._offset += 1
        return next_run(self, count_max)

    patch.setattr(Submitter, "_next_run", again)


def answers_that_get_lost(patch: pytest.MonkeyPatch) -> None:
    """Every seventh time that a session has something for its owner, nobody comes for it."""
    take_results: Callable[[Any], list[Any]] = Submitter.take_results

    def lossy(self: Any) -> list[Any]:
        results = take_results(self)
        return [] if self._answered % 7 == 0 else results

    patch.setattr(Submitter, "take_results", lossy)


def withdrawn_becomes_something_else(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(submitter, "VOID", b"\x81dnope")


def expires_early(patch: pytest.MonkeyPatch) -> None:
    expire: Callable[[Any, int], list[int]] = Sessions.expire

    def early(self: Any, time: int) -> list[int]:
        return expire(self, time + self._term // 10)

    patch.setattr(Sessions, "expire", early)


def expires_late(patch: pytest.MonkeyPatch) -> None:
    """Sessions are looked at only when there is no room for another one."""
    expire: Callable[[Any, int], list[int]] = Sessions.expire
    patch.setattr(Sessions, "expire", lambda self, time: expire(self, time) if len(self) >= self._max else [])


def a_busy_session_gives_no_sign_of_life(patch: pytest.MonkeyPatch) -> None:
    """Only what is said to keep it alive does that."""
    apply: Callable[..., Iterator[None]] = Machine._apply_commands

    def silent(self: Any, entry: Commands, batch: Batch, index: int, reports: list[Any]) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Sessions, "touch", lambda self, session, time: self.get(session))
            yield from apply(self, entry, batch, index, reports)

    patch.setattr(Machine, "_apply_commands", silent)


def copies_get_a_place_each(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Copies, "is_copy", lambda self, run: False)


def what_closes_a_gap_is_taken_for_a_copy(patch: pytest.MonkeyPatch) -> None:
    """A leader remembers how far a session has come, and not where it began."""
    is_copy: Callable[[Any, Commands], bool] = Copies.is_copy

    def hasty(self: Any, run: Commands) -> bool:
        return bool(run.number + run.count - 1 <= self._placed.get(run.session, (0, 0))[1]) or is_copy(self, run)

    patch.setattr(Copies, "is_copy", hasty)


def gives_up_a_session_at_a_gap(patch: pytest.MonkeyPatch) -> None:
    """A replica names a command that is missing, and its owner thinks that the session is over."""
    receive: Callable[[Any, Any, int], None] = Submitter.receive

    def rash(self: Any, report: Any, now: int) -> None:
        if isinstance(report, Missing) and report.session == self.session:
            self._on_expired()
        else:
            receive(self, report, now)

    patch.setattr(Submitter, "receive", rash)


# -- the actor ---------------------------------------------------------------------------------------------------------


def a_query_sees_what_is_not_there(patch: pytest.MonkeyPatch) -> None:
    query: Callable[[Any, bytes, str], bytes] = Machine.query

    def ahead(self: Any, call: bytes, sender: str) -> bytes:
        self.actor.notes.append(("nobody", 0))
        try:
            return query(self, call, sender)
        finally:
            self.actor.notes.pop()

    patch.setattr(Machine, "query", ahead)


def replicas_write_something_of_their_own(patch: pytest.MonkeyPatch) -> None:
    """And an instance that is run beside them does not."""

    class Writing(Machine[Any]):
        def apply(self, batch: Batch) -> Any:
            reports = super().apply(batch)
            self.actor.notes.append(("nobody", 0))
            return reports

    patch.setattr(applying, "Machine", Writing)


def replicas_keep_what_no_state_can_hold(patch: pytest.MonkeyPatch) -> None:
    class Keeping(Machine[Any]):
        def apply(self, batch: Batch) -> Any:
            self.actor.kept = object()
            return super().apply(batch)

    patch.setattr(applying, "Machine", Keeping)


def some_commands_are_not_understood(patch: pytest.MonkeyPatch) -> None:
    opened: Callable[..., Any] = running.open_call

    def fails(interface: Interface, call: Any, kind: Any = None) -> Any:
        if kind is None and call and call[:2] == ["swap", "c"]:
            raise InvalidMessage("c is not a key today")
        return opened(interface, call, kind)

    patch.setattr(running, "open_call", fails)


def a_crash_is_not_undone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Machine, "_undo", lambda self, index: None)


def an_undo_begins_at_what_is_still_in_use(patch: pytest.MonkeyPatch) -> None:
    """The state that an undo leaves is not copied: the next undo begins at what has become of it."""
    kept = dict[int, dict[str, object]]()

    def take(self: Any, actor: Actor, index: int) -> None:
        kept[id(self)], self.index = dict(vars(actor)), index

    def move_to(self: Any, actor: Actor) -> int:
        vars(actor).update(kept.get(id(self), {}))
        return int(self.index)

    patch.setattr(Base, "take", take)
    patch.setattr(Base, "move_to", move_to)


def an_undo_forgets_what_came_after_its_copy(patch: pytest.MonkeyPatch) -> None:
    """It goes on some commands too late."""
    move_to: Callable[[Any, Actor], int] = Base.move_to
    patch.setattr(Base, "move_to", lambda self, actor: move_to(self, actor) + 3)


# -- what is looked for ------------------------------------------------------------------------------------------------


def witnessed(*calls: Callable[[Random], tuple[Any, ...]]) -> Callable[[], Play]:
    """A play of diaries that is judged by what another instance gives."""

    def workload(chance: Random) -> tuple[Any, ...]:
        return chance.choice(calls)(chance)

    return lambda: testing._Play(Interface.of(Diary), workload, 0, frozenset())  # pyright: ignore[reportPrivateUsage]


def note(chance: Random) -> tuple[Any, ...]:
    return Diary.note, "somebody", chance.randrange(10)


def refuse(chance: Random) -> tuple[Any, ...]:
    return Diary.refuse, "somebody", chance.randrange(10)


def look(chance: Random) -> tuple[Any, ...]:
    return (Diary.count,)


NOTING = witnessed(note)
LOOKING = witnessed(note, look)
REFUSING = witnessed(note, refuse, look)

MUTANTS: Sequence[Mutant] = (
    Mutant(grants_though_it_hears_its_leader, "who hears its leader grants nobody"),
    Mutant(a_leader_is_disloyal_to_itself, "who hears its leader grants nobody", IDLE_AND_CUT, first=9),
    Mutant(would_grant_though_it_hears_its_leader, "who hears its leader grants nobody"),
    Mutant(leads_whoever_answers, "who does not hear a commit quorum stops leading"),
    Mutant(leads_on_a_disk_that_hangs, "who cannot write stops leading", STALLING),
    Mutant(uncommitted_without_end, "a queue stays bounded: bytes uncommitted", NARROW),
    Mutant(a_round_for_each_read, "a queue stays bounded: read rounds", READING),
    Mutant(stamps_of_a_clock_that_lags, "stamps grow along the log", ALONE),
    Mutant(log_time_is_the_clock_s, "log time never goes back", ALONE),
    Mutant(log_time_stands_still, "log time gets on as time does", ROOTED),
    Mutant(applied_runs_ahead, "compacted <= snapshot <= applied <= commit <= last"),
    Mutant(an_old_rejection_counts, "an operator has nothing to see to here", LOSSY),
    Mutant(answers_of_any_size, "a queue stays bounded: bytes of answers"),
    Mutant(numbers_given_again, "a command is later than what was known"),
    Mutant(answers_that_get_lost, "every call has an end"),
    Mutant(withdrawn_becomes_something_else, "what was withdrawn is void"),
    Mutant(expires_early, "no session expires early", EXPIRING, first=28),
    Mutant(expires_late, "a session expires in time", EXPIRING, first=16),
    Mutant(a_busy_session_gives_no_sign_of_life, "a session is heard of with its entries"),
    Mutant(copies_get_a_place_each, "in its epoch's log a command has one place"),
    Mutant(what_closes_a_gap_is_taken_for_a_copy, "with a quorum repaired the group comes to an end", SLOW),
    Mutant(gives_up_a_session_at_a_gap, "a fate is unknown only when its session is over", LOSSY, first=20),
    Mutant(a_query_sees_what_is_not_there, "a read sees what took effect"),
    Mutant(some_commands_are_not_understood, "a register always answers", play=Swaps),
    Mutant(test_mutants.answers_of_another_number, "an outcome is what the order gives", first=2, play=NOTING),
    Mutant(
        numbers_given_again,
        "a command comes after what was known when it was asked",
        first=71,
        play=witnessed(note, refuse, look),
    ),
    Mutant(test_mutants.reads_as_it_is, "a read sees a state of its time", play=LOOKING),
    Mutant(replicas_keep_what_no_state_can_hold, "a state can be written down", play=LOOKING),
    Mutant(replicas_write_something_of_their_own, "replicas have equal states at equal indices", play=LOOKING),
    Mutant(a_crash_is_not_undone, "each note once, in the log's order"),
    Mutant(an_undo_begins_at_what_is_still_in_use, "each note once, in the log's order"),
    Mutant(an_undo_forgets_what_came_after_its_copy, "each note once, in the log's order"),
)

test_a_planted_bug_is_found_by_what_it_is_a_bug_of, test_nothing_is_found_without_one = planted(MUTANTS)


@cache
def claims() -> list[str]:
    """All that is claimed of histories: the texts that the simulator's checks are given."""
    found: list[str] = []
    for path in sorted(Path(history.__file__).parent.rglob("*.py")):
        for part in ast.walk(ast.parse(path.read_text())):
            if isinstance(part, ast.Call) and ast.unparse(part.func) in ("check", "broken", "_check", "self._answered"):
                given = [each.value for each in part.args if isinstance(each, ast.Constant)]
                found += [each for each in given if isinstance(each, str)]
    return found


def test_claims_are_found() -> None:
    assert {"an epoch has one leader", "bytes in flight", "a leader that is gone is replaced"} < set(claims())


@pytest.mark.parametrize("claim", claims())
def test_every_claim_is_broken_by_a_planted_bug(claim: str) -> None:
    files = test_mutants, test_mutants_liveness, test_mutants_members, test_mutants_reads
    newer = test_mutants_effects, test_mutants_snapshots, test_mutants_versions
    newest = test_mutants_idempotent, test_mutants_undos
    others = [file.MUTANTS for file in (*files, *newer, *newest)]
    every = [*MUTANTS, *chain.from_iterable(others)]
    assert [mutant for mutant in every if mutant.claim in (claim, f"a queue stays bounded: {claim}")]


@pytest.mark.parametrize("play", list({id(mutant.play): mutant.play for mutant in MUTANTS if mutant.play}.values()))
def test_nothing_is_found_without_one_in_other_plays(play: Callable[[], Play]) -> None:
    history.run(0, options=HARSH, play=play())
