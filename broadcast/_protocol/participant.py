"""A replica that takes part in its group: every input, and what follows from it (rules 0-10, 16, 20, 25).

An election's promise and the fence against an old leader are taken in the same step, so nothing can slip between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broadcast._protocol import follower, leader
from broadcast._protocol.digests import Digests, Opinion
from broadcast._protocol.entries import in_messages
from broadcast._protocol.follower import Following
from broadcast._protocol.leader import Leadership
from broadcast._protocol.messages import Digested, ReadIndex, ReadIndexReply, Submit
from broadcast._protocol.outbox import Outbox
from broadcast._protocol.output import (
    Answered,
    Applied,
    Connected,
    Diverged,
    Input,
    LeaderKnown,
    Linked,
    Loaded,
    LoadFailed,
    Now,
    PartRead,
    PartStored,
    Persisted,
    ReadReady,
    Received,
    Reconfigured,
    Removed,
    SnapshotTaken,
    Submitted,
    Suspected,
    Tick,
    Wanted,
)
from broadcast._protocol.own import OwnLog
from broadcast._protocol.position import Position
from broadcast._protocol.reads import Reads
from broadcast._protocol.snapshots import Divergence, Snapshot
from membership._protocol.configurations import Agreed
from membership._protocol.election import Election
from membership._protocol.messages import (
    CampaignNow,
    Dismissed,
    FormedNotice,
    Forming,
    Joining,
    MemberAsked,
    Verdict,
    VoteReply,
    VoteRequest,
    WishAnswer,
    Wished,
)
from membership._protocol.view import Configuration, Formation, Member


class Participant:
    """Follower, candidate or leader, as the election has it."""

    def __init__(
        self,
        formation: Formation,
        own: OwnLog,
        election: Election,
        outbox: Outbox,
        reads: Reads,
        now: Now,
        ahead: FormedNotice | None = None,
        version: int = 1,
    ) -> None:
        """ahead: by what this member was taken in, in this life, where its log has not come to that yet.

        version: of our class.
        """
        self.formation = formation
        self.election = election
        self.leadership: Leadership | None = None
        self._own = own
        self._outbox = outbox
        self._reads = reads
        self._version = version
        self._following = Following(own, election, outbox, reads, version)
        self._configurations = own.form(formation)
        self._told: tuple[int, str | None] | None = None  # epoch and leader, as told last
        self._digests = Digests(election.name)
        self._removed = False
        self._joined = self._ahead = ahead
        self._linked: tuple[object, ...] = (None,)  # what whom to keep a link to was told from last
        self._now = now
        self._reconfigure(now.monotonic)
        self._tell_links()

    @property
    def configuration(self) -> Configuration:
        """The one in force: the latest in the log, committed or not."""
        return self._configurations.latest

    @property
    def committed(self) -> Agreed:
        """What is agreed of members, as far as that is known to be committed."""
        return self._configurations.at(self._own.commit)

    @property
    def _votes(self) -> bool:
        """Has this member a vote, as far as it may have to be cast?

        Also if only by a configuration that another follows which is not known to be committed: perhaps nobody else
        holds that one, and without us nobody could lead who may commit it (4.2.2, figure 4.6).
        """
        return self._configurations.votes_since(self._own.commit, self.election.name, self.election.storage)

    @property
    def deadline(self) -> int:
        """When a `Tick` is due."""
        due = self.election.deadline
        if self.leadership is not None:
            due = min(due, self.leadership.deadline)
        lost_at = self._reads.overdue_at(self.election.floor)
        return due if lost_at is None else min(due, lost_at)

    def reachable(self, now: int) -> list[str] | None:
        """As leader: the members heard within the shortest election timeout, itself included. None for others."""
        if self.leadership is None:
            return None
        election = self.election
        heard = [name for name in self.leadership.followers if election.heard_within(name, now, election.floor)]
        return sorted([election.name, *heard])

    @property
    def snapshots_in_use(self) -> tuple[Snapshot, ...]:
        """The newest of ours, and those that are on their way to followers."""
        own = self._own.snapshot
        followers = self.leadership.followers.values() if self.leadership else ()
        others = [each.outgoing.snapshot for each in followers if each.outgoing is not None]
        return (*(() if own is None else (own,)), *others)

    @property
    def divided(self) -> int | None:
        """The index at which voters have different states, while no majority of them is known to have the same."""
        return self._digests.divided.index if self._digests.divided else None

    # -- the step --------------------------------------------------------------------------------------------------

    def begin(self, now: Now) -> None:
        """The record was made in this life: tell it to all. Nobody can have led yet."""
        election = self.election
        election.hurry(now.monotonic)
        others = [name for name in election.configuration.voter_names if name != election.name]
        self._outbox.broadcast(FormedNotice(self.formation, self.formation.configuration), others)
        self._advance(now)

    def step(self, given: Input, now: Now) -> None:
        """Raises `RemoteProtocolError` for a message that no correct peer sends."""
        self._now = now
        handle = _ON_INPUT.get(type(given))
        if handle is not None:
            handle(self, given)
        if isinstance(given, Applied) and not self._is_called(given):  # only reads wait for that
            self._read(now)
        else:
            self._advance(now)

    def _is_called(self, given: Applied) -> bool:
        """Has what was applied left something that is due at once?"""
        return self.leadership is not None and self.leadership.applied(given, self._now)

    def _advance(self, now: Now) -> None:
        """What follows from the new state, whatever changed it."""
        if self._configurations.latest is not self.election.configuration:
            self._reconfigure(now.monotonic)
        self._change_office(now)
        leadership = self.leadership
        if leadership is not None:
            leadership.count()
            leadership.go_on(now)
            if self._digests.divided is None:
                leadership.sequence(now)
            if self._configurations.latest is not self.election.configuration:
                self._reconfigure(now.monotonic)
        self._write(now.monotonic)
        self._vote()
        if leadership is not None:
            leadership.replicate(now.monotonic)
        self._following.acknowledge()
        if leadership is not None and leadership.is_over:
            self.election.resign(now.monotonic)
            self._change_office(now)
        self._read(now)
        self._tell_leader()
        self._tell_links()
        self._look_for_removal()
        self._own.check(self.election.epoch)

    def _reconfigure(self, now: int) -> None:
        """Another configuration is in force, by an entry that was appended or taken back (rule 14; 4.1)."""
        self.election.configure(self._configurations.latest, now)
        if self.leadership is not None:
            self.leadership.configured(now)
        self._outbox.settle(Reconfigured(self._configurations.latest))
        if (divided := self._digests.divided) is not None:  # who differs may have left
            opinion = self._digests.opinion(divided, self.configuration.voter_names)
            self._look_for_divergence(opinion, divided)

    def _tell_links(self) -> None:
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

    def _change_office(self, now: Now) -> None:
        election = self.election
        if self.leadership is not None and (not election.leads or self.leadership.epoch != election.epoch):
            self.leadership = None
            self._reads.lose()
        if self.leadership is None and election.leads:
            own, configurations = self._own, self._configurations
            self.leadership = Leadership(own, configurations, election, self._outbox, now, self._version)
            self._reads.lose()  # who led before will not answer

    def _write(self, now: int) -> None:
        promise, commit = self.election.promise, self._own.commit
        self._outbox.persist(self._own.writes.flush(promise, commit, now))

    def _vote(self) -> None:
        for ballot in self.election.sends:
            if ballot.binding:
                self._outbox.bind(ballot.to, ballot.message, self.election.promise)
            else:
                self._outbox.send(ballot.to, ballot.message)
        self.election.sends.clear()

    def _read(self, now: Now) -> None:
        """Linearizable reads: ask the leader, or as leader prove that we still are (rule 20)."""
        reads, election, leadership = self._reads, self.election, self.leadership
        if reads.wants_request and election.leader is not None:
            number = self._own.clock.tick()
            reads.request(number, now.monotonic)
            if leadership is not None:
                leadership.rounds.ask(election.name, number)
            else:
                self._outbox.send(election.leader, ReadIndex(election.epoch, number))
        if leadership is not None:
            leadership.confirm_reads(reads, now)
        for token in reads.take_ready(self._own.applied):
            self._outbox.settle(ReadReady(token))

    def _tell_leader(self) -> None:
        known = self.election.epoch, self.election.leader
        if known != self._told:
            self._told = known
            self._outbox.settle(LeaderKnown(*known))

    def _look_for_removal(self) -> None:
        """Is this a member no more, and is that committed (rule 15)? One that leads sees to its succession first."""
        agreed, election = self.committed, self.election
        if agreed.configuration.disk_of(election.name) != election.storage and not election.leads:
            self._dismissed_at(agreed.set_in, agreed.set_at)
            if election.storage in agreed.former:
                self._remove()

    def _dismissed_at(self, epoch: int, index: int) -> bool:
        """We are no member as of that place. True for good if we had joined before: nobody joins twice with a disk.

        By position, as the log goes: what made us one may stand further on, under an older epoch, and be lost. Who has
        not come to that in its log was told of it as committed: then the index alone says what is later. Returns
        whether we know that we ever were one.
        """
        joined = self._configurations.joined_at(self.election.name, self.election.storage)
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

    # -- inputs ----------------------------------------------------------------------------------------------------

    def _on_tick(self, given: Tick) -> None:
        election, reads, now = self.election, self._reads, self._now.monotonic
        votes = self._votes
        if now >= election.deadline and not election.leads and not votes:
            self._ask_for_leader()
        election.tick(now, self._own.standing, able=votes and self._own.writes.answers(now, election.floor))
        lost_at = reads.overdue_at(election.floor)
        if lost_at is not None and now >= lost_at:
            reads.lose()
        if self.leadership is not None and election.leads:
            for name in self.leadership.tick(self._now):
                self._introduce(name)

    def _on_submitted(self, given: Submitted) -> None:
        """Sequence it, or pass it on. Without a leader it is dropped: submitters send again when one is known."""
        if self.leadership is not None:
            self.leadership.pending.add(given.entries)
        elif self.election.leader is not None:
            for part in in_messages(given.entries):
                self._outbox.send(self.election.leader, Submit(part))

    def _on_persisted(self, given: Persisted) -> None:
        self._own.persisted(given.number)
        self.election.promised(self._own.writes.promise, self._now.monotonic)
        self._outbox.release(self.election.epoch)
        self._following.wrote()

    def _on_applied(self, given: Applied) -> None:
        self._own.apply_up_to(given.index)

    def _on_snapshot_taken(self, given: SnapshotTaken) -> None:
        self._own.apply_up_to(given.snapshot.index)  # word of that may be on its way still
        last, leadership = self._own.log.last.index, self.leadership
        self._own.compact(given.snapshot, last if leadership is None else leadership.needed(self._now.monotonic))
        self._took(given.snapshot)

    def _took(self, snapshot: Snapshot) -> None:
        """Of our own state, or of another's that has become ours: the others should know what that comes to."""
        others = [each for each in self.configuration.names if each != self.election.name]
        self._outbox.broadcast(Digested(snapshot.position, snapshot.layout, snapshot.digest), others)
        voters = self.configuration.voter_names
        self._look_for_divergence(self._digests.took(snapshot, voters), snapshot.position)

    def _look_for_divergence(self, opinion: Opinion, position: Position) -> None:
        if opinion is Opinion.DIVERGED:
            agreed = self._digests.agreed
            divergence = Divergence(position.index, agreed.index if agreed else 0)
            self._own.writes.diverge(divergence)
            self._outbox.settle(Diverged(divergence))
        elif opinion is Opinion.DIVIDED:
            self._outbox.notice(
                f"the members' states differ at index {position.index}, and no majority of them is equal so far: "
                "nothing is sequenced until one is. A command of the class is not deterministic; broadcast.testing "
                "finds which"
            )

    def _on_part_read(self, given: PartRead) -> None:
        if self.leadership is not None:
            self.leadership.part_read(given)

    def _on_part_stored(self, given: PartStored) -> None:
        self._following.incoming.on_part_stored(given)

    def _on_loaded(self, given: Loaded) -> None:
        installed = self._following.incoming.on_loaded(given)
        if installed is not None:
            self._took(installed)

    def _on_load_failed(self, given: LoadFailed) -> None:
        self._following.incoming.on_load_failed(given, self._now.monotonic)

    def _on_connected(self, given: Connected) -> None:
        """A new link: what was under way on the old one may be lost."""
        newest = self._digests.newest
        if newest is not None:
            self._outbox.send(given.name, Digested(newest.position, newest.layout, newest.digest))
        if self.leadership is not None:
            self._introduce(given.name)
            self.leadership.connected(given.name, self._now)
        elif given.name == self.election.leader:
            self._reads.lose()
            self._told = None  # so that submitters send again

    def _introduce(self, name: str) -> None:
        """A member that was added may have heard of nothing yet, and its hellos may go to who has left."""
        agreed = self.committed
        index, committed = agreed.set_at, agreed.configuration
        if committed.includes(name):
            self._outbox.send(name, FormedNotice(self.formation, committed, index))

    def _ask_for_leader(self) -> None:
        """Who has no vote cannot look for a leader by itself: does anybody still know us?"""
        election = self.election
        others = [member.name for member in election.configuration.members if member.name != election.name]
        self._outbox.broadcast(MemberAsked(), others)

    def _on_wanted(self, given: Wanted) -> None:
        leader = self.election.leader
        if self.leadership is not None:
            verdict, why = self.leadership.consider(given.wish, self._now)
            self._outbox.settle(Answered(given.number, verdict, why))
        elif leader is not None:
            self._outbox.send(leader, Wished(given.number, given.wish))
        else:
            self._outbox.settle(Answered(given.number, Verdict.WAITS, "no leader is known"))

    def _on_suspected(self, given: Suspected) -> None:
        self.election.suspect(given.name, self._now.monotonic)

    # -- messages --------------------------------------------------------------------------------------------------

    def _on_received(self, given: Received) -> None:
        """Anyone may ask how the group began; all else is for who is of the same cluster (rule 16).

        Not for members alone: who has not heard of the newest configuration yet may be led by one that it does not
        know, and has to vote for one (4.1). Whoever counts looks at its own configuration.
        """
        if isinstance(given.message, Forming | FormedNotice):
            _ON_MESSAGE[type(given.message)](self, given, given.message)
        elif given.cluster == self.formation.cluster:
            if self.configuration.disk_of(given.sender) != given.storage:
                self._on_stranger(given)
            _ON_MESSAGE[type(given.message)](self, given, given.message)
        elif given.cluster:
            self._outbox.notice(
                f"{given.sender} takes part in another cluster's group {self.formation.group!r} (cluster "
                f"{given.cluster.hex()[:8]}, ours is {self.formation.cluster.hex()[:8]}): its messages are ignored; "
                "check the addresses of the members, and whose data directory it was started with"
            )

    def _on_stranger(self, received: Received) -> None:
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

    def _on_forming(self, received: Received, message: Forming) -> None:
        """An empty disk. If it is a member's it gets the record, committed; else the leader should know of it."""
        agreed, sender = self.committed, received.sender
        index, committed = agreed.set_at, agreed.configuration
        if not self.configuration.includes(sender):
            joining = Joining(Member(sender, received.storage, message.address), message.observer, message.version)
            if self.leadership is not None:
                self.leadership.greet(joining, self._now)
            elif self.election.leader is not None:
                self._outbox.send(self.election.leader, joining)
        waits = self.configuration.includes(sender) and not committed.includes(sender)
        if committed.includes(self.election.name) and not waits:
            self._outbox.send(sender, FormedNotice(self.formation, committed, index))

    def _on_formed(self, received: Received, message: FormedNotice) -> None:
        """We know how it began. Who is in now may be news, and where to find them, to one that is far behind."""
        ours = self.configuration
        trusted = ours.disk_of(received.sender) == received.storage or not ours.includes(self.election.name)
        known = self._own.commit if self._ahead is None else max(self._own.commit, self._ahead.index)
        ours_too = received.cluster == self.formation.cluster and message.formation == self.formation
        if trusted and ours_too and message.index > known:
            self._ahead = message

    def _on_joining(self, received: Received, message: Joining) -> None:
        if self.leadership is not None and not self.configuration.includes(message.member.name):
            self.leadership.greet(message, self._now)

    def _on_member_asked(self, received: Received, message: MemberAsked) -> None:
        """That we heard of it was answered already, if it is no member."""

    def _on_dismissed(self, received: Received, message: Dismissed) -> None:
        """Told by a member that we know. What others say, or what may be said too early, is for an operator to see."""
        known = self._knows(received.sender, received.storage)
        if self.election.leads or (known and self._dismissed_at(message.epoch, message.index)):
            return
        self._outbox.notice(f"{received.sender} says that this node is no member of the group: is that so?")

    def _knows(self, name: str, storage: bytes) -> bool:
        """Is this a member by our log, or by what this life was taken in with?"""
        joined = self._joined.configuration if self._joined is not None else self.configuration
        return storage in (self.configuration.disk_of(name), joined.disk_of(name))

    def _on_wished(self, received: Received, message: Wished) -> None:
        if self.leadership is not None and self.configuration.includes(received.sender):
            verdict, why = self.leadership.consider(message.wish, self._now)
            self._outbox.send(received.sender, WishAnswer(message.number, verdict, why))

    def _on_wish_answer(self, received: Received, message: WishAnswer) -> None:
        self._outbox.settle(Answered(message.number, message.verdict, message.why))

    def _on_campaign_now(self, received: Received, message: CampaignNow) -> None:
        """The leader hands over, unless it has spoken since: then it says so again, or it has thought better of it."""
        if (message.epoch, received.stamp) < self._following.heard:
            return
        now, election = self._now.monotonic, self.election
        able = self._votes and self._own.writes.answers(now, election.floor)
        election.campaign_now(received.sender, message.epoch, self._own.standing, now, able=able)

    def _on_ballot(self, received: Received, message: VoteRequest | VoteReply) -> None:
        now = self._now.monotonic
        self.election.receive(received.sender, received.storage, message, self._own.standing, now)

    def _on_word(self, received: Received, message: Any) -> None:
        """A leader speaks."""
        follower.WORDS[type(message)](self._following, received, message, self._now.monotonic)

    def _on_answer(self, received: Received, message: Any) -> None:
        """A follower answers. It counts only in this epoch, and from the disk that the group knows (rule 16)."""
        election, now = self.election, self._now.monotonic
        if self.configuration.disk_of(received.sender) != received.storage:
            return
        if message.epoch > election.epoch:
            election.adopt(message.epoch, now)
        if self.leadership is None or not election.leads or message.epoch != election.epoch:
            return
        if received.storage in election.distrusted:
            return
        election.heard(received.sender, now)
        leader.ANSWERS[type(message)](self.leadership, received, message, now)

    def _on_request(self, received: Received, message: Any) -> None:
        """A member wants something of the leader; if that is not us, it will ask again."""
        if self.leadership is not None and self.configuration.includes(received.sender):
            leader.REQUESTS[type(message)](self.leadership, received, message)

    def _on_digested(self, received: Received, message: Digested) -> None:
        if self.configuration.disk_of(received.sender) == received.storage:
            voters = self.configuration.voter_names
            said = message.position, message.layout, message.digest
            opinion = self._digests.heard(received.sender, *said, voters)
            self._look_for_divergence(opinion, message.position)

    def _on_read_index_reply(self, received: Received, message: ReadIndexReply) -> None:
        """The number, never used twice, says which request it answers: sender and epoch need no look."""
        self._reads.answered(message.number, message.index)


