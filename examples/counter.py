"""A counter that survives the loss of any minority of its replicas."""

import argparse
import signal
import sys

import trio

from actors import Actor, DataDirectoryError, command, query
from broadcast import open_group

PEERS = {"a": "127.0.0.1:7101", "b": "127.0.0.1:7102", "c": "127.0.0.1:7103"}


class Counter(Actor):
    def __init__(self) -> None:
        self.total = 0

    @command
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @query
    def value(self) -> int:
        return self.total


async def main(name: str) -> None:
    async with open_group("counter", Counter, node=name, members=PEERS, data=f"data/{name}") as counter:
        with trio.open_signal_receiver(signal.SIGTERM) as told_to_end:
            with trio.fail_after(60):  # the first time until all three are there
                print("the count is now", await counter.ask(Counter.add, 1))
            await anext(told_to_end)  # stay a replica, until that, or Ctrl-C: then leave in order


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name", choices=PEERS)
    try:
        trio.run(main, arguments.parse_args().name)
    except* (OSError, DataDirectoryError) as wrong:
        sys.exit(str(wrong.exceptions[0]))
    except* KeyboardInterrupt:
        pass
