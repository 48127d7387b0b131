"""Planted bugs of reads: within a session, by a lease, in the log (rule 20). Each is found by what it is a bug of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from planting import HARSH, PARTED, PAUSED, Mutant, planted

from broadcast._machine import Machine
from broadcast._protocol import lease
from broadcast._protocol.consistency import Consistency
from broadcast._protocol.leader import Leadership
from broadcast._protocol.lease import Lease
from broadcast._protocol.output import Now, ReadAsked
from broadcast._protocol.queries import Queries
from broadcast._protocol.reads import Reads
from broadcast._protocol.replica import Replica
from broadcast._protocol.sessions import Outcome
from broadcast._protocol.succession import Succession
from broadcast._simulation import applying
from broadcast._simulation.options import MILLISECOND, SECOND
from membership._protocol.election import Election

WITH_LEASES: dict[str, Any] = {
    "leases": True,
    "levels": (Consistency.LEASE,),
    "reads": 0.9,
    "idle": 20 * MILLISECOND,
}
LEASED = replace(HARSH, **WITH_LEASES)
LEASED_PARTED = replace(PARTED, cuts=8, **WITH_LEASES)
LEASED_PAUSED = replace(PAUSED, **WITH_LEASES)
LEASED_QUICK = replace(PARTED, clients=6, cuts=0, strike_interval=0, duration=SECOND, **WITH_LEASES)
SILENT = replace(
    LEASED_PARTED,
    clients=1,
    idle=20 * SECOND,
    duration=20 * SECOND,
    faults_from=SECOND,
    crashes=6,
    strike_interval=300 * MILLISECOND,
    election_timeout=600 * MILLISECOND,
    priorities=(1,),
)
"""Logs stay alike, so that a voter grants whoever is first to ask when it has started again."""

HANDING_OVER = replace(
    LEASED_PARTED,
    clients=1,
    idle=200 * MILLISECOND,
    loss=0.05,
    cuts=3,
    regroupings=20,
    strike_interval=60 * MILLISECOND,
    election_timeout=400 * MILLISECOND,
)
SESSIONS = replace(
    HARSH, levels=(Consistency.SESSION,), reads=0.9, idle=20 * MILLISECOND, hang_ups=0.1, disk_latency=5 * MILLISECOND
)
LOGGED = replace(HARSH, logged=0.3)

ONE_LEASE = "nobody is elected while another holds a lease"


# -- by a lease --------------------------------------------------------------------------------------------------------


def lease_kept_after_a_hand_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Succession, "was_tried", property(lambda self: False, lambda self, tried: None), raising=False)


def lease_longer_than_the_floor(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lease, "LEASE_PARTS", (2, 1))


def lease_on_the_word_of_anybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lease, "holds", lambda self, configuration, now: True)


def lease_lasts_while_the_machine_sleeps(patch: pytest.MonkeyPatch) -> None:
    def is_over(self: Any, began: Now, now: Now) -> bool:
        return now.monotonic - began.monotonic >= self._span

    patch.setattr(Lease, "_is_over", is_over)


def hint_shortens_it(patch: pytest.MonkeyPatch) -> None:
    suspect: Callable[[Any, str, int], None] = Election.suspect

    def shortens(self: Any, name: str, now: int) -> None:
        if name == self.leader:
            self._refrains_until = now
        suspect(self, name, now)

    patch.setattr(Election, "suspect", shortens)


def restarted_voter_votes_at_once(patch: pytest.MonkeyPatch) -> None:
    refrain: Callable[[Any, int], None] = Election.refrain

    def forgets(self: Any, now: int) -> None:
        if self._heard_leader is not None:
            refrain(self, now)

    patch.setattr(Election, "refrain", forgets)


def leased_read_before_epoch_start_commits(patch: pytest.MonkeyPatch) -> None:
    def holds(self: Any, now: Now) -> bool:
        return not self.succession.was_tried and self.lease.holds(self._election.configuration, now)

    patch.setattr(Leadership, "holds_lease", holds)


def leased_read_of_what_is_applied_so_far(patch: pytest.MonkeyPatch) -> None:
    """What is committed, and answered elsewhere, may be on its way to the actor: here for long."""
    patch.setattr(applying, "APPLY_DELAY", 100 * MILLISECOND)
    ask: Callable[[Any, ReadAsked], None] = Replica._ask  # pyright: ignore[reportPrivateUsage]

    def at_once(self: Any, asked: ReadAsked) -> None:
        if asked.consistency is Consistency.LEASE and self.holds_lease(self._now):
            self._reads.wait_for(asked.token, 0)
        else:
            ask(self, asked)

    patch.setattr(Replica, "_ask", at_once)


# -- within a session --------------------------------------------------------------------------------------------------


def session_index_forgotten_on_reconnect(patch: pytest.MonkeyPatch) -> None:
    enter: Callable[[Any, bytes], None] = Queries.enter

    def forgets(self: Any, cluster: bytes) -> None:
        self._cluster = b""
        enter(self, cluster)

    patch.setattr(Queries, "enter", forgets)


def session_reads_as_it_is(patch: pytest.MonkeyPatch) -> None:
    wait_for: Callable[[Any, int, int], None] = Reads.wait_for
    patch.setattr(Reads, "wait_for", lambda self, token, index: wait_for(self, token, 0))


# -- in the log --------------------------------------------------------------------------------------------------------


def query_in_the_log_of_another_state(patch: pytest.MonkeyPatch) -> None:
    run_: Callable[[Any, Any, object, int], tuple[Outcome, bytes]] = Machine._run  # pyright: ignore[reportPrivateUsage]

    def of_the_beginning(self: Any, actor: Any, call: object, index: int) -> tuple[Outcome, bytes]:
        outcome, answer = run_(self, actor, call, index)
        return run_(self, self._begin(), call, index) if outcome is Outcome.QUERIED else (outcome, answer)

    patch.setattr(Machine, "_run", of_the_beginning)


MUTANTS: Sequence[Mutant] = (
    Mutant(lease_kept_after_a_hand_over, ONE_LEASE, HANDING_OVER, first=14),
    Mutant(lease_longer_than_the_floor, ONE_LEASE, LEASED, first=15),
    Mutant(lease_on_the_word_of_anybody, ONE_LEASE, LEASED, first=3),
    Mutant(lease_lasts_while_the_machine_sleeps, ONE_LEASE, LEASED_PAUSED, first=6),
    Mutant(hint_shortens_it, ONE_LEASE, LEASED, first=16),
    Mutant(restarted_voter_votes_at_once, ONE_LEASE, SILENT, first=12),
    Mutant(leased_read_before_epoch_start_commits, "reads never go back", LEASED),
    Mutant(leased_read_of_what_is_applied_so_far, "a read is not stale", LEASED_QUICK),
    Mutant(session_index_forgotten_on_reconnect, "a session reads what it wrote", SESSIONS),
    Mutant(session_index_forgotten_on_reconnect, "a session's reads never go back", SESSIONS, first=25),
    Mutant(session_reads_as_it_is, "a session reads what it wrote", SESSIONS),
    Mutant(query_in_the_log_of_another_state, "a query in the log sees what is before it", LOGGED),
)

test_a_planted_bug_is_found_by_what_it_is_a_bug_of, test_nothing_is_found_without_one = planted(MUTANTS)
