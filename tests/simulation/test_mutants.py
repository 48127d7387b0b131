"""Planted bugs: each takes one rule out of the cores. The simulator has to find every one of them (T25).

Each is found by the invariant that the rule is there for: by its claim, and before any other sees what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct
from planting import (
    ALONE,
    COPIED,
    COPYING,
    CROWDED,
    EXPIRING,
    FAILING,
    FIVE,
    FOUR,
    HANGING,
    HARSH,
    LATE,
    LOSSY,
    NARROW,
    PARTED,
    PAUSED,
    SLOW,
    STALLING,
    WIPING,
    WRONG_CLOCKS,
    Mutant,
    planted,
)

from actors._protocol.clock import LamportClock
from broadcast import _machine as machine
from broadcast import _running as running
from broadcast._machine import Machine
from broadcast._outcomes import VOID
from broadcast._protocol import follower, leader, own, pending, progress
from broadcast._protocol.desk import Desk, Owner
from broadcast._protocol.entries import Commands, EpochStart, SessionKept, decode_entries
from broadcast._protocol.follower import Following
from broadcast._protocol.leader import Leadership
from broadcast._protocol.log import Log
from broadcast._protocol.messages import Append, AppendReply
from broadcast._protocol.output import Now, Persist, Send
from broadcast._protocol.own import OwnLog
from broadcast._protocol.owned import Owned
from broadcast._protocol.pending import Pending
from broadcast._protocol.position import Batch
from broadcast._protocol.progress import Flow, Progress
from broadcast._protocol.reads import ReadRounds, Reads
from broadcast._protocol.replica import Replica
from broadcast._protocol.reports import Answers
from broadcast._protocol.sessions import Session, Sessions
from broadcast._protocol.submitter import Submitter
from broadcast._protocol.writes import Writes
from broadcast._simulation import life
from broadcast._simulation.disk import GROUP, Disk
from broadcast._simulation.outcomes import Diaries
from broadcast._simulation.registers import Swaps
from broadcast._storage import Stored
from membership._protocol import election
from membership._protocol.election import Election, Role
from membership._protocol.formation import Founding
from membership._protocol.messages import VoteReply
from membership._protocol.quorum import Majority
from membership._protocol.view import Configuration, Promise


def acknowledge_before_durable(patch: pytest.MonkeyPatch) -> None:
    def acknowledge(self: Any) -> None:
        election = self._election
        if self._acknowledges and election.leader not in (None, election.name):
            self._answer(election.leader, AppendReply(election.epoch, self._own.verified))
        self._acknowledges = False

    patch.setattr(Following, "acknowledge", acknowledge)


def leader_counts_itself_early(patch: pytest.MonkeyPatch) -> None:
    def count(self: Any) -> None:
        self._own.commit_up_to(self.committable(self._election.configuration, self._own.log.last.index))

    patch.setattr(Leadership, "count", count)


def vote_not_durable(patch: pytest.MonkeyPatch) -> None:
    def bind(self: Writes, send: Send, promise: Promise) -> list[Send]:
        return [send]

    patch.setattr(Writes, "bind", bind)


def candidate_counts_itself_early(patch: pytest.MonkeyPatch) -> None:
    campaign: Callable[[Any, int], None] = Election._campaign
    lead: Callable[[Any, int], None] = Election._lead

    def eager(self: Any, now: int) -> None:
        campaign(self, now)
        self._durable = self.promise
        self._count(self.name, granted=True, now=now)

    patch.setitem(election_victory(), Role.CANVASSER, eager)
    patch.setitem(election_victory(), Role.CANDIDATE, lead)


def election_victory() -> dict[Role, Callable[[Any, int], None]]:
    return election._VICTORY


def duplicate_votes_counted(patch: pytest.MonkeyPatch) -> None:
    count = Election._count

    def counts_replies(self: Any, sender: str, storage: bytes, reply: VoteReply, now: int) -> None:
        if reply.epoch > self.epoch:
            self.adopt(reply.epoch, now)
        elif self._asks_for == (reply.campaign, reply.pre):
            if reply.granted and sender in self._names(True):
                for name in self.configuration.voter_names:  # the same voice again counts as another one
                    self._granted[name] = True
            count(self, sender, granted=reply.granted, now=now)

    patch.setattr(Election, "_answered", counts_replies)


def truncate_without_conflict(patch: pytest.MonkeyPatch) -> None:
    def is_new(log: Log, batch: Batch, commit: int) -> bool:
        return batch.last > commit

    patch.setattr(follower, "is_new", is_new)
    patch.setattr(OwnLog, "fixed", property(lambda self: self.settled))


def commit_by_count_of_old_epochs(patch: pytest.MonkeyPatch) -> None:
    committable = Leadership.committable

    def of_any_epoch(self: Leadership, configuration: Configuration, durable: int) -> int:
        start, self.start = self.start, 0
        index = committable(self, configuration, durable)
        self.start = start
        return index

    patch.setattr(Leadership, "committable", of_any_epoch)


def standing_by_index_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OwnLog, "standing", property(lambda self: (0, self.log.last.index)))


def standing_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OwnLog, "standing", property(lambda self: (0, 0)))


def read_without_round(patch: pytest.MonkeyPatch) -> None:
    def take_confirmed(self: Any, configuration: Configuration) -> list[tuple[str, int, int]]:
        rounds, self._rounds = list(self._rounds), type(self._rounds)()
        return [(asker, number, round_.index) for round_ in rounds for asker, number in round_.reads.items()]

    patch.setattr(ReadRounds, "take_confirmed", take_confirmed)


def read_before_epoch_start_commits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leadership, "_knows_commit", True)


def read_joins_a_request_under_way(patch: pytest.MonkeyPatch) -> None:
    def wait(self: Any, token: int) -> None:
        (self._asked or self._waiting)[token] = None

    patch.setattr(Reads, "wait", wait)


def read_joins_a_round_under_way(patch: pytest.MonkeyPatch) -> None:
    def ask(self: Any, asker: str, number: int) -> None:
        (self._rounds[-1].reads if self._rounds else self._waiting)[asker] = number

    patch.setattr(ReadRounds, "ask", ask)


def log_time_unbounded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OwnLog, "time", lambda self, now: max(self.log.last_time, now.wall))


def log_time_stands_for_a_clock_behind(patch: pytest.MonkeyPatch) -> None:
    time = OwnLog.time

    def stands(self: OwnLog, now: Now) -> int:
        return max(self.log.last_time, min(time(self, now), now.wall))

    patch.setattr(OwnLog, "time", stands)


def log_time_not_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OwnLog, "hear_time", lambda self, time, now: None)


def stamps_forget_their_askers(patch: pytest.MonkeyPatch) -> None:
    seal: Callable[[Any, Any, Now], None] = Leadership._seal

    def careless(self: Any, entries: Any, now: Now) -> None:
        clock, self._own.clock = self._own.clock, LamportClock("nobody")
        seal(self, entries, now)
        self._own.clock = clock
        clock.advance(self._own.log.last_stamp)

    patch.setattr(Leadership, "_seal", careless)
    patch.setattr(leader, "Commands", type("Nothing", (), {}))


def stands_on_a_disk_that_hangs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Writes, "answers", lambda self, now, patience: True)


def repeats_applied(patch: pytest.MonkeyPatch) -> None:
    def apply(self: Any, entry: Commands, batch: Batch, index: int, reports: list[Any]) -> Iterator[None]:
        session = self.sessions.touch(entry.session, batch.time)
        if session is None or entry.number > session.last + 1:
            return
        session.acknowledge(entry.acknowledged)
        answers = len(session.answers)
        yield from self._apply_calls(entry, session, batch, index, 0)
        session.last = max(session.last - entry.count, entry.number + entry.count - 1)
        reports.append(Answers(entry.session, entry.number, session.answers[answers:]))

    patch.setattr(Machine, "_apply_commands", apply)


def gaps_applied(patch: pytest.MonkeyPatch) -> None:
    original = Machine._apply_commands

    def apply(self: Any, entry: Commands, batch: Batch, index: int, reports: list[Any]) -> Iterator[None]:
        session = self.sessions.get(entry.session)
        if session is not None and entry.number > session.last + 1:
            session.answers.extend([VOID] * (entry.number - 1 - session.last))
            session.last = entry.number - 1
        yield from original(self, entry, batch, index, reports)

    patch.setattr(Machine, "_apply_commands", apply)


def promise_dropped_at_restart(patch: pytest.MonkeyPatch) -> None:
    open_disk = Disk.open

    def forgetful(self: Disk) -> Stored:
        stored = open_disk(self)
        last = stored.batches[-1].epoch if stored.batches else 0  # the least that the log shows
        return replace(stored, promise=Promise(last, None))

    patch.setattr(Disk, "open", forgetful)


def commit_beyond_verified(patch: pytest.MonkeyPatch) -> None:
    def learn(self: Any, commit: int) -> None:
        self._own.commit_up_to(min(commit, self._own.log.last.index))

    patch.setattr(Following, "_learn_commit", learn)


def commit_that_comes_early_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What is told before its batches have come is not known when they do, until it is told once more."""

    def learn(self: Any, commit: int) -> None:
        self._own.commit_up_to(min(commit, self._own.verified))

    patch.setattr(Following, "_learn_commit", learn)


