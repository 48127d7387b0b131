"""Actors of one node: messages, answers, refusals, effects, mailboxes, names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import structlog.testing
import trio
from boxes import Box, Note, Small, Taken, instance_of, lone_node, rests
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorRef,
    Context,
    End,
    InvalidMessage,
    Mailbox,
    OutcomeUnknown,
    Overloaded,
    Ref,
    Supervision,
    command,
    query,
)
from actors._cells import WARM_MAX
from actors._protocol.codec import COUNT_MAX

# -- messages ---------------------------------------------------------------------------------------------------------


async def test_an_actor_is_made_with_what_is_given_and_answers(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box, label="mine")
        assert instance_of(node, "box").label == "mine"
        assert await box.ask(Box.keep, "one") == 1
        assert await box.ask(Box.keep, text="two") == 2
        assert await box.ask(Box.all) == ["one", "two"]


async def test_messages_are_handled_one_at_a_time_in_the_order_of_sending(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        await box.tell(Box.hold)
        for number in range(200):
            await box.tell(Box.keep, str(number))
        await wait_all_tasks_blocked()
        held = instance_of(node, "box")
        assert held.busy == 1
        assert held.kept == []
        held.gate.set()
        assert await box.ask(Box.all) == [str(number) for number in range(200)]


async def test_what_is_sent_is_a_copy_as_it_is_between_nodes(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        sent = Note("hi", ["a"])
        answer = await box.ask(Box.keep_note, sent)
        assert answer == Note("hi", ["a", "seen"])
        assert sent == Note("hi", ["a"])
        kept = await box.ask(Box.all)
        kept.append("mine")
        assert await box.ask(Box.all) == []


async def test_a_refusal_reaches_the_asker_and_the_actor_goes_on(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        with pytest.raises(Taken, match="no luck"):
            await box.ask(Box.refuse, "no luck")
        await box.tell(Box.refuse, "nobody hears")
        assert await box.ask(Box.keep, "x") == 1


class Anything(Actor):
    @command
    def give(self, value: object) -> object:
        return value

    @command
    def say(self, text: str) -> str:
        return text

    @query
    def surrogate(self) -> str:
        return "\ud800"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("\ud800", "half a surrogate pair"),
        ({"\ud800": 1}, "half a surrogate pair"),
        (["a", ["\udfff"]], "half a surrogate pair"),
        ([None] * COUNT_MAX, "more than 32768 values"),
    ],
    ids=["text", "key", "deep", "many"],
)
async def test_what_could_not_be_sent_to_another_node_is_not_taken_next_door(value: object, why: str) -> None:
    async with lone_node() as node:
        anything = await node.spawn("anything", Anything)
        for call in (anything.ask(Anything.give, value), anything.tell(Anything.give, value)):
            with pytest.raises(InvalidMessage, match=why):
                await call
        with pytest.raises(InvalidMessage, match=why):
            anything.tell_nowait(Anything.give, value)
        assert await anything.ask(Anything.say, "h\xe9\U0001f600") == "h\xe9\U0001f600"
        assert await anything.ask(Anything.give, [None] * (COUNT_MAX - 3)) == [None] * (COUNT_MAX - 3)
        with pytest.raises(InvalidMessage, match="half a surrogate pair"):
            await anything.ask(Anything.say, "\udc00")


async def test_an_answer_that_could_not_be_sent_is_a_bug_next_door_too() -> None:
    async with lone_node() as node:
        anything = await node.supervised(Supervision(backoff_min=0)).spawn("anything", Anything)
        with pytest.raises(ActorCrashed, match=r"Anything.surrogate of a/anything raised TypeError"):
            await anything.ask(Anything.surrogate)


class Wordy(Actor):
    """Takes a box for something else."""

    @command
    def keep(self, text: str) -> str:
        return text


async def test_an_answer_that_the_asker_s_class_does_not_have_is_no_definite_error() -> None:
    """As between nodes: the message was handled, and no answer of that class came of it."""
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        expected = r"Wordy.keep of a/box was handled, but its answer is not what .*: Expected `str`, got `int`"
        with pytest.raises(OutcomeUnknown, match=expected):
            await node.ref("a/box", Wordy).ask(Wordy.keep, "x")
        assert await box.ask(Box.all) == ["x"]


async def test_what_does_not_fit_is_told_to_the_sender(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        with pytest.raises(InvalidMessage, match=r"Box.keep: text: Expected `str`, got `int`"):
            await box.ask(Box.keep, 1)  # type: ignore[arg-type]  # the mistake under test
        with pytest.raises(InvalidMessage, match=r"Box.keep: text"):
            await box.tell(Box.keep, 1)  # type: ignore[arg-type]
        with pytest.raises(InvalidMessage, match=r"Box.keep: text"):
            box.tell_nowait(Box.keep, 1)  # type: ignore[arg-type]
        assert await box.ask(Box.all) == []


async def test_a_message_of_another_class_is_no_message_of_this(autojump_clock: MockClock) -> None:
    class Other(Actor):
        @command
        def other(self) -> None: ...

    async with lone_node() as node:
        await node.spawn("box", Box)
        with pytest.raises(InvalidMessage, match="a/box is a Box, which has no message 'other'"):
            await node.ref("box", Other).ask(Other.other)


async def test_an_override_is_called_by_its_base(autojump_clock: MockClock) -> None:
    class Loud(Box):
        @command
        def keep(self, text: str) -> int:
            return super().keep(text.upper())

    async with lone_node() as node:
        await node.spawn("box", Loud)
        box = node.ref("box", Box)
        await box.ask(Box.keep, "one")
        await box.tell(Box.keep, "two")
        assert await box.ask(Box.all) == ["ONE", "TWO"]


async def test_the_context_tells_who_sent_it_and_when(autojump_clock: MockClock) -> None:
    class Curious(Actor):
        @command
        async def find_out(self, box: Ref[Box]) -> tuple[str, int, str]:
            return await box.ask(Box.told)

    async with lone_node() as node:
        box = await node.spawn("box", Box)
        sender, before, origin = await box.ask(Box.told)
        assert (sender, origin) == ("a", "a")
        curious = await node.spawn("curious", Curious)
        sender, counter, origin = await curious.ask(Curious.find_out, box)
        assert (sender, origin) == ("a/curious", "a")
        assert counter > before
        assert abs(await box.ask(Box.moment) - datetime.now(UTC)) < timedelta(hours=1)


async def test_on_a_node_the_version_in_force_is_that_of_the_class(autojump_clock: MockClock) -> None:
    class Third(Actor):
        version = 3

        @query
        def in_force(self) -> int:
            return self.context.version

    async with lone_node() as node:
        third = await node.spawn("third", Third)
        assert await third.ask(Third.in_force) == 3


async def test_a_context_is_there_only_during_a_message(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        await box.ask(Box.told)
        with pytest.raises(RuntimeError, match="only while a message is handled"):
            _ = instance_of(node, "box").context


async def test_an_ask_is_a_checkpoint_and_asking_next_door_needs_no_task(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        with trio.CancelScope() as scope:
            scope.cancel()
            await box.ask(Box.keep, "never")
        assert scope.cancelled_caught
        for way in (box.tell, box.ask):
            with trio.CancelScope() as scope:
                scope.cancel()
                await way(Box.keep, "never")
            assert scope.cancelled_caught
        assert await box.ask(Box.all) == []
        assert rests(node, "box")


async def test_many_tells_let_others_have_their_turn(autojump_clock: MockClock) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with lone_node() as node, trio.open_nursery() as nursery:
        box = await node.spawn("box", Box)
        nursery.start_soon(count_turns)
        await trio.lowlevel.checkpoint()
        before = turns
        for _ in range(500):
            await box.tell(Box.keep, "x")
        assert turns > before + 5
        nursery.cancel_scope.cancel()


async def test_an_actor_with_much_to_do_lets_others_have_their_turn(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        for _ in range(500):
            box.tell_nowait(Box.keep, "x")
        while not instance_of(node, "box").kept:
            await trio.lowlevel.checkpoint()
        assert len(instance_of(node, "box").kept) < 200


async def test_an_asker_that_went_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        await box.tell(Box.hold)
        with trio.move_on_after(1) as scope:
            await box.ask(Box.keep, "never")
        assert scope.cancelled_caught
        instance_of(node, "box").gate.set()
        assert await box.ask(Box.all) == []
        assert node.actor_statistics().withdrawn == 1


async def test_an_asker_that_goes_while_it_is_served_changes_nothing(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        with trio.move_on_after(1):
            await box.ask(Box.hold)
        assert instance_of(node, "box").busy == 1
        instance_of(node, "box").gate.set()
        assert await box.ask(Box.keep, "x") == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda context: context.node,
        lambda context: context.ref(Box),
        lambda context: context.supervised(Supervision()),
        lambda context: context.watch(ActorRef("a/box", Box), Box.keep),
        lambda context: context.stop(),
    ],
)
def test_a_replicated_actor_is_told_what_it_cannot_do(use: Callable[[Context], object]) -> None:
    with pytest.raises(RuntimeError, match="is for actors on a node, and this one is replicated"):
        use(Context())


@pytest.mark.parametrize(
    "use",
    [
        lambda context: context.tell(ActorRef("a/box", Box), Box.keep, "x"),
        lambda context: context.after(1, Box.keep, "x"),
    ],
)
def test_effects_are_for_whoever_is_run_by_somebody(use: Callable[[Context], object]) -> None:
    with pytest.raises(RuntimeError, match="is for actors that somebody runs, on a node or in a group"):
        use(Context())


def test_an_actor_on_a_node_is_no_group() -> None:
    with pytest.raises(RuntimeError, match=r"lives on a node: use context\.ref"):
        Context().group(Box)


# -- effects ----------------------------------------------------------------------------------------------------------


async def test_a_plain_method_tells_others_when_it_is_done(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        one, other = await node.spawn("one", Box), await node.spawn("other", Box)
        assert await one.ask(Box.pass_on, other, ["x", "y"]) == other
        await wait_all_tasks_blocked()
        assert await other.ask(Box.all) == ["x", "y"]


async def test_what_is_refused_tells_nobody(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        one, other = await node.spawn("one", Box), await node.spawn("other", Box)
        with pytest.raises(Taken):
            await one.ask(Box.pass_on_and_crash, other)
        await one.ask(Box.pass_on, other, ["x"])
        await wait_all_tasks_blocked()
        assert await other.ask(Box.all) == ["x"]


async def test_the_next_message_waits_until_what_is_told_is_accepted(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        one, other = await node.spawn("one", Box), await node.spawn("other", Small)
        await other.tell(Box.hold)
        await one.tell(Box.pass_on, other, ["1", "2", "3", "4"])
        await one.tell(Box.keep, "after")
        await wait_all_tasks_blocked()
        assert instance_of(node, "one").kept == []
        instance_of(node, "other").gate.set()
        await wait_all_tasks_blocked()
        assert instance_of(node, "one").kept == ["after"]
        assert await other.ask(Box.all) == ["1", "2", "3", "4"]


async def test_a_full_actor_that_tells_itself_loses_that_and_goes_on(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Small)
        with structlog.testing.capture_logs():
            await box.ask(Box.pass_on, box, ["1", "2", "3"])
            await wait_all_tasks_blocked()
        assert await box.ask(Box.all) == ["1", "2"]
        assert node.actor_statistics().dead_letters == 1


async def test_a_message_to_oneself_in_a_while(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        await box.ask(Box.later, 10, "late")
        await trio.sleep(9)
        assert await box.ask(Box.all) == []
        await trio.sleep(2)
        assert await box.ask(Box.all) == ["late"]
        await wait_all_tasks_blocked()
        assert rests(node, "box")


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 1e300, True, "1"])
async def test_what_is_no_time_to_wait_is_told_where_it_is_given(seconds: float, autojump_clock: MockClock) -> None:
    class Vague(Box):
        @command
        def some_time(self) -> str:
            try:
                self.context.after(seconds, Box.keep, "late")
            except (TypeError, ValueError) as error:
                return str(error)
            return "planned"

    async with lone_node() as node:
        vague = await node.spawn("vague", Vague)
        wrong = "a number, and" if type(seconds) is not float else "between 0 and 10000000000, and"
        assert await vague.ask(Vague.some_time) == f"context.after: seconds is {wrong} not {seconds!r}"


async def test_what_comes_too_late_for_oneself_is_a_dead_letter(autojump_clock: MockClock) -> None:
    async with lone_node() as node, trio.open_nursery() as nursery:
        box = await node.spawn("box", Box)
        held = instance_of(node, "box")
        await box.ask(Box.later, 5, "late")
        await box.tell(Box.hold)
        nursery.start_soon(box.stop)
        with structlog.testing.capture_logs():
            await trio.sleep(10)
        assert node.actor_statistics().dead_letters == 1
        held.gate.set()


# -- mailboxes --------------------------------------------------------------------------------------------------------


async def test_a_full_mailbox_makes_the_sender_wait(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Small)
        await box.tell(Box.hold)
        await wait_all_tasks_blocked()
        await box.tell(Box.keep, "1")
        await box.tell(Box.keep, "2")
        with pytest.raises(Overloaded, match="the mailbox of a/box is full, with 2 messages"):
            box.tell_nowait(Box.keep, "3")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.tell, Box.keep, "4")
            await wait_all_tasks_blocked()
            nursery.start_soon(box.ask, Box.keep, "5")
            await wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await box.tell(Box.keep, "never")
            assert scope.cancelled_caught
            instance_of(node, "box").gate.set()
        assert await box.ask(Box.all) == ["1", "2", "4", "5"]


async def test_a_mailbox_may_refuse(autojump_clock: MockClock) -> None:
    class Refusing(Box, mailbox=Mailbox(1, "refuse")):
        pass

    async with lone_node() as node:
        box = await node.spawn("box", Refusing)
        await box.tell(Box.hold)
        await wait_all_tasks_blocked()
        await box.tell(Box.keep, "1")
        for way in (box.tell, box.ask):
            with pytest.raises(Overloaded):
                await way(Box.keep, "2")


async def test_a_mailbox_may_drop_and_counts_it_and_tells_an_asker(autojump_clock: MockClock) -> None:
    class Oldest(Box, mailbox=Mailbox(1, "drop-oldest")):
        pass

    class Newest(Box, mailbox=Mailbox(1, "drop-newest")):
        pass

    outcomes: list[str] = []

    async def ask(box: ActorRef[Box], text: str) -> None:
        try:
            await box.ask(Box.keep, text)
            outcomes.append(f"{text} kept")
        except Overloaded:
            outcomes.append(f"{text} lost")

    async with lone_node() as node:
        for kind, lost in ((Oldest, "1"), (Newest, "2")):
            outcomes.clear()
            box: ActorRef[Box] = await node.spawn("box", kind)
            await box.tell(Box.hold)
            await wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, box, "1")
                await wait_all_tasks_blocked()
                nursery.start_soon(ask, box, "2")
                await wait_all_tasks_blocked()
                assert outcomes == [f"{lost} lost"]
                instance_of(node, "box").gate.set()
            await box.stop()
        assert node.actor_statistics().dropped == 2


# -- names and spawning -----------------------------------------------------------------------------------------------


async def test_names(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        box = await node.spawn("box", Box)
        assert str(box) == "a/box"
        assert repr(box) == "<ActorRef a/box: Box>"
        with pytest.raises(ValueError, match="'box' is taken on node a"):
            await node.spawn("box", Box)
        with pytest.raises(ValueError, match="cannot be a name"):
            await node.spawn("bo/x", Box)
        with pytest.raises(TypeError, match="spawned from its class"):
            await node.spawn("other", lambda: Box())
        with pytest.raises(TypeError, match="not a class derived from Actor"):
            await node.spawn("other", dict)  # type: ignore[type-var]  # the mistake under test


# -- an idle actor needs no task --------------------------------------------------------------------------------------


async def test_actors_that_rest_have_no_tasks(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        boxes = [await node.spawn(f"box-{number}", Box) for number in range(1_000)]
        assert trio.lowlevel.current_statistics().tasks_living == before
        for box in boxes:
            await box.tell(Box.keep, "x")
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before + WARM_MAX
        for number in range(1_000):  # those that worked last keep theirs, for the next message
            assert rests(node, f"box-{number}")
        for box in boxes:
            assert await box.ask(Box.all) == ["x"]
        resting = [cell for cell in node._cells._named.values() if cell._scope is None]
        assert len(resting) == 1_000 - WARM_MAX
        for cell in resting:
            assert (cell.queue._messages, cell.queue._control, cell.queue._waiting) == (None, None, None)


class Started(trio.abc.Instrument):
    """Counts tasks."""

    count = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_who_works_again_and_again_keeps_its_task(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        boxes = [await node.spawn(f"box-{number}", Box) for number in range(WARM_MAX)]
        started = Started()
        trio.lowlevel.add_instrument(started)
        for _ in range(10):
            for box in boxes:
                await box.ask(Box.keep_slowly, "x")
        trio.lowlevel.remove_instrument(started)
        assert started.count == WARM_MAX
        one_more = await node.spawn("one-more", Box)
        await one_more.ask(Box.keep_slowly, "x")
        await wait_all_tasks_blocked()
        assert [name for name, cell in node._cells._named.items() if cell._scope is None] == ["box-0"]
        assert await boxes[0].ask(Box.keep_slowly, "y") == 11


async def test_who_keeps_its_task_is_stopped_and_killed_as_others(autojump_clock: MockClock) -> None:
    async with lone_node() as node:
        for end, how in ((ActorRef.stop, "stopped"), (ActorRef.kill, "killed")):
            box = await node.spawn("box", Box)
            await box.ask(Box.keep_slowly, "x")
            async with trio.open_nursery() as nursery:
                ends: list[End] = []

                async def watch(box: ActorRef[Box], ends: list[End]) -> None:
                    ends.append(await box.watch())

                nursery.start_soon(watch, box, ends)
                await wait_all_tasks_blocked()
                await end(box)
            assert ends == [End("a/box", how)]
            assert not node._cells._warm
