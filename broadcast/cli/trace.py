"""`troupe trace`: the traces of several nodes as one order, in words and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from actors._protocol.trace import LINE_SIZE_MAX, Contradiction, Event, Note, Noted, Place, decode_note, merge
from broadcast.cli._spacetime import EVENTS_MAX, described, draw, shown

PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg"'
"""How a picture begins."""


@click.command
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--svg",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.svg",
    help="Draw a space-time diagram into this file, in the place of words. Another picture there is written over, and "
    "nothing else is.",
)
@click.option("--from", "first", type=int, metavar="STAMP", help="Leave out what has a lower stamp.")
@click.option("--until", "last", type=int, metavar="STAMP", help="Leave out what has a higher stamp.")
@click.option(
    "--without", "unwanted", multiple=True, metavar="KIND", help="Leave out messages of this kind. May be given again."
)
def command(
    files: Sequence[Path], svg: Path | None, first: int | None, last: int | None, unwanted: Sequence[str]
) -> None:
    """Merge the traces of several nodes into one order that agrees with causality.

    A node writes a trace when it is opened with trace=DIRECTORY, or when the environment variable TROUPE_TRACE names a
    directory: NODE-LIFE.trace, a new file each time it starts. Give one FILE for each life of each node.

    What stands above may have caused what stands below it, and never the other way round. Wall clocks are shown, and
    have no part in it.
    """
    if svg is not None:
        check_place(svg, files)
    try:
        events = merge([read(path) for path in files])
    except Contradiction as error:
        raise click.ClickException(str(error)) from None
    wanted = select(events, first, last, frozenset(unwanted))
    if not wanted:
        raise click.ClickException("nothing is left to show")
    if svg is None:
        click.echo(tell(wanted))
        return
    nodes = sorted({each.note.node for each in events})
    if len(wanted) > EVENTS_MAX:
        raise click.ClickException(
            f"{len(wanted):,} events are too many for a picture, which holds {EVENTS_MAX:,}: choose some by --from, "
            "--until and --without"
        )
    try:
        svg.write_text(draw(wanted, nodes), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{svg} cannot be written: {error.strerror}") from None
    click.echo(f"{svg}: {len(wanted):,} events of {', '.join(nodes)}")


def check_place(svg: Path, files: Sequence[Path]) -> None:
    """Raises ClickException if something is there that is no picture: by `--svg traces/*.trace` it is the first trace,
    which does not look so."""
    if not svg.is_file():  # nothing is, or what takes it is no file, such as a pipe
        return
    if any(svg.samefile(path) for path in files):
        raise click.ClickException(f"{svg} is one of the traces, and stays as it is: name a new file behind --svg")
    try:
        with svg.open("rb") as file:
            begin = file.read(len(PICTURE))
    except OSError as error:
        raise click.ClickException(f"{svg} cannot be read: {error.strerror}") from None
    if begin not in (PICTURE, b""):
        raise click.ClickException(
            f"{svg} is there already, and is no picture of `troupe trace`: name a new file behind --svg, or remove it"
        )


def read(path: Path) -> list[Noted]:
    """The notes in a file. Its last line may be cut off, as by a node that was killed."""
    noted: list[Noted] = []
    try:
        with path.open("rb") as file:
            while line := file.readline(LINE_SIZE_MAX + 1):
                place = Place(str(path), len(noted) + 1)
                try:
                    noted.append((decode_note(line), place))
                except ValueError as error:
                    if noted and not line.endswith(b"\n") and not file.read(1):
                        click.echo(f"{place} is cut off, and left out", err=True)
                        break
                    raise click.ClickException(f"{place} is not of a trace: {error}") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None
    if not noted:
        raise click.ClickException(f"{path} holds no notes")
    return noted


def select(events: Sequence[Event], first: int | None, last: int | None, unwanted: frozenset[str]) -> list[Event]:
    """Those that are wanted. Messages that were sent or received beyond them lead nowhere, or come from there."""
    chosen = [at for at, event in enumerate(events) if _is_wanted(event.note, first, last, unwanted)]
    places: dict[int | None, int] = {at: place for place, at in enumerate(chosen)}
    return [
        Event(
            events[at].note,
            events[at].place,
            cause=places.get(events[at].cause),
            effect=places.get(events[at].effect),
            beyond=events[at].effect is not None and events[at].effect not in places,
        )
        for at in chosen
    ]


def _is_wanted(note: Note, first: int | None, last: int | None, unwanted: frozenset[str]) -> bool:
    return (
        (first is None or note.counter >= first)
        and (last is None or note.counter <= last)
        and (note.kind is None or note.kind not in unwanted)
    )


def tell(events: Sequence[Event]) -> str:
    """The order in words, a line each."""
    stamps = [f"{event.note.counter}.{event.note.node}" for event in events]
    width = max(map(len, stamps))
    return "\n".join(
        f"{stamp:>{width}}  {_time(event.note)}  {shown(described(event))}"
        for stamp, event in zip(stamps, events, strict=True)
    )


def _time(note: Note) -> str:
    try:
        return datetime.fromtimestamp(note.at / 1e6, UTC).strftime("%H:%M:%S.%f")
    except (OverflowError, ValueError, OSError):
        return "--:--:--.------"