def verified_kept_over_epochs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OwnLog, "follow", lambda self, epoch: None)


def old_epoch_followed(patch: pytest.MonkeyPatch) -> None:
    follow: Callable[[Any, str, int, int], bool] = Following._follow

    def any_epoch(self: Any, sender: str, epoch: int, now: int) -> bool:
        return follow(self, sender, max(epoch, self._election.epoch), now)

    patch.setattr(Following, "_follow", any_epoch)


def half_of_the_voters_elect(patch: pytest.MonkeyPatch) -> None:
    def elects(self: Majority, voters: tuple[str, ...], granted: frozenset[str]) -> bool:
        return 2 * sum(name in granted for name in voters) >= len(voters)

    patch.setattr(Majority, "elects", elects)


def leads_again_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    """Its disk says that it was granted this epoch; so it goes on."""
    begin = Election.__init__

    def resumes(self: Any, **given: Any) -> None:
        begin(self, **given)
        if self.promise.granted_to == self.name:
            self._lead(given["now"])

    patch.setattr(Election, "__init__", resumes)


def less_than_a_majority_commits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Majority, "commits", lambda self, voters, acknowledged: bool(acknowledged))


def grants_again(patch: pytest.MonkeyPatch) -> None:
    """Whom this epoch was granted to is not looked at."""
    asked: Callable[..., None] = Election._asked

    def generous(self: Any, sender: str, request: Any, standing: Any, now: int) -> None:
        if not request.pre and self.promise.epoch == request.epoch and self.role is Role.FOLLOWER:
            self.promise = Promise(request.epoch, None)
        asked(self, sender, request, standing, now)

    patch.setattr(Election, "_asked", generous)


