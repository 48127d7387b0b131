"""How the faults of a history end: all is repaired, or only as many members as a quorum takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from broadcast._simulation.faults import links
from broadcast._simulation.faults.field import Field
from broadcast._simulation.node import Node
from broadcast._simulation.register import suffice
from membership._protocol.view import Configuration


def repaired(field: Field) -> list[str]:
    """Who is to be repaired: enough for a quorum. A damaged disk has no way back."""
    world = field.world
    open_configurations = field.register.open(field.nodes, field.disks)
    members = _members(field, open_configurations)
    sound = [name for name in members if not field.disks[name].damaged]
    if world.options.all_repaired or not all(field.disks[name].formed for name in world.options.names):
        return sound  # to form, a group needs all its members
    left = _enough(field, (), sound, open_configurations)
    world.marks["ends with a quorum only"] += len(left) < len(members)
    return left


def needed(field: Field, there: Sequence[str]) -> list[str]:
    """Who is to be repaired too: what was wished for before may have come since, and ask for more than these."""
    open_configurations = field.register.open(field.nodes, field.disks)
    if suffice(there, open_configurations):
        return []
    members = _members(field, open_configurations)
    others = [name for name in members if name not in there and not field.disks[name].damaged]
    return _enough(field, there, others, open_configurations)


def _members(field: Field, configurations: Sequence[Configuration]) -> list[str]:
    names = {name for each in configurations for name in each.names} or set(field.world.options.names)
    return [name for name in field.disks if name in names and not field.nodes[name].removed]


def _enough(
    field: Field, there: Sequence[str], others: Sequence[str], configurations: Sequence[Configuration]
) -> list[str]:
    """Some of the others, none of whom can be spared."""
    left = list(others)
    for name in field.world.chance.sample(others, len(others)):
        if suffice((*there, *(other for other in left if other != name)), configurations):
            left.remove(name)
    return left


def repair(field: Field, names: Sequence[str]) -> None:
    """These work again, and the network between them; the rest gets worse, or is left as it is."""
    field.network.heal_all()
    for name, node in field.nodes.items():
        if name in names:
            _repair(field, node)
        elif node.alive:
            left = field.world.chance.choice(_LEFT)
            field.world.note(name, "left", left.__name__)
            left(field, node)


def bring_back(field: Field, there: Sequence[str], more: Sequence[str]) -> None:
    """These, which were left as they were, work with the others."""
    field.network.heal_between([*there, *more])
    for name in more:
        field.world.note(name, "needed")
        _repair(field, field.nodes[name])


def _repair(field: Field, node: Node) -> None:
    disk = field.disks[node.name]
    if disk.wiped:
        if node.alive:
            node.crash()
        disk.bring_back()
    disk.repair()
    if node.paused:
        node.resume()
    field.recover(node)


def _as_it_is(field: Field, node: Node) -> None:
    pass


def _down(field: Field, node: Node) -> None:
    node.crash()


def _stopped(field: Field, node: Node) -> None:
    if not node.paused:
        node.pause()


def _isolated(field: Field, node: Node) -> None:
    field.network.cut(links.isolated(node.name, _others(field, node)))


def _mute(field: Field, node: Node) -> None:
    field.network.cut(links.mute(node.name, _others(field, node)))


def _deaf(field: Field, node: Node) -> None:
    field.network.cut(links.deaf(node.name, _others(field, node)))


def _slow(field: Field, node: Node) -> None:
    field.disks[node.name].slow = True


def _full(field: Field, node: Node) -> None:
    field.disks[node.name].full = True


def _others(field: Field, node: Node) -> list[str]:
    return [name for name in field.nodes if name != node.name]


_LEFT: Sequence[Callable[[Field, Node], None]] = (
    _as_it_is,
    _down,
    _down,
    _stopped,
    _isolated,
    _isolated,
    _mute,
    _deaf,
    _slow,
    _full,
)
