"""Planted bugs of another kind: nothing wrong happens, but what should happen happens late, or never (liveness).

Most of them are wake-ups that get lost, and that the next heartbeat, a retry or somebody's patience makes good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from planting import HARSH, Mutant, planted

from broadcast._protocol import follower, leader
from broadcast._protocol.desk import Desk
from broadcast._protocol.follower import Following
from broadcast._protocol.leader import Leadership
from broadcast._protocol.messages import Heartbeat
from broadcast._protocol.output import Now
from broadcast._protocol.participant import Participant
from broadcast._protocol.reads import ReadRounds
from broadcast._protocol.reports import Answers, Opened, Resend
from broadcast._protocol.submitter import Submitter
from broadcast._simulation.options import MILLISECOND, SECOND
from membership._protocol.election import Election, Role

QUICK = replace(
    HARSH,
    duration=SECOND,
    loss=0,
    duplication=0,
    reordering=0,
    latency=MILLISECOND,
    disk_latency=MILLISECOND,
    stall=0,
    strike_interval=0,
    election_timeout=300 * MILLISECOND,
)
"""Nothing strikes before the end, and a heartbeat is long in coming."""


def acknowledges_with_the_next_heartbeat(patch: pytest.MonkeyPatch) -> None:
    """A follower does not tell when its disk has written."""
    on_heartbeat: Callable[..., None] = Following.on_heartbeat

    def tells(self: Any, received: Any, message: Heartbeat, now: int) -> None:
        on_heartbeat(self, received, message, now)
        self._acknowledges = True

    patch.setattr(Following, "wrote", lambda self: None)
    patch.setitem(follower.WORDS, Heartbeat, tells)


def commit_is_not_told(patch: pytest.MonkeyPatch) -> None:
    """A follower learns of it with the next batch or heartbeat."""
    patch.setattr(Leadership, "_tell_commit", lambda self, now: None)


def commit_is_told_late(patch: pytest.MonkeyPatch) -> None:
    """As to those where nobody waits for it; but not by the first leader, so that new clients see nothing of it."""
    sequence: Callable[[Any, Now], None] = Leadership.sequence

    def forgets(self: Any, now: Now) -> None:
        sequence(self, now)
        if self.epoch > 1:
            for progress in self.followers.values():
                progress.awaits = 0

    patch.setattr(Leadership, "sequence", forgets)
    patch.setattr(leader, "COMMIT_TOLD_WITHIN", 25 * MILLISECOND)


def batches_leave_with_the_next_heartbeat(patch: pytest.MonkeyPatch) -> None:
    replicate: Callable[[Any, int], None] = Leadership.replicate
    beaten: dict[int, int] = {}

    def waits(self: Any, now: int) -> None:
        if beaten.get(id(self)) != self.heartbeat_at:
            beaten[id(self)] = self.heartbeat_at
            replicate(self, now)
        self._tell_at = None  # it would be due for ever

    patch.setattr(Leadership, "replicate", waits)


def reads_wait_for_the_next_heartbeat(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReadRounds, "wants_round", False)


def sends_again_by_its_timer_only(patch: pytest.MonkeyPatch) -> None:
    """A client that is told that what it sent may be lost waits until it has lost patience all the same."""
    receive: Callable[[Any, Any, int], None] = Submitter.receive

    def deaf(self: Any, report: Any, now: int) -> None:
        if not isinstance(report, Resend):
            receive(self, report, now)

    patch.setattr(Submitter, "receive", deaf)


def a_leader_s_new_epoch_is_not_told(patch: pytest.MonkeyPatch) -> None:
    """Nor is any: askers at a replica are not told to send again."""
    patch.setattr(Desk, "lost", lambda self: None)


def a_new_leader_waits_for_the_old_one_s_answer(patch: pytest.MonkeyPatch) -> None:
    """To what its own readers had it ask."""

    def change_office(self: Any, now: Now) -> None:
        election = self.election
        if self.leadership is not None and (not election.leads or self.leadership.epoch != election.epoch):
            self.leadership = None
            self._reads.lose()
        if self.leadership is None and election.leads:
            self.leadership = Leadership(self._own, self._configurations, election, self._outbox, now)

    patch.setattr(Participant, "_change_office", change_office)


def answers_wait_for_the_next_batch(patch: pytest.MonkeyPatch) -> None:
    """A replica tells what it applied when it has applied something else."""
    route: Callable[[Any, Any, int], None] = Desk.route
    kept: dict[int, list[Any]] = {}

    def late(self: Any, reports: Any, applied: int) -> None:
        now = [report for report in reports if not isinstance(report, Answers)]
        route(self, [*now, *kept.pop(id(self), ())], applied)
        kept[id(self)] = [report for report in reports if isinstance(report, Answers)]

    patch.setattr(Desk, "route", late)


def an_opening_is_told_when_it_is_asked_for_again(patch: pytest.MonkeyPatch) -> None:
    route: Callable[[Any, Any, int], None] = Desk.route
    asked: dict[bytes, int] = {}

    def silent(self: Any, reports: Any, applied: int) -> None:
        told: list[Any] = []
        for report in reports:
            if isinstance(report, Opened) and self._opening.get((report.owner, report.nonce)) is not None:
                asked[report.nonce] = asked.get(report.nonce, 0) + 1
                if asked[report.nonce] < 2:
                    continue
            told.append(report)
        route(self, told, applied)

    patch.setattr(Desk, "route", silent)


def who_has_followed_never_stands(patch: pytest.MonkeyPatch) -> None:
    tick: Callable[..., None] = Election.tick

    def waits(self: Any, now: int, standing: Any, *, able: bool) -> None:
        tick(self, now, standing, able=able and (self.role is not Role.FOLLOWER or self.epoch == 0))

    patch.setattr(Election, "tick", waits)


QUICK_CALLS = "a call takes some round trips and writes, and no longer"
SENT_AGAIN = "what was under way is sent again once a leader is known"
NEW_CLIENTS = "a new client is served by each member that works"

MUTANTS: Sequence[Mutant] = (
    Mutant(acknowledges_with_the_next_heartbeat, NEW_CLIENTS, QUICK),
    Mutant(commit_is_not_told, NEW_CLIENTS, QUICK),
    Mutant(commit_is_told_late, QUICK_CALLS, QUICK),
    Mutant(batches_leave_with_the_next_heartbeat, NEW_CLIENTS, QUICK),
    Mutant(answers_wait_for_the_next_batch, NEW_CLIENTS, QUICK),
    Mutant(reads_wait_for_the_next_heartbeat, NEW_CLIENTS, QUICK),
    Mutant(sends_again_by_its_timer_only, SENT_AGAIN, QUICK),
    Mutant(a_leader_s_new_epoch_is_not_told, SENT_AGAIN, QUICK),
    Mutant(a_new_leader_waits_for_the_old_one_s_answer, SENT_AGAIN, QUICK),
    Mutant(an_opening_is_told_when_it_is_asked_for_again, NEW_CLIENTS, QUICK),
    Mutant(who_has_followed_never_stands, "a leader that is gone is replaced", QUICK),
    Mutant(acknowledges_with_the_next_heartbeat, NEW_CLIENTS, options=None, first=21),
    Mutant(commit_is_not_told, NEW_CLIENTS, options=None, first=26),
    Mutant(sends_again_by_its_timer_only, SENT_AGAIN, options=None, first=4),
)

test_a_planted_bug_is_found_by_what_it_is_a_bug_of, test_nothing_is_found_without_one = planted(MUTANTS, histories=20)
