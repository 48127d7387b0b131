"""What happened, in words: one line an event, and of a message what matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from textwrap import shorten
from typing import Any

from stage import (
    NOBODY,
    Arrived,
    Became,
    Delivered,
    Event,
    Flight,
    Lost,
    Offered,
    ReadAnswered,
    Sent,
    Stage,
    Told,
    What,
    Wrote,
)

from actors._protocol.codec import decode
from broadcast._protocol.entries import (
    Commands,
    EpochStart,
    SessionAsked,
    SessionEnded,
    SessionKept,
    Submittable,
    decode_entries,
    span,
)
from broadcast._protocol.messages import (
    Append,
    AppendReply,
    Committed,
    Heartbeat,
    HeartbeatReply,
    ReadIndex,
    ReadIndexReply,
    Submit,
)
from broadcast._protocol.output import Formed, LeaderKnown, Noticed, Persist
from broadcast._protocol.position import Batch, Position
from broadcast._protocol.reports import Answers, Expired, Kept, Missing, Opened, Resend
from broadcast._protocol.sessions import Outcome
from membership._protocol.messages import FormedNotice, Forming, VoteReply, VoteRequest


def tell(events: Sequence[Event], *, brief: bool = False) -> Iterator[str]:
    """One line an event; the same message to several at once is one. `brief`: without what came to nothing."""
    if brief:
        events = [event for event in events if not isinstance(event.what, Lost)]
    at = 0
    while at < len(events):
        event, flights = events[at], _alike(events, at)
        if flights:
            yield _line(event.now, f"{event.who} -> {' '.join(each.to for each in flights)}", _message(flights[0]))
        elif not (brief and _came_to_nothing(events, at)):
            yield _line(event.now, *_WHAT[type(event.what)](event.who, event.what))
        at += max(1, len(flights))


def _alike(events: Sequence[Event], at: int) -> list[Flight]:
    """The same message to one after the other."""
    flights: list[Flight] = []
    for event in events[at:]:
        if not isinstance(event.what, Sent) or (flights and event.what.flight.data != flights[0].data):
            break
        if any(event.what.flight.to == flight.to or event.who != flight.sender for flight in flights):
            break
        flights.append(event.what.flight)
    return flights


def _came_to_nothing(events: Sequence[Event], at: int) -> bool:
    """Did a message arrive, and the next thing was another?"""
    return all(isinstance(event.what, Arrived) for event in events[at : at + 2])


def logs(stage: Stage) -> Iterator[str]:
    """The epochs of each log's entries."""
    for name in stage.names:
        if name not in stage.cores:
            yield f"          {name}  (down)"
            continue
        replica = stage.replica(name)
        epochs = [str(epoch) for epoch in stage.epochs(name)]
        shown = " ".join([*epochs[: replica.commit], "|", *epochs[replica.commit :]])
        yield f"          {name}  {shown:<{4 + 2 * 10}}  {replica.role} in {replica.epoch}".rstrip()


def _line(now: int, who: str, text: str) -> str:
    return f"  {now:>6}  {who:<10}  {text}".rstrip()


# -- events ---------------------------------------------------------------------------------------------------------


def _arrived(who: str, what: Arrived) -> tuple[str, str]:
    return f"{what.flight.sender} > {who}", _kind(what.flight)


def _lost(who: str, what: Lost) -> tuple[str, str]:
    return f"{who} > {what.flight.to}", f"lost: {_message(what.flight)}"


def _became(who: str, what: Became) -> tuple[str, str]:
    return who, f"is {what.role} in epoch {what.epoch}"


def _persist(who: str, what: Persist) -> tuple[str, str]:
    parts = []
    if what.formation is not None:
        parts.append("the record of the group")
    if what.promise is not None:
        to = f" to {what.promise.granted_to}" if what.promise.granted_to else ""
        parts.append(f"promise {what.promise.epoch}{to}")
    if what.truncate is not None:
        parts.append(f"a cut from {what.truncate} on")
    parts.extend(map(_batch, what.batches))
    return who, f"writes {', '.join(parts)}"


def _wrote(who: str, what: Wrote) -> tuple[str, str]:
    return who, "has written all that"


def _delivered(who: str, what: Delivered) -> tuple[str, str]:
    return who, f"delivers {', '.join(map(_batch, what.batches))}"


def _read_answered(who: str, what: ReadAnswered) -> tuple[str, str]:
    return who, f"answers read {what.label}: {' '.join(what.words) or 'nothing was said'}"


def _offered(who: str, what: Offered) -> tuple[str, str]:
    return f"{who} -> {what.to}", _numbered(what.entry)


def _told(who: str, what: Told) -> tuple[str, str]:
    return f"{what.by} -> {who}", _REPORTS[type(what.report)](what.report)


def _leader_known(who: str, what: LeaderKnown) -> tuple[str, str]:
    return who, f"knows no leader in epoch {what.epoch}" if what.leader is None else (
        f"knows that {what.leader} leads epoch {what.epoch}"
    )


def _formed(who: str, what: Formed) -> tuple[str, str]:
    return who, f"takes part in a group of {' '.join(what.formation.configuration.voter_names)}"


