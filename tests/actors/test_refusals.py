"""A refusal: a copy for its asker, the same next door as from another node."""

from __future__ import annotations

import pytest
from test_remote_actors import pair
from trio.testing import MockClock

from actors import Actor, ActorRef, Refused, command, query
from actors._protocol.codec import COUNT_MAX


class Lent(Refused):
    def __init__(self, title: str, *, by: dict[str, tuple[int, int]]) -> None:
        super().__init__(title)
        self.title, self.by = title, by


class Keeper(Actor):
    def __init__(self) -> None:
        self.items = [1, 2]

    @command
    def refuse(self, why: str) -> None:
        raise {
            "items": Refused(self.items),
            "lent": Lent("Emma", by={"a": (1, 2)}),
            "unfit": Refused(object(), 1),
            "much": Refused([0] * COUNT_MAX),
            "a little too much": Refused([0] * (COUNT_MAX - 4)),
            "large": Refused(b"x" * 2**24),
        }[why]

    @query
    def all(self) -> list[int]:
        return self.items


async def refusal(keeper: ActorRef[Keeper], why: str) -> Refused:
    with pytest.raises(Refused) as refused:
        await keeper.ask(Keeper.refuse, why)
    return refused.value


async def test_it_shares_nothing_with_the_actor(autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        await nodes.b.spawn("keeper", Keeper)
        for node in (nodes.a, nodes.b):
            keeper = node.ref("b/keeper", Keeper)
            refused = await refusal(keeper, "items")
            assert refused.args == ([1, 2],)
            refused.args[0].append(3)
            assert await keeper.ask(Keeper.all) == [1, 2]


@pytest.mark.parametrize(
    ("why", "arguments"),
    [("lent", ("Emma",)), ("unfit", ()), ("much", ()), ("a little too much", ()), ("large", ())],
)
async def test_it_is_the_same_from_everywhere(why: str, arguments: object, autojump_clock: MockClock) -> None:
    async with pair() as nodes:
        await nodes.b.spawn("keeper", Keeper)
        told = [await refusal(node.ref("b/keeper", Keeper), why) for node in (nodes.a, nodes.b)]
        assert [(type(each), each.args) for each in told] == [(Lent if why == "lent" else Refused, arguments)] * 2
        if why == "lent":
            assert [vars(each)["by"] for each in told] == [{"a": [1, 2]}] * 2
        assert await nodes.b.ref("keeper", Keeper).ask(Keeper.all) == [1, 2]
