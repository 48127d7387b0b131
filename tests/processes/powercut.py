"""Power cuts for a process of its own: what it had not synced is gone from its files once it has been killed.

    library = powercut.build(tmp_path)
    undo = tmp_path / "undo"                       # beside the directory, on the same file system
    process = Popen(..., env=powercut.environment(library, directory, undo))
    process.kill(); process.wait()
    powercut.cut(directory, undo)                  # or cut(directory, undo, seed): some of it survives, torn

Without a seed nothing survives that was not synced. With one, of each sector of 512 bytes the synced content or the
last one is left, so that writes are torn, lost and out of order; of creations, renames and removals in a directory
those before some moment are left, for a file system's own journal keeps their order. See `powercut.c` for what is
watched, and for the other faults, which begin and end while the process runs:

    powercut.begin(undo, "fail-sync", "once")
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
RECORD = struct.Struct("=4I4Q")
WRITTEN, CREATED, REMOVED, RENAMED = range(1, 5)
FAULTS = ("lie", "slow-sync", "fail-sync", "fail-write", "short-writes", "limit", "die")


class CannotCut(Exception):
    """The library does not compile here."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "power cuts cannot be tested here: tests/processes/powercut.c needs gcc and libc's headers (Debian and "
            f"Ubuntu: apt-get install gcc libc6-dev): {why}"
        )


def build(into: Path) -> Path:
    """Compile the library, and return where it is. Raises CannotCut if it cannot be compiled here."""
    library = into / "powercut.so"
    source = Path(__file__).with_suffix(".c")
    command = [
        "gcc",
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Wextra",
        "-o",
        str(library),
        str(source),
        "-ldl",
        "-pthread",
    ]
    try:
        subprocess.run(command, check=True, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise CannotCut("there is no gcc") from None
    except subprocess.CalledProcessError as error:
        raise CannotCut(error.stderr.decode(errors="replace")) from None
    return library


def environment(library: Path, directory: Path, undo: Path, *, lie: bool = False, sync_ms: int = 0) -> dict[str, str]:
    """The environment of a process whose files under `directory` can lose power.

    lie: its syncs do nothing. sync_ms: how long one takes, in milliseconds; until it is over nothing is synced.
    """
    directory.mkdir(exist_ok=True)
    undo.mkdir(exist_ok=True)
    for log in undo.glob("log-*"):
        _cut_off_last(log)
    for fault, value in (("lie", "" if lie else None), ("slow-sync", sync_ms or None)):
        end(undo, fault)
        if value is not None:
            begin(undo, fault, value)
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "POWERCUT_DIR": str(directory),
        "POWERCUT_UNDO": str(undo),
    }


def begin(undo: Path, fault: str, value: object = "") -> None:
    """One of FAULTS, from now on; `powercut.c` says what its value means."""
    undo.mkdir(exist_ok=True)
    beside = undo / "said.new"
    beside.write_text(str(value))
    beside.rename(undo / fault)


def end(undo: Path, fault: str) -> None:
    """It goes wrong no more."""
    (undo / fault).unlink(missing_ok=True)


def _cut_off_last(log: Path) -> None:
    """A kill may have cut off the last record. The next life's records come behind it."""
    content = log.read_bytes()
    os.truncate(log, sum(record.log_size for record in read(content)))


@dataclass(frozen=True)
class Record:
    """See `powercut.c`."""

    kind: int
    inode: int
    offset: int
    size: int
    name: Path
    other: Path
    old: bytes
    log_size: int


def cut(directory: Path, undo: Path, seed: int | None = None) -> None:
    """Take back from the files under `directory` what was not synced. The next process begins new logs."""
    chance = None if seed is None else random.Random(seed)
    logs = sorted(undo.glob("log-*"))
    lost = [list(read(log.read_bytes())) for log in logs]
    with ExitStack() as stack:
        files: dict[int, int] = {}
        for path in [*directory.rglob("*"), *undo.glob("inode-*")]:
            if path.is_file() and path.stat().st_ino not in files:
                file = files[path.stat().st_ino] = os.open(path, os.O_RDWR)
                stack.callback(os.close, file)
        for records in lost:
            contents = [record for record in records if record.kind == WRITTEN and record.inode in files]
            if contents:
                undo_contents(contents, files[contents[0].inode], chance)
    for records in lost:
        names = [record for record in records if record.kind != WRITTEN]
        undo_names(names if chance is None else names[chance.randint(0, len(names)) :], undo)
    for kept in [*logs, *undo.glob("inode-*")]:
        kept.unlink(missing_ok=True)


def read(log: bytes) -> Iterator[Record]:
    """The records of a log, oldest first. The last may be cut off by the kill; what it announces was not done then."""
    offset = 0
    while offset + RECORD.size <= len(log):
        begun = offset
        kind, name_size, other_size, _, inode, at, size, old_size = RECORD.unpack_from(log, offset)
        offset += RECORD.size
        parts: list[bytes] = []
        for part in (name_size, other_size, old_size):
            parts.append(log[offset : offset + part])
            offset += part
        if offset > len(log):
            return
        name, other, old = parts
        yield Record(kind, inode, at, size, Path(os.fsdecode(name)), Path(os.fsdecode(other)), old, offset - begun)


def undo_contents(lost: list[Record], file: int, chance: random.Random | None) -> None:
    """Of one file."""
    final = content(file)
    for record in reversed(lost):
        os.pwrite(file, record.old, record.offset)
        os.ftruncate(file, record.size)
    if chance is not None:
        mixed = mix(content(file), final, chance)
        os.ftruncate(file, 0)
        os.pwrite(file, mixed, 0)


def content(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def mix(synced: bytes, final: bytes, chance: random.Random) -> bytes:
    """Of each sector the one or the other, and of the sizes one."""
    survival = chance.random()
    size = chance.choice([len(synced), len(final)])
    sectors = range(0, size, SECTOR)
    pick = [(final if chance.random() < survival else synced)[begin : begin + SECTOR] for begin in sectors]
    return b"".join(sector.ljust(SECTOR, b"\0") for sector in pick)[:size]


def undo_names(lost: list[Record], undo: Path) -> None:
    for record in reversed(lost):
        kept = undo / f"inode-{record.offset}"
        if record.kind == CREATED:
            record.name.unlink(missing_ok=True)
        elif record.kind == REMOVED:
            os.link(kept, record.name)
        elif record.kind == RENAMED:
            record.other.rename(record.name)
            if record.offset:
                os.link(kept, record.other)
