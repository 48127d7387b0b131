"""A greeter on one node, asked from another. A name that it cannot bear makes it crash, and it is started again.

greeter.py serve          be the node that greets, until Ctrl-C
greeter.py greet NAME...  have these greeted, from another node
"""

import sys

import trio

from actors import Actor, ActorCrashed, Mailbox, Ref, Rejected, Supervision, command, open_node

PEERS = {"a": "127.0.0.1:7401", "b": "127.0.0.1:7402"}


class Register(Actor):
    """Who was greeted. It outlives the greeter."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @command
    def enter(self, name: str) -> int:
        self.names.append(name)
        return len(self.names)


class Greeter(Actor, mailbox=Mailbox(100, "refuse")):
    def __init__(self, register: Ref[Register]) -> None:
        self.register = register
        self.greeted = 0

    @command
    async def greet(self, name: str) -> str:
        if not name.isprintable() or not name.strip():
            raise ValueError("what kind of name is that?")
        number = await self.register.ask(Register.enter, name)
        self.greeted += 1
        return f"Hello {name}! You are guest number {number}, and the {self.greeted}. that I remember."


async def serve() -> None:
    async with open_node("b", peers=PEERS) as node:
        register = await node.spawn("register", Register)
        await node.supervised(Supervision(restarts_max=10)).spawn("greeter", Greeter, register)
        print("ready")
        await trio.sleep_forever()


async def greet(names: list[str]) -> None:
    async with open_node("a", peers=PEERS) as node:
        greeter = node.ref("b/greeter", Greeter)
        with trio.fail_after(20):  # the first ask waits for a link
            for name in names:
                try:
                    print(await greeter.ask(Greeter.greet, name))
                except ActorCrashed as crash:
                    print(f"Sorry: {crash}")


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case ["serve"]:
                trio.run(serve)
            case ["greet", *names] if names:
                trio.run(greet, names)
            case _:
                sys.exit(__doc__)
    except* (Rejected, OSError) as wrong:
        sys.exit(str(wrong.exceptions[0]))
    except* trio.TooSlowError:
        sys.exit("no answer in 20 s: is `greeter.py serve` running?")
    except* KeyboardInterrupt:
        pass
