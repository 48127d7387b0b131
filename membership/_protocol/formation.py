"""Forming a group, once (rule 13).

Every member whose disk is empty says so to all others, with what it was started with, again and again. The member
with the smallest name waits until all have said the same; then it makes the record and writes it. Whoever has a record
answers a hello with it. So no message needs to arrive, and a crash at any point is made good by the next hello.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from membership._protocol.messages import FormedNotice, Forming
from membership._protocol.quorum import Joint, QuorumSystem
from membership._protocol.view import Configuration, Formation, Limits, Member, Takes

HELLO_INTERVAL = 100_000  # microseconds between two hellos
SHOWN_MAX = 20  # names in a complaint
SHOWN_LENGTH_MAX = 100  # characters of one


@dataclass(frozen=True, slots=True)
class Plan:
    """What a member was started with: the group it wants to form, and with whom."""

    group: str
    members: tuple[str, ...]
    quorum: QuorumSystem
    limits: Limits
    address: str = ""
    """Where this member is found by the others."""
    observer: bool = False
    """It takes no part in forming, and asks to be added without a vote."""
    priority: int = 0
    """How much this member should lead rather than others."""
    version: int = 1
    """Of its class."""
    takes: Takes = field(default_factory=dict[str, int])
    """The messages of its class."""
    interface: bytes = b""
    """The digest of its class's interface; empty if that is not told."""

    @property
    def hello(self) -> Forming:
        """How a member whose disk is empty introduces itself."""
        return Forming(self.members, self.quorum, self.limits, self.address, self.observer, self.version, self.takes)

    @property
    def waits(self) -> str | None:
        """Why these members form no group, and this one waits to be added to one that has formed; None if they may."""
        flaw = None if self.observer else self.quorum.flaw(self.members)
        if flaw is None:
            return None
        return (
            f"{_shown(self.members)} could not form the group {self.group!r} and decide by {self.quorum}: {flaw}; to "
            "form it, start all members with all of them in members=; if it has formed already, this node waits to be "
            "added"
        )

    def unfit(self, formation: Formation) -> str:
        """What this member's class takes, or does not, unlike the one that the group was formed with (rule 29).

        Empty if there is nothing, or nobody told; or if the class is older than that, which is another matter.
        """
        is_told = formation.group == self.group and self.version >= formation.version
        return differing(formation.takes, in_force(self.takes, formation.version)) if is_told else ""

    def overruled(self, configuration: Configuration) -> str | None:
        """Which of it is not in force, since the group has something else; None if all is, or none was meant to be.

        Not the members: once the group has formed, these are only addresses to try.
        """
        if self.observer or configuration.is_joint:
            return None
        differences = _differences(configuration.quorum, configuration.limits, self)
        told = "; ".join(f"{what}: {theirs} in the group, {ours} here" for what, theirs, ours in differences)
        if not told:
            return None
        return (
            f"the group {self.group!r} has other settings than this node was started with, and its own are in force "
            f"({told}): a restart changes nothing; start this node with the group's own, or change the group "
            "(membership.change, for the quorum)"
        )


