"""What strikes a process: it dies, alone, in the midst of something, or with all others; it stops; its clock is set."""

from __future__ import annotations

from broadcast._simulation.faults.field import Field
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND

DOWN = 800 * MILLISECOND  # a process stays down for at most this
ASLEEP = 0.5  # chance that who is stopped is so because its machine is suspended, where that matters
AMBUSH = 40  # things that a process in an ambush still does, at most


def crash(field: Field) -> None:
    field.crash(field.victim(), DOWN)


def ambush(field: Field) -> None:
    """It dies between two things that it does: a write asked for, a message, a batch applied, an answer."""
    node = field.victim()
    if node.alive:
        node.ambush(field.world.chance.randrange(AMBUSH))
        field.later(DOWN, lambda: field.recover(node))


def cut_power(field: Field) -> None:
    """All at once."""
    field.world.marks["power cuts"] += 1
    for node in field.members:
        field.crash(node, DOWN)


def pause(field: Field) -> None:
    """It is stopped, and goes on as if nothing had been, perhaps as the leader that it was."""
    node = field.victim()
    if node.alive and not node.paused:
        life, world = node.life, field.world
        node.pause(asleep=world.options.leases and world.chance.random() < ASLEEP)
        field.later(4 * field.world.options.election_timeout, lambda: _resume(field, node, life))


def _resume(field: Field, node: Node, life: int) -> None:
    if node.paused and node.life == life:
        replica = node.replica
        newest = max(other.replica.epoch for other in field.nodes.values() if other.alive)
        field.world.marks["old leaders that woke up"] += replica.leadership is not None and replica.epoch < newest
        node.resume()


def change_class(field: Field) -> None:
    """Somebody upgrades it, or goes back: it is stopped, and started with another version of the class."""
    node = field.victim()
    node.choose_class()
    field.crash(node, DOWN)


def set_clock(field: Field) -> None:
    node = field.victim()
    if node.alive:
        node.set_clock()
