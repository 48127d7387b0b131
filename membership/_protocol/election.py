"""Who leads: pre-vote, vote, promise, stickiness, step-down (rules 1-6, 20; Ongaro 2014, 3.4, 3.6.1, 4.2.3, 6.2, 9.6).

An `Election` decides; it neither sends nor writes. After each call its owner looks at `promise` (write it when it has
changed), takes `sends`, and calls `promised` when a promise is durable. A message marked as *binding* depends on the
promise as it now stands, and must not leave before that is on disk (rule 1).

It knows nothing of logs: the owner hands it its *standing*, an ordered value, and a voter grants only to one at least
its own.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from actors._protocol.errors import RemoteProtocolError, invariant
from membership._protocol.messages import Standing, VoteReply, VoteRequest
from membership._protocol.view import Configuration, Promise

LEAP_MAX = 2**40
"""Epochs grow by one in each election. One so far beyond ours that no group gets there is not believed: at the end of
all numbers (2**62) none would be left to go on with."""


class Chance(Protocol):
    """Where randomness comes from: `random.Random` or anything like it."""

    def randrange(self, stop: int, /) -> int: ...


class Role(enum.Enum):
    FOLLOWER = "follower"
    CANVASSER = "canvasser"
    """Asks whether it would be granted (pre-vote). Has promised nothing."""
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Ballot:
    """A message that the election wants sent. `binding`: not before the promise of now is durable."""

    to: str
    message: VoteRequest | VoteReply
    binding: bool


class Election:
    """One member's part in elections. All times are in microseconds of one monotonic clock."""

    def __init__(
        self,
        *,
        name: str,
        storage: bytes,
        configuration: Configuration,
        promise: Promise,
        chance: Chance,
        now: int,
        priority: int = 0,
    ) -> None:
        self.name = name
        self.priority = priority
        """How much it should lead rather than others: it waits less, or longer, than others within the same bounds."""
        self.storage = storage
        self.configuration = configuration
        self.promise = promise
        self.role = Role.FOLLOWER
        self.leader: str | None = None
        self.sends: list[Ballot] = []
        self.distrusted: set[bytes] = set()
        """Disks that have lost what they had said was there, as this member knows from when it led (rule 16)."""
        self._chance = chance
        self._durable = promise
        self._heard_leader: int | None = None
        self._refrains_until = now  # with leases: nobody is granted before, unless the leader hands over
        self._granted: dict[str, bool] = {}  # this campaign's answers
        self._heard: dict[str, int] = {}  # as leader: when each voter was last heard
        self._timeout = self._draw()
        self._due = now + self._timeout

    # -- what the owner may ask ------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self.promise.epoch

    @property
    def leads(self) -> bool:
        return self.role is Role.LEADER

    @property
    def floor(self) -> int:
        """The shortest election timeout."""
        return self.configuration.limits.election_timeout

    @property
    def deadline(self) -> int:
        """When `tick` is due next."""
        return self._due

    def in_touch(self, now: int) -> bool:
        """As leader: was a commit quorum heard within an election timeout (rule 3)?"""
        since = now - self._timeout
        heard = frozenset(name for name, at in self._heard.items() if at >= since)
        return self.configuration.commits(heard | {self.name})

    def heard_within(self, name: str, now: int, span: int) -> bool:
        """As leader: was this member heard in the last `span` microseconds?"""
        at = self._heard.get(name)
        return at is not None and now - at <= span

    # -- what happens ----------------------------------------------------------------------------------------------

    def tick(self, now: int, standing: Standing, *, able: bool) -> None:
        """Time has passed. `able`: this is a voter, and its disk answers, so that it may stand (rules 15, 25)."""
        if now < self._due:
            return
        if self.role is Role.LEADER:
            if able and self.in_touch(now):
                self._due = now + self.floor // 4
            else:
                self._step_down(now)
        elif able:
            self._canvass(now, standing)
        else:
            self.role = Role.FOLLOWER  # a campaign under way ends too
            self.leader = None
            self._wait(now)

    def configure(self, configuration: Configuration, now: int) -> None:
        """Another configuration is in force: its voters are asked, and its quorums decide, from now on (4.1)."""
        self.configuration = configuration
        if self.role is Role.LEADER:
            for name in configuration.voter_names:
                self._heard.setdefault(name, now)

    def distrust(self, storage: bytes) -> None:
        """This disk has lost what it had acknowledged, and perhaps its promises: no word of it counts, in no epoch."""
        self.distrusted.add(storage)

    def suspect(self, name: str, now: int) -> None:
        """The process that led is gone: a reconnect was refused, or met its successor (rule 5). Counts as silence.

        All survivors learn it at about the same time; a short random wait keeps them from splitting the vote.
        """
        if self.role is Role.FOLLOWER and name == self.leader:
            self.leader = None
            self._heard_leader = None
            self.hurry(now)

    def hurry(self, now: int) -> None:
        """There is no leader to wait for: stand soon, after a short random wait."""
        soon = max(now, self._refrains_until)
        self._due = min(self._due, soon + self._part_of(self.floor // 25))

    def refrain(self, now: int) -> None:
        """A leader may count on us as of now, to answer reads while its lease holds (rule 20).

        It was heard just now; or it may have been, by an earlier life of ours. Whatever else we hear, that it is gone
        or that there is a newer epoch, we grant nobody for the shortest timeout: it may be cut off from all of that.
        """
        if self.configuration.limits.leases:
            self._refrains_until = now + self.floor

    def follow(self, leader: str, epoch: int, now: int) -> None:
        """A batch or heartbeat of `epoch`, which is not older than ours, came from its leader."""
        invariant(epoch >= self.epoch, "only a leader of this epoch or a newer one is followed", epoch=epoch)
        if epoch > self.epoch:
            self.adopt(epoch, now)
        if leader == self.name or self.role is Role.LEADER or self.leader not in (None, leader):
            raise RemoteProtocolError(f"{leader} claims to lead epoch {epoch}, which {self.leader or self.name} leads")
        self.role = Role.FOLLOWER
        self.leader = leader
        self._heard_leader = now
        self._due = now + self._timeout
        self.refrain(now)

    def heard(self, name: str, now: int) -> None:
        """As leader: a member answered in this epoch."""
        self._heard[name] = now

    def adopt(self, epoch: int, now: int) -> None:
        """Somebody lives in a newer epoch: forget this one (Ongaro 2014, 3.3)."""
        invariant(epoch > self.epoch, "the epoch never goes down", epoch=epoch, own=self.epoch)
        if epoch > self.epoch + LEAP_MAX:
            raise RemoteProtocolError(f"epoch {epoch} is further beyond {self.epoch}, ours, than any group gets")
        self.promise = Promise(epoch, None)
        self.role = Role.FOLLOWER
        self.leader = None
        self._heard_leader = None
        self._wait(now)

    def promised(self, promise: Promise, now: int) -> None:
        """This promise is durable. A candidate counts its own vote only now (rule 1)."""
        self._durable = promise
        if self.role is Role.CANDIDATE and promise == self.promise:
            self._count(self.name, granted=True, now=now)

    def receive(
        self, sender: str, storage: bytes, message: VoteRequest | VoteReply, standing: Standing, now: int
    ) -> None:
        """A ballot came. `standing` is our own."""
        if isinstance(message, VoteRequest):
            self._asked(sender, message, standing, now)
        else:
            self._answered(sender, storage, message, now)

    # -- as voter --------------------------------------------------------------------------------------------------

    def _asked(self, sender: str, request: VoteRequest, standing: Standing, now: int) -> None:
        fresh = request.epoch > self.epoch or (not request.pre and request.epoch == self.epoch)
        if not fresh or (self._sticks(now) and not request.handed):
            self._reply(sender, request, granted=False)
            return
        worthy = request.standing >= standing
        if request.pre:
            self._reply(sender, request, granted=worthy)
            return
        if request.epoch > self.epoch:
            self.adopt(request.epoch, now)
        granted = worthy and self.promise.granted_to in (None, sender)
        if granted:
            self.promise = Promise(self.epoch, sender)
            self._wait(now)
        self._reply(sender, request, granted=granted)

    def _sticks(self, now: int) -> bool:
        """Who hears its leader, or leads, grants nobody (rule 2; Ongaro 2014, 4.2.3)."""
        if now < self._refrains_until:
            return True
        if self.role is Role.LEADER:
            return self.in_touch(now)
        return self._heard_leader is not None and now - self._heard_leader < self.floor

    def _reply(self, to: str, request: VoteRequest, *, granted: bool) -> None:
        reply = VoteReply(self.epoch, request.epoch, request.pre, granted)
        self.sends.append(Ballot(to, reply, binding=True))

    # -- as candidate ----------------------------------------------------------------------------------------------

    def _canvass(self, now: int, standing: Standing) -> None:
        """Ask whether a quorum would grant (9.6). Costs nobody anything, so it is asked again soon."""
        self.role = Role.CANVASSER
        self.leader = None
        self._standing = standing
        self._granted = {}
        self._due = now + self._soon()
        self._ask(VoteRequest(self.epoch + 1, standing, pre=True), binding=False)
        self._count(self.name, granted=True, now=now)

    def _campaign(self, now: int, *, handed: bool = False) -> None:
        """A quorum would grant: raise the epoch, promise it to ourselves, and ask. `handed`: the leader wants it so."""
        self.role = Role.CANDIDATE
        self.leader = None
        self._heard_leader = None
        self.promise = Promise(self.epoch + 1, self.name)
        self._granted = {}
        self._wait(now)
        self._ask(VoteRequest(self.epoch, self._standing, pre=False, handed=handed), binding=True)

    def _ask(self, request: VoteRequest, *, binding: bool) -> None:
        self.sends.extend(
            Ballot(name, request, binding) for name in self.configuration.voter_names if name != self.name
        )

    def _answered(self, sender: str, storage: bytes, reply: VoteReply, now: int) -> None:
        if self.configuration.disk_of(sender) != storage:
            return
        if reply.epoch > self.epoch:
            self.adopt(reply.epoch, now)
            return
        if self.configuration.storage_of(sender) != storage or storage in self.distrusted:
            return  # a vote is counted only from the disk that the configuration knows (rule 16)
        if (self._asks_for == (reply.campaign, reply.pre)) and self._granted.get(sender) is not True:
            self._count(sender, granted=reply.granted, now=now)

    @property
    def _asks_for(self) -> tuple[int, bool] | None:
        """(epoch, pre) of the campaign under way."""
        if self.role is Role.CANVASSER:
            return self.epoch + 1, True
        if self.role is Role.CANDIDATE and self._durable == self.promise:  # before that, nobody has been asked
            return self.epoch, False
        return None

    def _count(self, name: str, *, granted: bool, now: int) -> None:
        self._granted[name] = granted
        if self.configuration.elects(self._names(True)):
            _VICTORY[self.role](self, now)
        elif self.role is Role.CANDIDATE and not self._can_win():
            # The vote is split. A short random wait, then ask again.
            self.role = Role.FOLLOWER
            self._due = now + self._chance.randrange(max(1, self.floor // 10))
        elif self.role is Role.CANDIDATE and not granted:
            # Perhaps it is split: who does not answer may be the one that is gone, in whose place both stand.
            self._due = min(self._due, now + self._soon())

    def _soon(self) -> int:
        """Time for answers that are on their way, and a random wait: two who ask do so one after the other."""
        return self.floor // 10 + self._chance.randrange(max(1, self.floor // 10))

    def _can_win(self) -> bool:
        return self.configuration.elects(frozenset(self.configuration.voter_names) - self._names(False))

    def _names(self, granted: bool) -> frozenset[str]:
        return frozenset(name for name, verdict in self._granted.items() if verdict is granted)

    # -- as leader -------------------------------------------------------------------------------------------------

    def _lead(self, now: int) -> None:
        invariant(
            self._durable == self.promise == Promise(self.epoch, self.name),
            "a leader's own promise is durable",
        )
        self.role = Role.LEADER
        self.leader = self.name
        self._heard = dict.fromkeys(self.configuration.voter_names, now)
        self._due = now + self.floor // 4

    def campaign_now(self, sender: str, epoch: int, standing: Standing, now: int, *, able: bool) -> None:
        """The leader hands over (3.10). What an older epoch's leader said, or one that is followed no more, is late."""
        if epoch == self.epoch and sender == self.leader and self.role is Role.FOLLOWER and able:
            self._standing = standing
            self._campaign(now, handed=True)

    def resign(self, now: int) -> None:
        """This leader has no vote any more, and what took it is committed: it leads no longer (4.2.2)."""
        invariant(self.role is Role.LEADER, "only who leads resigns")
        self._step_down(now)

    def _step_down(self, now: int) -> None:
        """No commit quorum, no disk, or no vote: whoever waits for an answer goes on waiting (6.2)."""
        self.role = Role.FOLLOWER
        self.leader = None
        self._heard_leader = None
        self._wait(now)

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _wait(self, now: int) -> None:
        self._timeout = self._draw()
        self._due = now + self._timeout

    def _draw(self) -> int:
        """A timeout between the floor and twice that (rule 5)."""
        return self.floor + self._part_of(self.floor)

    def _part_of(self, span: int) -> int:
        """By chance: of the first half for one that should rather lead than others, of the second if rather not."""
        if self.priority == 0:
            return self._chance.randrange(max(1, span))
        half = max(1, span // 2)
        return self._chance.randrange(half) + (half if self.priority < 0 else 0)

    _standing: Standing = (0, 0)


_VICTORY: dict[Role, Callable[[Election, int], None]] = {
    Role.CANVASSER: Election._campaign,  # pyright: ignore[reportPrivateUsage]  # the class's own table
    Role.CANDIDATE: Election._lead,  # pyright: ignore[reportPrivateUsage]
}