# The tables that dispatch. Their values are methods of the class above; a table has no way to say that each takes
# exactly the type of its key, hence Any. An input without a row has nothing to change but what `_advance` looks at.
_ON_INPUT: dict[type, Callable[[Participant, Any], None]] = {
    Tick: Participant._on_tick,  # pyright: ignore[reportPrivateUsage]
    Received: Participant._on_received,  # pyright: ignore[reportPrivateUsage]
    Submitted: Participant._on_submitted,  # pyright: ignore[reportPrivateUsage]
    Persisted: Participant._on_persisted,  # pyright: ignore[reportPrivateUsage]
    Applied: Participant._on_applied,  # pyright: ignore[reportPrivateUsage]
    Connected: Participant._on_connected,  # pyright: ignore[reportPrivateUsage]
    Suspected: Participant._on_suspected,  # pyright: ignore[reportPrivateUsage]
    SnapshotTaken: Participant._on_snapshot_taken,  # pyright: ignore[reportPrivateUsage]
    PartRead: Participant._on_part_read,  # pyright: ignore[reportPrivateUsage]
    PartStored: Participant._on_part_stored,  # pyright: ignore[reportPrivateUsage]
    Loaded: Participant._on_loaded,  # pyright: ignore[reportPrivateUsage]
    LoadFailed: Participant._on_load_failed,  # pyright: ignore[reportPrivateUsage]
    Wanted: Participant._on_wanted,  # pyright: ignore[reportPrivateUsage]
}

