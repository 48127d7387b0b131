"""Bugs for replicas in processes of their own, to see that the tests find them. Each is planted by calling it."""

from __future__ import annotations

from broadcast._sqlite import SqliteDisk


def acknowledge_before_sync() -> None:
    """The disk says that it has written, and writes then."""
    write, tend = SqliteDisk.write, SqliteDisk.tend
    late: list = []

    def write_later(self: SqliteDisk, writes: object) -> None:
        late.append(writes)

    def write_now(self: SqliteDisk) -> None:
        while late:
            write(self, late.pop(0))
        tend(self)

    SqliteDisk.write, SqliteDisk.tend = write_later, write_now


PLANTS = {each.__name__: each for each in (acknowledge_before_sync,)}
