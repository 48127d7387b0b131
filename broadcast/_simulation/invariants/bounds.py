"""What waits in memory is bounded, whatever is slow (rule 33, and the bounds that the cores state).

Counted anew, and not as the cores count: a counter that is wrong would hide a queue that grows.
"""

from __future__ import annotations

from typing import Any

from broadcast._protocol import leader, own, pending, progress, sessions
from broadcast._protocol.entries import membership_in, size
from broadcast._protocol.log import Log
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import broken

STEPS_BETWEEN = 8  # a queue that grows without a bound is long some steps later, too
KINDS_HELD = 4  # of messages that wait for a promise: ballots, their answers, and a follower's two


class Bounds(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._steps = 0

    def stepped(self, process: Process) -> None:
        self._steps += 1
        if self._steps % STEPS_BETWEEN == 0 and process.replica.formation is not None:
            self._look(process, len(self.scene.disks))

    def _look(self, process: Process, members: int) -> None:
        replica: Any = process.replica  # from outside all is seen, also what it shows nobody
        _check(process, "messages held", len(replica._writes._held), KINDS_HELD * members)
        unsynced = _sizes(process.replica.log, process.replica.durable)
        # One batch may come when there is hardly room, and one more begins an epoch whether there is room or not.
        bound = max(own.UNSYNCED_SIZE_MAX, leader.SEALED_AT_ONCE_MAX)
        _check(process, "bytes unsynced", sum(unsynced[:-2]), bound)
        if process.replica.leadership is not None:
            self._look_at_leader(process, process.replica.leadership)

    def _look_at_leader(self, process: Process, leadership: Any) -> None:
        waiting = sum(map(size, leadership.pending._entries))
        _check(process, "bytes pending", waiting, pending.PENDING_SIZE_MAX)
        uncommitted = _sizes(process.replica.log, max(process.replica.commit, leadership.start - 1))
        _check(process, "bytes uncommitted", sum(uncommitted[:-1]), leader.UNCOMMITTED_SIZE_MAX)
        for follower in leadership.followers.values():
            in_flight = [sent for _, sent in follower._in_flight]
            _check(process, "bytes in flight", sum(in_flight[:-1]), progress.IN_FLIGHT_MAX)
        _check(process, "read rounds", len(leadership.rounds._rounds), 4 * leader.HEARTBEATS_PER_TIMEOUT)

    def applied(self, process: Process, batch: Batch) -> None:
        machine = process.machine
        limits = machine.configuration.limits
        _check(process, "sessions", len(machine.sessions), limits.sessions_max)
        for _, session in machine.sessions:
            _check(process, "answers", len(session.answers), limits.answers_max)
            _check(process, "bytes of answers", sum(map(len, session.answers[:-1])), sessions.ANSWERS_SIZE_MAX)


def _sizes(log: Log, after: int) -> list[int]:
    """Of the batches beyond this index. Changes of members, one at a time, come whether there is room or not."""
    batches = log.between(after, log.last.index) if after < log.last.index else ()
    return [batch.size for batch in batches if membership_in(batch) is None]


def _check(process: Process, queue: str, waiting: int, bound: int) -> None:
    if waiting > bound:
        broken(f"a queue stays bounded: {queue}", name=process.name, waiting=waiting, bound=bound)
