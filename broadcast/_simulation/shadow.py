"""Is an actor deterministic? Its commands run again, by another instance and in another process, must lead to the same.

`python -m broadcast._simulation.shadow module:Class`, with a log on standard input, runs it and tells the digest after
each command: so that the process may differ in all that a command must not look at, the seed of hashes included.
"""

from __future__ import annotations

import hashlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import msgspec

from actors._actor import Actor
from actors._interface import Interface
from actors._protocol.codec import encode, join_array
from broadcast._calls import open_calls
from broadcast._machine import Machine
from broadcast._protocol.entries import Commands, Entry, decode_entries, encode_entries, span
from broadcast._protocol.position import Batch
from broadcast._protocol.reports import Answers
from membership._protocol.view import Configuration

OTHER_SECONDS_MAX = 60.0  # for the run in another process


class Step(msgspec.Struct, frozen=True, array_like=True):
    """The entry at `index` was applied. digest: of the state then, and of what its asker was told."""

    index: int
    digest: str


class Log(msgspec.Struct, frozen=True, array_like=True):
    """What another process is to run."""

    configuration: Configuration
    batches: tuple[Batch, ...]


def finely(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same log, an entry a batch: so that the state after each command can be looked at."""
    previous_epoch = 0
    for batch in batches:
        index = batch.first
        for entry in decode_entries(batch.entries):
            for single in _singles(entry):
                stamp = batch.stamp + index - batch.first
                entries = encode_entries([single])
                yield Batch(batch.epoch, previous_epoch, index, 1, batch.time, stamp, entries)
                index, previous_epoch = index + 1, batch.epoch


def _singles(entry: Entry) -> Iterator[Entry]:
    if not isinstance(entry, Commands) or span(entry) == 1:
        yield entry
        return
    for at, call in enumerate(open_calls(entry)):
        calls = join_array([encode(call)])
        yield msgspec.structs.replace(entry, number=entry.number + at, count=1, calls=calls)


def steps(actor: type[Actor], configuration: Configuration, batches: Iterable[Batch]) -> Iterator[Step]:
    """The state after each entry of a log, run by a new instance, which lives as long as the iterator."""
    held = list(finely(batches))
    machine = Machine(actor, Interface.of(actor), configuration, lambda after, last: held[after:last])
    for batch in held:
        told = [
            outcome for report in machine.apply(batch) if isinstance(report, Answers) for outcome in report.outcomes
        ]
        digest = hashlib.blake2b(b"".join((machine.state(), *told)), digest_size=8)
        yield Step(batch.first, digest.hexdigest())


def elsewhere(actor: type[Actor], configuration: Configuration, batches: Sequence[Batch]) -> list[Step] | None:
    """The same in another process, with another seed of hashes. None if the class cannot be imported there."""
    name = f"{actor.__module__}:{actor.__qualname__}"
    if not _is_importable(actor):
        return None
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(  # noqa: S603 - what runs there runs here
        [sys.executable, "-m", "broadcast._simulation.shadow", name],
        input=msgspec.msgpack.encode(Log(configuration, tuple(batches))),
        capture_output=True,
        env=environment,
        timeout=OTHER_SECONDS_MAX,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the commands cannot be run in another process: {done.stderr.decode(errors='replace')}")
    return msgspec.msgpack.decode(done.stdout, type=list[Step])


def _is_importable(actor: type[Actor]) -> bool:
    if actor.__module__ == "__main__" or "<locals>" in actor.__qualname__:
        return False
    try:
        return pkgutil.resolve_name(f"{actor.__module__}:{actor.__qualname__}") is actor
    except (ImportError, AttributeError, ValueError):
        return False


def main() -> None:
    """The other process."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the actor prints is no digest
    actor = cast(type[Actor], pkgutil.resolve_name(sys.argv[1]))
    log = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Log)
    with os.fdopen(out, "wb") as told:
        told.write(msgspec.msgpack.encode(list(steps(actor, log.configuration, log.batches))))


if __name__ == "__main__":
    main()
