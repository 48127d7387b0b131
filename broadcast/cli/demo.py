"""`troupe demo`: a group of three processes loses its leader to kill -9, and nothing else."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from time import monotonic
from typing import cast

import click
import msgspec
import trio

from broadcast.cli._order import Report, counted, ends, table
from broadcast.cli._play import NAMES, NoAnswer, Result, perform
from broadcast.cli._process import ReplicaEnded

LINES_MIN = 1_000  # of the demo's own text
LINE_SIZE_MAX = 500_000  # bytes; well within what a command may take


@click.command
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True), required=False)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, writable=True),
    help="Keep the replicas' data and logs in this directory, which must be new or empty.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in the place of the story.")
@click.option("--plant", type=click.Choice(NAMES), hidden=True, help="Let this replica misapply a line.")
def command(file: Path | None, data: Path | None, as_json: bool, plant: str | None) -> None:
    """Three replicas, one killed leader, one order.

    Starts three replicas of a journal, each a process of its own with its own data directory; a client writes the lines
    of FILE (- is standard input; left out, the demo's own source) into it; in the middle the leader is killed with
    SIGKILL, and later it comes back. In the end the orders that the three have delivered are compared, with each other
    and with what the client was told. The exit status is 0 if they are the same, and 1 if not.
    """
    with _interruptible():
        lines = _read(file)
        with _directory(data) as directory:
            result = _run(lines, directory, _Narrator(silent=as_json), plant)
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
    else:
        _show(result, data)
    sys.exit(0 if result.same else 1)


# -- what goes in ----------------------------------------------------------------------------------------------------


def _read(file: Path | None) -> list[str]:
    if file is None:
        return own_lines()
    name = "standard input" if str(file) == "-" else str(file)
    with _usable(name):
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    lines = data.decode(errors="replace").split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise click.UsageError(f"there are no lines in {name}: an empty order would prove nothing; give some text")
    for number, line in enumerate(lines, start=1):
        if len(line.encode()) > LINE_SIZE_MAX:
            raise click.UsageError(
                f"line {number} of {name} is longer than {LINE_SIZE_MAX:,} bytes, too long for one command: break it up"
            )
    return lines


def own_lines() -> list[str]:
    """The lines of this file, as often as it takes."""
    own = Path(__file__).read_text().splitlines()
    return list(chain.from_iterable(repeat(own, -(-LINES_MIN // len(own)))))


@contextmanager
def _usable(name: str | Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise click.UsageError(f"{name} cannot be used: {error.strerror}; give another") from None


@contextmanager
def _directory(data: Path | None) -> Generator[Path]:
    if data is None:
        with tempfile.TemporaryDirectory(prefix="troupe-demo-") as made:
            yield Path(made)
        return
    with _usable(data):
        data.mkdir(parents=True, exist_ok=True)
        empty = not any(data.iterdir())
    if not empty:
        raise click.UsageError(f"{data} is not empty: the demo begins with an empty group; give another directory")
    yield data


# -- running ---------------------------------------------------------------------------------------------------------


class _Narrator:
    """Tells the story on standard output, and progress on standard error."""

    def __init__(self, *, silent: bool) -> None:
        self._began = monotonic()
        self._silent = silent

    def tell(self, text: str) -> None:
        if not self._silent:
            click.echo(f"{monotonic() - self._began:6.2f} s  {text}")

    def progress(self, text: str) -> None:
        click.echo(f"{monotonic() - self._began:6.2f} s  {text}", err=True)


def _run(lines: Sequence[str], directory: Path, narrator: _Narrator, plant: str | None) -> Result:
    try:
        return trio.run(_attended, lines, directory, narrator, plant)
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        told = [error for error in errors if isinstance(error, ReplicaEnded | NoAnswer)]
        if told:
            raise click.ClickException(str(told[0])) from None
        if len(errors) == 1:
            raise errors[0] from None  # among them: a wish to leave, and a closed standard output
        raise


async def _attended(lines: Sequence[str], directory: Path, narrator: _Narrator, plant: str | None) -> Result:
    """The performance; SIGINT and SIGTERM end it as what they are meant to be: a wish to leave."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def leave() -> None:
                async for number in signals:
                    sys.exit(128 + number)

            nursery.start_soon(leave)
            result = await perform(lines, directory, narrator, plant=plant)
            nursery.cancel_scope.cancel()
    return result


def _leaves(error: BaseException) -> Generator[BaseException]:
    """The errors inside a group, however deep; of an error that is no group, itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error


@contextmanager
def _interruptible() -> Generator[None]:
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)


# -- what comes out --------------------------------------------------------------------------------------------------


def _show(result: Result, data: Path | None) -> None:
    alike: dict[str, list[Report]] = {}
    for report in result.reports:
        if report.order is not None:
            alike.setdefault(report.order, []).append(report)
    for reports in alike.values():
        names = ", ".join(report.who for report in reports)
        click.echo(f"\nThe order that {names} delivered (epoch.index, line):")
        click.echo("\n".join(ends(reports[0])))
    click.echo()
    click.echo("\n".join(table(result.reports)))
    click.echo()
    click.echo("\n".join(_verdict(result)))
    if data is not None:
        click.echo(f"The replicas' data and logs are in {data}.")


def _verdict(result: Result) -> list[str]:
    if not result.same:
        return ["DIFFERENT:", *(f"  {difference}" for difference in result.differences)]
    lines, before, after = counted(result.lines, "line"), result.before, result.after
    return [
        f"The same everywhere: {lines}, none lost and none twice, in {result.seconds:.1f} s, although {before.leader},",
        f"which led in epoch {before.epoch}, was killed in the middle; "
        f"{after.leader} took over in epoch {after.epoch}.",
    ]
