"""How a leader hands over (rule 17; Ongaro 2014, 3.10), because somebody wants it to, or to one of higher priority.

It seals nothing more, brings its heir level, and lets it stand. The heir asks for votes without asking first whether it
would get them, and voters that hear this leader grant them all the same. If nothing comes of it within an election
timeout, this leader goes on.

The heir is told again with each heartbeat. So the word may be lost, and an heir need not take one that it gets after
something newer: there is a newer one of these too, or this leader has given up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from broadcast._protocol.outbox import Outbox
from broadcast._protocol.own import OwnLog
from broadcast._protocol.progress import Progress
from membership._protocol.election import Election
from membership._protocol.messages import CampaignNow, Verdict

CALM_TIMEOUTS = 10
"""Election timeouts that a leader leads before it looks for one of a higher priority."""


class Succession:
    """One leader's way to hand over. followers: its picture of them."""

    def __init__(
        self, own: OwnLog, election: Election, outbox: Outbox, followers: Mapping[str, Progress], now: int
    ) -> None:
        self.until: int | None = None
        """While a hand-over is under way: when it is given up."""
        self.was_tried = False
        """Has one been under way in this epoch? An heir may stand then, late, and be granted at once."""
        self._heir = ""
        self._is_told = False
        self._failed: dict[str, int] = {}  # who was to lead and did not, and until when it is not to
        self._priorities: dict[str, int] = {}
        self._calm = CALM_TIMEOUTS * election.floor
        self._looks_at = now + self._calm  # for one of a higher priority
        self._own = own
        self._election = election
        self._outbox = outbox
        self._followers = followers

    @property
    def is_under_way(self) -> bool:
        """Is this leader handing over? Then it seals nothing: what comes is for the next one."""
        return self.until is not None

    def consider(self, to: str | None, now: int) -> tuple[Verdict, str]:
        """Somebody wants another leader, `to` or whoever is best: what becomes of it, and why."""
        election = self._election
        if to == election.name:
            return Verdict.REACHED, ""
        if self.is_under_way:
            return Verdict.TAKEN, f"{self._heir} is to lead"
        if to is not None and election.configuration.storage_of(to) is None:
            voters = ", ".join(election.configuration.voter_names)
            return Verdict.REFUSED, f"{to} has no vote, and cannot lead: the voters are {voters}"
        if election.configuration.voter_names == (election.name,):
            return Verdict.REFUSED, "there is no other voter"
        if to is not None and self._has_failed(to, now):
            return Verdict.REFUSED, (
                f"{to} was to lead just now, and did not come to it within an election timeout: see whether its disk "
                "and its links are well, or have another one lead"
            )
        heirs = [name for name in self._heirs(now) if not self._has_failed(name, now)]
        if not heirs or to not in (None, *heirs):
            return Verdict.WAITS, f"{to or 'any other voter'} cannot be reached, or did not come to it just now"
        self._begin(to or heirs[0], now)
        return Verdict.TAKEN, ""

    def _begin(self, heir: str, now: int) -> None:
        self._heir = heir
        self._is_told = False
        self.was_tried = True
        self.until = now + self._election.floor

    def go_on(self) -> None:
        """Once its log is level with ours, the heir stands."""
        heir = self._followers.get(self._heir)
        if self.is_under_way and not self._is_told and heir is not None and heir.match == self._own.log.last.index:
            self._is_told = True
            self.beat()

    def beat(self) -> None:
        """With each heartbeat, and after it."""
        if self.is_under_way and self._is_told:
            self._outbox.send(self._heir, CampaignNow(self._election.epoch))

    def tick(self, now: int) -> None:
        """Time has passed. Who wanted this sees that nothing has come of it.

        The heir is left alone for as long again: meanwhile this leader serves whoever waited.
        """
        if self.until is not None and now >= self.until:
            self._failed[self._heir] = now + self._election.floor
            self.until = None

    def abdicate(self, now: int) -> None:
        """We lead without a vote, and no longer: whoever is level best may stand at once (4.2.2)."""
        self.was_tried = True
        for heir in self._heirs(now)[:1]:
            self._outbox.send(heir, CampaignNow(self._election.epoch))

    # -- priorities ------------------------------------------------------------------------------------------------

    def rate(self, name: str, priority: int) -> None:
        """What a follower says of itself."""
        self._priorities[name] = priority

    def look_up(self, reachable: Collection[str], now: int) -> None:
        """Things are calm: if a voter of higher priority is well, and holds what is committed, it should lead.

        Each look comes after twice as long as the one before it: what may come to nothing costs less and less.
        """
        if now < self._looks_at or self.is_under_way:
            return
        rivals = {
            name: self._priorities.get(name, 0)
            for name in self._heirs(now)
            if name in reachable and self._followers[name].match >= self._own.commit and not self._has_failed(name, now)
        }
        if rivals and max(rivals.values()) > self._election.priority:
            self._calm *= 2
            self._looks_at = now + self._calm
            self._begin(max(rivals, key=lambda name: rivals[name]), now)

    # -- heirs -----------------------------------------------------------------------------------------------------

    def _has_failed(self, name: str, now: int) -> bool:
        return now < self._failed.get(name, now)

    def _heirs(self, now: int) -> list[str]:
        """Voters that are heard and counted; the one that holds most comes first."""
        election = self._election
        heard = [
            name
            for name, progress in self._followers.items()
            if election.configuration.storage_of(name) is not None
            and not progress.lost
            and election.heard_within(name, now, election.floor)
        ]
        return sorted(heard, key=lambda name: -self._followers[name].match)
