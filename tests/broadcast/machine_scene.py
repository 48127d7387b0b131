"""A machine, the log it applies, and entries for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from actors._actor import Actor
from actors._interface import Interface
from actors._protocol.codec import decode, encode, join_array
from broadcast._machine import Machine
from broadcast._protocol.entries import VOID, Commands, Entry, EpochStart, SessionAsked, encode_entries, span
from broadcast._protocol.log import Log
from broadcast._protocol.position import Batch
from broadcast._protocol.reports import Answers, Opened
from membership._protocol.view import Configuration, Limits, Member

A = TypeVar("A", bound=Actor)

NONCE = b"n" * 16
SECOND = 1_000_000
CONFIGURATION = Configuration((Member("a", b"a" * 16), Member("b", b"b" * 16)), limits=Limits(session_term=10 * SECOND))


class Scene(Generic[A]):
    """`make` makes the instances, if not the class itself."""

    def __init__(self, actor: type[A], make: Callable[[], A] | None = None) -> None:
        self.log = Log()
        self.machine = Machine(make or actor, Interface.of(actor), CONFIGURATION, self.log.between, group="purses")

    def append(self, *entries: Entry, epoch: int = 1, time: int = 0) -> Batch:
        last = self.log.last
        count = sum(span(entry) for entry in entries)
        stamp = self.log.last_stamp + 10
        batch = Batch(epoch, last.epoch, last.index + 1, count, time, stamp, encode_entries(entries))
        self.log.append(batch)
        return batch

    def apply(self, *entries: Entry, epoch: int = 1, time: int = 0) -> list[object]:
        return list(self.machine.apply(self.append(*entries, epoch=epoch, time=time)))

    def delivered(self) -> list[tuple[int, str, tuple[object, ...]]]:
        batches = self.log.read(1, 10**9)
        found = [delivery for batch in batches for delivery in self.machine.deliveries(batch)]
        return [(delivery.position.index, delivery.tag, delivery.arguments) for delivery in found]


def calls(number: int, *each: object, session: int = 2, acknowledged: int = 0, attempt: int = 0) -> Commands:
    encoded = [VOID if call is None else encode(call) for call in each]
    return Commands(session, number, len(each), acknowledged, attempt, 0, join_array(encoded))


def begun(actor: type[A], make: Callable[[], A] | None = None) -> Scene[A]:
    """One where `a` leads, and session 2 is open."""
    scene = Scene(actor, make)
    reports = scene.apply(EpochStart("a")), scene.apply(SessionAsked(NONCE, "owner"))
    assert reports == ([], [Opened(NONCE, "owner", 2)])
    return scene


def restored(scene: Scene[Any], data: bytes | None = None, actor: type[Any] | None = None) -> Scene[Any]:
    """Another replica, which has the log only from there on. data: unless it is what is captured now."""
    pieces = [b"".join(scene.machine.capture()) if data is None else data]
    kind = actor or type(scene.machine.actor)
    other = Scene(kind)
    other.log = Log((), scene.machine.position)
    other.machine = Machine.restored(kind, Interface.of(kind), other.log.between, lambda: pieces, group="purses")
    return other


def follow(scene: Scene[Any], other: Scene[Any]) -> None:
    """Apply there what was applied here since."""
    for batch in scene.log.between(other.machine.applied, scene.log.last.index):
        other.log.append(batch)
        other.machine.apply(batch)


def outcomes(reports: Sequence[object]) -> list[object]:
    (answers,) = reports
    assert isinstance(answers, Answers)
    return [decode(outcome) for outcome in answers.outcomes]
