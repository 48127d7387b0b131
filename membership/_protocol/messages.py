"""What members say to each other about who leads and how a group begins."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from membership._protocol.quorum import QuorumSystem
from membership._protocol.view import Epoch, Formation, Limits, Name

Standing: TypeAlias = tuple[Epoch, Epoch]
"""What an election compares. The upper layer says what it means (its last position); here it is only ordered."""


class VoteRequest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="vote?"):
    """A candidate asks for a grant in `epoch` (Ongaro 2014, 3.4); with `pre`, whether it would get one (9.6)."""

    epoch: Epoch
    standing: Standing
    pre: bool


class VoteReply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="vote"):
    """The answer to the request of epoch `campaign`. `epoch` is the voter's own, told whichever way it decided."""

    epoch: Epoch
    campaign: Epoch
    pre: bool
    granted: bool


class Forming(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="forming"):
    """An empty disk says hello: what it was started with (rule 13). Its storage id comes with it."""

    members: tuple[Name, ...]
    quorum: QuorumSystem
    limits: Limits


class FormedNotice(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="formed"):
    """The group has formed; this is its record."""

    formation: Formation
