"""Who is in, who leads, in which epoch: agreed, not guessed."""

from membership._membership import Membership
from membership._protocol.quorum import Flexible, Grid, Joint, Majority, QuorumSystem, Weighted
from membership._protocol.view import Configuration, Limits, Member, View

__all__ = [
    "Configuration",
    "Flexible",
    "Grid",
    "Joint",
    "Limits",
    "Majority",
    "Member",
    "Membership",
    "QuorumSystem",
    "View",
    "Weighted",
]
