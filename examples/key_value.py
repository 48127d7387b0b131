"""A linearizable key-value store, served by three replicas and used from any other process.

key_value.py serve a|b|c         be a replica, until Ctrl-C or SIGTERM
key_value.py get KEY             print the value and its version
key_value.py put KEY VALUE       set it, whatever it was
key_value.py cas KEY VERSION VALUE   set it only if its version is still VERSION (0: if there is none)
"""

import signal
import sys

import trio

from actors import Actor, DataDirectoryError, Refused, Rejected, command, query
from broadcast import connect, open_group

PEERS = {"a": "127.0.0.1:7301", "b": "127.0.0.1:7302", "c": "127.0.0.1:7303"}


class Changed(Refused):
    """The key has another version than the one expected."""


class KeyValue(Actor):
    """Values with versions. A version is the index in the total order at which the value was set."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[str, int]] = {}

    @command
    def put(self, key: str, value: str) -> int:
        version = self.context.position.index if self.context.position else 0
        self.values[key] = (value, version)
        return version

    @command
    def compare_and_set(self, key: str, version: int, value: str) -> int:
        current = self.values.get(key, ("", 0))[1]
        if current != version:
            raise Changed(f"not set: {key} has version {current} now")
        return self.put(key, value)

    @query
    def get(self, key: str) -> tuple[str, int] | None:
        return self.values.get(key)


async def serve(name: str) -> None:
    async with open_group("kv", KeyValue, node=name, members=PEERS, data=f"data/kv/{name}"):
        with trio.open_signal_receiver(signal.SIGTERM) as told_to_end:
            await anext(told_to_end)  # stay a replica, until that, or Ctrl-C: then leave in order


async def use(words: list[str]) -> None:
    with trio.fail_after(30):
        async with connect("kv", KeyValue, members=PEERS) as store:
            match words:
                case ["get", key]:
                    found = await store.ask(KeyValue.get, key)
                    print("(nothing)" if found is None else f"{found[0]}  (version {found[1]})")
                case ["put", key, value]:
                    print("version", await store.ask(KeyValue.put, key, value))
                case ["cas", key, version, value] if version.isdecimal():
                    print("version", await store.ask(KeyValue.compare_and_set, key, int(version), value))
                case _:
                    sys.exit(__doc__)


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case ["serve", name] if name in PEERS:
                trio.run(serve, name)
            case words:
                trio.run(use, words)
    except* (Rejected, DataDirectoryError, OSError, ValueError) as wrong:
        sys.exit(str(wrong.exceptions[0]))
    except* trio.TooSlowError:
        sys.exit("no answer in 30 s: two of the three replicas must run; whether anything was set is not known")
    except* KeyboardInterrupt:
        sys.exit(130)
