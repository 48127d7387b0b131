"""Actors: typed messages between objects, in one process and between nodes."""

from actors._actor import Actor, command, query
from actors._cells import ActorStatistics
from actors._context import Context
from actors._identity import DataDirectoryError, DataDirectoryInUse
from actors._mailbox import Mailbox
from actors._network import Listener, Network
from actors._node import Node, NodeStatistics, Origin, Receiver, open_node
from actors._protocol.address import Address
from actors._protocol.clock import Timestamp
from actors._protocol.envelope import Envelope
from actors._protocol.errors import (
    ActorCrashed,
    ActorStopped,
    AskCycle,
    InvalidMessage,
    InvariantViolation,
    LinkBroken,
    NoSuchActor,
    OutcomeUnknown,
    Overloaded,
    Refused,
    Rejected,
    RemoteProtocolError,
    TooLarge,
)
from actors._ref import ActorRef, End, Ref
from actors._spawning import Spawner
from actors._stamper import LamportStamper
from actors._supervision import Supervision
from actors._tcp import CannotListen
from actors._tls import Tls, TlsError

__all__ = [
    "Actor",
    "ActorCrashed",
    "ActorRef",
    "ActorStatistics",
    "ActorStopped",
    "Address",
    "AskCycle",
    "CannotListen",
    "Context",
    "DataDirectoryError",
    "DataDirectoryInUse",
    "End",
    "Envelope",
    "InvalidMessage",
    "InvariantViolation",
    "LamportStamper",
    "LinkBroken",
    "Listener",
    "Mailbox",
    "Network",
    "NoSuchActor",
    "Node",
    "NodeStatistics",
    "Origin",
    "OutcomeUnknown",
    "Overloaded",
    "Receiver",
    "Ref",
    "Refused",
    "Rejected",
    "RemoteProtocolError",
    "Spawner",
    "Supervision",
    "Timestamp",
    "Tls",
    "TlsError",
    "TooLarge",
    "command",
    "open_node",
    "query",
]