def _noticed(who: str, what: Noticed) -> tuple[str, str]:
    return who, f"tells its operator: {shorten(what.text, 90, placeholder=' ...')}"


_WHAT: dict[type[What], Callable[[str, Any], tuple[str, str]]] = {
    Arrived: _arrived,
    Lost: _lost,
    Became: _became,
    Persist: _persist,
    Wrote: _wrote,
    Delivered: _delivered,
    ReadAnswered: _read_answered,
    Offered: _offered,
    Told: _told,
    LeaderKnown: _leader_known,
    Formed: _formed,
    Noticed: _noticed,
    str: lambda who, what: (who, what),
}


# -- messages -------------------------------------------------------------------------------------------------------


_NAMES: dict[type, str] = {
    VoteRequest: "vote?",
    VoteReply: "vote",
    Forming: "hello",
    FormedNotice: "formed",
    AppendReply: "appended",
    HeartbeatReply: "beaten",
    ReadIndex: "read?",
    ReadIndexReply: "read",
}


def _kind(flight: Flight) -> str:
    """What a message that was told of when it was sent is called when it arrives."""
    message: Any = flight.message
    name = _NAMES.get(type(message), type(message).__name__.lower())
    epoch = getattr(message, "campaign", getattr(message, "epoch", ""))
    return f"{name} {epoch}{' pre' if getattr(message, 'pre', False) else ''}".rstrip()


def _message(flight: Flight) -> str:
    message = flight.message
    detail = _MESSAGES[type(message)](message)
    return f"{_kind(flight)}{detail}"


def _vote(message: VoteReply) -> str:
    known = "" if message.epoch == message.campaign - message.pre else f", it lives in {message.epoch}"
    return f": {'yes' if message.granted else 'no'}{known}"


def _append(message: Append) -> str:
    batches = ", ".join(map(_batch, message.batches)) or "nothing, a probe"
    return f" after {_position(message.previous)}: {batches} (commit {message.commit})"


def _appended(message: AppendReply) -> str:
    if message.conflict is None:
        return f": holds up to {message.match}"
    return f": cannot place what follows {message.rejected}, go on at {message.conflict}"


_MESSAGES: dict[type, Callable[[Any], str]] = {
    VoteRequest: lambda message: f": its log ends at {_position(Position(*message.standing))}",
    VoteReply: _vote,
    Forming: lambda message: f": an empty disk, for a group of {' '.join(message.members)}",
    FormedNotice: lambda message: f": {' '.join(message.formation.configuration.voter_names)}",
    Append: _append,
    AppendReply: _appended,
    Heartbeat: lambda message: f": round {message.round} (commit {message.commit})",
    HeartbeatReply: lambda message: f": round {message.round}",
    Committed: lambda message: f": up to {message.commit}",
    Submit: lambda message: f": {', '.join(map(_numbered, message.entries))}",
    ReadIndex: lambda message: f": number {message.number}",
    ReadIndexReply: lambda message: f": number {message.number} at index {message.index}",
}


# -- entries --------------------------------------------------------------------------------------------------------


def _position(position: Position) -> str:
    return f"{position.epoch}.{position.index}"


def _batch(batch: Batch) -> str:
    shown, index = [], batch.first
    for entry in decode_entries(batch.entries):
        shown.append(f"{batch.epoch}.{index} {_entry(entry)}")
        index += span(entry)
    return ", ".join(shown)


def _entry(entry: object) -> str:
    match entry:
        case EpochStart():
            return "start"
        case Commands():
            return " ".join(_word(each) for each in _calls(entry))
        case SessionAsked():
            return f"open a session of {entry.owner}"
        case SessionKept():
            return f"keep session {entry.session}"
        case SessionEnded():
            return f"end session {entry.session}"
        case _:
            return str(entry)


def _numbered(entry: Submittable) -> str:
    """As its session's owner says it."""
    if isinstance(entry, Commands) and entry.session < NOBODY:
        return f"number {entry.number} of session {entry.session}: {_entry(entry)}"
    return _entry(entry)


def _calls(entry: Commands) -> list[Any]:
    calls = decode(entry.calls)
    return calls if isinstance(calls, list) else []


def _word(call: Any) -> str:
    return "void" if call is None else str(call[1])


# -- reports --------------------------------------------------------------------------------------------------------


def _answers(report: Answers) -> str:
    outcomes: list[Any] = [decode(outcome) for outcome in report.outcomes]
    shown = [str(rest[0]) if kind == Outcome.APPLIED else Outcome(kind).name.lower() for kind, *rest in outcomes]
    numbers = range(report.number, report.number + len(shown))
    return ", ".join(f"the answer to number {number} is {each}" for number, each in zip(numbers, shown, strict=True))


_REPORTS: dict[type, Callable[[Any], str]] = {
    Opened: lambda report: "no room for a session" if report.session is None else f"session {report.session} is open",
    Answers: _answers,
    Missing: lambda report: f"number {report.expected} of session {report.session} is missing",
    Kept: lambda report: f"session {report.session} is kept",
    Expired: lambda report: f"session {report.session} has expired",
    Resend: lambda report: "what is not answered should be sent again",
}
