"""Log time goes on as fast as time does, whatever wall clocks say, within a bound for each leader (rule 12).

Who leads without having heard a leader since its start may begin with any time; all that follows is held to that.
"""

from __future__ import annotations

from collections.abc import Sequence

from broadcast._protocol.entries import Entry
from broadcast._protocol.messages import Heartbeat, Message
from broadcast._protocol.output import Persist
from broadcast._protocol.own import CLOCK_BOUND
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check

SLACK = 2_000_000
"""Microseconds that log time may go wrong in a history where clocks run fast or slow, and stand still in a machine that
sleeps: that is, in those with leases. The rule is held to in the others."""


class LogTime(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._schedule = scene.schedule
        self._heard: dict[str, int] = {}  # name -> how far log time was ahead of `schedule`, by its last leader's word
        self._ahead: dict[int, int] = {}  # epoch -> the same, by its first batch
        self._time = 0

    def started(self, process: Process) -> None:
        self._heard.pop(process.name, None)

    def heard(self, process: Process, sender: str, message: Message) -> None:
        replica = process.replica
        if type(message) is Heartbeat and (message.epoch, sender) == (replica.epoch, replica.leader):
            self._heard[process.name] = max(message.time, replica.log.last_time) - self._schedule.now

    def persisting(self, process: Process, persist: Persist) -> None:
        leadership = process.replica.leadership
        if leadership is not None:
            for batch in persist.batches:
                if batch.epoch == leadership.epoch:
                    self._stamped(process, batch)

    def delivered(self, process: Process, batch: Batch, entries: Sequence[Entry]) -> None:
        check(batch.time >= self._time, "log time never goes back", batch=batch, before=self._time)
        self._time = batch.time

    def _stamped(self, process: Process, batch: Batch) -> None:
        ahead = batch.time - self._schedule.now
        known = self._heard.get(process.name, ahead)
        before = process.replica.log.batch_at(batch.first - 1)
        repeated = before is not None and before.time == batch.time
        configuration = process.replica.configuration
        slack = SLACK if configuration is not None and configuration.limits.leases else 0
        check(
            known - slack <= ahead and (repeated or ahead <= known + CLOCK_BOUND + slack),
            "a leader goes on from the log time it was told",
            name=process.name,
            known=known,
            ahead=ahead,
        )
        began = self._ahead.setdefault(batch.epoch, ahead)
        check(abs(ahead - began) <= 2 * CLOCK_BOUND + slack, "log time gets on as time does", began=began, ahead=ahead)
