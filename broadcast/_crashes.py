"""What is to be told of commands that raise, and which of them may be told to be the user's (rule 24)."""

from __future__ import annotations

from collections.abc import Callable

BY_CHANCE = (
    "and whether it does may depend on the process: on its memory, and on how deep its stack already is. If more of "
    "that does not help, start all replicas with a class that does not come to it"
)
NOT_ALONE = (
    "when it was run again to undo a later command. Something besides messages and state decides what it does; start "
    "all replicas with a class where it does not"
)

NOT_UNDERSTOOD = (
    "this process's class does not take such a message, and the class of the replica that accepted it does. Start this "
    "one with a class that does too; a command that is new in a version of a class is to say so: @command(since=...)"
)


NAME_MAX = 200  # characters of a class's name that are told: agreed, as an outcome is


def name_of(error: BaseException) -> str:
    """Of its class: the beginning of it, as text that can be sent. Whatever the class says of itself, it has one."""
    name: str = type.__dict__["__qualname__"].__get__(type(error))
    return str.__str__(name)[:NAME_MAX].encode(errors="backslashreplace").decode()


def comes_again(error: BaseException, run: Callable[[], object]) -> bool:
    """Is it the user's method that raises this, which is no `Exception`?

    A handler of signals may raise such a thing as well: at any moment, but not at the same one twice. (Trio's own, for
    Ctrl-C, waits until the machine is done.)
    """
    try:
        run()
    except BaseException as again:
        return type(again) is type(error)
    return False
