"""Messages between actors of different nodes: at most once, and in order from one actor to another.

What is sent goes over the link that this node dialed; what comes back, over the one that the other node did. If either
is lost, so may be an answer: whoever waits for that node is told at once that the outcome is not known. Nothing is sent
again: who sends before there is a link waits for one, and who then sends is in doubt as soon as that is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from itertools import count
from math import ceil, inf
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import msgspec
import trio

from actors import _answers
from actors._actor import TAG_LENGTH_MAX
from actors._exchange import Origin
from actors._interface import Method
from actors._line import Line
from actors._log import Log
from actors._message import Asker, Message
from actors._protocol.clock import COUNTER_MAX
from actors._protocol.codec import DecodeError, encode_struct
from actors._protocol.envelope import BODY_SIZE_MAX, Envelope
from actors._protocol.errors import (
    ActorStopped,
    AskCycle,
    InvalidMessage,
    LinkBroken,
    NoSuchActor,
    Overloaded,
    Rejected,
    RemoteProtocolError,
    TooLarge,
)
from actors._protocol.parcels import (
    CHAIN_LENGTH_MAX,
    Answered,
    Asked,
    Ended,
    Parcel,
    Stopped,
    Told,
    Watched,
    Withdrawn,
    open_parcel,
    pack_answered,
    pack_asked,
    pack_told,
)
from actors._ref import ActorRef, End, How

if TYPE_CHECKING:
    from actors._cell import Cell
    from actors._cells import Cells

T = TypeVar("T")

ADDRESS = "/"
"""Where a node takes what is for its actors: no group can have this name."""
QUESTIONS_MAX = 100_000
"""Asks, stops and watches of one peer that are not answered yet."""
BACKLOG_MAX = 10_000
"""Answers to one peer that wait for a link to it."""
BACKLOG_SECONDS_MAX = 10.0
"""For which they wait: then who asked is disconnected, and knows that no answer comes."""

NO_WAY_BACK = "it asks, and there is no link to answer it"

_NOBODY_WAITS = nullcontext()
_log = Log("troupe.actors")


class _Pending(msgspec.Struct, eq=False):
    """Something that was asked of a peer. method: of an ask; else the end of an actor is awaited."""

    to: ActorRef[Any]
    sender: str
    correlation: int
    asker: Asker
    method: Method | None


class _Waiting(msgspec.Struct, eq=False):
    """An answer that waits for a link. since: when it was given."""

    origin: Origin
    correlation: int
    body: bytes
    since: float


class RemoteQuestion(msgspec.Struct, eq=False):
    """Something that a peer has asked, until it is answered or withdrawn. watched: whose end it waits for."""

    _post: Post
    origin: Origin
    _correlation: int
    _deadline: float
    watched: Cell | None = None
    _withdrawn: bool = False

    @property
    def is_over(self) -> bool:
        return self._withdrawn or trio.current_time() >= self._deadline

    def withdraw(self) -> None:
        self._withdrawn = True
        if self.watched is not None:
            self.watched.forget_on_end(self.ended)

    def answered(self, method: Method, answer: object) -> None:
        self._reply(method, _answers.pack_answer(method, answer))

    def failed(self, method: Method | None, error: Exception) -> None:
        self._reply(method, _answers.pack_error(method, error))

    def ended(self, end: End) -> None:
        self._post.reply(self.origin, self._correlation, encode_struct(Ended(self.origin.incarnation, end.how)))

    def _reply(self, method: Method | None, outcome: bytes) -> None:
        incarnation = self.origin.incarnation
        try:
            self._post.reply(self.origin, self._correlation, pack_answered(incarnation, outcome))
        except TooLarge as error:
            outcome = _answers.pack_error(method, _answers.too_large(method, error))
            self._post.reply(self.origin, self._correlation, pack_answered(incarnation, outcome))


class Post:
    """The receiver of what other nodes' actors say, and the way to them."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._node = cells.node
        self._correlations = count(1)
        self._pending: dict[int, _Pending] = {}
        self._questions: dict[Origin, dict[int, RemoteQuestion]] = {}
        self._backlog: dict[str, deque[_Waiting]] = {}
        self._lines: dict[str, Line] = {}  # of each peer to which there is no link

    # -- asking and telling -----------------------------------------------------------------------------------------

    async def ask(
        self, to: ActorRef[Any], method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """See `Ref.ask`. Waits for a link first."""
        call = method.pack(args, kwargs)
        chain = self._cells.chain()
        with self._cells.waits.waiting(chain[-1], to.address) if chain else _NOBODY_WAITS:
            self._check_peer(to)
            deadline = trio.current_effective_deadline()
            sender = self._cells.sender_name()

            def begin() -> _Pending:
                asked = pack_asked(to.name, sender, chain[-CHAIN_LENGTH_MAX:], _patience(deadline), call)
                return self._begin(to, sender, asked, method)

            pending = begin() if self._node.is_linked(to.node) else await self._when_linked(to, begin)
            try:
                return await pending.asker.wait()
            finally:
                self._end(pending)

    async def tell(
        self, to: ActorRef[Any], method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> None:
        """See `Ref.tell`. Waits for a link first."""
        call = method.pack(args, kwargs)
        sender = self._cells.sender_name()
        if self._node.is_linked(to.node):
            self._tell(to, sender, call)
        else:
            with self._cells.waiting(to.address):
                await self._when_linked(to, partial(self._tell, to, sender, call))

    def tell_nowait(
        self, to: ActorRef[Any], method: Method, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> None:
        """See `ActorRef.tell_nowait`."""
        call = method.pack(args, kwargs)
        self._check_peer(to)
        self._tell(to, self._cells.sender_name(), call)

    def _tell(self, to: ActorRef[Any], sender: str, call: bytes) -> None:
        self._send(to, sender, 0, pack_told(to.name, sender, call))

    def tell_of_group(self, group: str, to: ActorRef[Any], call: bytes) -> None:
        """A replicated actor tells; as `tell_nowait`."""
        self._check_peer(to)
        self._tell(to, group, call)

    async def stop(self, to: ActorRef[Any], *, kill: bool) -> None:
        """See `ActorRef.stop`."""
        with self._cells.waiting(to.address):
            await self._await_end(to, Stopped(to.name, kill))

    async def watch(self, to: ActorRef[Any]) -> End:
        """See `ActorRef.watch`. Waits for a link first."""
        try:
            return End(to.address, cast(How, await self._await_end(to, Watched(to.name))))
        except NoSuchActor:
            return End(to.address, "missing")
        except LinkBroken:
            return End(to.address, "lost")

    async def _await_end(self, to: ActorRef[Any], parcel: Stopped | Watched) -> object:
        """Send it once there is a link, and wait for what comes back."""
        begin = partial(self._begin, to, self._cells.sender_name(), encode_struct(parcel), None)
        pending = await self._when_linked(to, begin)
        try:
            return await pending.asker.wait()
        finally:
            self._end(pending)

    def _begin(self, to: ActorRef[Any], sender: str, body: bytes, method: Method | None) -> _Pending:
        """Send it. Somebody must wait for what comes back, and then `_end` it."""
        correlation = next(self._correlations)
        self._send(to, sender, correlation, body)
        pending = self._pending[correlation] = _Pending(to, sender, correlation, Asker(self._cells), method)
        return pending

    def _end(self, pending: _Pending) -> None:
        """Nobody waits for it any more: if nothing has come back, the other side is told so."""
        if self._pending.pop(pending.correlation, None) is not None:
            to, withdrawn = pending.to, encode_struct(Withdrawn())
            flow = pending.sender, to.name
            self._node.send(to.node, ADDRESS, "actors", withdrawn, correlation=pending.correlation, flow=flow)

    def _send(self, to: ActorRef[Any], sender: str, correlation: int, body: bytes) -> None:
        flow = sender, to.name  # what one sender says to one actor arrives in order, and no more is promised
        try:
            sent = self._node.send(to.node, ADDRESS, "actors", body, sender=ADDRESS, correlation=correlation, flow=flow)
        except TooLarge as error:
            raise TooLarge(f"the message to {to.address}", error.size, error.size_max) from None
        if not sent:
            what = "what waits to be sent there is too much" if self._node.is_linked(to.node) else "there is no link"
            raise Overloaded(f"nothing was sent to node {to.node}: {what}")

    def _check_peer(self, to: ActorRef[Any]) -> None:
        if self._cells.is_closed:
            raise ActorStopped(f"node {self._node.name} is closed")
        if not self._node.has_peer(to.node):
            raise NoSuchActor(f"node {to.node} of {to.address} is no peer of node {self._node.name}")

    async def _when_linked(self, to: ActorRef[Any], send: Callable[[], T]) -> T:
        """What `send` gives, once there is a link to its node: behind all who have waited for that before. Raises
        NoSuchActor if that is, or becomes, no peer."""
        self._check_peer(to)
        if self._node.is_linked(to.node):  # then nobody waits
            return send()

        def act() -> T:
            self._check_peer(to)
            return send()

        return await self._lines.setdefault(to.node, Line()).wait(act)

    # -- of the node (see `Receiver`) -------------------------------------------------------------------------------

    def received(self, origin: Origin, envelope: Envelope) -> None:
        """A peer's actors say something."""
        if origin.is_client or not self._node.has_peer(origin.name):
            raise RemoteProtocolError(f"it speaks to actors, and is no peer of {self._node.name}")
        parcel = open_parcel(envelope.body)
        self._takers[type(parcel)](self, origin, envelope, parcel)

    def connected(self, peer: str) -> None:
        """What waited for a link to this peer is sent."""
        for waiting in self._backlog.pop(peer, ()):
            self._reply(waiting.origin, waiting.correlation, waiting.body)
        self._serve_line(peer)

    def suspected(self, peer: str) -> None:
        """The link was lost before, which is what counts."""

    def disconnected(self, origin: Origin) -> None:
        """Nothing more comes from there, nor can what it asked be answered: it knows that the link is lost."""
        for question in self._questions.pop(origin, {}).values():
            question.withdraw()
        backlog = self._backlog.get(origin.name)
        if backlog is not None:
            left = deque(each for each in backlog if each.origin is not origin)
            if left:
                self._backlog[origin.name] = left
            else:
                del self._backlog[origin.name]
        if not origin.is_client:
            self.lost(origin.name)

    def lost(self, peer: str) -> None:
        """A link between this node and the peer is lost, and what was under way may be."""
        for correlation, pending in list(self._pending.items()):
            if pending.to.node == peer:
                del self._pending[correlation]
                address = pending.to.address
                label = address if pending.method is None else f"{pending.method.label} of {address}"
                pending.asker.failed(
                    None,
                    LinkBroken(f"the link to node {peer} was lost before {label} answered; it may have been handled"),
                )

    def forget(self, peer: str) -> None:
        """It is a peer no more: nobody need wait for a link to it."""
        self._serve_line(peer)

    def is_awaited(self, peer: str) -> bool:
        """Does somebody wait for a link to this peer: who wants to send, or an answer?"""
        return bool(self._lines.get(peer) or self._backlog.get(peer))

    def beat(self) -> None:
        """Once in a second: who cannot be answered is not kept waiting."""
        until = trio.current_time() - BACKLOG_SECONDS_MAX
        for backlog in self._backlog.values():
            for waiting in backlog:  # the eldest first
                if waiting.since > until:
                    break
                waiting.origin.close(NO_WAY_BACK)

    def close(self) -> None:
        """The node has closed, and lost its links: nobody need wait for one."""
        for peer in list(self._lines):
            self.forget(peer)

    def _serve_line(self, peer: str) -> None:
        line = self._lines.pop(peer, None)
        if line is not None:
            line.serve()

    # -- what comes -------------------------------------------------------------------------------------------------

    def _withdrawn(self, origin: Origin, envelope: Envelope, _: Withdrawn) -> None:
        question = self._questions.get(origin, {}).pop(envelope.correlation, None)
        if question is not None:
            question.withdraw()

    def _asked(self, origin: Origin, envelope: Envelope, asked: Asked) -> None:
        deadline = inf if asked.patience is None else trio.current_time() + asked.patience / 1_000_000
        question = self._question(origin, envelope.correlation, deadline)
        try:
            cell = self._cells.living(asked.actor)
            self._cells.deliver_from_afar(cell, self._message(cell, origin, envelope, asked, question))
        except (Rejected, AskCycle) as error:
            question.failed(None, error)

    def _told(self, origin: Origin, envelope: Envelope, told: Told) -> None:
        try:
            cell = self._cells.living(told.actor)
            message = self._message(cell, origin, envelope, told, None)
        except Rejected as error:
            self._cells.log_dead_letter(f"{self._node.name}/{told.actor}", "?", _sender(origin, told), str(error))
            return
        try:
            self._cells.deliver_from_afar(cell, message)
        except Rejected as error:
            self._cells.undeliverable(f"{self._node.name}/{told.actor}", message, error)

    def _message(
        self, cell: Cell, origin: Origin, envelope: Envelope, parcel: Asked | Told, question: RemoteQuestion | None
    ) -> Message:
        """What an actor here is to handle. Raises what the sender is told."""
        tag, *arguments = parcel.call
        if type(tag) is not str or len(tag) > TAG_LENGTH_MAX:
            raise InvalidMessage(f"a message begins with its tag, a text of {TAG_LENGTH_MAX} characters at most")
        method = cell.interface.methods.get(tag)
        if method is None:
            raise InvalidMessage(f"{cell.address} is a {cell.interface.actor.__name__}, which has no message {tag!r}")
        typed = method.unpack(arguments, self._cells)
        chain = tuple(parcel.chain) if type(parcel) is Asked else ()
        return Message(method, typed, _sender(origin, parcel), envelope.counter, origin.name, chain, question)

    def _end_awaited(self, origin: Origin, envelope: Envelope, parcel: Stopped | Watched) -> None:
        question = self._question(origin, envelope.correlation, inf)
        cell = self._cells.get(parcel.actor)
        if cell is None:
            question.ended(End("", "missing"))
            return
        question.watched = cell
        cell.on_end(question.ended)
        if type(parcel) is Stopped:
            if parcel.kill:
                cell.kill()
            else:
                cell.begin_stop()

    def _question(self, origin: Origin, correlation: int, deadline: float) -> RemoteQuestion:
        questions = self._questions.setdefault(origin, {})
        if correlation == 0 or correlation in questions:
            raise RemoteProtocolError(f"it asks twice under the correlation {correlation}")
        if len(questions) >= QUESTIONS_MAX:
            raise RemoteProtocolError(f"it has asked {QUESTIONS_MAX} things that are not answered yet")
        question = questions[correlation] = RemoteQuestion(self, origin, correlation, deadline)
        return question

    # -- answers ----------------------------------------------------------------------------------------------------

    def reply(self, origin: Origin, correlation: int, body: bytes) -> None:
        """Tell a peer what became of what it asked: an `Answered` or `Ended`. Raises TooLarge, and then it is still to
        be told."""
        questions = self._questions.get(origin, {})
        if correlation not in questions:
            return  # nobody waits for it any more
        if len(body) > BODY_SIZE_MAX:
            raise TooLarge("the answer", len(body), BODY_SIZE_MAX)
        self._reply(origin, correlation, body)
        questions.pop(correlation, None)

    def _reply(self, origin: Origin, correlation: int, body: bytes) -> None:
        if origin.closed:
            return
        if self._node.is_linked(origin.name):
            if not origin.send(ADDRESS, "actors", body, correlation=correlation, flow=correlation):
                origin.close("it does not take its answers")
            return
        backlog = self._backlog.setdefault(origin.name, deque())
        if len(backlog) >= BACKLOG_MAX:
            origin.close(NO_WAY_BACK)
        else:
            backlog.append(_Waiting(origin, correlation, body, trio.current_time()))

    def _ended(self, origin: Origin, envelope: Envelope, ended: Ended) -> None:
        pending = self._settled(origin, envelope, ended)
        if pending is not None:
            pending.asker.settle(ended.how)

    def _answered(self, origin: Origin, envelope: Envelope, parcel: Answered) -> None:
        pending = self._settled(origin, envelope, parcel)
        if pending is None or pending.method is None:
            return
        method = pending.method
        try:
            pending.asker.settle(_answers.unpack(method, parcel.outcome, self._cells))
        except DecodeError as error:
            pending.asker.failed(method, _answers.unreadable(method, pending.to.address, error))
        except Exception as error:
            pending.asker.failed(method, error)

    def _settled(self, origin: Origin, envelope: Envelope, parcel: Answered | Ended) -> _Pending | None:
        """What this is the answer to; None if nobody waits for it any more."""
        pending = self._pending.get(envelope.correlation)
        if pending is None or parcel.incarnation != self._node.incarnation:
            return None
        if pending.to.node != origin.name or (pending.method is None) != (type(parcel) is Ended):
            raise RemoteProtocolError("it answers what it was not asked")
        del self._pending[envelope.correlation]
        return pending

    # What takes a kind of parcel is given this and just that kind; no static type says so.
    _takers: ClassVar[Mapping[type[Parcel], Callable[[Any, Origin, Envelope, Any], None]]] = {
        Asked: _asked,
        Told: _told,
        Answered: _answered,
        Ended: _ended,
        Withdrawn: _withdrawn,
        Stopped: _end_awaited,
        Watched: _end_awaited,
    }


def _sender(origin: Origin, parcel: Asked | Told) -> str:
    return f"{origin.name}/{parcel.sender}" if parcel.sender else origin.name


def _patience(deadline: float) -> int | None:
    """The microseconds that are left; None if it is waited for ever."""
    return None if deadline == inf else ceil(min(max(deadline - trio.current_time(), 0) * 1_000_000, COUNTER_MAX))
