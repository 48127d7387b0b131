"""How the faults of a history end: all is repaired, or only as many members as a quorum takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from broadcast._simulation.faults import links
from broadcast._simulation.faults.field import Field
from broadcast._simulation.node import Node
from broadcast._simulation.register import suffice


def repaired(field: Field) -> list[str]:
    """Who is to be repaired: enough for a quorum. A damaged disk has no way back."""
    world = field.world
    open_configurations = field.register.open(field.nodes, field.disks)
    names = {name for each in open_configurations for name in each.names} or set(world.options.names)
    members = [name for name in field.disks if name in names and not field.nodes[name].removed]
    sound = [name for name in members if not field.disks[name].damaged]
    if world.options.all_repaired or not all(field.disks[name].formed for name in world.options.names):
        return sound  # to form, a group needs all its members
    left = list(sound)
    for name in world.chance.sample(sound, len(sound)):
        if suffice((other for other in left if other != name), open_configurations):
            left.remove(name)
    world.marks["ends with a quorum only"] += len(left) < len(members)
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