def no_epoch_start_entry(patch: pytest.MonkeyPatch) -> None:
    """It waits until there is something else to write."""
    seal: Callable[[Any, Any, Now], None] = Leadership._seal
    put_off: dict[int, Any] = {}

    def lazy(self: Any, entries: Any, now: Now) -> None:
        if self._own.log.last.index < self.start and id(self) not in put_off:
            put_off[id(self)] = entries
        else:
            seal(self, [*put_off.pop(id(self), ()), *entries], now)

    patch.setattr(Leadership, "_seal", lazy)


def epoch_without_a_start(patch: pytest.MonkeyPatch) -> None:
    """A leader begins with an entry of another kind."""
    seal: Callable[[Any, Any, Now], None] = Leadership._seal

    def other(self: Any, entries: Any, now: Now) -> None:
        seal(self, [SessionKept(1, 0) if isinstance(entry, EpochStart) else entry for entry in entries], now)

    patch.setattr(Leadership, "_seal", other)


def follower_restamps_what_it_takes(patch: pytest.MonkeyPatch) -> None:
    place: Callable[[Any, Any, int], None] = OwnLog.place

    def restamps(self: Any, missing: Any, now: int) -> None:
        place(self, [replace_struct(batch, stamp=batch.stamp + 1) for batch in missing[:1]], now)

    patch.setattr(OwnLog, "place", restamps)


def follower_takes_entries_for_its_epoch(patch: pytest.MonkeyPatch) -> None:
    """It files old entries under the epoch that it hears them in."""
    on_append: Callable[..., None] = Following.on_append

    def relabels(self: Any, received: Any, message: Any, now: int) -> None:
        batches = tuple(replace_struct(batch, epoch=message.epoch) for batch in message.batches[:1])
        on_append(self, received, replace_struct(message, batches=batches), now)

    patch.setitem(follower.WORDS, Append, relabels)


