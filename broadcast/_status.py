"""What a replica says of itself, to its own process and to whoever asks over a link."""

from __future__ import annotations

from typing import Any

from actors._protocol.errors import violated
from broadcast._protocol.visits import Status
from broadcast._replica import ReplicaHost
from membership._protocol.quorum import Majority

_MOVED = (
    ". A member that has a new address is heard of, and hears nothing, until another member moves it there "
    "(membership.move)"
)


def status_of(host: ReplicaHost[Any]) -> Status:
    """What this replica knows of its group at this moment."""
    replica, machine, node = host.replica, host.machine, host.node
    if replica is None:
        violated("a group that is open has a replica", group=host.plan.group)
    voters = _voters(host)
    reachable = replica.reachable()
    return Status(
        node=node.name,
        group=host.plan.group,
        role="closed" if host.closed else replica.role,
        epoch=replica.epoch,
        leader=None if host.closed else replica.leader,
        commit=replica.commit,
        applied=replica.applied,
        last=replica.log.last.index,
        durable=replica.durable,
        snapshot=replica.snapshot.index if replica.snapshot else 0,
        first=replica.log.start.index + 1,
        sessions=len(machine.sessions) if machine else 0,
        voters=voters,
        members=members_of(host),
        reachable=None if reachable is None else tuple(reachable),
        waiting=_waiting(host, voters),
        version=machine.version if machine else host.plan.version,
        newest=host.plan.version,
    )


def members_of(host: ReplicaHost[Any]) -> dict[str, str]:
    """The addresses of the group's members by name, as far as this node knows them."""
    configuration = host.replica.configuration if host.replica else None
    names = configuration.names if configuration else host.plan.members
    found = {name: host.node.address_of(name) for name in names}
    return {name: address for name, address in found.items() if address is not None}


def _voters(host: ReplicaHost[Any]) -> tuple[str, ...]:
    configuration = host.replica.configuration if host.replica else None
    return configuration.voter_names if configuration else host.plan.members


def _waiting(host: ReplicaHost[Any], voters: tuple[str, ...]) -> str | None:
    """Why nothing can be committed here at present."""
    replica = host.replica
    if host.waiting_for_disk is not None:
        return f"the disk takes nothing: {host.waiting_for_disk}"
    if replica is not None and replica.complaints:
        return "; ".join(replica.complaints)
    if replica is None or replica.formation is None:
        return f"the group has not formed here: all of {', '.join(voters)} must have been reachable once{_MOVED}"
    if replica.divided is not None:
        return f"the members' states differ at index {replica.divided}, and no majority of them is known to agree"
    if replica.uncapturable is not None:
        return replica.uncapturable
    if replica.leader is None:
        quorum = f"an election quorum of {', '.join(voters)}{_decided_by(host)}"
        return f"no leader is known: {quorum} must reach each other{_elsewhere(host)}"
    return None


def _decided_by(host: ReplicaHost[Any]) -> str:
    """By what, where nobody takes that for granted: it may take all of them."""
    configuration = host.replica.configuration if host.replica else None
    if configuration is None or isinstance(configuration.quorum, Majority):
        return ""
    return f", by {configuration.quorum},"


def _elsewhere(host: ReplicaHost[Any]) -> str:
    """What to do, if this node is not where the group has it, as far as it knows."""
    configuration = host.replica.configuration if host.replica else None
    member = configuration.member(host.node.name) if configuration else None
    return "" if member is not None and member.address in ("", host.plan.address) else _MOVED
