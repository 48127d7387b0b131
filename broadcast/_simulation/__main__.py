"""`python -m broadcast._simulation`: play seeded histories of a group under faults, and check every step of them."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import chain

import click

from broadcast._simulation.campaign import Played, play_all
from broadcast._simulation.summary import HISTORIES_LEAST, Summary

PROGRESS_INTERVAL = 5  # seconds
INTERRUPTED = 130  # the exit status that shells know


@click.command()
@click.option("--seed", type=click.IntRange(min=0), default=0, help="The history to play, or the first of them.")
@click.option("--count", type=click.IntRange(min=0), help="How many, from this seed on; 1 unless fresh ones are asked.")
@click.option("--fresh", type=click.IntRange(min=0), default=0, help="So many more, of seeds that nobody has chosen.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Begin no history after this time.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="How many at a time.")
@click.option("--strict", is_flag=True, help=f"Fail too if they met too little, from {HISTORIES_LEAST} on.")
@click.option("--quiet", is_flag=True, help="No line for a history that went well.")
@click.option("--trace", is_flag=True, help="Show the last events.")
def main(
    seed: int, count: int | None, fresh: int, seconds: float | None, jobs: int, strict: bool, quiet: bool, trace: bool
) -> None:
    """Play seeded histories of a replicated group under faults, and check every step of them.

    Fails if one of them does, and says how to see it again.
    """
    fixed = range(seed, seed + (count if count is not None else int(not fresh)))
    begin = random.SystemRandom().randrange(2**32)
    new = range(begin, begin + fresh)
    click.echo("; ".join(filter(None, (_seeds("", fixed), _seeds("fresh ", new)))))
    summary, began = Summary(), time.monotonic()
    progress = Progress(len(fixed) + fresh, began)
    interrupt = Interrupt()
    with closing(play_all(_until(chain(fixed, new), began, seconds), jobs)) as results:
        for played in results:
            summary.add(played)
            _show(played, quiet=quiet, trace=trace)
            progress.show(summary)
            if interrupt.came:
                break
    for line in summary.lines(time.monotonic() - began):
        click.echo(line)
    shortfalls = summary.shortfalls() if strict and not interrupt.came else []
    for text in shortfalls:
        click.echo(f"FAILED {text}" if summary.is_enough else text)
    if shortfalls and not summary.is_enough:
        click.echo(f"All of that is required of {HISTORIES_LEAST} histories or more; these are {summary.count}.")
    failed = summary.failed or (shortfalls and summary.is_enough)
    sys.exit(INTERRUPTED if interrupt.came else int(bool(failed)))


def _seeds(kind: str, seeds: range) -> str:
    return f"{kind}seeds {seeds[0]} to {seeds[-1]}" if seeds else ""


def _until(seeds: Iterator[int], began: float, seconds: float | None) -> Iterator[int]:
    for seed in seeds:
        if seconds is not None and time.monotonic() - began >= seconds:
            return
        yield seed


def _show(played: Played, *, quiet: bool, trace: bool) -> None:
    for line in played.trace if trace else ():
        click.echo(line)
    history = played.history
    if history is None:
        click.echo(f"FAILED {played.failure}")
    elif not quiet:
        marks = ", ".join(f"{name} {times}" for name, times in sorted(history.marks.items()))
        click.echo(f"{played.seed} {history.digest} {history.ended_at / 1e6:.3f} s: {marks}")


class Interrupt:
    """Ctrl-C, noticed between two histories: raised anywhere, it could leave a lock of the pool held for ever.

    The second one ends the process as it is.
    """

    def __init__(self) -> None:
        self.came = False
        signal.signal(signal.SIGINT, self._note)

    def _note(self, *_: object) -> None:
        self.came = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        click.echo("interrupted: waiting for the histories under way", err=True)


class Progress:
    """A line on standard error now and then."""

    def __init__(self, count: int, began: float) -> None:
        self._count = count
        self._began = began
        self._shown_at = began

    def show(self, summary: Summary) -> None:
        now = time.monotonic()
        if now - self._shown_at >= PROGRESS_INTERVAL:
            self._shown_at = now
            rate = 60 * summary.count / (now - self._began)
            text = f"{summary.count} of {self._count}, {rate:.0f} a minute, {len(summary.failed)} failed"
            click.echo(text, err=True)


if __name__ == "__main__":
    main()