def leader_takes_a_batch_back(patch: pytest.MonkeyPatch) -> None:
    """What its disk does not have yet is sealed anew, together with what came since."""
    sequence: Callable[[Any, Now], None] = Leadership.sequence

    def reseals(self: Any, now: Now) -> None:
        log, writes = self._own.log, self._own.writes
        last = log.batch_at(log.last.index)
        if self.pending and writes.busy and last.first > max(self.start, writes.durable, self._own.commit):
            self._own.truncate(last.first)
            self._seal([*decode_entries(last.entries), *self.pending.take()], now)
        sequence(self, now)

    patch.setattr(Leadership, "sequence", reseals)


def delivers_the_last_again(patch: pytest.MonkeyPatch) -> None:
    def commit_up_to(self: Any, index: int) -> Sequence[Batch]:
        if index <= self.commit:
            return ()
        batches = list(self.log.between(self.commit - 1, index))
        self._outbox.deliver(batches)
        self.commit = index
        return batches

    patch.setattr(OwnLog, "commit_up_to", commit_up_to)


def cuts_below_commit(patch: pytest.MonkeyPatch) -> None:
    """Whatever a leader sends replaces what is there, old and committed or not."""
    truncate_log, truncate_writes = Log.truncate, Writes.truncate

    def truncate(self: Any, first: int) -> None:
        truncate_log(self.log, first)
        truncate_writes(self.writes, first)

    patch.setattr(OwnLog, "truncate", truncate)
    patch.setattr(OwnLog, "check", lambda self, epoch: None)
    patch.setattr(follower, "missing", lambda log, append, commit: append.batches)


def commit_follows_the_leader_down(patch: pytest.MonkeyPatch) -> None:
    def learn(self: Any, commit: int) -> None:
        index = min(commit, self._own.verified)
        self._own.commit_up_to(index)
        if self._own.log.ends_at(index):
            self._own.commit = index

    patch.setattr(Following, "_learn_commit", learn)
    patch.setattr(OwnLog, "check", lambda self, epoch: None)


def clock_begins_anew(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(life, "LamportClock", lambda name, *_: LamportClock(name))


def views_numbered_by_each(patch: pytest.MonkeyPatch) -> None:
    """By what a process has seen, and not by what the log holds."""
    begin: Callable[[Any, int, int], None] = Machine._begin_view
    seen = count(1)

    def counts(self: Any, epoch: int, index: int) -> None:
        begin(self, epoch, index)
        self.views[-1] = replace_struct(self.views[-1], number=next(seen))

    patch.setattr(Machine, "_begin_view", counts)


def leader_makes_up_a_command(patch: pytest.MonkeyPatch) -> None:
    seal: Callable[[Any, Any, Now], None] = Leadership._seal
    call = Diaries.interface.methods["note"].pack(("client-0", 1_000_000), {})

    def adds(self: Any, entries: Any, now: Now) -> None:
        last = entries[-1]
        if isinstance(last, Commands):
            entries = [*entries, replace_struct(last, number=last.number + last.count, count=1, calls=b"\x81" + call)]
        seal(self, entries, now)

    patch.setattr(Leadership, "_seal", adds)


def withdrawn_after_it_was_sent(patch: pytest.MonkeyPatch) -> None:
    """The owner is told that its call is withdrawn, and it goes on its way."""
    patch.setattr(Submitter, "withdraw", lambda self, ticket: True)


def answers_handed_out_twice(patch: pytest.MonkeyPatch) -> None:
    results: Callable[[Any], list[Any]] = Submitter.take_results
    kept: dict[int, list[Any]] = {}

    def again(self: Any) -> list[Any]:
        new = results(self)
        old, kept[id(self)] = kept.get(id(self), []), new
        return [*old, *new]

    patch.setattr(Submitter, "take_results", again)


def answered_when_taken(patch: pytest.MonkeyPatch) -> None:
    """The desk answers what it has only passed on."""
    submit: Callable[..., Any] = Desk.submit

    def eager(self: Any, owner: Any, entries: Any) -> Any:
        taken = submit(self, owner, entries)
        for entry in taken:
            if isinstance(entry, Commands):
                owner.report(Answers(entry.session, entry.number, [b"\x82\x00\x01"] * entry.count))
        return taken

    patch.setattr(Desk, "submit", eager)


def answers_of_another_number(patch: pytest.MonkeyPatch) -> None:
    """A run that was applied before is answered with what was applied last."""

    def remembered(self: Any, first: int, last: int) -> tuple[int, list[bytes]]:
        start = max(first, self.acknowledged + 1)
        return start, self.answers[-(min(last, self.last) - start + 1) :] if start <= self.last else []

    patch.setattr(Session, "remembered", remembered)


def reads_as_it_is(patch: pytest.MonkeyPatch) -> None:
    def at_once(self: Any, token: int) -> None:
        self._fresh[token] = 0

    patch.setattr(Reads, "wait", at_once)


def applied_without_a_note(patch: pytest.MonkeyPatch) -> None:
    """Each replica adds something of its own to the state, where no query looks."""
    apply: Callable[[Any, Batch], Any] = Machine.apply
    seen = count()

    def adds(self: Any, batch: Batch) -> Any:
        self.actor.seen = next(seen)
        return apply(self, batch)

    patch.setattr(Machine, "apply", adds)


def held_without_end(patch: pytest.MonkeyPatch) -> None:
    """Messages that wait for a promise pile up while the disk hangs."""
    count_up = count()

    def bind(self: Any, send: Send, promise: Promise) -> list[Send]:
        if self.promise == promise:
            return [send]
        self._held[send.to, next(count_up)] = promise, send
        return []

    patch.setattr(Writes, "bind", bind)


def in_flight_without_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progress, "IN_FLIGHT_MAX", 500)
    patch.setattr(Progress, "may_send", lambda self: self.flow is Flow.STREAM or self._waiting_since is None)


