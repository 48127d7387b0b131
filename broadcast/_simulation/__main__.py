"""`python -m broadcast._simulation --seed N [--count M] [--trace]`: play histories, one line each."""

from __future__ import annotations

import sys

import click

from broadcast._simulation.history import run
from broadcast._simulation.invariants import Violation


@click.command()
@click.option("--seed", type=int, required=True, help="The history to play, or the first of them.")
@click.option("--count", type=click.IntRange(min=1), default=1, help="How many, from this seed on.")
@click.option("--trace", is_flag=True, help="Show the last events.")
def main(seed: int, count: int, trace: bool) -> None:
    """Play seeded histories of a replicated group under faults, and check every step of them."""
    failed = False
    for number in range(seed, seed + count):
        try:
            history = run(number)
        except Violation as violation:
            failed = True
            lines, text = violation.trace, f"FAILED {violation}"
        else:
            marks = ", ".join(f"{name} {times}" for name, times in sorted(history.marks.items()))
            lines, text = history.trace, f"{number} {history.digest} {history.ended_at / 1e6:.3f} s: {marks}"
        for line in lines if trace else ():
            click.echo(line)
        click.echo(text)
    sys.exit(failed)


if __name__ == "__main__":
    main()
