"""What a process may join a group with: checked before anything begins, with an error that says what to do."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from actors import Node
from actors._actor import Actor
from actors._interface import Interface
from actors._protocol.address import check_name, parse_address
from broadcast._shared import check_not_shared
from broadcast._state import check_capturable
from membership import Limits, QuorumSystem
from membership._protocol.quorum import MEMBERS_MAX
from membership._protocol.view import PRIORITY_MAX

Role = Literal["voter", "observer"]


def check_members(members: Mapping[str, str]) -> None:
    """Raise TypeError or ValueError unless these are names and addresses: not everybody checks types."""
    if not isinstance(members, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"members= is a mapping of names to addresses (host:port), not {members!r}")
    for name, address in members.items():
        if not (isinstance(name, str) and isinstance(address, str)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"members= maps names to addresses, both str, and not {name!r} to {address!r}")
        check_name(name)
        parse_address(address)


def names_of(node: Node, group: str, members: Mapping[str, str] | None) -> tuple[str, ...]:
    """Of all that form the group: of `members`, or else of this node and the peers that it was told of."""
    if members is None:
        return tuple(sorted({*node.told_peers, node.name}))
    check_members(members)
    if node.name not in members:
        raise ValueError(
            f"the node {node.name!r} is not one of the members {', '.join(sorted(members))} of the group {group!r}: "
            "give its address in members="
        )
    return tuple(sorted(members))


def check_joinable(
    actor: type[Actor], names: Sequence[str], *, role: Role, quorum: QuorumSystem, limits: Limits, priority: int
) -> None:
    """Raise TypeError or ValueError unless a replica of this class can join, as this, a group that these form."""
    Interface.of(actor).replicable()
    if len(names) > MEMBERS_MAX:
        raise ValueError(f"{len(names)} members: a group has at most {MEMBERS_MAX}")
    _check_constructible(actor)
    _check_limits(limits)
    _check_role(role)
    if role == "voter":
        _check_quorum(quorum, names)
    _check_priority(priority)


def _check_limits(limits: Limits) -> None:
    """Raise TypeError unless every limit is in its range: what all agree on must be readable by all."""
    for field in msgspec.structs.fields(type(limits)):
        value = getattr(limits, field.name)
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            raise TypeError(f"limits: {field.name}={value!r}: {error} (times are in microseconds)") from None


def _check_quorum(quorum: QuorumSystem, names: Sequence[str]) -> None:
    """Raise TypeError or ValueError unless these members, or these and others, can decide by this.

    Who is to be added to a group that has formed needs to know only some of its members.
    """
    if not isinstance(quorum, QuorumSystem):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"quorum= is a Majority, Flexible, Weighted or Grid of the members, not {quorum!r}")
    if not quorum.fits_more(names):
        quorum.check(names)


def _check_role(role: str) -> None:
    if role not in ("voter", "observer"):
        raise ValueError(f'role= is "voter" or "observer", not {role!r}')


def _check_priority(priority: int) -> None:
    if not (isinstance(priority, int) and abs(priority) <= PRIORITY_MAX):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"priority= is a number from {-PRIORITY_MAX} to {PRIORITY_MAX}, not {priority!r}")


def _check_constructible(actor: type[Actor]) -> None:
    """Each replica makes its own instance, all alike: without arguments. Its state goes into snapshots."""
    try:
        inspect.signature(actor).bind()
    except TypeError as error:
        raise TypeError(
            f"{actor.__qualname__}() cannot be made without arguments ({error}): every replica makes its own, all "
            "alike; give the arguments defaults, or derive a class that sets them"
        ) from None
    instance = actor()
    check_not_shared(instance)
    check_capturable(instance)
