"""How a leader hands over (rule 17; Ongaro 2014, 3.10).

It seals nothing more, brings its heir level, and lets it stand. The heir asks for votes without asking first whether it
would get them, and voters that hear this leader grant them all the same. If nothing comes of it within an election
timeout, this leader goes on.
"""

from __future__ import annotations

from collections.abc import Mapping

from broadcast._protocol.outbox import Outbox
from broadcast._protocol.own import OwnLog
from broadcast._protocol.progress import Progress
from membership._protocol.election import Election
from membership._protocol.messages import CampaignNow, Verdict


class Succession:
    """One leader's way to hand over. followers: its picture of them."""

    def __init__(self, own: OwnLog, election: Election, outbox: Outbox, followers: Mapping[str, Progress]) -> None:
        self.until: int | None = None
        """While a hand-over is under way: when it is given up."""
        self._heir = ""
        self._is_told = False
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
        heirs = self._heirs(now)
        if not heirs or to not in (None, *heirs):
            return Verdict.WAITS, f"{to or 'any other voter'} cannot be reached"
        self._heir = to or heirs[0]
        self._is_told = False
        self.until = now + election.floor
        return Verdict.TAKEN, ""

    def go_on(self) -> None:
        """Once its log is level with ours, the heir stands."""
        heir = self._followers.get(self._heir)
        if self.is_under_way and not self._is_told and heir is not None and heir.match == self._own.log.last.index:
            self._is_told = True
            self._outbox.send(self._heir, CampaignNow(self._election.epoch))

    def tick(self, now: int) -> None:
        """Time has passed. Who wanted this sees that nothing has come of it, and may want it again."""
        if self.until is not None and now >= self.until:
            self.until = None

    def abdicate(self, now: int) -> None:
        """We lead without a vote, and no longer: whoever is level best may stand at once (4.2.2)."""
        for heir in self._heirs(now)[:1]:
            self._outbox.send(heir, CampaignNow(self._election.epoch))

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
