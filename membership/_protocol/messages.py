"""What members say to each other about who leads and how a group begins."""

from __future__ import annotations

import enum
from typing import Annotated, TypeAlias

import msgspec

from actors._protocol.address import parse_address
from membership._protocol.change import Change
from membership._protocol.quorum import QuorumSystem
from membership._protocol.view import Address, Configuration, Epoch, Formation, Limits, Member, Name, Takes, Version

Standing: TypeAlias = tuple[Epoch, Epoch]
"""What an election compares. The upper layer says what it means (its last position); here it is only ordered."""


class VoteRequest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="vote?"):
    """A candidate asks for a grant in `epoch` (Ongaro 2014, 3.4); with `pre`, whether it would get one (9.6).

    handed: the leader handed over to it, so that who hears that leader may grant all the same (4.2.3).
    """

    epoch: Epoch
    standing: Standing
    pre: bool
    handed: bool = False


class VoteReply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="vote"):
    """The answer to the request of epoch `campaign`. `epoch` is the voter's own, told whichever way it decided."""

    epoch: Epoch
    campaign: Epoch
    pre: bool
    granted: bool


class CampaignNow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="campaign"):
    """The leader of `epoch` hands over: the receiver, whose log is level with its own, stands at once (3.10)."""

    epoch: Epoch


class Forming(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="forming"):
    """An empty disk says hello: what it was started with (rule 13). Its storage id comes with it.

    address: where it is found. observer: it takes no part in forming, and wants to be added without a vote.
    version, takes: of its class.
    """

    members: tuple[Name, ...]
    quorum: QuorumSystem
    limits: Limits
    address: Address = ""
    observer: bool = False
    version: Version = 1
    takes: Takes = {}

    def __post_init__(self) -> None:
        if self.address:
            parse_address(self.address)


class FormedNotice(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="formed"):
    """The group has formed; this is its record, and the configuration that it has committed since, at `index`."""

    formation: Formation
    configuration: Configuration
    index: Epoch = 0


class Dismissed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="dismissed"):
    """The receiver is no member, or not with this disk: as of the committed configuration at this place of the log."""

    epoch: Epoch
    index: Epoch


class Joining(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="joining"):
    """To the leader: an empty disk that is no member's said hello. observer: it asks to be added without a vote.

    version, takes: of its class.
    """

    member: Member
    observer: bool
    version: Version = 1
    takes: Takes = {}


class HandOver(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="hand over"):
    """What may be wished for: that another voter leads, this one or whichever is best."""

    to: Name | None = None


class ChangeWish(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="change"):
    """What may be wished for: other members."""

    change: Change


Wish: TypeAlias = HandOver | ChangeWish


class Verdict(enum.Enum):
    """What the leader makes of a wish."""

    REACHED = "reached"
    """It is so, committed."""
    TAKEN = "taken"
    """It is under way."""
    WAITS = "waits"
    """Not now, for a reason that passes: wish again."""
    REFUSED = "refused"
    """Not as things are, for a reason that somebody has to mend."""


class Wished(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="wish"):
    """To the leader: a member wants this. `number` is never reused."""

    number: Epoch
    wish: Wish


class WishAnswer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="wished"):
    """What the leader makes of the wish of that number, and why."""

    number: Epoch
    verdict: Verdict
    why: Annotated[str, msgspec.Meta(max_length=10_000)] = ""


class MemberAsked(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="member?"):
    """No leader is heard: am I still a member? Answered by `Dismissed` if not, else by nothing.

    address: where the asker is found.
    """

    address: Address = ""
