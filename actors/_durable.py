"""Files and directories that outlive a power cut: a name is durable once the directory that holds it was synced."""

from __future__ import annotations

import os
from pathlib import Path


def make_directory(path: Path) -> None:
    """Make a directory for its owner alone, and those above it that are missing, all durable when this returns."""
    _make_directory(path, 0o700)


def _make_directory(path: Path, mode: int) -> None:
    if not path.is_dir():
        _make_directory(path.parent, 0o777)
        path.mkdir(mode, exist_ok=True)
        sync(path.parent)


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a directory, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