def pending_without_end(patch: pytest.MonkeyPatch) -> None:
    def add(self: Any, entries: Any) -> None:
        self._entries.extend(entries)

    patch.setattr(pending, "PENDING_SIZE_MAX", 1000)
    patch.setattr(Pending, "add", add)


def unsynced_without_end(patch: pytest.MonkeyPatch) -> None:
    def place(self: Any, missing: Sequence[Batch], now: int) -> None:
        if missing and missing[0].first <= self.log.last.index:
            self.truncate(missing[0].first)
        for batch in missing:
            self.append(batch)

    patch.setattr(own, "UNSYNCED_SIZE_MAX", 1000)
    patch.setattr(leader, "SEALED_AT_ONCE_MAX", 1000)
    patch.setattr(OwnLog, "place", place)


def answers_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Session, "acknowledge", lambda self, number: None)


def sessions_without_end(patch: pytest.MonkeyPatch) -> None:
    begin = Sessions.__init__

    def any_number(self: Any, *, term: int, sessions_max: int) -> None:
        begin(self, term=term, sessions_max=10**6)

    patch.setattr(Sessions, "__init__", any_number)


def sessions_expire_by_the_local_clock(patch: pytest.MonkeyPatch) -> None:
    """By the time when a replica comes to an entry, not by the entry's."""
    expire: Callable[[Any, int], list[int]] = Sessions.expire
    step: Callable[[Any, Any, Now], None] = Replica.step
    walls: dict[str, int] = {}

    def steps(self: Any, given: Any, now: Now) -> None:
        walls["now"] = now.wall
        step(self, given, now)

    patch.setattr(Replica, "step", steps)
    patch.setattr(Sessions, "expire", lambda self, time: expire(self, walls["now"]))


def set_iterated_in_apply(patch: pytest.MonkeyPatch) -> None:
    """A run's calls are kept in a set: their order is that of addresses."""
    opened: Callable[[Commands], Sequence[object]] = machine.open_calls

    class Held:
        def __init__(self, call: object) -> None:
            self.call = call

    def shuffled(entry: Commands) -> Sequence[object]:
        return [held.call for held in {Held(call) for call in opened(entry)}]

    for module in (machine, running):
        patch.setattr(module, "open_calls", shuffled)


def completions_of_an_old_epoch_counted(patch: pytest.MonkeyPatch) -> None:
    """A write that was cut since still counts as far as it went (P1)."""
    truncate: Callable[[Any, int], None] = Writes.truncate

    def stale(self: Any, first: int) -> None:
        ends = [writing.end for writing in self._asked]
        truncate(self, first)
        for writing, end in zip(self._asked, ends, strict=True):
            writing.end = end

    patch.setattr(Writes, "truncate", stale)


