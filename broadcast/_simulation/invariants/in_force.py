"""Which configurations a replica's log has in force, found in the log itself and not asked of the replica."""

from __future__ import annotations

from broadcast._protocol.entries import configuration_in
from broadcast._protocol.replica import Replica
from membership._protocol.quorum import Joint
from membership._protocol.view import Configuration


def along(replica: Replica) -> list[tuple[int, Configuration]]:
    """All that its log sets, with their places, from that of the formation record or of its snapshot on."""
    formation, log, snapshot = replica.formation, replica.log, replica.snapshot
    if formation is None:
        return []
    found = [(0, formation.configuration)]
    if snapshot is not None:  # what that says of members is looked at where it is taken
        found = [(snapshot.agreed.set_at, snapshot.agreed.configuration)]
    for batch in log.between(snapshot.index if snapshot else log.start.index, log.last.index):
        configuration = configuration_in(batch)
        if configuration is not None:
            found.append((batch.first, configuration))
    return found


def in_force(replica: Replica, index: int) -> list[Configuration]:
    """Those that a leader may have committed the entry at `index` by: of its place, or of a later one (4.1)."""
    found = along(replica)
    first = max(at for at, (place, _) in enumerate(found) if place <= index)
    return [configuration for _, configuration in found[first:]]


def commit_by(configuration: Configuration, names: frozenset[str]) -> bool:
    """Do these suffice to commit? Of two electorates, each by itself, and as nobody else counts it."""
    quorum = configuration.quorum
    if isinstance(quorum, Joint):
        return quorum.old.commits(names) and quorum.new.commits(names)
    return quorum.commits(configuration.voter_names, names)


def elect_by(configuration: Configuration, names: frozenset[str]) -> bool:
    """Do these suffice to elect a leader?"""
    quorum = configuration.quorum
    if isinstance(quorum, Joint):
        return quorum.old.elects(names) and quorum.new.elects(names)
    return quorum.elects(configuration.voter_names, names)
