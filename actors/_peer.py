"""The way to one peer: dial, keep the link alive, dial again. Everything for the peer is sent here, nothing comes."""

from __future__ import annotations

from enum import Enum
from random import Random

import trio

from actors._connection import HANDSHAKE_SECONDS, Connection, next_event
from actors._exchange import Exchange, log
from actors._network import Network, prove
from actors._protocol.address import Address
from actors._protocol.credential import check_answerer
from actors._protocol.envelope import Ready
from actors._protocol.errors import RemoteProtocolError
from actors._protocol.link import Link, PeerReady, Refused

BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 0.020, 1.0
"""Between two tries, growing twofold, less up to half by chance."""
WARNED_AFTER_SECONDS = 3.0
"""After which a peer that cannot be reached is worth a warning, if somebody waits for it."""
SILENCE_SECONDS_MAX = 4.0
"""A link on which no pong comes for this long is dead."""


class _Outcome(Enum):
    """How a try ended. Only REFUSED says that the peer's process is not there."""

    LOST = "lost"
    REFUSED = "refused"
    FAILED = "failed"


class Peer:
    """One peer and where it is tried. `run` never ends by itself; `stop` ends it.

    addresses: where it may be found, at least one; they are tried in turns, beginning with the one that works.
    address: where it is tried now. bulk_size_max: bytes that may wait in the bulk lane.
    """

    def __init__(
        self,
        name: str,
        addresses: tuple[Address, ...],
        exchange: Exchange,
        network: Network,
        random: Random,
        bulk_size_max: int,
    ) -> None:
        self.name = name
        self.addresses = addresses
        self.address = self._lived_at = addresses[0]
        self._has_left = False
        self._exchange = exchange
        self._network = network
        self._random = random
        self._bulk_size_max = bulk_size_max
        self._scope = trio.CancelScope()
        self._connection: Connection | None = None
        self._incarnation = 0
        # A link was lost, and whether the peer's process has gone with it is not known yet. One try need not tell:
        # a dying process may take a connection, or lose it unanswered, before it no longer listens.
        self._unexplained = False
        self._trouble: str | None = None
        self._tried_since: float | None = None  # None while there is a link
        self._has_warned = False  # since then

    def stop(self) -> None:
        """End `run`, and the link with it: nothing more is taken for it."""
        if self._connection is not None:
            self._connection.close("no longer a peer at this address")
        self._scope.cancel()

    def leave(self) -> None:
        """It is no peer any more. A link that there is lasts for as long as the other side wants it, so that both can
        say what is left to say; no other is dialed unless the peer shows itself."""
        self._has_left = True

    async def run(self) -> None:
        """Dial for as long as it takes, and again after each loss.

        A link that is lost is tried again at once, to know whether the peer's process is gone; but not one that was
        lost soon after such a try: that would be a loop without a pause.
        """
        with self._scope:
            pause, at_once, met = BACKOFF_SECONDS_MIN, False, False
            while True:
                if self._has_left and not met:  # if it has just shown itself it may not do so again
                    await self._exchange.wait_met(self.name)
                if self.address not in self.addresses:
                    self.address = self.addresses[0]
                begun = trio.current_time()
                if self._tried_since is None:
                    self._tried_since = begun
                outcome = await self._try()
                if outcome is _Outcome.REFUSED and self.address == self._lived_at:
                    self._suspect()
                if outcome is not _Outcome.LOST:
                    self._turn()
                lasted = trio.current_time() - begun >= BACKOFF_SECONDS_MAX
                if lasted:
                    pause = BACKOFF_SECONDS_MIN
                at_once = outcome is _Outcome.LOST and (lasted or not at_once)
                met = False
                if not at_once:
                    met = await self._pause(pause * (1 - self._random.random() / 2))
                    pause = min(2 * pause, BACKOFF_SECONDS_MAX)

    def _turn(self) -> None:
        """The next one is tried next."""
        if self.address in self.addresses:
            place = self.addresses.index(self.address) + 1
            self.address = self.addresses[place % len(self.addresses)]

    async def _pause(self, seconds: float) -> bool:
        """Between two tries. It ends when the peer dials this node: then it is there, and this is True."""
        with trio.move_on_after(seconds) as scope:
            await self._exchange.wait_met(self.name)
        return not scope.cancelled_caught

    def beat(self) -> None:
        """Once in a second: ping, and close a link that has been silent too long."""
        connection = self._connection
        if connection is None:
            return
        silence = trio.current_time() - connection.heard
        if silence > SILENCE_SECONDS_MAX:
            connection.close(f"silent for {silence:.1f} s")
        else:
            connection.outbox.ping()

    def _suspect(self) -> None:
        """The peer's process is known to be gone: told once for each link that was lost."""
        if self._unexplained:
            self._unexplained = False
            self._exchange.tell_suspected(self.name)

    async def _try(self) -> _Outcome:
        """One try, and if it succeeds the whole life of the link."""
        try:
            with trio.fail_after(HANDSHAKE_SECONDS):
                stream = await self._network.dial(self.address)
                ready, link = await self._shake_hands(stream)
        except ConnectionRefusedError:
            return self._failed(_Outcome.REFUSED, "nobody listens there")
        except trio.TooSlowError:
            return self._failed(_Outcome.FAILED, f"no answer within {HANDSHAKE_SECONDS:.0f} s")
        except trio.BrokenResourceError:
            return self._failed(_Outcome.FAILED, "the connection was closed before an answer came")
        except OSError as error:
            return self._failed(_Outcome.FAILED, f"{error.strerror or error}")
        except RemoteProtocolError as error:
            self._exchange.statistics.faults += 1
            return self._failed(_Outcome.FAILED, str(error), fault=True)
        if ready.incarnation > self._incarnation:
            self._suspect()
        self._incarnation = ready.incarnation
        try:
            await self._live(stream, link)
        finally:
            await trio.aclose_forcefully(stream)
        self._unexplained = True
        return _Outcome.LOST

    async def _shake_hands(self, stream: trio.abc.Stream) -> tuple[Ready, Link]:
        link, first = Link.dial(self._exchange.hello(), self.name)
        try:
            check_answerer(await prove(stream), self.name)
            await stream.send_all(first)
            match await next_event(stream, link):
                case PeerReady(ready=ready):
                    stale = self._exchange.meet(self.name, ready.incarnation)
                    if stale is not None:
                        raise RemoteProtocolError(stale)
                    self._exchange.witness(ready.counter, known=True)
                    return ready, link
                case Refused(reason=reason):
                    raise RemoteProtocolError(f"it refused this link: {reason}")
                case _:
                    raise trio.BrokenResourceError
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def _live(self, stream: trio.abc.Stream, link: Link) -> None:
        """The link is ready: what is sent to the peer goes here, until it is lost."""
        exchange = self._exchange
        connection = Connection(stream, link, self._bulk_size_max, exchange.gate, exchange.stir, in_parts=True)
        self._connection = exchange.dialed[self.name] = connection
        exchange.statistics.peers_dialed += 1
        self._lived_at = self.address
        self._trouble, self._tried_since, self._has_warned = None, None, False
        log.info("link up", node=exchange.name, peer=self.name, address=str(self.address))
        try:
            exchange.tell_connected(self.name)
            await connection.run(None)
        finally:
            self._connection = None
            if exchange.dialed.get(self.name) is connection:
                del exchange.dialed[self.name]
            exchange.statistics.peers_dialed -= 1
            exchange.tell_lost(self.name)
        exchange.closed(connection, self.name, str(self.address), dialed=True)

    def _failed(self, outcome: _Outcome, trouble: str, *, fault: bool = False) -> _Outcome:
        """Logs what is new only: the next try follows soon. But once it is said aloud, if somebody waits for it."""
        address = str(self.address)
        facts = {"node": self._exchange.name, "peer": self.name, "address": address, "reason": trouble}
        if self._is_worth_a_warning:
            self._has_warned = True
            log.warning("no link, and somebody waits for one; still trying", **facts)
        elif trouble != self._trouble:
            if fault:
                self._exchange.complaints.warning("no link", address, **facts)
            else:
                log.info("no link", **facts)
        self._trouble = trouble
        return outcome

    @property
    def _is_worth_a_warning(self) -> bool:
        since, is_awaited = self._tried_since, self._exchange.is_awaited
        if self._has_warned or since is None or trio.current_time() - since < WARNED_AFTER_SECONDS:
            return False
        return is_awaited is not None and is_awaited(self.name)