def held_messages_of_an_old_epoch_sent(patch: pytest.MonkeyPatch) -> None:
    """What waited for the disk leaves when the disk is done, whatever has become of its epoch (P1)."""

    def release(self: Any, epoch: int) -> list[Send]:
        held, self._held = self._held, {}
        return [send for _, send in held.values()]

    patch.setattr(Writes, "release", release)


def epoch_written_before_entries(patch: pytest.MonkeyPatch) -> None:
    """An epoch that a batch brings is not written with it, but with the next one."""
    flush: Callable[..., Persist | None] = Writes.flush

    def late(self: Any, promise: Promise, commit: int, now: int) -> Persist | None:
        asked = self._asked_promise
        if self._batches and promise.epoch > asked.epoch and promise.granted_to is None:
            persist = flush(self, asked, commit, now)
            if persist is not None:
                self._asked[-1].promise = promise
            return persist
        return flush(self, promise, commit, now)

    patch.setattr(Writes, "flush", late)


def goes_on_after_a_failed_sync(patch: pytest.MonkeyPatch) -> None:
    """It is tried again, and the second sync succeeds: what the first one lost stays lost (rule 25)."""

    def retried(self: Any) -> None:
        writing, self._writing = self._writing, []
        kept = self._world.chance.randrange(len(writing) + 1)
        self._write(writing[:kept])
        writing[-1].done(writing[-1].persist.number)
        if self._asked and not self._writing:
            self._begin()

    patch.setattr(Disk, "_fail", retried)


def another_disk_taken_for_ours(patch: pytest.MonkeyPatch) -> None:
    """Who is offered the record takes part, whether the group knows its disk or not."""
    patch.setattr(Founding, "misfit", lambda self, sender, formation: None)


def a_copy_is_served_from(patch: pytest.MonkeyPatch) -> None:
    def opened(self: Any) -> Stored:
        return self._medium.memory.open_group(GROUP)

    patch.setattr(Disk, "open", opened)


def read_request_numbers_reused(patch: pytest.MonkeyPatch) -> None:
    """Any answer will do, also one to an earlier request."""

    def answered(self: Any, number: int, index: int) -> None:
        if self._asked:
            self._fresh.update(dict.fromkeys(self._asked, index))
            self._asked = {}

    patch.setattr(Reads, "answered", answered)


def sessions_told_by_nonce_alone(patch: pytest.MonkeyPatch) -> None:
    """Who asked last under a nonce is told of the session, and spoken to for it (denial by copying it)."""

    class ByNonce(Owned[tuple[str, bytes], Owner]):
        def give(self, thing: tuple[str, bytes], owner: Owner) -> None:
            super().give(("", thing[1]), owner)

        def pop(self, thing: tuple[str, bytes]) -> Owner | None:
            return super().pop(("", thing[1]))

    begin: Callable[[Any, Sessions], None] = Desk.__init__

    def begins(self: Any, sessions: Sessions) -> None:
        begin(self, sessions)
        self._opening = ByNonce()

    patch.setattr(Desk, "__init__", begins)


