"""How members change: one step after the other, each by two electorates together (rules 14, 15; Ongaro 2014, 4.1, 4.3).

What a leader seals is judged when it asks its disk to keep it: by its log, the disks and the commit index of then.
"""

from __future__ import annotations

from broadcast._protocol.entries import configuration_in
from broadcast._protocol.output import Persist
from broadcast._protocol.position import Batch
from broadcast._simulation.invariants.base import Invariant, Process, Scene
from broadcast._simulation.invariants.claim import check
from broadcast._simulation.invariants.in_force import along
from membership._protocol.quorum import Electorate, Joint
from membership._protocol.view import Configuration

STEPS_BETWEEN = 16  # what is in force wrongly is so for longer


class Changes(Invariant):
    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._steps = 0
        self._added: dict[str, int] = {}  # where each was that is no founder: logs forget it, once compacted

    def persisting(self, process: Process, persist: Persist) -> None:
        leadership = process.replica.leadership
        for batch in persist.batches if leadership is not None else ():
            configuration = configuration_in(batch)
            if configuration is not None and leadership is not None and batch.epoch == leadership.epoch:
                self._sealed(process, batch, configuration, leadership.start)

    def _sealed(self, process: Process, batch: Batch, new: Configuration, start: int) -> None:
        place, old = max((found for found in along(process.replica) if found[0] < batch.first), key=lambda at: at[0])
        commit = process.replica.commit
        check(place <= commit, "a change waits for the one before it to be committed", name=process.name, before=place)
        check(start <= commit, "a change waits for the epoch-start entry to be committed", name=process.name)
        check(_follows(old, new), "voters and quorums change by way of both together", old=old, new=new)
        self._added |= dict.fromkeys(set(new.names).difference(old.names), batch.first)
        for name in set(new.voter_names).difference(old.voter_names):
            last, added_at = self.scene.disks[name].last, self._added.get(name, 0)
            check(last >= added_at, "who gets a vote has caught up", name=name, holds=last, added_at=added_at)

    def stepped(self, process: Process) -> None:
        replica, committed = process.replica, process.replica.committed
        leadership = replica.leadership
        if leadership is not None and committed is not None and leadership.start <= replica.commit:
            may_lead = (
                committed.configuration.storage_of(process.name) is not None or leadership.succession.is_under_way
            )
            check(may_lead, "who has lost its vote leads no more", name=process.name)
        self._steps += 1
        if replica.formation is not None and self._steps % STEPS_BETWEEN == 0:
            latest = along(replica)[-1][1]
            check(replica.configuration == latest, "in force is the latest configuration of the log", name=process.name)


def _follows(old: Configuration, new: Configuration) -> bool:
    """May the one come right after the other?"""
    if isinstance(old.quorum, Joint):
        return _electorate(new) == old.quorum.new
    if isinstance(new.quorum, Joint):
        return new.quorum.old == _electorate(old)
    return _electorate(old) == _electorate(new)


def _electorate(configuration: Configuration) -> Electorate | None:
    quorum = configuration.quorum
    return None if isinstance(quorum, Joint) else Electorate(configuration.voter_names, quorum)
