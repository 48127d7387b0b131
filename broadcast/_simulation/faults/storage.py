"""What strikes a disk: it is slow, full, fails, is damaged, or another takes its place."""

from __future__ import annotations

from functools import partial

from broadcast._simulation.faults.field import Field
from broadcast._simulation.faults.processes import DOWN
from broadcast._simulation.node import Node
from broadcast._simulation.options import MILLISECOND

SLOW = 1000 * MILLISECOND, 2500 * MILLISECOND  # a disk is slow for at least, and at most, this
FULL = 1500 * MILLISECOND  # there is no room for at most this
STOPPED = 2000 * MILLISECOND  # a process stays down after its disk failed, until an operator starts it
REPLACED = 2500 * MILLISECOND  # another disk is in place
COPY_AGE = 1500 * MILLISECOND


def slow(field: Field) -> None:
    """Each write takes longer than an election. Who leads on such a disk steps down soon (rule 25)."""
    node = field.victim()
    disk = field.disks[node.name]
    leadership = node.replica.leadership if node.alive else None
    disk.slow = True
    field.world.marks["slow disks"] += 1

    def speed_up() -> None:
        disk.slow = False
        if leadership is not None and node.alive and node.replica.leadership is not leadership:
            field.world.marks["leaders on slow disks that stepped down"] += 1

    field.later(SLOW[1], speed_up, delay_min=SLOW[0])


def fill(field: Field) -> None:
    disk = field.disks[field.victim().name]
    disk.full = True
    field.world.marks["full disks"] += 1
    field.later(FULL, partial(setattr, disk, "full", False))


def fail_sync(field: Field) -> None:
    """The next sync fails: the process stops at once, and is down until an operator starts it."""
    node = field.victim()
    if node.alive:
        field.disks[node.name].fail_next()
        field.later(STOPPED, lambda: field.recover(node))


def damage(field: Field) -> None:
    """A bit flips, and there is no way back: the others can decide. Found when the process starts the next time.

    Not where an operator changes who is in: this one does not know that such a member is about to be lost.
    """
    if field.world.options.regroupings:
        return
    node = field.victim()
    disk = field.disks[node.name]
    others = [name for name, other in field.disks.items() if other is not disk and not other.damaged]
    if _all_in_place(field) and not disk.damaged and field.suffice(others):
        disk.damage()
        if field.world.chance.random() < 0.5:
            field.crash(node, DOWN)


def wipe(field: Field) -> None:
    """An empty disk, until the old one is found."""
    node = field.victim()
    if node.alive and _all_in_place(field):
        field.crash(node, DOWN)
        field.disks[node.name].wipe()
        field.later(REPLACED, lambda: bring_back(field, node))


def restore_copy(field: Field) -> None:
    """A copy of what a disk held a while ago, until the true one is found."""
    node = field.victim()
    field.disks[node.name].back_up()
    field.later(COPY_AGE, lambda: _take_copy(field, node))


def _take_copy(field: Field, node: Node) -> None:
    if node.alive and _all_in_place(field):
        field.crash(node, DOWN)
        field.disks[node.name].restore_copy()
        field.later(REPLACED, lambda: bring_back(field, node))


def _all_in_place(field: Field) -> bool:
    """Is every disk the one that the group formed with? Without the record it would be right to form anew.

    Only then is one replaced: a minority at most is without its data, since more is more than the group promises.
    """
    disks = [field.disks[node.name] for node in field.members]
    committed = field.register.committed
    return committed is not None and len(committed.voters) > 2 and all(disk.formed and not disk.wiped for disk in disks)


def bring_back(field: Field, node: Node) -> None:
    """An operator finds the true disk."""
    if field.disks[node.name].wiped:
        field.crash(node, DOWN)
        field.disks[node.name].bring_back()
