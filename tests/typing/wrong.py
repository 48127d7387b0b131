"""Mistakes to be found before the program runs: both checkers refuse each line marked `# error`, and no other."""

from __future__ import annotations

from right import Counter, Doubling, Greeter, Item, Tally

from actors import Actor, ActorRef, Mailbox, Node, Ref, Supervision, command, query
from broadcast import Consistency, Group, GroupRef, Pipeline, connect, local_group, open_group


class Room(Actor):
    @command
    def say(self, who: str, line: str) -> int:
        return len(line)

    @query
    async def last(self) -> str:
        return ""

    def helper(self) -> None: ...


async def wrong_arguments(room: Ref[Room], counter: Ref[Counter], pipeline: Pipeline[Counter]) -> None:
    await room.ask(Room.say, "bob", 1)  # error
    await room.ask(Room.say, "bob")  # error
    await room.ask(Room.say, "bob", "hi", "there")  # error
    await room.ask(Room.say, who="bob", what="hi")  # error
    await room.tell(Room.say, 1, "hi")  # error
    await room.ask(Room.last, 1)  # error
    await counter.ask(Counter.reset, 3)  # error
    await pipeline.send(Counter.add, "1")  # error


async def wrong_actor(room: Ref[Room], counter: Ref[Counter], pipeline: Pipeline[Counter]) -> None:
    await room.ask(Counter.add, 1)  # error
    await room.ask(Counter.items, "a")  # error
    await counter.tell(Room.say, "bob", "hi")  # error
    await counter.ask(Doubling.twice)  # error
    await pipeline.send(Room.say, "bob", "hi")  # error


async def wrong_use_of_the_answer(room: Ref[Room], counter: Ref[Counter]) -> None:
    text: str = await counter.ask(Counter.add, 1)  # error
    (await room.ask(Room.last)).append("x")  # error
    number: int = await room.ask(Room.last)  # error
    nothing: int = await counter.tell(Counter.add, 1)  # error
    length: int = counter.ask(Counter.value)  # error
    print(text, number, nothing, length)


async def not_a_message(room: Ref[Room]) -> None:
    await room.ask(Room.helper)  # error
    await room.ask(Room().say, "bob", "hi")  # error
    await room.ask("say", "bob", "hi")  # error


def wrong_call(room: Room) -> None:
    room.say("bob")  # error
    room.say("bob", 2)  # error
    print(room.say("bob", "hi").upper())  # error


class Wrong(Counter):
    @command
    def add(self, amount: str) -> int:  # error
        return 0

    @query
    def value(self) -> str:  # error
        return ""


async def too_wide(counter: Ref[Actor]) -> None:
    narrow: Ref[Counter] = counter  # error
    print(narrow)


async def wrong_use_of_a_group(tally: GroupRef[Tally], room: Group[Room]) -> None:
    await tally.ask(Tally.add, "1")  # error
    await tally.tell(Tally.add)  # error
    await room.ask(Tally.value)  # error
    text: str = await tally.reading(Consistency.LOCAL).ask(Tally.value)  # error
    tally.reading("local")  # error
    await tally.reading(Consistency.LEASE).ask(Tally.value, 1)  # error
    await tally.reading(Consistency.LOG).tell(Tally.add, "1")  # error
    tally.deliveries("1")  # error
    async for delivery in tally.deliveries():
        print(delivery.index)  # error
    for _ in tally.deliveries():  # error
        pass
    tally.ask(Tally.value).bit_length()  # error
    print(text)


async def wrong_use_of_a_pipeline(tally: GroupRef[Tally]) -> None:
    async with tally.pipeline(window="many") as pipe:  # error
        await pipe.send(Tally.add, "1")  # error
        await pipe.send(Room.say, "bob", "hi")  # error
        await pipe.send(Tally.add, 1, timeout=3)  # error
        async for answer in pipe:
            number: int = answer.unwrap()  # error
            print(number)


async def wrong_opening() -> None:
    members = {"a": "127.0.0.1:7101"}
    async with open_group("tally", Tally, members=members):  # error
        pass
    async with open_group("tally", Tally, node="a", members=["127.0.0.1:7101"]):  # error
        pass
    async with open_group("tally", Item, node="a", members=members):  # error
        pass
    async with connect("tally", Tally()):  # error
        pass
    with local_group(Tally):  # error
        pass
    async with local_group(Tally) as group:
        wrong: GroupRef[Counter] = group  # error
        print(wrong)


async def wrong_spawning(node: Node) -> None:
    await node.spawn("greeter", Greeter)  # error
    await node.spawn("greeter", Greeter, 1)  # error
    await node.spawn("greeter", Greeter, "hi", volume=3)  # error
    await node.spawn(Greeter, "hi")  # error
    await node.spawn("item", Item, "name")  # error
    node.ref("b/item", Item)  # error
    wrong: ActorRef[Counter] = await node.spawn("greeter", Greeter, "hi")  # error
    node.supervised("one-for-all")  # error
    Supervision("all")  # error
    Mailbox(10, "explode")  # error
    print(wrong)


async def wrong_use_of_a_reference(greeter: ActorRef[Greeter], counter: Ref[Counter]) -> None:
    greeter.tell_nowait(Greeter.greet, 1)  # error
    greeter.tell_nowait(Counter.add, 1)  # error
    await greeter.ask(Greeter.greet, "bob", other=counter)  # error
    await greeter.ask(Greeter.look_after, greeter)  # error
    await counter.stop()  # error
    await greeter.watch(Greeter.ended)  # error


class Careless(Actor, mailbox=10):  # error
    @command
    def misuse(self, greeter: ActorRef[Greeter]) -> None:
        self.context.tell(greeter, Counter.add, 1)  # error
        self.context.tell(greeter, Greeter.greet, 1)  # error
        self.context.after(1.0, Greeter.greet)  # error
        self.context.watch(greeter, Greeter.greet)  # error
        self.context.tell(greeter, Greeter.greet, "bob").bit_length()  # error
        self.context.after("1", Greeter.greet, "bob")  # error
        self.context.tell(self.context.group(Counter), Greeter.greet, "bob")  # error
        self.context.tell(self.context.group(Counter), Counter.add, "1")  # error
        self.context.group(Counter())  # error


class Versioned(Actor):
    version = "2"  # error

    @command(since="2")  # error
    def put(self) -> None:
        self.version = 3  # error
        self.context.version.upper()  # error
