"""Many histories, on several processors. One that fails is told with what replays it, and the others go on."""

from __future__ import annotations

import gc
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait

from broadcast._simulation.history import History, replay, run
from broadcast._simulation.invariants import Violation

AHEAD = 4  # histories for each processor that are given out before their results are taken


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a seed: a history, or what went wrong in it. trace: the last events."""

    seed: int
    history: History | None
    failure: str
    trace: list[str]


def play(seed: int) -> Played:
    """Play the history of this seed. Raises nothing that comes of it."""
    try:
        history = run(seed)
    except Violation as violation:
        return Played(seed, None, str(violation), list(violation.trace))
    except Exception:  # whatever it is, it is a finding, and the next seed is another history
        return Played(seed, None, f"seed {seed}: {traceback.format_exc()}  see it again: {replay(seed)}", [])
    return Played(seed, history, "", history.trace)


def play_all(seeds: Iterable[int], jobs: int) -> Generator[Played, None, None]:
    """Play these, in as many processes; the results come in the order of the seeds.

    Closing it, as a loop does that is left, waits for what is under way, and plays no more. For the main thread.
    """
    if jobs == 1:
        yield from map(play, seeds)
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin)
    try:
        waiting: deque[Future[Played]] = deque()
        for seed in seeds:
            with _uninterrupted():
                waiting.append(pool.submit(_play, seed))
            if len(waiting) > AHEAD * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Generator[None, None, None]:
    """A process that begins now never hears of an interrupt: the first one does, and takes the others down."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Have this process end when the one ends that started it, however that ended: nobody would take its results."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent.sentinel,), daemon=True).start()


def _wait_and_end(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _begin() -> None:
    """In each process."""
    end_with_parent()
    gc.collect()
    gc.freeze()
    gc.disable()


def _play(seed: int) -> Played:
    """What is left of a history is collected after it: while it runs, nearly all that it makes is still in use."""
    try:
        return play(seed)
    finally:
        gc.collect()
