"""What replicas would not run is kept out of the log (rule 29).

Where it comes in, at the replica that a session's owner speaks to; and where it is sequenced, at the leader, unless it
comes from a member whose class is known to take the same.

A call that does not fit is replaced by one that no class understands, whatever its version: so it keeps its number, and
its outcome is agreed like any other. What that replica's class does not take, or what came with a version that is not
in force there, does not fit. A version never goes out of force: so what was let in is run by every replica that comes
to it, where all classes of one version take the same.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors._protocol.codec import encode, join_array
from broadcast._calls import open_calls
from broadcast._machine import Machine
from broadcast._protocol.entries import Commands, Submittable

NOT_UNDERSTOOD = b"\xf4"
"""An encoded call that no class understands."""


def sifted(entry: Submittable, machine: Machine[Any], version: int | None = None) -> Submittable:
    """The entry, with every call that does not fit replaced.

    version: in force where it will stand, if that is known to be later than where the machine is.
    """
    if not isinstance(entry, Commands):
        return entry
    calls = open_calls(entry)
    version = version or machine.version
    understood = [call is None or machine.understands(call, version) for call in calls]
    if all(understood):
        return entry
    packed = [_encoded(call) if fits else NOT_UNDERSTOOD for call, fits in zip(calls, understood, strict=True)]
    return msgspec.structs.replace(entry, calls=join_array(packed))


def _encoded(call: object) -> bytes:
    try:
        return encode(call)
    except ValueError:  # larger than any that we would have sent
        return NOT_UNDERSTOOD
