"""A promise is durable before anything that depends on it is said (Ongaro 2014, 3.4; rule 1)."""

from __future__ import annotations

from typing import TypeAlias, TypeGuard, get_args

from broadcast._protocol.messages import Append, AppendReply, Committed, Heartbeat, HeartbeatReply, Message
from broadcast._simulation.invariants.base import Invariant, Process
from broadcast._simulation.invariants.claim import check
from membership._protocol.messages import VoteReply, VoteRequest
from membership._protocol.view import Promise

Vouching: TypeAlias = VoteReply | Append | AppendReply | Heartbeat | HeartbeatReply | Committed

_VOUCHING = frozenset(get_args(Vouching))


def vouches(message: Message) -> TypeGuard[Vouching]:
    """Is the epoch of this message its sender's own?"""
    return type(message) in _VOUCHING


class DurablePromise(Invariant):
    def sending(self, process: Process, to: str, stamp: int, message: Message) -> None:
        durable = self.scene.disks[process.name].promise
        if type(message) is VoteRequest and not message.pre:
            granted = Promise(message.epoch, process.name)
        elif type(message) is VoteReply and message.granted and not message.pre:
            granted = Promise(message.campaign, to)
        else:
            granted = None
        check(
            granted is None or durable.epoch > granted.epoch or durable == granted,
            "a grant is durable before it is told",
            name=process.name,
            granted=granted,
            durable=durable,
        )
        if vouches(message) or (type(message) is VoteRequest and not message.pre):
            check(
                durable.epoch >= message.epoch,
                "the epoch a message vouches for is durable",
                name=process.name,
                durable=durable,
                message=message,
            )
