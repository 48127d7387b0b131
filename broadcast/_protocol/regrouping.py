"""How a leader changes who is in (rules 14, 15; Ongaro 2014, 4.2, 4.3).

What has been agreed so far stands in the configuration, its goal included, so that another leader goes on where this
one stopped. What is kept here is only what a new leader finds out by itself: who said hello, and who has caught up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broadcast._protocol.outbox import Outbox
from broadcast._protocol.own import OwnLog
from broadcast._protocol.progress import Progress
from broadcast._protocol.versions import Versions
from membership._protocol.change import (
    CatchUp,
    Change,
    ChangeImpossible,
    ChangeTooEarly,
    awaited,
    begun,
    concluded,
    destination,
    forced,
    is_reached,
    joint,
    unreached,
)
from membership._protocol.configurations import Configurations
from membership._protocol.election import Election
from membership._protocol.formation import HELLO_INTERVAL, differing, in_force
from membership._protocol.messages import Dismissed, Joining, Verdict
from membership._protocol.view import Configuration, Goal

GREETED_MAX = 1_000  # empty disks remembered
GREETED_FOR = 30 * HELLO_INTERVAL  # microseconds after its last hello that one counts as being there


class Regrouping:
    """One leader's part in changes of members. followers, versions: its picture of them."""

    def __init__(
        self,
        own: OwnLog,
        configurations: Configurations,
        election: Election,
        outbox: Outbox,
        followers: Mapping[str, Progress],
        versions: Versions,
    ) -> None:
        self._own = own
        self._configurations = configurations
        self._election = election
        self._outbox = outbox
        self._followers = followers
        self._versions = versions
        self._greeted: dict[str, tuple[Joining, int]] = {}  # name -> its last hello, and when that was
        self._catching_up: dict[str, CatchUp] = {}
        self._late: list[str] = []  # who has not caught up
        self._unreached: str | None = None  # why not to go on, although all have
        self._left: dict[str, tuple[int, int]] = {}  # who is no member any more; epoch and index of what says so

    @property
    def is_settled(self) -> bool:
        """Is the latest configuration committed? Before that, no other follows it (rule 14)."""
        return self._configurations.index <= self._own.commit

    @property
    def is_calm(self) -> bool:
        """Is no change under way?"""
        latest = self._configurations.latest
        return self.is_settled and latest.goal is None and not latest.is_joint

    def left(self, name: str) -> None:
        """This member is none any more, as of the latest configuration: it is told once that is committed (rule 15)."""
        self._left[name] = self._configurations.epoch, self._configurations.index

    def greet(self, joining: Joining, now: int) -> None:
        """An empty disk that is no member's said hello."""
        name = joining.member.name
        if len(self._greeted) >= GREETED_MAX:
            self._greeted = {each: word for each, word in self._greeted.items() if now - word[1] <= GREETED_FOR}
        if name in self._greeted or len(self._greeted) < GREETED_MAX:
            self._greeted[name] = joining, now

    # -- what is asked for -----------------------------------------------------------------------------------------

    def consider(self, change: Change, now: int) -> tuple[Verdict, str, Configuration | None]:
        """What becomes of it, why, and the configuration that has to be set now, if so."""
        latest = self._configurations.latest
        if self.is_settled and is_reached(change, latest):
            return Verdict.REACHED, "", None
        if is_reached(change, destination(latest)):
            following = forced(latest) if change.force and self.is_settled else None
            return Verdict.TAKEN, "" if following else self._awaited(), following
        if not self.is_settled or latest.is_joint:
            return Verdict.WAITS, "another change is under way", None
        hellos = {name: hello for name, (hello, at) in self._greeted.items() if now - at <= GREETED_FOR}
        disks = {name: hello.member.storage for name, hello in hellos.items()}
        try:
            if missing := awaited(change, latest, disks):
                return Verdict.WAITS, _not_heard(missing), None
            following = begun(change, latest, disks)
        except ChangeTooEarly as early:
            return Verdict.WAITS, str(early), None
        except ChangeImpossible as impossible:
            return Verdict.REFUSED, str(impossible), None
        if known := [name for name in sorted(disks) if self._was_member(name, disks[name], change)]:
            return Verdict.REFUSED, _known(known), None
        joining = [hellos[newcomer.name] for newcomer in change.add]
        if unfit := self._outdated(joining) or self._unfit(joining):
            return Verdict.REFUSED, unfit, None
        alive = self._reached(now) | {newcomer.name for newcomer in change.add}
        why = None if following.goal is None else unreached(following.goal, alive)
        if why is not None:
            return Verdict.REFUSED, why, None
        for newcomer in change.add:
            self._greeted.pop(newcomer.name, None)
        return Verdict.TAKEN, "", following

    def _was_member(self, name: str, storage: bytes, change: Change) -> bool:
        """Is this to be added, although it was a member with this disk? It could not tell that from its removal."""
        added = any(newcomer.name == name for newcomer in change.add)
        return added and self._configurations.was_member(storage)

    def _outdated(self, hellos: Iterable[Joining]) -> str:
        """Who of them could not apply what is in force (rule 29), and what to do; empty if all can."""
        in_force = self._configurations.version
        old = [f"{each.member.name} has version {each.version}" for each in hellos if each.version < in_force]
        return (
            f"version {in_force} of the class is in force, and {', '.join(old)}: start it with a newer one"
            if old
            else ""
        )

    def _unfit(self, hellos: Iterable[Joining]) -> str:
        """Whose class is another than the group's, in what, and what to do; empty if none is (rule 29).

        An observer is none of these: it is taken in, told how the group was formed, and stops.
        """
        takes, version = self._own.takes
        differences = {
            each.member.name: differing(takes, in_force(each.takes, version)) for each in hellos if not each.observer
        }
        told = [f"{name}: {difference}" for name, difference in differences.items() if difference]
        return f"another class than the group's: {'; '.join(told)}. Start it with the group's" if told else ""

    def _reached(self, now: int) -> frozenset[str]:
        election = self._election
        heard = (name for name in self._followers if election.heard_within(name, now, election.floor))
        return frozenset(heard) | {election.name}

    def _awaited(self) -> str:
        return f"{', '.join(self._late)} must catch up first" if self._late else self._unreached or ""

    # -- what follows from it --------------------------------------------------------------------------------------

    def go_on(self, now: int) -> Configuration | None:
        """The configuration that has to be set now, if the way to the goal goes on. The latest one is committed."""
        for name, (epoch, index) in self._left.items():
            self._outbox.send(name, Dismissed(epoch, index))
        self._left.clear()
        latest = self._configurations.latest
        if latest.is_joint:
            return concluded(latest)
        if latest.goal is None:
            self._catching_up.clear()
            self._late, self._unreached = [], None
        elif self._are_level(latest, latest.goal, now):
            self._unreached = unreached(latest.goal, self._reached(now))  # that may be another than when it was asked
            return joint(latest) if self._unreached is None else None
        return None

    def _are_level(self, latest: Configuration, goal: Goal, now: int) -> bool:
        """Have all caught up that are to vote (rule 15), and do they know the version in force (rule 29)?"""
        last, floor = self._own.log.last.index, self._election.floor
        self._late = []
        for name in goal.voters:
            if latest.storage_of(name) is None:
                catching_up = self._catching_up.setdefault(name, CatchUp(last, now))
                follower = self._followers[name]
                is_level = catching_up.look(follower.match, last, now, floor) and not follower.lost
                if not is_level or self._versions.of(name) < self._configurations.version:
                    self._late.append(name)
        return not self._late


def _known(names: list[str]) -> str:
    return f"{', '.join(names)} was a member before, with the same disk: start it with another, empty data directory"


def _not_heard(names: list[str]) -> str:
    return (
        f"{', '.join(names)} has not said hello: start it, with an empty data directory, and with the address of a "
        "member in its members="
    )
