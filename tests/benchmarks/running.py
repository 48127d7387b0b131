"""What the benchmarks have in common: how they are told what to do, and how they say how far they are."""

from __future__ import annotations

import argparse
import sys
import time

from machine import load_average


def positive(text: str) -> int:
    """A number on the command line."""
    number = int(text)
    if not 1 <= number <= 1_000:
        raise argparse.ArgumentTypeError("a number from 1 to 1000")
    return number


def progress(text: str) -> None:
    """On standard error, with the load that the machine has."""
    print(f"{time.strftime('%H:%M:%S')} {text} (load {load_average()})", file=sys.stderr, flush=True)


def leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors themselves."""
    return [
        leaf
        for error in errors.exceptions
        for leaf in (leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