MUTANTS: Sequence[Mutant] = (
    Mutant(acknowledge_before_durable, "what is acknowledged is durable"),
    Mutant(leader_counts_itself_early, "what is delivered is durable on a commit quorum"),
    Mutant(vote_not_durable, "a grant is durable before it is told"),
    Mutant(candidate_counts_itself_early, "who leads was granted it by an election quorum", ALONE),
    Mutant(duplicate_votes_counted, "who leads was granted it by an election quorum", FIVE),
    Mutant(half_of_the_voters_elect, "an epoch has one leader", FOUR),
    Mutant(leads_again_after_a_restart, "an epoch has one leader"),
    Mutant(less_than_a_majority_commits, "a leader holds all that was delivered before it"),
    Mutant(grants_again, "a voter grants one candidate an epoch"),
    Mutant(truncate_without_conflict, "what this epoch's leader counts on is not cut"),
    Mutant(commit_by_count_of_old_epochs, "a leader commits older entries only through one of its own"),
    Mutant(no_epoch_start_entry, "with a quorum repaired the group comes to an end", replace(HARSH, clients=1)),
    Mutant(epoch_without_a_start, "the first entry of an epoch is one, and no other"),
    Mutant(standing_by_index_only, "a grant goes to the better log", LOSSY, first=43),
    Mutant(standing_ignored, "a grant goes to the better log"),
    Mutant(follower_restamps_what_it_takes, "logs match"),
    Mutant(follower_takes_entries_for_its_epoch, "only its leader makes an epoch's batches"),
    Mutant(leader_takes_a_batch_back, "a leader cuts nothing"),
    Mutant(delivers_the_last_again, "no gap, nothing twice"),
    Mutant(cuts_below_commit, "what was delivered is not cut"),
    Mutant(commit_follows_the_leader_down, "epoch, commit and applied never go down"),
    Mutant(read_without_round, "a read is not stale", PARTED, first=33),
    Mutant(read_without_round, "reads never go back", PARTED, first=23),
    Mutant(read_before_epoch_start_commits, "a read is not stale"),
    Mutant(read_joins_a_request_under_way, "a read is not stale", SLOW),
    Mutant(read_joins_a_round_under_way, "a read is not stale", LATE, first=21),
    Mutant(read_request_numbers_reused, "a read is not stale", PAUSED, first=9),
    Mutant(reads_as_it_is, "reads never go back"),
    Mutant(log_time_unbounded, "a leader goes on from the log time it was told", WRONG_CLOCKS),
    Mutant(log_time_stands_for_a_clock_behind, "a leader goes on from the log time it was told", WRONG_CLOCKS),
    Mutant(log_time_not_told, "a leader goes on from the log time it was told", WRONG_CLOCKS),
    Mutant(stamps_forget_their_askers, "an entry is later than its asker"),
    Mutant(clock_begins_anew, "a node's stamps grow over restarts"),
    Mutant(stands_on_a_disk_that_hangs, "who cannot write does not stand", STALLING),
    Mutant(repeats_applied, "a command takes effect once", first=29),
    Mutant(gaps_applied, "no command is applied over a gap"),
    Mutant(promise_dropped_at_restart, "an epoch is remembered over restarts"),
    Mutant(commit_beyond_verified, "all deliver the same", first=3),
    Mutant(commit_that_comes_early_forgotten, "what is told and shown is known", first=5),
    Mutant(verified_kept_over_epochs, "all deliver the same", PARTED, first=5),
    Mutant(old_epoch_followed, "claims to lead epoch", LOSSY, first=216),
    Mutant(views_numbered_by_each, "views are one sequence"),
    Mutant(leader_makes_up_a_command, "only what was asked takes effect"),
    Mutant(withdrawn_after_it_was_sent, "what was withdrawn is never applied"),
    Mutant(answers_handed_out_twice, "an outcome is told once"),
    Mutant(answered_when_taken, "what is acknowledged took effect"),
    Mutant(answers_of_another_number, "each call has its outcome"),
    Mutant(applied_without_a_note, "all states are equal"),
    Mutant(sessions_told_by_nonce_alone, "who is told of a session is its owner", COPIED),
    Mutant(set_iterated_in_apply, "an owner's commands keep their order"),
    Mutant(held_without_end, "a queue stays bounded: messages held", STALLING, first=3),
    Mutant(in_flight_without_end, "a queue stays bounded: bytes in flight", NARROW),
    Mutant(pending_without_end, "a queue stays bounded: bytes pending", NARROW),
    Mutant(unsynced_without_end, "a queue stays bounded: bytes unsynced", NARROW),
    Mutant(answers_kept, "a queue stays bounded: answers"),
    Mutant(sessions_without_end, "a queue stays bounded: sessions", CROWDED),
    Mutant(sessions_expire_by_the_local_clock, "no session expires early", EXPIRING),
    Mutant(completions_of_an_old_epoch_counted, "durable, verified <= last", first=76),
    Mutant(held_messages_of_an_old_epoch_sent, "a grant is durable before it is told", HANGING),
    Mutant(epoch_written_before_entries, "the epoch a message vouches for is durable", first=44),
    Mutant(goes_on_after_a_failed_sync, "what is acknowledged is durable", FAILING),
    Mutant(another_disk_taken_for_ours, "a wiped disk gets nothing of the group", WIPING),
    Mutant(a_copy_is_served_from, "a wiped disk has no voice", COPYING),
    Mutant(read_without_round, "the clients' history is linearizable", PARTED, first=20, play=Swaps),
    Mutant(reads_as_it_is, "the clients' history is linearizable", play=Swaps),
)

test_a_planted_bug_is_found_by_what_it_is_a_bug_of, test_nothing_is_found_without_one = planted(MUTANTS)