class Founding:
    """The part of one member in forming its group: from an empty disk to a record."""

    def __init__(self, *, name: str, storage: bytes, plan: Plan, cluster: bytes, now: int) -> None:
        """`cluster`: 16 random bytes, the id of the group if it falls to this member to found it."""
        self.name = name
        self.storage = storage
        self.plan = plan
        self.deadline = now
        self._cluster = cluster
        self._answered = {name: (Member(name, storage, plan.address), plan.version)}

    def hello(self, now: int) -> Forming:
        """What to tell every other member now, and again at `deadline`."""
        self.deadline = now + HELLO_INTERVAL
        return self.plan.hello

    def heard(self, sender: str, storage: bytes, hello: Forming) -> str | None:
        """Another member's disk is empty too. Why the group cannot form, if this shows it."""
        if hello.observer or self.plan.observer:
            return None
        differences: list[tuple[str, object, object]] = [*_differences(hello.quorum, hello.limits, self.plan)]
        version = min(hello.version, self.plan.version)
        theirs, ours = in_force(hello.takes, version), in_force(self.plan.takes, version)
        if differing(theirs, ours):
            differences.append(("messages of the class", _only(theirs, ours), _only(ours, theirs)))
        if hello.members != self.plan.members:
            differences.insert(0, ("members", _shown(hello.members), _shown(self.plan.members)))
        if differences:
            self._answered.pop(sender, None)
            told = "; ".join(f"{what}: {theirs} there, {ours} here" for what, theirs, ours in differences)
            return (
                f"the group {self.plan.group!r} cannot form: {sender} was not started with the same as this node "
                f"({told}); start all members with the same"
            )
        if sender in self.plan.members:
            self._answered[sender] = Member(sender, storage, hello.address), hello.version
        return None

    def record(self) -> Formation | None:
        """The record, once it falls to this member to make it: it has the smallest name, and all agree.

        On all but the version of the class: what is in force is what all of them know, the lowest (rule 29).
        """
        plan, members = self.plan, self.plan.members
        if self.name != min(members) or any(name not in self._answered for name in members):
            return None
        if plan.observer or plan.waits is not None:
            return None
        voters = tuple(self._answered[name][0] for name in sorted(members))
        configuration = Configuration(voters, quorum=plan.quorum, limits=plan.limits)
        version = min(self._answered[name][1] for name in members)
        return Formation(plan.group, self._cluster, configuration, version, in_force(plan.takes, version))

    def misfit(self, sender: str, notice: FormedNotice) -> str | None:
        """Why this disk does not belong to the group of a record that a peer sent, or not yet; None if it does."""
        group, configuration = self.plan.group, notice.configuration
        members = configuration.names
        if notice.formation.group != group:
            return f"a peer offers the record of the group {notice.formation.group!r} to the group {group!r}"
        if isinstance(notice.formation.configuration.quorum, Joint):
            return (
                f"{sender} offers a record of the group {group!r} that cannot be: no group is formed with "
                f"{notice.formation.configuration.quorum}"
            )
        known = configuration.disk_of(self.name)
        if known is None and self.plan.observer:
            return f"waiting to be added to the group {group!r} as an observer"
        if known is None:
            return (
                f"the group {group!r} has formed with {_shown(members)}, without {self.name!r}: add it, by "
                f"membership.add({self.name!r}, {self.plan.address!r}) at a member"
            )
        if known != self.storage:
            return (
                f"the group {group!r} knows {self.name!r} by another disk than this one (it was wiped, or replaced, or "
                "lives in memory and was restarted): bring the old data back, or remove and add the member"
            )
        return None


def in_force(takes: Mapping[str, int], version: int) -> tuple[str, ...]:
    """The messages of a class that it takes in this version, in their order."""
    return tuple(sorted(message for message, since in takes.items() if since <= version))


def differing(group: tuple[str, ...], ours: tuple[str, ...]) -> str:
    """Which messages only one of two classes takes, by these; empty if there are none, or one does not tell."""
    if not group or not ours or group == ours:
        return ""
    return f"it takes {_only(ours, group)} that the group does not, and lacks {_only(group, ours)}"


def _only(these: tuple[str, ...], those: tuple[str, ...]) -> str:
    """Those of these that are not among the others."""
    return _shown(tuple(message[:SHOWN_LENGTH_MAX] for message in these if message not in set(those))) or "nothing"


def _differences(quorum: QuorumSystem | Joint, limits: Limits, plan: Plan) -> Iterator[tuple[str, object, object]]:
    """Which settings are not those of the plan, with both values: theirs, and the plan's."""
    if quorum != plan.quorum:
        yield "quorum", quorum, plan.quorum
    for limit in Limits.__struct_fields__:
        theirs, ours = getattr(limits, limit), getattr(plan.limits, limit)
        if theirs != ours:
            yield limit, theirs, ours


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:SHOWN_MAX]) + (", ..." if len(names) > SHOWN_MAX else "")
