"""What many histories came to, and whether they prove anything: a test that nothing strikes is passed by everybody."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from broadcast._simulation.campaign import Played

HISTORIES_LEAST = 150  # of which it can be required: what is rarest is met by one in twenty
ACKNOWLEDGED_LEAST = 0.5  # share of the commands that were answered while faults struck
LEADER_CHANGES_LEAST = 1.0  # in a history, on average

MARKS: Sequence[str] = (
    # what struck
    "ambushes",
    "clients' links broken",
    "clocks set",
    "crashes",
    "crashes that dropped unsynced data",
    "disk stalls",
    "disks damaged",
    "disks wiped",
    "failed syncs",
    "full disks",
    "links cut",
    "messages lost",
    "messages of an earlier link",
    "nonces copied",
    "old copies restored",
    "pauses",
    "power cuts",
    "restarts with an older clock",
    "slow disks",
    # what came of it
    "answers lost",
    "answers not kept",
    "batches that found no room",
    "commands followed",
    "copies made anew",
    "crashes held up",
    "disks refused",
    "ends with a quorum only",
    "expired sessions",
    "followers that went elsewhere",
    "followers that were too slow",
    "fresh commands",
    "gaps",
    "leaders on slow disks that stepped down",
    "leaders replaced in the end",
    "machines that slept",
    "old leaders that woke up",
    "pieces that nobody waited for",
    "queries for the log",
    "reads",
    "reads by lease",
    "reads given up",
    "reads within a session",
    "repeated commands",
    "repeated over a failover",
    "replicas given up",
    "replicas stopped by their disk",
    "reports of gaps",
    "sessions ended",
    "sessions refused",
    "slow writes",
    "restarts on a snapshot",
    "rotten parts of snapshots",
    "snapshots found broken",
    "snapshots installed",
    "snapshots taken",
    "torn tails cut",
    "truncations",
    "undos",
    "undos from a copy",
    "unknown outcomes",
    "went elsewhere",
    "withdrawn",
    "writes that waited for room",
    # what came later
    "actors told",
    "effects",
    "effects held up",
    "effects that came with a version",
    "leaders that found effects waiting",
    "restarts with effects that wait",
    # who was in
    "configurations set",
    "leaders that handed over",
    "members that learnt of their removal",
    "wishes come true",
    "wishes refused",
    # which class
    "replicas stopped by their class",
    "versions put in force",
    # who decided
    "decided by Flexible",
    "decided by Grid",
    "decided by Majority",
    "decided by Weighted",
)
"""Each is to be met, or what it names was not tried (P38)."""


class Summary:
    """Of all that was played so far."""

    def __init__(self) -> None:
        self.count = 0
        self.failed: list[int] = []
        self.marks = Counter[str]()
        self.leader_changes = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, played: Played) -> None:
        self.count += 1
        if played.history is None:
            self.failed.append(played.seed)
            return
        marks = played.history.marks
        self.marks.update(marks)
        self.leader_changes += max(0, marks["elections"] - 1)  # the first leader took nobody's place
        self._digest.update(played.history.digest.encode())

    @property
    def digest(self) -> str:
        """Of all that happened in all of them, in the order they were added."""
        return self._digest.hexdigest()

    @property
    def acknowledged(self) -> float:
        """The share of commands that were answered before the faults ended."""
        return self.marks["answers under faults"] / max(1, self.marks["commands"])

    def shortfalls(self) -> list[str]:
        """Why these histories, though they went well, say too little."""
        found = [f"no history met: {mark}" for mark in MARKS if not self.marks[mark]]
        if self.acknowledged < ACKNOWLEDGED_LEAST:
            found.append(f"only {self.acknowledged:.0%} of the commands were acknowledged under faults")
        if self.leader_changes < LEADER_CHANGES_LEAST * self.count:
            found.append(f"only {self.leader_changes} leader changes in {self.count} histories")
        return found

    @property
    def is_enough(self) -> bool:
        """Are there so many that a shortfall is no accident?"""
        return self.count >= HISTORIES_LEAST

    def lines(self, seconds: float) -> list[str]:
        """For a reader. seconds: that it took."""
        good, marks = max(1, self.count - len(self.failed)), self.marks
        met = ", ".join(f"{name} {times:,}" for name, times in sorted(marks.items()))
        return [
            f"{self.count:,} histories in {seconds:.1f} s, {60 * self.count / max(seconds, 0.001):.0f} a minute: "
            f"{len(self.failed)} failed",
            f"in each, on average: {marks['answers'] / good:.0f} commands answered, {marks['reads'] / good:.0f} reads, "
            f"{self.leader_changes / good:.1f} leader changes",
            f"acknowledged under faults: {self.acknowledged:.0%} of {marks['commands']:,} commands",
            f"met: {met}",
            f"digest: {self.digest}",
        ]
