"""Where a client goes: to the leader if it can be reached, else to one member after the other, as far as it knows them.

It begins with those that its user names, and learns the others from the members that it visits: with a link that lasts
longer than all of the former it must know where to go when that is lost.
"""

from __future__ import annotations

from collections.abc import Mapping

MEMBERS_MAX = 100  # that a client remembers, beside those that its user names


class Places:
    """Where members are tried: as the user says, and in turns with that, where the group says that they are."""

    def __init__(self, members: Mapping[str, str]) -> None:
        """members: name -> address, at least one; tried in this order."""
        self._named = frozenset(members)
        self._tried = dict(members)
        self._others: dict[str, str] = {}
        self._heard_of: dict[str, None] = {}  # and not named by the user; whom we heard of last comes last

    def __len__(self) -> int:
        return len(self._tried)

    def __contains__(self, name: str) -> bool:
        return name in self._tried

    def __getitem__(self, name: str) -> str:
        return self._tried[name]

    def after(self, name: str | None) -> str:
        """Whom to try after this one."""
        names = list(self._tried)
        return names[(names.index(name) + 1) % len(names) if name in self._tried else 0]

    def learn(self, name: str, address: str) -> None:
        """The group says so; of some that it was known for before it is news: they have moved.

        Those that were not spoken of for longest are forgotten.
        """
        if name not in self._named:
            self._heard_of.pop(name, None)
            self._heard_of[name] = None
        if name not in self._tried:
            self._tried[name] = address
        elif address != self._tried[name]:
            self._others[name] = address
        if len(self._heard_of) > MEMBERS_MAX:
            oldest = next(iter(self._heard_of))
            del self._heard_of[oldest], self._tried[oldest]
            self._others.pop(oldest, None)

    def missed(self, name: str) -> None:
        """It did not take us in there."""
        if name in self._others:
            self._tried[name], self._others[name] = self._others[name], self._tried[name]


class Route:
    """One visit after the other, each to the member `target`."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.target = places.after(None)
        self._unreachable: str | None = None  # whom not to go to when told that it leads: lost, or never reached

    def learn(self, members: Mapping[str, str]) -> None:
        """The member that is visited says who the members are, and where."""
        for name, address in members.items():
            self.places.learn(name, address)

    def leads_on(self, leader: str | None, address: str | None) -> bool:
        """The member that is visited says who leads, and where that is. Is it to be left for that one?

        What is asked there takes two hops less.
        """
        if leader is None:
            return False
        if address is not None:
            self.places.learn(leader, address)
        return leader not in (self.target, self._unreachable) and leader in self.places

    def visited(self, *, served: bool, leader: str | None = None) -> None:
        """The visit is over. served: the member took us in. leader: for whom it was left, if it was."""
        if not served:
            self.places.missed(self.target)
        if leader is not None:
            self.target = self._unreachable = leader  # until it has taken us in
        else:
            if served:
                self._unreachable = self.target  # lost: others may not have noticed yet that it does not lead any more
            self.target = self.places.after(self.target)
