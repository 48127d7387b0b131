"""What a node needs of a network: somewhere to listen, and a way to dial. TCP unless another is given."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import trio

from actors._protocol.address import Address


class Listener(trio.abc.Listener[trio.abc.Stream]):
    """Takes connections at one address."""

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where it listens, its port chosen."""


class Network(Protocol):
    """Reliable streams of bytes between addresses, as TCP gives them: what arrives is a beginning of what was sent.

    A stream is used by one reader and one writer. It may offer `send_nowait(data) -> int`, which sends as much as there
    is room for at once and says how many bytes, without raising: a message that is alone is then written by whoever
    sends it. A lost connection raises trio.BrokenResourceError, from the OSError that says why if there is one.
    """

    async def listen(self, address: Address, *, insecure: bool) -> Sequence[Listener]:
        """At least one listener. Raises CannotListen; ValueError if the address must not be listened on unless
        `insecure`, as others than this machine's could reach it."""
        ...

    async def dial(self, address: Address) -> trio.abc.Stream:
        """A connection. Raises OSError; ConnectionRefusedError only if nobody listens there: who is refused takes it
        that the process there is gone."""
        ...
