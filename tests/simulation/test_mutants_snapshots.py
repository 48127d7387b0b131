"""Planted bugs of snapshots: what is left out of one, sent wrong, or installed where it must not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from planting import HARSH, PARTED, Mutant, planted

from actors._protocol.clock import LamportClock
from broadcast._machine import Machine
from broadcast._protocol.digests import Digests, Opinion
from broadcast._protocol.incoming import Incoming
from broadcast._protocol.log import Log
from broadcast._protocol.messages import SnapshotPart
from broadcast._protocol.output import Loaded, PartRead
from broadcast._protocol.own import OwnLog
from broadcast._protocol.position import Position
from broadcast._protocol.progress import Progress
from broadcast._protocol.sessions import Session, Sessions
from broadcast._protocol.snapshots import Snapshot
from broadcast._protocol.supply import Supply
from broadcast._protocol.writes import Writes
from broadcast._simulation.options import MILLISECOND, SECOND
from broadcast._storage import MemorySnapshots
from membership._protocol.configurations import Agreed, Configurations

Plant = pytest.MonkeyPatch

TIGHT = (("KEPT_SIZE_MAX", 0), ("HELD_SIZE_MAX", 4_000), ("PART_SIZE_MAX", 500), ("UNDER_WAY_MAX", 1_000))
SNAPPED = replace(
    HARSH, snapshot_entries=20, bounds=TIGHT, crashes=6, cuts=8, pauses=4, loss=0.05, disk_latency=10 * MILLISECOND
)
ROTTEN = replace(SNAPPED, damaged_disks=1, cuts=12)
DOUBLED = replace(SNAPPED, bounds=TIGHT[:2], duplication=0.5, reordering=0.5, delay=400 * MILLISECOND)
ALONE_ASKING = replace(
    PARTED,
    clients=1,
    duration=3 * SECOND,
    idle=40 * MILLISECOND,
    burst=40,
    reads=0,
    follows=1,
    cuts=20,
    strike_interval=150 * MILLISECOND,
    election_timeout=100 * MILLISECOND,
    snapshot_entries=4,
    bounds=(*TIGHT[:1], ("HELD_SIZE_MAX", 0), ("RUN_COUNT_MAX", 1), ("BATCH_ENTRIES_MAX", 1)),
)
"""A leader that is cut off with its client goes on for a while, and the next one takes a snapshot of little more."""
STUCK = replace(
    SNAPPED,
    loss=0.2,
    duplication=0,
    reordering=0,
    stall=0,
    strike_interval=300 * MILLISECOND,
    crashes=0,
    cuts=0,
    power_cuts=0,
    pauses=6,
    election_timeout=300 * MILLISECOND,
    bounds=(*TIGHT[:1], ("HELD_SIZE_MAX", 2**25), ("PART_SIZE_MAX", 200), ("UNDER_WAY_MAX", 200)),
)
"""Who was stopped for long needs a snapshot, of many parts, over links that stay and lose some of them. The log is held
for it meanwhile: no newer snapshot comes in the place of one that gets nowhere."""
REGROUPED = replace(SNAPPED, spares=4, regroupings=24)


def sessions_left_out(plant: Plant) -> None:
    def restore(self: Sessions, sessions: list[tuple[int, Session]]) -> None:
        pass

    plant.setattr(Sessions, "restore", restore)


def answers_left_out(plant: Plant) -> None:
    honest = Sessions.restore

    def restore(self: Sessions, sessions: list[tuple[int, Session]]) -> None:
        honest(self, sessions)
        for _, session in self:
            session.answers.clear()
            session.acknowledged = session.last

    plant.setattr(Sessions, "restore", restore)


def order_of_sessions_left_out(plant: Plant) -> None:
    honest = Sessions.restore

    def restore(self: Sessions, sessions: list[tuple[int, Session]]) -> None:
        honest(self, sorted(sessions, key=lambda each: each[0]))

    plant.setattr(Sessions, "restore", restore)


def installed_over_newer_state(plant: Plant) -> None:
    honest = Incoming.part

    def part(self: Any, sender: str, message: SnapshotPart, now: int) -> bool:
        commit, self._own.commit = self._own.commit, 0
        try:
            return honest(self, sender, message, now)
        finally:
            self._own.commit = commit

    def on_loaded(self: Any, given: Loaded) -> Snapshot | None:
        snapshot: Snapshot | None = self._snapshot
        if snapshot is not None and self._loading and not self._election.leads:
            self._forget()
            self._own.commit = min(self._own.commit, snapshot.index - 1)
            self._own.install(snapshot)
            return snapshot
        return None

    plant.setattr(Incoming, "part", part)
    plant.setattr(Incoming, "on_loaded", on_loaded)


def content_not_checked(plant: Plant) -> None:
    def complete(self: Any, snapshot: Snapshot) -> None:
        incoming, self._incoming = self._incoming, None
        self.whole[snapshot.position] = bytes(incoming[1])

    plant.setattr(MemorySnapshots, "complete", complete)
    plant.setattr("broadcast._storage._is_whole", lambda snapshot, content: True)


def what_was_durable_before_counts_after(plant: Plant) -> None:
    def restart(self: Any, snapshot: Snapshot, last: int, known: int) -> None:
        self.durable = max(self.durable, snapshot.index)
        self.unsynced_size -= sum(batch.size for batch in self._batches)
        self._batches.clear()
        self._parts.clear()
        self._snapshot, self._compact = snapshot, last

    plant.setattr(Writes, "restart", restart)


def a_log_with_another_entry_there_goes_on(plant: Plant) -> None:
    """What was never committed stays behind a snapshot that has seen something else there."""
    honest = Log.holds

    def install(self: Any, snapshot: Snapshot) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Log, "holds", lambda log, at: log.batch_at(at.index) is not None or honest(log, at))
            installed(self, snapshot)

    installed = OwnLog.install
    plant.setattr(OwnLog, "install", install)


def number_of_the_view_left_out(plant: Plant) -> None:
    honest: Any = Machine.restored

    def restored(*args: Any, **kwargs: Any) -> Any:
        machine = honest(*args, **kwargs)
        machine.views = [msgspec.structs.replace(view, number=1) for view in machine.views]
        return machine

    plant.setattr(Machine, "restored", restored)


def last_stamp_left_out(plant: Plant) -> None:
    """Who leads from a snapshot on has not witnessed it."""
    honest = Log.restart

    def restart(self: Log, start: Position, *, stamp: int, time: int) -> None:
        honest(self, start, stamp=0, time=time)

    plant.setattr(Log, "restart", restart)
    plant.setattr(LamportClock, "advance", lambda self, counter: None)


def configuration_left_out(plant: Plant) -> None:
    honest = Configurations.install

    def install(self: Any, agreed: Agreed, index: int, *, keep: bool) -> None:
        honest(self, agreed if keep else self._agreed[0], index, keep=keep)

    plant.setattr(Configurations, "install", install)


def taken_for_another_place(plant: Plant) -> None:
    honest: Any = Machine.position

    def position(self: Any) -> Position:
        place: Position = honest.fget(self)
        return Position(place.epoch, place.index - 1)

    plant.setattr(Machine, "position", property(position))


def named_before_it_is_there(plant: Plant) -> None:
    def finish(self: Any, draft: object, snapshot: Snapshot) -> None:
        pass

    plant.setattr(MemorySnapshots, "finish", finish)


def sent_once_and_never_again(plant: Plant) -> None:
    """The follower is silent about a part, and the leader waits for it."""
    plant.setattr(Progress, "repeat", lambda self, now: None)


def an_obsolete_one_is_kept(plant: Plant) -> None:
    """The log does not go on from it any more, so that no part of it is sent: the follower waits for nothing."""
    honest = Progress.restore

    def restore(self: Progress, snapshot: Snapshot, held_from: int, now: int) -> None:
        honest(self, snapshot, 0, now)

    plant.setattr(Progress, "restore", restore)


def an_obsolete_one_is_sent_on(plant: Plant) -> None:
    """Who has all of it needs another one at once."""

    def part_read(self: Any, given: PartRead) -> None:
        progress = self._followers.get(given.to)
        outgoing = progress.outgoing if progress else None
        if outgoing is None or outgoing.snapshot.position != given.position or given.data is None:
            return
        if outgoing.read(given.offset, given.data):
            self._outbox.send(given.to, SnapshotPart(self._epoch, outgoing.snapshot, given.offset, given.data))

    an_obsolete_one_is_kept(plant)
    plant.setattr(Supply, "part_read", part_read)


def agreement_misread(plant: Plant) -> None:
    honest = Digests.opinion

    def opinion(self: Digests, position: Position, voters: Sequence[str]) -> Opinion:
        found = honest(self, position, voters)
        return Opinion.DIVERGED if found is Opinion.AGREED else found

    plant.setattr(Digests, "opinion", opinion)


MUTANTS = (
    Mutant(taken_for_another_place, "a snapshot is of a state that was applied", SNAPPED),
    Mutant(named_before_it_is_there, "what is compacted is in a snapshot that is durable", SNAPPED),
    Mutant(agreement_misread, "no replica differs from a majority", SNAPPED),
    Mutant(sessions_left_out, "equal", SNAPPED),
    Mutant(answers_left_out, "what is acknowledged is forgotten, and no more", SNAPPED),
    Mutant(order_of_sessions_left_out, "snapshots of one state are equal", SNAPPED, first=21),
    Mutant(installed_over_newer_state, "no older state is installed", DOUBLED, first=25),
    Mutant(content_not_checked, "what is installed is what was taken", ROTTEN, first=154),
    Mutant(what_was_durable_before_counts_after, "what is acknowledged is durable", SNAPPED, first=21),
    Mutant(a_log_with_another_entry_there_goes_on, "the log goes on from the snapshot", ALONE_ASKING, first=180),
    Mutant(number_of_the_view_left_out, "views are one sequence", SNAPPED),
    Mutant(last_stamp_left_out, "is beyond that of its message", SNAPPED),
    Mutant(sent_once_and_never_again, "with a quorum repaired the group comes to an end", STUCK, first=8),
    Mutant(an_obsolete_one_is_kept, "with a quorum repaired the group comes to an end", SNAPPED, first=5),
    Mutant(an_obsolete_one_is_sent_on, "the log goes on from a snapshot that is sent", SNAPPED, first=5),
    Mutant(configuration_left_out, "in force is the latest configuration of the log", REGROUPED),
)

test_a_planted_bug_is_found_by_what_it_is_a_bug_of, test_nothing_is_found_without_one = planted(MUTANTS)