_ON_MESSAGE: dict[type, Callable[[Participant, Received, Any], None]] = {
    Forming: Participant._on_forming,  # pyright: ignore[reportPrivateUsage]
    FormedNotice: Participant._on_formed,  # pyright: ignore[reportPrivateUsage]
    Joining: Participant._on_joining,  # pyright: ignore[reportPrivateUsage]
    MemberAsked: Participant._on_member_asked,  # pyright: ignore[reportPrivateUsage]
    Dismissed: Participant._on_dismissed,  # pyright: ignore[reportPrivateUsage]
    Wished: Participant._on_wished,  # pyright: ignore[reportPrivateUsage]
    WishAnswer: Participant._on_wish_answer,  # pyright: ignore[reportPrivateUsage]
    CampaignNow: Participant._on_campaign_now,  # pyright: ignore[reportPrivateUsage]
    VoteRequest: Participant._on_ballot,  # pyright: ignore[reportPrivateUsage]
    VoteReply: Participant._on_ballot,  # pyright: ignore[reportPrivateUsage]
    Digested: Participant._on_digested,  # pyright: ignore[reportPrivateUsage]
    ReadIndexReply: Participant._on_read_index_reply,  # pyright: ignore[reportPrivateUsage]
    **dict.fromkeys(follower.WORDS, Participant._on_word),  # pyright: ignore[reportPrivateUsage]
    **dict.fromkeys(leader.ANSWERS, Participant._on_answer),  # pyright: ignore[reportPrivateUsage]
    **dict.fromkeys(leader.REQUESTS, Participant._on_request),  # pyright: ignore[reportPrivateUsage]
}
