"""Runs the counter example as its user does, with three processes: python three_counters.py path/to/counter.py

Needs nothing but the example and what it imports. The addresses are replaced by free ones, the rest is as it is.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

NAMES = ("a", "b", "c")
SECONDS_MAX = 240
SAYS = "the count is now "


def with_free_ports(source: str, stack: ExitStack) -> str:
    """The example, at addresses that nobody else uses; they are kept until `stack` ends."""
    for port in (7101, 7102, 7103):
        held = stack.enter_context(socket.socket())
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        if f"127.0.0.1:{port}" not in source:
            raise SystemExit(f"the example has no address with port {port} any more: mend three_counters.py")
        source = source.replace(f"127.0.0.1:{port}", f"127.0.0.1:{held.getsockname()[1]}")
    return source


def run(example: Path, directory: Path) -> list[int]:
    """What three processes of the example print, in order of their names. Ends them by Ctrl-C."""
    with ExitStack() as stack:
        copy = directory / example.name
        copy.write_text(with_free_ports(example.read_text(), stack))
        processes = [start(copy, name) for name in NAMES]
        try:
            return counts(processes)
        finally:
            for process in processes:
                process.kill()
                process.communicate()


def start(example: Path, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-u", example.name, name]
    return subprocess.Popen(command, cwd=example.parent, stdout=subprocess.PIPE)


def counts(processes: list[subprocess.Popen[bytes]]) -> list[int]:
    """The number that each prints first."""
    found: dict[int, int] = {}
    deadline = time.monotonic() + SECONDS_MAX
    with selectors.DefaultSelector() as selector:
        for at, process in enumerate(processes):
            selector.register(process.stdout or 0, selectors.EVENT_READ, at)
        while len(found) < len(processes):
            ready = selector.select(deadline - time.monotonic())
            if not ready:
                raise SystemExit(f"after {SECONDS_MAX} s only {len(found)} of {len(processes)} have a count")
            for key, _ in ready:
                line = (processes[key.data].stdout or sys.stdin.buffer).readline().decode()
                if not line.startswith(SAYS):
                    raise SystemExit(f"{NAMES[key.data]} says {line!r}, not {SAYS!r} and a number")
                selector.unregister(key.fileobj)
                found[key.data] = int(line.removeprefix(SAYS))
    return [found[at] for at in range(len(processes))]


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        told = run(Path(sys.argv[1]), Path(directory))
    print(f"Three processes counted: {', '.join(map(str, told))}")
    if sorted(told) != [1, 2, 3]:
        raise SystemExit("every process should have counted once: 1, 2 and 3, in any order")


if __name__ == "__main__":
    main()
