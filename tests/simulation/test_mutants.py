"""Planted bugs: each takes one rule out of the cores. The simulator has to find every one of them (T25)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from actors._protocol.clock import LamportClock
from broadcast._machine import Machine
from broadcast._protocol import follower, leader
from broadcast._protocol.entries import Commands
from broadcast._protocol.follower import Following
from broadcast._protocol.leader import Leadership
from broadcast._protocol.log import Log
from broadcast._protocol.messages import AppendReply
from broadcast._protocol.output import Now, Send
from broadcast._protocol.own import OwnLog
from broadcast._protocol.position import Batch
from broadcast._protocol.reads import ReadRounds, Reads
from broadcast._protocol.reports import Answers
from broadcast._protocol.writes import Writes
from broadcast._simulation.disk import Disk
from broadcast._simulation.history import run
from broadcast._simulation.invariants import Violation
from broadcast._simulation.options import MILLISECOND, SECOND, Options
from broadcast._storage import Stored
from membership._protocol import election
from membership._protocol.election import Election, Role
from membership._protocol.messages import VoteReply
from membership._protocol.view import Configuration, Promise

SEEDS = 100  # within which each is found; most are in the first few
HARSH = Options(
    replicas=3,
    clients=3,
    duration=4 * SECOND,
    idle=60 * MILLISECOND,
    loss=0.02,
    duplication=0.1,
    reordering=0.2,
    delay=100 * MILLISECOND,
    disk_latency=20 * MILLISECOND,
    stall=0.01,
    strike_interval=150 * MILLISECOND,
    election_timeout=100 * MILLISECOND,
)
ALONE = replace(HARSH, replicas=1, disk_latency=60 * MILLISECOND, cuts=0)
FIVE = replace(HARSH, replicas=5, duplication=0.5, cuts=8, crashes=2)
LOSSY = replace(
    HARSH,
    clients=2,
    duration=6 * SECOND,
    faults_from=500 * MILLISECOND,
    loss=0.3,
    disk_latency=5 * MILLISECOND,
    crashes=8,
    pauses=0,
)
PARTED = replace(
    HARSH,
    clients=4,
    duration=5 * SECOND,
    idle=60 * MILLISECOND,
    loss=0,
    duplication=0,
    reordering=0,
    disk_latency=MILLISECOND,
    stall=0,
    strike_interval=700 * MILLISECOND,
    crashes=0,
    power_cuts=0,
    pauses=0,
    election_timeout=250 * MILLISECOND,
)
SLOW = replace(
    HARSH,
    clients=6,
    duration=3 * SECOND,
    idle=20 * MILLISECOND,
    loss=0.1,
    duplication=0,
    reordering=0.3,
    latency=10 * MILLISECOND,
    delay=60 * MILLISECOND,
    disk_latency=MILLISECOND,
    stall=0,
    strike_interval=0,
    election_timeout=250 * MILLISECOND,
)
LATE = replace(
    SLOW,
    loss=0,
    reordering=0.4,
    delay=300 * MILLISECOND,
    latency=2 * MILLISECOND,
    strike_interval=200 * MILLISECOND,
    crashes=0,
    power_cuts=0,
    pauses=6,
    cuts=1,
    election_timeout=100 * MILLISECOND,
)
WRONG_CLOCKS = replace(HARSH, clock_error=3600 * SECOND, clock_jumps=4)
STALLING = replace(HARSH, stall=0.1)


@dataclass(frozen=True)
class Mutant:
    """What to plant, and under which options it is looked for."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    options: Options = HARSH


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
    def apply(self: Any, entry: Commands, batch: Batch, index: int, reports: list[Any]) -> None:
        session = self.sessions.touch(entry.session, batch.time)
        if session is None or entry.number > session.last + 1:
            return
        answers = len(session.answers)
        self._apply_calls(entry, session, batch, index, 0)
        session.last = max(session.last - entry.count, entry.number + entry.count - 1)
        reports.append(Answers(entry.session, entry.number, session.answers[answers:]))

    patch.setattr(Machine, "_apply_commands", apply)


def gaps_applied(patch: pytest.MonkeyPatch) -> None:
    original = Machine._apply_commands

    def apply(self: Any, entry: Commands, batch: Batch, index: int, reports: list[Any]) -> None:
        session = self.sessions.get(entry.session)
        if session is not None and entry.number > session.last + 1:
            session.answers.extend([b"\xf6"] * (entry.number - 1 - session.last))
            session.last = entry.number - 1
        original(self, entry, batch, index, reports)

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


def verified_kept_over_epochs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OwnLog, "follow", lambda self, epoch: None)


def old_epoch_followed(patch: pytest.MonkeyPatch) -> None:
    follow: Callable[[Any, str, int, int], bool] = Following._follow

    def any_epoch(self: Any, sender: str, epoch: int, now: int) -> bool:
        return follow(self, sender, max(epoch, self._election.epoch), now)

    patch.setattr(Following, "_follow", any_epoch)


MUTANTS: Sequence[Mutant] = (
    Mutant("an acknowledgement before it is durable", acknowledge_before_durable),
    Mutant("the leader counts its own disk early", leader_counts_itself_early),
    Mutant("a vote that is not durable", vote_not_durable),
    Mutant("a candidate counts its own vote early", candidate_counts_itself_early, ALONE),
    Mutant("one voter's vote counted twice", duplicate_votes_counted, FIVE),
    Mutant("truncated without a conflict", truncate_without_conflict),
    Mutant("entries of old epochs committed by count", commit_by_count_of_old_epochs),
    Mutant("standings compared by index only", standing_by_index_only, LOSSY),
    Mutant("standings not compared", standing_ignored),
    Mutant("a read without a round", read_without_round, PARTED),
    Mutant("a read before the epoch-start entry commits", read_before_epoch_start_commits),
    Mutant("a read that joins a request under way", read_joins_a_request_under_way, SLOW),
    Mutant("a read that joins a round under way", read_joins_a_round_under_way, LATE),
    Mutant("log time that takes any clock's word", log_time_unbounded, WRONG_CLOCKS),
    Mutant("log time that stands still", log_time_stands_for_a_clock_behind, WRONG_CLOCKS),
    Mutant("log time that its leader does not tell", log_time_not_told, WRONG_CLOCKS),
    Mutant("entries stamped before their askers", stamps_forget_their_askers),
    Mutant("a candidate that cannot write", stands_on_a_disk_that_hangs, STALLING),
    Mutant("repeated commands applied again", repeats_applied),
    Mutant("commands applied over a gap", gaps_applied),
    Mutant("a promise dropped at a restart", promise_dropped_at_restart),
    Mutant("commit beyond what the leader has shown", commit_beyond_verified),
    Mutant("what an old leader has shown counts for a new one", verified_kept_over_epochs, PARTED),
    Mutant("an old epoch's leader followed", old_epoch_followed, LOSSY),
)


def play(mutant: Mutant) -> None:
    for seed in range(SEEDS):
        run(seed, options=mutant.options)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    with pytest.raises(Violation, match="see it again"):
        play(mutant)


@pytest.mark.parametrize("options", list({id(mutant.options): mutant.options for mutant in MUTANTS}.values()))
def test_nothing_is_found_without_one(options: Options) -> None:
    for seed in range(3):
        run(seed, options=options)
