"""Who is in, who leads, in which epoch: agreed, not guessed."""

from membership._errors import ChangeRefused, ChangeUnknown, MemberRemoved
from membership._membership import Membership
from membership._protocol.change import Change, Newcomer
from membership._protocol.quorum import Flexible, Grid, Joint, Majority, QuorumSystem, Weighted
from membership._protocol.view import Configuration, Limits, Member, View

__all__ = [
    "Change",
    "ChangeRefused",
    "ChangeUnknown",
    "Configuration",
    "Flexible",
    "Grid",
    "Joint",
    "Limits",
    "Majority",
    "Member",
    "MemberRemoved",
    "Membership",
    "Newcomer",
    "QuorumSystem",
    "View",
    "Weighted",
]
