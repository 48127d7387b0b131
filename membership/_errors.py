"""What can go wrong with changes of members."""

from __future__ import annotations

from actors._protocol.errors import OutcomeUnknown, Rejected


class ChangeRefused(Rejected):
    """The group does not make this change as things are; the text says why, and what to do. Nothing was changed."""


class ChangeUnknown(OutcomeUnknown):
    """The change was refused after an earlier try of it that may still come to something, or it was called off before
    all of it was so, by the removal of who was to come: look at the views."""


class MemberRemoved(Exception):
    """This node is a member of the group no more: its replica has ended. Its data is of no further use here."""
