"""Is a history linearizable? (Herlihy and Wing 1990; the search of Wing and Gong 1993 with Lowe's cache, 2017.)

What the object should do is said by the actor's class itself, run by one caller after the other as replicas run it:
with arguments that have travelled, and undone where it crashes. A history is split by key first: objects that have
nothing in common are linearizable together if each of them is, and the search is short.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias, cast

from actors._actor import Actor, give_context
from actors._context import Context
from actors._interface import Interface, Method
from actors._plain import encode_plain, to_plain
from actors._protocol.codec import decode
from actors._protocol.errors import ActorCrashed, Refused
from broadcast._calls import open_call
from broadcast._errors import AnswerNotKept
from broadcast._outcomes import ANSWERED, pack_refusal
from broadcast._protocol.sessions import Outcome

STEPS_MAX = 1_000_000  # of the search in one part of a history
NEVER_TOLD = b"\xff"  # begins nothing that is encoded


@dataclass(frozen=True, slots=True)
class Operation:
    """One call as its caller saw it. Times are of any clock that all callers share.

    method, arguments: what was called. begun: when it was about to be sent. ended: when its outcome was known; None if
    it never was. outcome: the answer, or the `Refused`, `ActorCrashed` or `AnswerNotKept` that was raised; of no
    meaning while `ended` is None. (What was rejected otherwise was not applied, and is no part of a history.)
    """

    caller: str
    method: str
    arguments: tuple[object, ...]
    begun: float
    ended: float | None
    outcome: object = None

    def __str__(self) -> str:
        asked = f"{self.method}({', '.join(map(repr, self.arguments))})"
        if self.ended is None:
            return f"{self.caller}: {asked} from {self.begun:.6f}, outcome unknown"
        return f"{self.caller}: {asked} = {self.outcome!r} from {self.begun:.6f} to {self.ended:.6f}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """linearizable: is it? None if the search was given up. order: the longest that was found, of all if it is.

    stuck: the operations of which one would have had to come next, and none fits.
    """

    linearizable: bool | None
    order: tuple[Operation, ...]
    stuck: tuple[Operation, ...] = ()

    def __str__(self) -> str:
        if self.linearizable:
            return f"linearizable: {len(self.order)} operations"
        what = "undecided" if self.linearizable is None else "not linearizable"
        before = "\n".join(f"  {operation}" for operation in self.order[-10:])
        after = "\n".join(f"  {operation}" for operation in self.stuck)
        return (
            f"{what}: after these {len(self.order)} operations (the last ten)\n{before}\nnone of these fits:\n{after}"
        )


def check(
    history: Iterable[Operation],
    actor: Callable[[], Actor],
    key: Callable[[Operation], Hashable] = lambda operation: None,
    *,
    steps_max: int = STEPS_MAX,
) -> Verdict:
    """Is there one order of these operations, each between its beginning and its end, that the class itself would give?

    key: what an operation is about; operations of different keys must have nothing in common.
    Returns the first part's verdict that is not good, or a good one of all. Raises CannotCheck for a class that looks
    at what no history tells, InvalidMessage for a call that cannot be sent, KeyError for one that the class has not.
    """
    parts: dict[Hashable, list[Operation]] = {}
    for operation in history:
        parts.setdefault(key(operation), []).append(operation)
    order: list[Operation] = []
    for part in parts.values():
        verdict = _Search(part, actor).run(steps_max)
        if not verdict.linearizable:
            return verdict
        order.extend(verdict.order)
    return Verdict(True, tuple(order))


class CannotCheck(Exception):
    """The class does not say what an operation should do: that follows from more than messages and their order."""


class _Nowhere:
    """The context of operations whose time and place are what is looked for. method: the one that is run."""

    active = True
    version = 1  # of the class
    method = ""

    def __getattr__(self, name: str) -> NoReturn:
        raise CannotCheck(
            f"{self.method} looks at self.context.{name}, which no history tells: such a class cannot be checked so"
        )


_State: TypeAlias = "dict[str, object]"


@dataclass(frozen=True, slots=True)
class _Asked:
    """An operation as replicas get it. told: what its caller was told, or how that begins; empty if nothing."""

    method: Method
    call: bytes
    told: bytes


class _Object:
    """Runs one operation after the other, from any state."""

    def __init__(self, actor: Callable[[], Actor]) -> None:
        self._actor = actor()
        self.state: _State = dict(vars(self._actor))  # before the first
        self._nowhere = _Nowhere()
        give_context(self._actor, cast("Context", self._nowhere))
        self._interface = Interface.of(type(self._actor))
        self._interface.replicable()
        self._methods = {method.name: method for method in self._interface.methods.values()}

    def asked(self, operation: Operation) -> _Asked:
        method = self._methods[operation.method]
        told = b""
        if operation.ended is not None:
            try:
                told = _told(method, operation.outcome)
            except TypeError:  # not what the method declares
                told = NEVER_TOLD
        return _Asked(method, method.pack(operation.arguments, {}), told)

    def run(self, state: _State, asked: _Asked) -> tuple[_State, bytes]:
        """The state that follows, and what the caller is told."""
        now = vars(self._actor)
        now.clear()
        now.update(copy.deepcopy(state))
        self._nowhere.method = asked.method.label
        method, arguments = open_call(self._interface, decode(asked.call), asked.method.kind)
        try:
            told = _told(method, method.function(self._actor, *arguments))
        except Refused as refusal:
            told = _told(method, refusal)
        except CannotCheck:
            raise
        except Exception as error:  # a bug of the class: undone
            return state, _told(method, ActorCrashed(error))
        return dict(now), told


def _told(method: Method, outcome: object) -> bytes:
    """What is the same for two outcomes that are one to a caller. `TypeError` for no answer of this method."""
    match outcome:
        case Refused():
            parts = cast("list[object]", decode(pack_refusal(method, outcome)))[:3]  # its kind, class and arguments
        case ActorCrashed():
            parts = [Outcome.CRASHED.value]
        case AnswerNotKept():
            return ANSWERED
        case _:
            answer = method.unpack_answer(method.pack_answer(outcome))
            parts = [Outcome.APPLIED.value, to_plain(answer)]
    return encode_plain(parts)


class _Event:
    """The beginning or the end of an operation, in a list of those that have no place in the order yet."""

    __slots__ = ("after", "before", "end", "number")

    def __init__(self, number: int, end: _Event | None) -> None:
        self.number = number
        self.end = end  # of a beginning: its end; None for an end
        self.before: _Event | None = None
        self.after: _Event | None = None


class _Search:
    """Depth first: place an operation that may come next, and take it back where nothing fits."""

    def __init__(self, part: Sequence[Operation], actor: Callable[[], Actor]) -> None:
        self._operations = part
        self._object = _Object(actor)
        self._asked = [self._object.asked(operation) for operation in part]
        self._state = self._object.state
        self._head = _events(part)
        self._placed = 0  # a bit for each operation that has its place
        self._open = sum(operation.ended is not None for operation in part)  # those that must find theirs
        self._stack: list[tuple[_Event, _State]] = []
        self._seen: set[tuple[int, bytes]] = set()
        self._best: tuple[Operation, ...] = ()
        self._stuck: tuple[Operation, ...] = ()

    def run(self, steps_max: int) -> Verdict:
        at = self._head.after
        for _ in range(steps_max):
            if not self._open:
                return Verdict(True, self._order())
            if at is not None and at.end is not None:
                at = self._head.after if self._place(at) else at.after
            else:  # an operation ends here, and could not be placed before
                self._remember(at)
                if not self._stack:
                    return Verdict(False, self._best, self._stuck)
                at = self._take_back()
        return Verdict(None, self._best, self._stuck)

    def _place(self, event: _Event) -> bool:
        """Let this one come next, unless it does not fit, or what follows was tried before."""
        asked = self._asked[event.number]
        state, told = self._object.run(self._state, asked)
        if not told.startswith(asked.told):
            return False
        placed = self._placed | 1 << event.number
        reached = placed, encode_plain(to_plain(state, "state"))
        if reached in self._seen:
            return False
        self._seen.add(reached)
        self._stack.append((event, self._state))
        self._state, self._placed = state, placed
        self._open -= self._operations[event.number].ended is not None
        _take_out(event)
        return True

    def _take_back(self) -> _Event | None:
        event, self._state = self._stack.pop()
        self._placed ^= 1 << event.number
        self._open += self._operations[event.number].ended is not None
        _put_back(event)
        return event.after

    def _order(self) -> tuple[Operation, ...]:
        return tuple(self._operations[event.number] for event, _ in self._stack)

    def _remember(self, end: _Event | None) -> None:
        if len(self._stack) >= len(self._best):
            self._best = self._order()
            stuck: list[Operation] = []
            at = self._head.after
            while at is not None and at is not end:
                stuck.append(self._operations[at.number])
                at = at.after
            self._stuck = tuple(stuck)


def _events(part: Sequence[Operation]) -> _Event:
    """The list's head; the events follow in the order of time, beginnings first where two are at once."""
    timed: list[tuple[float, int, int, _Event]] = []
    for number, operation in enumerate(part):
        end = _Event(number, None)
        timed.append((operation.begun, 0, number, _Event(number, end)))
        timed.append((float("inf") if operation.ended is None else operation.ended, 1, number, end))
    head = last = _Event(-1, None)
    for _, _, _, event in sorted(timed, key=lambda each: each[:3]):
        last.after, event.before = event, last
        last = event
    return head


def _take_out(event: _Event) -> None:
    for each in (event, event.end):
        if each is not None and each.before is not None:
            each.before.after = each.after
            if each.after is not None:
                each.after.before = each.before


def _put_back(event: _Event) -> None:
    for each in (event.end, event):
        if each is not None and each.before is not None:
            each.before.after = each
            if each.after is not None:
                each.after.before = each
