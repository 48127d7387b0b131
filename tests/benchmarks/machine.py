"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})
PACKAGES = ("trio", "msgspec", "cbor2", "pysyncobj", "pykka", "casty")


class NoDisk(Exception):
    """The data would not lie on a disk."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Where a directory lies."""

    kind: str
    source: str
    mounted_at: str


def file_system(directory: Path) -> FileSystem:
    """The file system that holds a directory, or would, by the longest mount point above it."""
    found = FileSystem("unknown", "unknown", "/")
    where = directory.resolve()
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, mounted_at, kind = [_unescaped(field) for field in line.split(" ")[:3]]
        if where.is_relative_to(mounted_at) and len(mounted_at) >= len(found.mounted_at):
            found = FileSystem(kind, source, mounted_at)
    return found


def disk_under(directory: Path) -> FileSystem:
    """The file system that holds a directory. Raises NoDisk if a sync would cost nothing there."""
    found = file_system(directory)
    if found.kind in IN_MEMORY:
        raise NoDisk(
            f"{directory} is on {found.kind} (mounted at {found.mounted_at}), which is memory: a sync costs nothing "
            "there, and the figures would flatter. Name a directory on a disk with --data"
        )
    return found


def load_average() -> str:
    """Of the last 1, 5 and 15 minutes."""
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def description(disk: FileSystem | None = None) -> dict[str, str]:
    """Interpreter, machine, and disk if one takes part, for people."""
    where = {} if disk is None else {"disk": f"{disk.kind} on {disk.source}, mounted at {disk.mounted_at}"}
    return {
        "interpreter": f"{platform.python_implementation()} {platform.python_version()}, {_build()}; "
        f"a turn of a bare loop takes {_loop_turn():.0f} ns",
        "packages": ", ".join(f"{package} {_version(package)}" for package in PACKAGES),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {_processor()}, Linux {platform.release()}",
    } | where


def _build() -> str:
    """As far as it is known: a distribution may optimize its build in another way, and the bare loop tells then."""
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    optimized = "with" if "--enable-optimizations" in arguments else "without"
    linked = " and --with-lto" if "--with-lto" in arguments else ""
    debug = ", a debug build" if hasattr(sys, "gettotalrefcount") else ""
    return f"configured {optimized} --enable-optimizations{linked}{debug}"


def _loop_turn() -> float:
    """Nanoseconds, at best: what else the machine does makes it longer."""
    best = float("inf")
    for _ in range(200):
        begun = time.perf_counter()
        total = 0
        for number in range(10_000):
            total += number
        best = min(best, time.perf_counter() - begun)
    return 1e9 * best / 10_000


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _unescaped(field: str) -> str:
    """A field of a mount table, in which spaces and such are written as octal numbers."""
    return field.encode().decode("unicode_escape") if "\\" in field else field
