"""A space-time diagram (Lamport 1978): a lane for each node, time downward, an arrow for each message.

A row for each event, in the order that `merge` gives. What leads down to an event by lanes and arrows may have had a
part in it; what does not had none. A lane is golden while its node leads, as far as it has been told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from actors._protocol.trace import Event, Note

ROW = 19  # pixels, as everything here
HEAD = 96  # above the first row
LANE = 150  # from one lane to the next
DIGIT = 6.7  # of a stamp
GAP = 56  # from the last lane to the words
FOOT = 40
WORDS = 356
WORDS_LENGTH_MAX = 36
EVENTS_MAX = 5_000
"""In one picture. Beyond that nothing shows it."""

COLORS = ("#2563eb", "#d97706", "#059669", "#7c3aed", "#db2777", "#0891b2", "#65a30d", "#b45309", "#475569", "#be123c")
"""Of kinds of message, the most frequent first; further ones share the last but one."""
OTHERS = "#475569"
INK, PALE, LINE, LOSS = "#1e293b", "#94a3b8", "#cbd5e1", "#dc2626"


def draw(events: Sequence[Event], nodes: Iterable[str]) -> str:
    """The picture, as SVG. nodes: those whose traces are at hand, though nothing may be shown of them."""
    picture = _Picture(events, sorted(set(nodes)))
    return "\n".join(picture.parts()) + "\n"


class _Picture:
    def __init__(self, events: Sequence[Event], nodes: Sequence[str]) -> None:
        self._events = events
        left = 58 + round(DIGIT * max(len(str(event.note.counter)) for event in events))
        self._stamps = left - 34  # where they end
        self._lanes = {node: left + LANE * at for at, node in enumerate(nodes)}
        self._edge = left + LANE * (len(nodes) - 1) + GAP  # where the words begin
        self._names_of = sorted({event.note.to for event in events if event.note.to is not None})
        self._width = self._edge + WORDS
        self._height = HEAD + ROW * len(events) + FOOT
        kinds = Counter(event.note.kind for event in events if event.note.kind is not None)
        self._counts = kinds.most_common()
        self._colors = {kind: COLORS[at] if at < len(COLORS) else OTHERS for at, (kind, _) in enumerate(self._counts)}

    def parts(self) -> Iterable[str]:
        """From the back to the front."""
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {self._height}" '
            f'width="{self._width}" height="{self._height}" font-family="Inter, Helvetica, Arial, sans-serif">'
        )
        yield f"<style>{_STYLE}</style>"
        yield f'<rect width="{self._width}" height="{self._height}" fill="#ffffff"/>'
        yield from self._definitions()
        yield from self._legend()
        yield from self._rows()
        yield from self._lives()
        for at, event in enumerate(self._events):
            yield from self._arrow(at, event)
        for at, event in enumerate(self._events):
            yield self._mark(at, event.note)
        yield from self._names()
        yield "</svg>"

    # -- what is around it ---------------------------------------------------------------------------------------------

    def _definitions(self) -> Iterable[str]:
        yield "<defs>"
        for color in sorted({*self._colors.values(), PALE}):
            yield (
                f'<marker id="tip{color[1:]}" viewBox="0 0 10 10" refX="9.5" refY="5" markerWidth="7" markerHeight="7" '
                f'orient="auto"><path d="M0 1 L10 5 L0 9 z" fill="{color}"/></marker>'
            )
        yield "</defs>"

    def _legend(self) -> Iterable[str]:
        x, y = 24, 26  # of the next word
        for kind, count in self._counts:
            label = f"{kind} {count}"
            width = 22 + round(6.3 * len(label))
            if x + width > self._width - 24:
                x, y = 24, y + 18
                if y > HEAD - 50:
                    return
            yield f'<line x1="{x}" x2="{x + 14}" y1="{y - 4}" y2="{y - 4}" stroke="{self._colors[kind]}" class="key"/>'
            yield f'<text x="{x + 19}" y="{y}" class="legend">{_text(label)}</text>'
            x += width + 14

    def _names(self) -> Iterable[str]:
        for node, x in self._lanes.items():
            for y in (HEAD - 24, self._height - FOOT + 22):
                width = max(34, 18 + round(7.6 * len(_short(node))))
                yield f'<rect x="{x - width / 2:g}" y="{y - 15}" width="{width}" height="22" rx="11" fill="{INK}"/>'
                yield f'<text x="{x}" y="{y}" class="name">{_text(_short(node))}</text>'

    def _lives(self) -> Iterable[str]:
        """Of each node a line, from its first event to its last, with a gap between two lives."""
        spans: dict[tuple[str, int], tuple[int, int]] = {}
        for at, event in enumerate(self._events):
            life = event.note.node, event.note.life
            spans[life] = spans.get(life, (at, at))[0], at
        for (node, _), (first, last) in spans.items():
            x = self._lanes[node]
            begin, end = self._y(first) - ROW / 2, self._y(last) + ROW / 2
            yield f'<line x1="{x}" x2="{x}" y1="{begin:g}" y2="{end:g}" class="life"/>'
            yield f'<line x1="{x - 5}" x2="{x + 5}" y1="{begin:g}" y2="{begin:g}" class="life"/>'
            yield f'<line x1="{x - 5}" x2="{x + 5}" y1="{end:g}" y2="{end:g}" class="life"/>'
        for node, first, last in self._reigns(spans):
            x = self._lanes[node]
            yield f'<line x1="{x}" x2="{x}" y1="{self._y(first):g}" y2="{self._y(last):g}" class="reign"/>'

    def _reigns(self, spans: Mapping[tuple[str, int], tuple[int, int]]) -> Iterable[tuple[str, int, int]]:
        """From where to where a node led, as it knew itself. What it hears of an epoch after a later one has begun is
        history."""
        begun: dict[tuple[str, int], tuple[str | None, int]] = {}
        newest: dict[str | None, int] = {}  # epoch of each group
        for at, event in enumerate(self._events):
            note = event.note
            if note.event == "view" and (note.epoch or 0) >= newest.get(note.to, 0):
                newest[note.to] = note.epoch or 0
                life = note.node, note.life
                leader, first = begun.get(life, (None, at))
                if leader == note.node:
                    yield note.node, first, at
                begun[life] = note.leader, at
        for life, (leader, first) in begun.items():
            if leader == life[0]:
                yield life[0], first, spans[life][1]

    def _rows(self) -> Iterable[str]:
        for at, event in enumerate(self._events):
            note, y = event.note, self._y(at)
            if at % 2:
                yield f'<rect x="0" y="{y - ROW / 2:g}" width="{self._width}" height="{ROW}" fill="#f8fafc"/>'
            yield f'<text x="{self._stamps}" y="{y + 4:g}" class="stamp">{note.counter}</text>'
            yield from self._words(event.note, y + 4)

    def _words(self, note: Note, y: float) -> Iterable[str]:
        """Who and whom, what, of which epoch, how large; of many groups, also which."""
        x = self._edge
        group = f" of {note.to}" if note.to is not None and len(self._names_of) > 1 else ""
        yield f'<text x="{x}" y="{y:g}" class="who">{_text(_who(note))}</text>'
        if note.kind is None:
            words = _happening(note) + group
            words = words if len(words) <= WORDS_LENGTH_MAX else f"{words[: WORDS_LENGTH_MAX - 1]}\u2026"
            yield f'<text x="{x + 104}" y="{y:g}" class="words">{_text(words)}</text>'
            return
        color = self._colors[note.kind]
        yield f'<text x="{x + 104}" y="{y:g}" class="kind" fill="{color}">{_text(_short(note.kind))}</text>'
        if note.event == "drop":
            yield f'<text x="{x + 204}" y="{y:g}" class="words" style="fill:{LOSS}">not sent</text>'
            return
        epoch = "" if note.epoch is None else f"epoch {note.epoch}"
        yield f'<text x="{x + 204}" y="{y:g}" class="words">{_text(_short(epoch + group))}</text>'
        if note.size is not None:
            yield f'<text x="{self._width - 24}" y="{y:g}" class="stamp">{note.size:,} B</text>'

    # -- what happens --------------------------------------------------------------------------------------------------

    def _arrow(self, at: int, event: Event) -> Iterable[str]:
        note = event.note
        x, y = self._lanes[note.node], self._y(at)
        color = self._colors.get(note.kind or "", PALE)
        if event.effect is not None:
            there = self._events[event.effect].note
            to, down = self._lanes[there.node], self._y(event.effect)
            yield self._line(x, y, to, down, color, _title(note))
        elif note.event == "drop":
            yield f'<path d="M{x - 22} {y - 4:g} l8 8 m0 -8 l-8 8" stroke="{LOSS}" class="cross"/>'
            yield f'<line x1="{x - 12}" y1="{y:g}" x2="{x - 4}" y2="{y:g}" class="lost" stroke="{LOSS}"/>'
        elif note.event == "send":
            beyond = self._lanes.get(note.peer or "")
            if beyond is None or event.beyond:  # what becomes of it is not shown
                yield self._line(x, y, x + 26, y + ROW * 0.8, PALE, _title(note))
                return
            part = 0.38  # of the way
            end, down = x + (beyond - x) * part, y + ROW * 1.4
            yield f'<line x1="{x}" y1="{y:g}" x2="{end:g}" y2="{down:g}" class="lost" stroke="{LOSS}"/>'
            yield f'<path d="M{end - 4:g} {down - 4:g} l8 8 m0 -8 l-8 8" stroke="{LOSS}" class="cross"/>'
        elif note.event == "receive" and event.cause is None:
            yield self._line(x - 26, y - ROW * 0.8, x, y, PALE, _title(note))

    def _line(self, x: float, y: float, to: float, down: float, color: str, title: str) -> str:
        """Ends beside the mark that it leads to."""
        length = ((to - x) ** 2 + (down - y) ** 2) ** 0.5 or 1
        short = 5.5 / length
        end, bottom = to - (to - x) * short, down - (down - y) * short
        return (
            f'<line x1="{x:g}" y1="{y:g}" x2="{end:.1f}" y2="{bottom:.1f}" stroke="{color}" class="arrow" '
            f'marker-end="url(#tip{color[1:]})"><title>{title}</title></line>'
        )

    def _mark(self, at: int, note: Note) -> str:
        x, y = self._lanes[note.node], self._y(at)
        title = f"<title>{_title(note)}</title>"
        color = self._colors.get(note.kind or "", INK)
        match note.event:
            case "deliver":
                return f'<path d="M{x} {y - 5:g} l5 5 l-5 5 l-5 -5 z" fill="{INK}">{title}</path>'
            case "view":
                ring = f'<circle cx="{x}" cy="{y:g}" r="8" fill="#fef3c7" stroke="#b45309" stroke-width="1.5"/>'
                return f'<g>{ring}<text x="{x}" y="{y + 3.5:g}" class="epoch">{note.epoch}</text>{title}</g>'
            case "log":
                return f'<path d="M{x - 3.5} {y - 3.5:g} h7 v7 h-7 z" fill="{PALE}">{title}</path>'
            case "lost":
                return f'<path d="M{x - 5} {y - 5:g} h10 v10 h-10 z" fill="{LOSS}">{title}</path>'
            case "receive":
                return (
                    f'<circle cx="{x}" cy="{y:g}" r="4" fill="#ffffff" stroke="{color}" class="mark">{title}</circle>'
                )
            case _:
                return (
                    f'<circle cx="{x}" cy="{y:g}" r="4" fill="{color}" stroke="{color}" class="mark">{title}</circle>'
                )

    def _y(self, at: int) -> float:
        return HEAD + ROW * at + ROW / 2


_STYLE = (
    ".stamp{font:11px ui-monospace,'DejaVu Sans Mono',monospace;fill:#94a3b8;text-anchor:end}"
    ".words{font:11.5px ui-monospace,'DejaVu Sans Mono',monospace;fill:#334155}"
    ".who{font:11.5px ui-monospace,'DejaVu Sans Mono',monospace;fill:#1e293b}"
    ".kind{font:600 11.5px ui-monospace,'DejaVu Sans Mono',monospace}"
    ".name{font-weight:600;font-size:13px;fill:#fff;text-anchor:middle}"
    ".legend{font-size:11.5px;fill:#334155}"
    ".epoch{font-weight:700;font-size:10px;fill:#92400e;text-anchor:middle}"
    ".life{stroke:#cbd5e1;stroke-width:2}"
    ".reign{stroke:#f59e0b;stroke-width:3}"
    ".arrow{stroke-width:1.4;stroke-opacity:.8}.arrow:hover{stroke-width:3;stroke-opacity:1}"
    ".key{stroke-width:3;stroke-linecap:round}"
    ".lost{stroke-width:1.4;stroke-dasharray:4 3}.cross{stroke-width:1.6;fill:none}"
    ".mark{stroke-width:1.6}"
)


def _text(text: str) -> str:
    """As it can stand in a picture."""
    return escape(shown(text))


def shown(text: str) -> str:
    """What others wrote, without what would do something to a terminal or to a picture."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in text)


