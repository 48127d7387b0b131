"""What strikes the network: links are cut, each way for itself, in every pattern."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from broadcast._simulation.faults.field import Field
from broadcast._simulation.options import MILLISECOND

Links = list[tuple[str, str]]

CUT = 1500 * MILLISECOND  # links stay cut for at most this


def cut(field: Field) -> None:
    """Some of the links around a member."""
    world, name = field.world, field.victim().name
    others = [other.name for other in field.members if other.name != name]
    if others:
        links = world.chance.choice(_PATTERNS)(name, others, world.chance.choice(others))
        world.note("", "cut", links)
        world.marks["links cut"] += 1
        field.network.cut(links)
        field.later(CUT, lambda: _heal(field, links))


def cut_off(field: Field, name: str) -> None:
    """What this one says from now on, nobody hears for a while."""
    links = isolated(name, [other.name for other in field.members if other.name != name])
    field.world.note("", "cut off", name)
    field.network.cut(links)
    field.later(CUT, partial(_heal, field, links), delay_min=CUT // 2)


def _heal(field: Field, links: Links) -> None:
    field.world.note("", "heal", links)
    field.network.heal(links)


def isolated(name: str, others: Sequence[str], _: str = "") -> Links:
    return mute(name, others) + deaf(name, others)


def mute(name: str, others: Sequence[str], _: str = "") -> Links:
    return [(name, other) for other in others]


def deaf(name: str, others: Sequence[str], _: str = "") -> Links:
    return [(other, name) for other in others]


def _pair(name: str, _: Sequence[str], other: str) -> Links:
    return [(name, other), (other, name)]


def _one_way(name: str, _: Sequence[str], other: str) -> Links:
    return [(name, other)]


def _halves(name: str, others: Sequence[str], _: str) -> Links:
    """This member with half of the others, against the rest."""
    middle = len(others) // 2
    side, rest = [name, *others[:middle]], others[middle:]
    return [link for one in side for other in rest for link in ((one, other), (other, one))]


_PATTERNS = (isolated, isolated, mute, deaf, _pair, _one_way, _halves)
