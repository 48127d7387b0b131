"""Who is in, who leads, in which epoch: agreed, not guessed."""

from membership._membership import Membership
from membership._protocol.quorum import Majority, QuorumSystem
from membership._protocol.view import Configuration, Limits, Member, View

__all__ = ["Configuration", "Limits", "Majority", "Member", "Membership", "QuorumSystem", "View"]