def _who(note: Note) -> str:
    match note.event:
        case "send" | "drop":
            return _short(f"{note.node} \u2192 {note.peer or '?'}")
        case "receive":
            return _short(f"{note.node} \u2190 {note.peer}")
        case _:
            return _short(note.node)


def _short(text: str) -> str:
    return text if len(text) <= 14 else f"{text[:13]}\u2026"


def _happening(note: Note) -> str:
    """What happens that is no message."""
    match note.event:
        case "deliver":
            return f"delivers {note.first}" + ("" if note.first == note.last else f" to {note.last}")
        case "view":
            return f"epoch {note.epoch} begins: {note.leader} leads"
        case "log":
            return f"{note.level or 'log'}: {' '.join((note.text or '').split())}"
        case _:
            return f"{note.count} notes are missing"


def _title(note: Note) -> str:
    return _text(f"{note.event} {note.kind or note.text or ''} at {note.counter}.{note.node}".replace("  ", " "))


def described(event: Event) -> str:
    """An event in a line, without its stamp."""
    note = event.note
    epoch = "" if note.epoch is None else f"  epoch {note.epoch}"
    size = "" if note.size is None else f"  {note.size:,} B"
    kind, to = note.kind or "", "" if note.to is None else f"  {note.to}"
    match note.event:
        case "send":
            return f"{note.node} -> {note.peer}  {kind}{to}{epoch}{size}"
        case "drop":
            return f"{note.node} -> {note.peer or '?'}  {kind}{to}{epoch}{size}  not sent: no link, or no room"
        case "receive":
            return f"{note.node} <- {note.peer}  {kind}{to}{epoch}{size}  sent at {note.sent}"
        case "deliver":
            return f"{note.node}  {_happening(note)}{to}{epoch}"
        case "view":
            return f"{note.node}  {_happening(note)}{to}"
        case "log":
            return f"{note.node}  {_happening(note)}"
        case "lost":
            return f"{note.node}  {_happening(note)}: too many came"
