"""Comparing orders: whatever is not the same is found and told, and an empty order is not good enough."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from actors import Timestamp
from broadcast import Delivery, Position
from broadcast.cli._lines import MISAPPLIED, Journal, MisapplyingJournal
from broadcast.cli._order import Order, Report, calls_digest, counted, differences, ends, state_digest, table
from broadcast.cli._play import client_report, misnumbered

LINES = [f"line {number}" for number in range(1, 21)]


def delivery(line: str, index: int, epoch: int = 1) -> Delivery:
    return Delivery(Position(epoch, index), Timestamp(index, "a"), 0, "client", "write", (line,))


def reported(who: str, lines: Sequence[str], *, epoch: int = 1, journal: Journal | None = None) -> Report:
    """What a replica reports that was given these lines."""
    order, journal = Order(), journal or Journal()
    for index, line in enumerate(lines, start=3):
        order.add(delivery(line, index, epoch))
        journal.write(line)
    return order.report(who, state_of(journal))


def state_of(journal: Journal) -> bytes:
    return repr(vars(journal)).encode()


def test_equal_orders_do_not_differ() -> None:
    assert differences([reported(who, LINES) for who in "abc"]) == []


def test_a_difference_in_the_middle_is_told_with_who_holds_it() -> None:
    other = [*LINES[:9], "planted", *LINES[10:]]
    told = differences([reported("a", LINES), reported("b", other), reported("c", LINES)])
    assert [sentence.partition(":")[0] for sentence in told] == [
        "Not the same (lines, in order)",
        "Not the same (with positions)",
        "Not the same (final state)",
    ]
    assert all("a, c: " in sentence and "; b: " in sentence for sentence in told)


def test_two_lines_that_changed_places_differ() -> None:
    assert differences([reported("a", LINES), reported("b", [LINES[1], LINES[0], *LINES[2:]])])


def test_a_shorter_order_differs() -> None:
    told = differences([reported("a", LINES), reported("b", LINES[:-1])])
    assert told[0] == "Not the same (lines): a: 20; b: 19."


def test_the_same_lines_at_other_positions_differ() -> None:
    told = differences([reported("a", LINES), reported("b", LINES, epoch=2)])
    assert len(told) == 1
    assert told[0].startswith("Not the same (with positions)")


def test_the_same_order_with_another_state_differs() -> None:
    told = differences([reported("a", LINES), reported("b", LINES, journal=MisapplyingJournal())])
    assert len(told) == 1
    assert told[0].startswith("Not the same (final state)")


@pytest.mark.parametrize("lines", [[], ["only one"]])
def test_an_empty_order_is_no_success(lines: list[str]) -> None:
    told = differences([reported("a", lines), reported("b", []), reported("c", lines)])
    assert "b has delivered nothing at all." in told


@pytest.mark.parametrize("reports", [[], [reported("a", LINES)]])
def test_one_order_alone_is_no_success(reports: list[Report]) -> None:
    assert differences(reports)


def test_where_a_command_ends_and_the_next_begins_counts() -> None:
    assert calls_digest([("write", ("ab",)), ("write", ("c",))]) != calls_digest(
        [("write", ("a",)), ("write", ("bc",))]
    )


# -- what the client was told ----------------------------------------------------------------------------------------


def of_replica(lines: Sequence[str]) -> Report:
    """What a replica reports that was given these lines, its state as a real one encodes it."""
    order, journal = Order(), Journal()
    for index, line in enumerate(lines, start=3):
        order.add(delivery(line, index))
        journal.write(line)
    report = order.report("a", b"")
    return Report("a", report.count, report.calls, report.order, state_digest(journal))


def test_the_client_agrees_with_replicas_that_did_what_it_was_told() -> None:
    assert differences([of_replica(LINES), client_report(LINES, range(1, 21))]) == []


def test_the_client_orders_its_lines_by_the_numbers_it_was_told() -> None:
    swapped = [LINES[1], LINES[0], *LINES[2:]]
    assert differences([of_replica(swapped), client_report(LINES, [2, 1, *range(3, 21)])]) == []
    assert differences([of_replica(LINES), client_report(LINES, [2, 1, *range(3, 21)])])


def test_a_line_that_only_the_client_knows_of_is_a_difference() -> None:
    told = differences([of_replica(LINES[:-1]), client_report(LINES, range(1, 21))])
    assert told[0] == "Not the same (lines): a: 19; client: 20."


@pytest.mark.parametrize("answers", [[1, 2, 2], [1, 3], [2, 3], [0, 1]])
def test_numbers_that_are_missing_or_told_twice_are_found(answers: list[int]) -> None:
    assert misnumbered(answers)


def test_numbers_may_come_in_any_order() -> None:
    assert misnumbered([3, 1, 2]) == []


# -- the actor -------------------------------------------------------------------------------------------------------


def test_the_journal_tells_orders_apart() -> None:
    one, other = Journal(), Journal()
    assert [one.write("x"), one.write("y")] == [1, 2]
    assert [other.write("y"), other.write("x")] == [1, 2]
    assert one.digest != other.digest


def test_the_misapplying_journal_gets_one_line_wrong() -> None:
    right, wrong = Journal(), MisapplyingJournal()
    for number in range(1, MISAPPLIED + 1):
        assert right.digest == wrong.digest
        assert right.write(f"line {number}") == wrong.write(f"line {number}") == number
    assert right.digest != wrong.digest


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_the_table_fits_a_terminal() -> None:
    reports = [msgspec.structs.replace(reported(who, LINES), count=1_200_000) for who in ("a", "b", "c")]
    reports.append(client_report(LINES, range(1, 21)))
    lines = table(reports)
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["a", "b", "c", "client"]
    assert lines[1].split() == ["lines", "1,200,000", "1,200,000", "1,200,000", "20"]
    assert lines[3].endswith("  -")


def test_the_ends_of_an_order() -> None:
    shown = ends(reported("a", LINES))
    assert shown[0] == "   1.3      line 1"
    assert shown[3].strip() == "... 14 more ..."
    assert shown[-1] == "   1.22     line 20"
    assert len(shown) == 7


@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_the_ends_of_a_short_order_are_all_of_it(count: int) -> None:
    shown = ends(reported("a", LINES[:count]))
    assert [line.split(maxsplit=1)[1] for line in shown] == LINES[:count]


def test_long_and_unprintable_lines_are_shown_within_the_width() -> None:
    shown = ends(reported("a", ["x" * 300, "\x1b[2J\tq"]))
    assert len(shown[0]) == 80
    assert shown[0].endswith("...")
    assert "\x1b" not in shown[1]


def test_what_is_counted_is_named() -> None:
    assert [counted(1, "line"), counted(2_000, "line")] == ["1 line", "2,000 lines"]
