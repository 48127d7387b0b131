"""What strikes the group itself: an operator changes its members, its quorum system, or who leads, and does not wait.

The operator is stubborn and a little careless: it asks whichever member it meets, again and again until it is told yes
or no, wants a second thing before the first has come about, and forces now and then what it should not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from broadcast._simulation.faults import links
from broadcast._simulation.faults.field import Field
from broadcast._simulation.invariants import broken
from broadcast._simulation.options import MILLISECOND, quorum_of
from membership._protocol.change import Change, Newcomer
from membership._protocol.messages import ChangeWish, HandOver, Verdict, Wish
from membership._protocol.view import Configuration

TRIES = 30
BETWEEN_TRIES = 120 * MILLISECOND  # at most
FORCED = 0.2  # chance that the operator does not care who can be reached
UNPLUGGED = 0.2  # chance that the operator asks at the leader's machine first, and has pulled out its cable
CHANGES_QUORUM = 0.3  # chance that a change of voters also gives another system
IN_VAIN = 0.2  # chance that a newcomer dies for good before it has caught up, and is called off
LOOKS = 200
BETWEEN_LOOKS = 5 * MILLISECOND  # at most


@dataclass(frozen=True, slots=True)
class _Look:
    """What the operator sees: the configuration of now, and who could be added."""

    field: Field
    now: Configuration
    spares: list[str]

    def pick(self, names: tuple[str, ...] | list[str]) -> str | None:
        return self.field.world.chance.choice(names) if names else None


def regroup(field: Field) -> None:
    """Somebody wants something."""
    now = field.register.committed
    if now is None:
        return
    spares = [name for name in field.world.options.spare_names if field.nodes[name].life == 0]
    wish = field.world.chance.choice(_WISHES)(_Look(field, now, spares))
    if wish is None:
        return
    field.world.note("", "wanted", wish)
    field.world.marks["wishes"] += 1
    if isinstance(wish, ChangeWish):
        for newcomer in wish.change.add:
            field.nodes[newcomer.name].begin(field.network, observer=newcomer.observer)
            if not newcomer.observer and field.world.chance.random() < IN_VAIN:
                _dies(field, newcomer.name, LOOKS)
    leaders = [node for node in field.members if node.alive and node.replica.leadership is not None]
    if leaders and len(now.voters) > 2 and field.world.chance.random() < UNPLUGGED:  # the others can do without it
        links.cut_off(field, leaders[0].name)
        leaders[0].want(wish, lambda verdict: None)
    _ask(field, wish, TRIES)


def _ask(field: Field, wish: Wish, tries: int) -> None:
    """At some member; and again after a while, unless it is told that this has come about, or will not."""
    world = field.world
    answers: list[Verdict] = []
    there = [node for node in field.nodes.values() if node.alive and node.replica.formation is not None]
    if there:
        world.chance.choice(there).want(wish, answers.append)
    if tries > 1:
        field.later(BETWEEN_TRIES, partial(_ask_again, field, wish, tries - 1, answers))


def _ask_again(field: Field, wish: Wish, tries: int, answers: list[Verdict]) -> None:
    marks = field.world.marks
    if Verdict.REFUSED in answers:
        marks["wishes refused"] += 1
    elif Verdict.REACHED in answers:
        marks["wishes come true"] += 1
    elif not (isinstance(wish, HandOver) and Verdict.TAKEN in answers):
        _ask(field, wish, tries)


def _dies(field: Field, name: str, looks: int) -> None:
    """As soon as it is waited for; nobody starts it again, and the operator sees that before long."""
    node, now = field.nodes[name], field.register.committed
    if node.alive and now is not None and name in _late(now):
        field.world.marks["newcomers that died on their way"] += 1
        node.crash()
        field.later(BETWEEN_TRIES, partial(_call_off, field, TRIES))
    elif looks > 1:
        field.later(BETWEEN_LOOKS, partial(_dies, field, name, looks - 1))


def _call_off(field: Field, tries: int) -> None:
    """Who leads is to take back those that it waits for: it has to, once nothing else is under way, and nothing is left
    of them, nor of what was to come with them."""
    for leader in (node for node in field.members if node.alive and not node.paused):
        before, answers = leader.replica.configuration, list[Verdict]()
        if leader.replica.leadership is None or before is None or not _late(before):
            continue
        leader.want(ChangeWish(Change(remove=_late(before))), answers.append)
        if Verdict.REFUSED in answers:
            broken("newcomers that do not come can be called off", by=leader.name, configuration=before)
        if Verdict.TAKEN in answers and leader.alive:
            field.world.marks["changes called off"] += 1
            after = leader.replica.configuration
            if after is None or (after.voters, after.quorum, after.goal) != (before.voters, before.quorum, None):
                broken("of a change that is called off nothing is left", by=leader.name, before=before, after=after)
            return
    if tries > 1:
        field.later(BETWEEN_TRIES, partial(_call_off, field, tries - 1))


def _late(configuration: Configuration) -> tuple[str, ...]:
    """Who is to vote, and has not caught up."""
    if configuration.goal is None:
        return ()
    return tuple(name for name in configuration.goal.voters if configuration.storage_of(name) is None)


def _add(look: _Look) -> Wish | None:
    name = look.pick(look.spares)
    return None if name is None else _change(look, (name,))


def _observe(look: _Look) -> Wish | None:
    name = look.pick(look.spares)
    return None if name is None else ChangeWish(Change(add=(Newcomer(name, "", observer=True),)))


def _remove(look: _Look) -> Wish | None:
    name = look.pick(look.now.names)
    return None if name is None or len(look.now.names) < 2 else _change(look, (), (name,))


def _replace(look: _Look) -> Wish | None:
    new, old = look.pick(look.spares), look.pick(look.now.voter_names)
    return None if new is None or old is None else _change(look, (new,), (old,))


def _promote(look: _Look) -> Wish | None:
    name = look.pick(look.now.observer_names)
    return None if name is None else _change(look, (), (), (name,))


def _several(look: _Look) -> Wish | None:
    """Half of the voters leave, and as many come as there are."""
    chance, voters = look.field.world.chance, look.now.voter_names
    removed = tuple(chance.sample(voters, len(voters) // 2))
    return _change(look, tuple(look.spares[:2]), removed)


def _other_quorum(look: _Look) -> Wish | None:
    voters = look.now.voter_names
    return ChangeWish(Change(quorum=quorum_of(look.field.world.chance, voters)))


def _hand_over(look: _Look) -> Wish | None:
    return HandOver(look.pick([None, *look.now.names]))  # type: ignore[list-item]


def _change(
    look: _Look, added: tuple[str, ...] = (), removed: tuple[str, ...] = (), promoted: tuple[str, ...] = ()
) -> Wish | None:
    """With another quorum system now and then, and always where the present one would not fit."""
    chance = look.field.world.chance
    voters = sorted({*look.now.voter_names, *added, *promoted}.difference(removed))
    if not voters:
        return None
    fits = not look.now.is_joint and look.now.quorum.flaw(voters) is None
    quorum = None if fits and chance.random() > CHANGES_QUORUM else quorum_of(chance, voters)
    newcomers = tuple(Newcomer(name, "") for name in added)
    return ChangeWish(Change(newcomers, removed, promoted, quorum=quorum, force=chance.random() < FORCED))


_WISHES: tuple[Callable[[_Look], Wish | None], ...] = (
    _add,
    _add,
    _observe,
    _remove,
    _remove,
    _replace,
    _promote,
    _several,
    _other_quorum,
    _hand_over,
    _hand_over,
)
