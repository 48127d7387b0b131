"""Who belongs to the group: whether this member does, where the others are, and what strangers are told (rules 15, 16).

What is agreed of members is in the log. A member that was added may be ahead of its log: what it was taken in with is
all that it knows until it has come to that.
"""

from __future__ import annotations

from broadcast._protocol import follower
from broadcast._protocol.outbox import Outbox
from broadcast._protocol.output import Linked, Received, Removed
from broadcast._protocol.own import OwnLog
from membership._protocol.configurations import Agreed, Configurations
from membership._protocol.election import Election
from membership._protocol.messages import Dismissed, FormedNotice, Forming, Joining, MemberAsked, VoteRequest
from membership._protocol.view import Configuration, Formation, Member


class Belonging:
    """One member's picture of who is in."""

    def __init__(
        self,
        formation: Formation,
        own: OwnLog,
        configurations: Configurations,
        election: Election,
        outbox: Outbox,
        ahead: FormedNotice | None,
        address: str,
    ) -> None:
        """ahead: by what this member was taken in, in this life, where its log has not come to that yet.

        address: where this member is found.
        """
        self.formation = formation
        self._own = own
        self._configurations = configurations
        self._election = election
        self._outbox = outbox
        self._joined = self._ahead = ahead
        self._address = address
        self._removed = False
        self._linked: tuple[object, ...] = (None,)  # what whom to keep a link to was told from last

    @property
    def configuration(self) -> Configuration:
        """The one in force: the latest in the log, committed or not."""
        return self._configurations.latest

    @property
    def committed(self) -> Agreed:
        """What is agreed of members, as far as that is known to be committed."""
        return self._configurations.at(self._own.commit)

    @property
    def others(self) -> list[str]:
        """All members but this one."""
        return [name for name in self.configuration.names if name != self._election.name]

    def counts(self, received: Received) -> bool:
        """Does this come from a member, and from the disk that the group knows (rule 16)?"""
        return self.configuration.disk_of(received.sender) == received.storage

    # -- where the others are --------------------------------------------------------------------------------------

    def tell_links(self) -> None:
        """Who is in is news, or is committed now: then it takes no part any more who was in only before."""
        commit = self._own.commit
        if self._ahead is not None and self._ahead.index <= commit:
            self._ahead = None
        known = self.committed.configuration, self.configuration, self._ahead
        if all(one is other for one, other in zip(known, self._linked, strict=False)):
            return
        self._linked = known
        configurations = self._configurations.since(commit)
        if self._ahead is not None:
            configurations.append(self._ahead.configuration)
        members = [member for configuration in configurations for member in configuration.members]
        self._outbox.settle(Linked(tuple(dict.fromkeys(members))))

    def introduce(self, name: str) -> None:
        """A member that was added may have heard of nothing yet, and its hellos may go to who has left."""
        agreed = self.committed
        if agreed.configuration.includes(name):
            self._notify(name, agreed)

    def _notify(self, name: str, agreed: Agreed) -> None:
        self._outbox.send(name, FormedNotice(self.formation, agreed.configuration, agreed.set_at))

    # -- is this one in --------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Who has no vote cannot look for a leader by itself: does anybody still know us?"""
        self._outbox.broadcast(MemberAsked(self._address), self.others)

    def look_for_removal(self) -> None:
        """Is this a member no more, and is that committed (rule 15)? One that leads sees to its succession first."""
        agreed, election = self.committed, self._election
        if agreed.configuration.disk_of(election.name) != election.storage and not election.leads:
            self._dismissed_at(agreed.set_in, agreed.set_at)
            if election.storage in agreed.former:
                self._remove()

    def on_dismissed(self, received: Received, message: Dismissed) -> None:
        """Told by a member that we know. What others say, or what may be said too early, is for an operator to see."""
        known = self._knows(received.sender, received.storage)
        if self._election.leads or (known and self._dismissed_at(message.epoch, message.index)):
            return
        self._outbox.notice(f"{received.sender} says that this node is no member of the group: is that so?")

    def _knows(self, name: str, storage: bytes) -> bool:
        """Is this a member by our log, or by what this life was taken in with?"""
        joined = self._joined.configuration if self._joined is not None else self.configuration
        return storage in (self.configuration.disk_of(name), joined.disk_of(name))

    def _dismissed_at(self, epoch: int, index: int) -> bool:
        """We are no member as of that place. True for good if we had joined before: nobody joins twice with a disk.

        By position, as the log goes: what made us one may stand further on, under an older epoch, and be lost. Who has
        not come to that in its log was told of it as committed: then the index alone says what is later. Returns
        whether we know that we ever were one.
        """
        joined = self._configurations.joined_at(self._election.name, self._election.storage)
        if joined is not None:
            is_later = joined < (epoch, index)
        elif self._joined is not None:
            is_later = self._joined.index < index
        else:
            return False
        if is_later:
            self._remove()
        return True

    def _remove(self) -> None:
        if not self._removed:
            self._removed = True
            self._outbox.settle(Removed())

    # -- others ----------------------------------------------------------------------------------------------------

    def meet_foreigner(self, received: Received) -> None:
        """One of another cluster: it is not heard."""
        self._outbox.notice(
            f"{received.sender} takes part in another cluster's group {self.formation.group!r} (cluster "
            f"{received.cluster.hex()[:8]}, ours is {self.formation.cluster.hex()[:8]}): its messages are ignored; "
            "check the addresses of the members, and whose data directory it was started with"
        )

    def meet_stranger(self, received: Received) -> None:
        """Somebody who is no member as far as we know, or not with this disk. It may know better: we say what we do."""
        agreed, sender = self.committed, received.sender
        committed = agreed.configuration
        if committed.disk_of(sender) == received.storage:
            return
        if type(received.message) is not Dismissed:  # two that do not know each other would never end
            self._outbox.send(sender, Dismissed(agreed.set_in, agreed.set_at))
        if type(received.message) in (*follower.WORDS, VoteRequest):
            return  # we may be behind, and it one that was added
        self._outbox.notice(
            f"{sender} speaks from another disk than the group knows: it is not counted; bring its old data back, or "
            "remove and add the member"
            if committed.includes(sender)
            else f"{sender} is no member of the group {self.formation.group!r}, as far as this node knows: it is not "
            "counted; stop it, or have it added with an empty data directory"
        )

    def on_forming(self, received: Received, message: Forming) -> Joining | None:
        """An empty disk. If it is a member's it gets the record, committed; else the leader should know of it: what?"""
        agreed, sender = self.committed, received.sender
        is_in, is_committed = self.configuration.includes(sender), agreed.configuration.includes(sender)
        if agreed.configuration.includes(self._election.name) and (is_committed or not is_in):
            self._notify(sender, agreed)
        if is_in:
            self.look_where(sender, received.storage, message.address)
            return None
        member = Member(sender, received.storage, message.address)
        return Joining(member, message.observer, message.version, message.takes)

    def look_where(self, name: str, storage: bytes, address: str) -> None:
        """A member that has nothing yet, and speaks from elsewhere than the group says, hears no answer."""
        member = self.configuration.member(name)
        if member is not None and member.storage == storage and address not in ("", member.address):
            self._outbox.notice(
                f"{name} is found at {address} now, and at {member.address} as far as the group knows, so that it "
                f"hears nothing: move it there, membership.move({name!r}, {address!r})"
            )

    def on_formed(self, received: Received, message: FormedNotice) -> None:
        """We know how it began. Who is in now may be news, and where to find them, to one that is far behind."""
        trusted = self.counts(received) or not self.configuration.includes(self._election.name)
        known = self._own.commit if self._ahead is None else max(self._own.commit, self._ahead.index)
        ours_too = received.cluster == self.formation.cluster and message.formation == self.formation
        if trusted and ours_too and message.index > known:
            self._ahead = message
