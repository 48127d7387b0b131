"""What must hold in every state of every history, whatever strikes: a file for each claim, which says where it is from.

Section numbers are those of Ongaro 2014, rules those of the protocol, words those of the glossary. The checks look at
replicas and disks as no replica could: from outside, all at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._simulation.invariants.able_candidate import AbleCandidate
from broadcast._simulation.invariants.acknowledged import Acknowledged
from broadcast._simulation.invariants.acknowledgement import Acknowledgement
from broadcast._simulation.invariants.base import Invariant, Judge, Process, Scene
from broadcast._simulation.invariants.bounds import Bounds
from broadcast._simulation.invariants.changes import Changes
from broadcast._simulation.invariants.claim import Violation, broken, check
from broadcast._simulation.invariants.durable_commit import DurableCommit
from broadcast._simulation.invariants.durable_promise import DurablePromise
from broadcast._simulation.invariants.elected_by_quorum import ElectedByQuorum
from broadcast._simulation.invariants.equal_states import EqualStates
from broadcast._simulation.invariants.expiry import Expiry
from broadcast._simulation.invariants.fresh_reads import FreshReads
from broadcast._simulation.invariants.gap_free import GapFree
from broadcast._simulation.invariants.kept_answers import KeptAnswers, is_without_answer
from broadcast._simulation.invariants.kept_promise import KeptPromise
from broadcast._simulation.invariants.leader_append_only import LeaderAppendOnly
from broadcast._simulation.invariants.leader_completeness import LeaderCompleteness
from broadcast._simulation.invariants.leases import Leases
from broadcast._simulation.invariants.log_matching import LogMatching
from broadcast._simulation.invariants.log_stamps import LogStamps
from broadcast._simulation.invariants.log_time import LogTime
from broadcast._simulation.invariants.message_stamps import MessageStamps
from broadcast._simulation.invariants.monotonic_reads import MonotonicReads
from broadcast._simulation.invariants.once_only import OnceOnly
from broadcast._simulation.invariants.one_grant import OneGrant
from broadcast._simulation.invariants.one_leader import OneLeader
from broadcast._simulation.invariants.one_outcome import OneOutcome
from broadcast._simulation.invariants.one_place import OnePlace
from broadcast._simulation.invariants.only_submitted import OnlySubmitted
from broadcast._simulation.invariants.own_epoch_commit import OwnEpochCommit
from broadcast._simulation.invariants.own_sessions import OwnSessions
from broadcast._simulation.invariants.pointers import Pointers
from broadcast._simulation.invariants.session_order import SessionOrder
from broadcast._simulation.invariants.session_reads import SessionReads
from broadcast._simulation.invariants.snapshots import Snapshots
from broadcast._simulation.invariants.standing import Standing
from broadcast._simulation.invariants.state_machine_safety import StateMachineSafety
from broadcast._simulation.invariants.step_down import StepDown
from broadcast._simulation.invariants.stickiness import Stickiness
from broadcast._simulation.invariants.told_commit import ToldCommit
from broadcast._simulation.invariants.undo_budget import UndoBudget, is_held_up
from broadcast._simulation.invariants.versions import Versions
from broadcast._simulation.invariants.views import Views
from broadcast._simulation.invariants.wiped_disk import WipedDisk

__all__ = [
    "INVARIANTS",
    "Invariant",
    "Judge",
    "Process",
    "Scene",
    "Violation",
    "broken",
    "check",
    "is_held_up",
    "is_without_answer",
]

INVARIANTS: Sequence[type[Invariant]] = (
    # who leads
    OneLeader,
    ElectedByQuorum,
    OneGrant,
    DurablePromise,
    KeptPromise,
    Standing,
    Stickiness,
    Leases,
    StepDown,
    AbleCandidate,
    Changes,
    # what logs hold
    WipedDisk,
    LeaderAppendOnly,
    LogMatching,
    LeaderCompleteness,
    GapFree,
    Acknowledgement,
    Snapshots,
    # what is delivered
    StateMachineSafety,
    OwnEpochCommit,
    DurableCommit,
    ToldCommit,
    Pointers,
    MessageStamps,
    LogStamps,
    LogTime,
    Views,
    Versions,
    Bounds,
    Expiry,
    # what askers rely on
    OnceOnly,
    OnePlace,
    SessionOrder,
    OwnSessions,
    OnlySubmitted,
    OneOutcome,
    KeptAnswers,
    UndoBudget,
    Acknowledged,
    MonotonicReads,
    FreshReads,
    SessionReads,
    EqualStates,
)
"""Told of each event in this order."""
