"""A replica that takes part in its group: every input, and what follows from it (rules 0-10, 16, 20, 25).

An election's promise and the fence against an old leader are taken in the same step, so nothing can slip between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broadcast._protocol import follower, leader
from broadcast._protocol.belonging import Belonging
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
    Loaded,
    LoadFailed,
    Now,
    PartRead,
    PartStored,
    Persisted,
    ReadReady,
    Received,
    Reconfigured,
    SnapshotTaken,
    Submitted,
    Suspected,
    Tick,
    Uncapturable,
    Wanted,
)
from broadcast._protocol.own import OwnLog
from broadcast._protocol.position import Position
from broadcast._protocol.reads import Reads
from broadcast._protocol.snapshots import NOTHING, Compared, Divergence, Snapshot
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
from membership._protocol.view import Configuration, Formation

UNCOMPACTED_MAX = 8  # markers, one after the other, at which no snapshot could be taken, before nothing is sequenced


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
        compared: Compared = NOTHING,
        ahead: FormedNotice | None = None,
        version: int = 1,
        interface: bytes = b"",
        address: str = "",
    ) -> None:
        """compared: what was kept in mind of what replicas compare.

        ahead: by what this member was taken in, in this life, where its log has not come to that yet.

        version, interface: of our class. address: where this replica is found.
        """
        self.formation = formation
        self.election = election
        self.leadership: Leadership | None = None
        self._own = own
        self._outbox = outbox
        self._reads = reads
        self._version = version
        self._interface = interface
        self._following = Following(own, election, outbox, reads, version, interface)
        self._configurations = own.form(formation)
        self._told: tuple[int, str | None] | None = None  # epoch and leader, as told last
        self._belonging = Belonging(formation, own, self._configurations, election, outbox, ahead, address)
        self._digests = Digests(election.name, compared)
        self._compared = compared
        self._uncaptured = 0  # markers since the last at which a snapshot could be taken
        self._why_uncaptured = ""
        self._met: set[str] = set()  # members heard since this life, or the newest link to them, began
        self._now = now
        self._reconfigure(now.monotonic)
        self._belonging.tell_links()
        for name in self._belonging.others:
            self._compare_with(name)

    @property
    def configuration(self) -> Configuration:
        """The one in force: the latest in the log, committed or not."""
        return self._belonging.configuration

    @property
    def version(self) -> int:
        """Of the class, in force at the end of our log, committed or not."""
        return self._configurations.version

    @property
    def committed(self) -> Agreed:
        """What is agreed of members, as far as that is known to be committed."""
        return self._belonging.committed

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

    @property
    def uncapturable(self) -> str | None:
        """Why no snapshot can be taken at present, and what follows from that."""
        if not self._uncaptured:
            return None
        left = UNCOMPACTED_MAX - self._uncaptured
        then = f"at {left} more of the places where one is due" if left > 0 else "by now"
        return (
            f"no snapshot can be taken, and the log grows, so that {then} nothing is sequenced: {self._why_uncaptured}"
        )

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
            if self._digests.divided is None and self._uncaptured < UNCOMPACTED_MAX:
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
        self._belonging.tell_links()
        self._belonging.look_for_removal()
        self._own.check(self.election.epoch)

    def _reconfigure(self, now: int) -> None:
        """Another configuration is in force, by an entry that was appended or taken back (rule 14; 4.1)."""
        before, latest = self.election.configuration, self._configurations.latest
        self.election.configure(latest, now)
        if self.leadership is not None:
            self.leadership.configured(now)
        self._outbox.settle(Reconfigured(latest))
        gone = {member.name for member in before.members if latest.disk_of(member.name) != member.storage}
        self._met -= gone
        self._digests.left(gone)
        if (divided := self._digests.divided) is not None:  # who differs may have left
            opinion = self._digests.opinion(divided, self.configuration.voter_names)
            self._look_for_divergence(opinion, divided)

    def _change_office(self, now: Now) -> None:
        election = self.election
        if self.leadership is not None and (not election.leads or self.leadership.epoch != election.epoch):
            self.leadership = None
            self._reads.lose()
        if self.leadership is None and election.leads:
            own, configurations = self._own, self._configurations
            known = self._version, self._interface
            self.leadership = Leadership(own, configurations, election, self._outbox, now, *known)
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

    # -- inputs ----------------------------------------------------------------------------------------------------

    def _on_tick(self, given: Tick) -> None:
        election, reads, now = self.election, self._reads, self._now.monotonic
        votes = self._votes
        if now >= election.deadline and not election.leads and not votes:
            self._belonging.ask()
        election.tick(now, self._own.standing, able=votes and self._own.writes.answers(now, election.floor))
        lost_at = reads.overdue_at(election.floor)
        if lost_at is not None and now >= lost_at:
            reads.lose()
        if self.leadership is not None and election.leads:
            for name in self.leadership.tick(self._now):
                self._belonging.introduce(name)

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
        self._own.compact(given.snapshot, last if leadership is None else leadership.supply.needed(self._now.monotonic))
        self._took(given.snapshot)

    def _on_uncapturable(self, given: Uncapturable) -> None:
        self._uncaptured += 1
        self._why_uncaptured = given.why

    def _took(self, snapshot: Snapshot) -> None:
        """Of our own state, or of another's that has become ours: the others should know what that comes to."""
        self._uncaptured = 0
        told = Digested(snapshot.position, snapshot.layout, snapshot.digest)
        self._outbox.broadcast(told, self._belonging.others)
        voters = self.configuration.voter_names
        self._look_for_divergence(self._digests.took(snapshot, voters), snapshot.position)

    def _compare_with(self, name: str) -> None:
        """Tell it what ours came to: the rest of us may have been away, or have begun anew."""
        for place in self._digests.compared.places:
            self._outbox.send(name, Digested(place.position, place.layout, place.digest))

    def _meet(self, name: str) -> None:
        """A member is heard. What it was told before may have come to a replica that had not begun yet."""
        if name not in self._met:
            self._met.add(name)
            self._compare_with(name)

    def _look_for_divergence(self, opinion: Opinion, position: Position) -> None:
        compared = self._digests.compared
        if compared != self._compared:
            self._compared = compared
            self._own.writes.compare(compared)
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
            self.leadership.supply.part_read(given)

    def _on_part_stored(self, given: PartStored) -> None:
        self._following.incoming.on_part_stored(given)

    def _on_loaded(self, given: Loaded) -> None:
        installed = self._following.incoming.on_loaded(given)
        if installed is not None:
            self._digests.forget()
            self._took(installed)

    def _on_load_failed(self, given: LoadFailed) -> None:
        self._following.incoming.on_load_failed(given, self._now.monotonic)

    def _on_connected(self, given: Connected) -> None:
        """A new link: what was under way on the old one may be lost."""
        self._met.discard(given.name)
        self._compare_with(given.name)
        if self.leadership is not None:
            self._belonging.introduce(given.name)
            self.leadership.connected(given.name, self._now)
        elif given.name == self.election.leader:
            self._reads.lose()
            self._told = None  # so that submitters send again

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
            if self._belonging.counts(given):
                self._meet(given.sender)
            else:
                self._belonging.meet_stranger(given)
            _ON_MESSAGE[type(given.message)](self, given, given.message)
        elif given.cluster:
            self._belonging.meet_foreigner(given)

    def _on_forming(self, received: Received, message: Forming) -> None:
        joining = self._belonging.on_forming(received, message)
        if joining is None:
            return
        if self.leadership is not None:
            self.leadership.greet(joining, self._now)
        elif self.election.leader is not None:
            self._outbox.send(self.election.leader, joining)

    def _on_formed(self, received: Received, message: FormedNotice) -> None:
        self._belonging.on_formed(received, message)

    def _on_dismissed(self, received: Received, message: Dismissed) -> None:
        self._belonging.on_dismissed(received, message)

    def _on_joining(self, received: Received, message: Joining) -> None:
        if self.leadership is not None and not self.configuration.includes(message.member.name):
            self.leadership.greet(message, self._now)

    def _on_member_asked(self, received: Received, message: MemberAsked) -> None:
        """That we heard of it was answered already, if it is no member."""
        self._belonging.look_where(received.sender, received.storage, message.address)

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
        if not self._belonging.counts(received):
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
        if self._belonging.counts(received):
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
    Uncapturable: Participant._on_uncapturable,  # pyright: ignore[reportPrivateUsage]
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
