"""What a month of readiness pays, by hand: hours and days in season, scaled by the month's performance, money to the cent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ems.obligation import ObligationKind
from ems.program.enrolment import EnrolmentFile
from ems.program.event import EventInterval, GridEvent
from ems.program.library import find_program
from ems.program.months import available_hours, month_statement
from ems.program.schema import ProgramFile, Rule
from ems.program.states import State
from ems.program.status import EventStatus
from ems.program.terms import terms_on

JULY = date(2026, 7, 1)
HOUR = timedelta(hours=1)


def file_of(name: str) -> ProgramFile:
    return find_program(name, Path("x.yaml"))


def enrolled(program: str, **more: Any) -> EnrolmentFile:
    return EnrolmentFile(**{"program": program, "status": "active", "since": date(2026, 1, 1), "committed_kw": 200.0, **more})


def called(program: str, day: int = 15, opt: str = "in", settlement: dict[str, Any] | None = None, **more: Any) -> EventStatus:
    start = datetime(2026, 7, day, 18, tzinfo=UTC)
    event = GridEvent(f"{program}-{day}", program, 0, ObligationKind.REDUCE_BY, (EventInterval(start, start + 2 * HOUR, 200.0),))
    result = None if settlement is None else {"settlement": settlement}
    status = EventStatus(
        event, State.SETTLED_ESTIMATE, start, start, opt=opt, feasibility={"asked_kw": 200.0}, moved_at=start, result=result
    )
    return replace(status, **more)


def cancelled(status: EventStatus) -> EventStatus:
    return replace(status, event=replace(status.event, is_cancelled=True))


def settled(kwh: float, low: float, high: float, money: str = "0.00") -> dict[str, Any]:
    case = {"obligation_kwh": 400.0, "delivered_kwh": kwh, "performance": kwh / 400.0, "performance_range": [low, high]}
    return {**case, "low": money, "expected": money, "high": money}


def test_availability_is_kw_times_hours_times_price_times_what_was_delivered():
    """200 kW x 744 h x 0.005 = 744.00; 360 of 400 kWh: 669.60; at worst 300, at best all of it."""
    found = month_statement(
        file_of("ercot-ers-30"), enrolled("ercot-ers-30"), JULY, [called("ercot-ers-30", settlement=settled(360.0, 0.75, 1.1))]
    )
    assert found.hours == 744.0 and found.performance == (0.75, 0.9, 1.0)
    (line,) = found.lines
    assert (line.low, line.expected, line.high) == (Decimal("558.00"), Decimal("669.60"), Decimal("744.00"))
    assert found.expected == Decimal("669.60")


def test_a_month_takes_the_settlements_own_performance_also_of_one_that_was_stored_without_its_range():
    """Nothing of 400 kWh was delivered. An old settlement also counted 400 kWh under the baseline of hours in which nothing was owed."""
    old = {**settled(400.0, 0.0, 0.0), "performance": 0.0}
    del old["performance_range"]
    found = month_statement(file_of("ercot-ers-30"), enrolled("ercot-ers-30"), JULY, [called("ercot-ers-30", settlement=old)])
    assert found.performance == (0.0, 0.0, 0.0) and found.expected == Decimal("0.00")


def test_capacity_is_kw_times_the_share_of_the_months_days_and_the_events_own_money_is_added():
    """200 kW x 8.00 = 1,600.00 for the whole month, not scaled; the event's penalty of 60.00 comes off. From the 16th on: 16 of 31 days."""
    event = called("pge-bip", settlement=settled(350.0, 0.8, 0.9, "-60.00"))
    found = month_statement(file_of("pge-bip"), enrolled("pge-bip"), JULY, [event])
    assert (found.lines[0].expected, found.expected) == (Decimal("1600.00"), Decimal("1540.00"))
    late = month_statement(file_of("pge-bip"), enrolled("pge-bip", since=date(2026, 7, 16)), JULY, [])
    assert late.lines[0].expected == Decimal("825.81")  # 1,600 x 16 / 31
    over = month_statement(file_of("pge-bip"), enrolled("pge-bip", until=date(2026, 7, 2)), JULY, [])
    assert over.lines[0].expected == Decimal("51.61")


def test_the_award_goes_before_the_programmes_price_and_marks_the_rule_version():
    found = month_statement(file_of("ercot-ers-30"), enrolled("ercot-ers-30", price=0.01), JULY, [])
    assert found.expected == Decimal("1488.00") and found.rule_version.endswith("+0.01")


@pytest.mark.parametrize(
    ("status", "performance"),
    [
        (called("ercot-ers-30", opt="out", moved_at=None, why="100 kW of 200 kW hold: energy of bess-1"), (0.0, 0.0, 0.0)),
        (called("ercot-ers-30", opt="out", moved_at=None, why="outside the programme: 50 hours a year, at most 48"), (1.0, 1.0, 1.0)),
        (cancelled(called("ercot-ers-30", opt="out", moved_at=None, why="cancelled by the counterparty")), (1.0, 1.0, 1.0)),
        (called("ercot-ers-30"), (0.0, 1.0, 1.0)),  # not measured yet: anything may have been
        (called("ercot-ers-30", settlement=settled(800.0, 2.0, 2.0)), (1.0, 1.0, 1.0)),  # more than owed earns no more
    ],
)
def test_what_a_decline_a_missing_measurement_and_a_surplus_count(status: EventStatus, performance: tuple[float, ...]):
    found = month_statement(file_of("ercot-ers-30"), enrolled("ercot-ers-30"), JULY, [status])
    assert found.performance == performance and len(found.called) == 1


def test_a_call_that_is_declined_costs_what_delivering_none_of_it_costs():
    """200 kW x 2 h x 6.00 USD per kWh above the level."""
    declined = called("pge-bip", opt="out", moved_at=None, why="100 kW of 200 kW hold: energy of bess-1")
    found = month_statement(file_of("pge-bip"), enrolled("pge-bip"), JULY, [declined])
    assert found.called[0].expected == Decimal("-2400.00") and found.expected == Decimal("-800.00")


@pytest.mark.parametrize(("kind", "kw"), [(ObligationKind.REDUCE_BY, (200.0, 50.0)), (ObligationKind.REDUCE_TO, (800.0, 950.0))])
def test_a_call_in_steps_owes_each_step_its_own(kind: ObligationKind, kw: tuple[float, float]):
    """Of 1,000 kW: 200 kW for an hour and 50 kW for another, 250 kWh at 6.00 USD. The most that is asked, 200 kW, is not owed twice."""
    declined = called("pge-bip", opt="out", moved_at=None, why="100 kW of 200 kW hold: energy of bess-1")
    start = declined.event.start
    steps = tuple(EventInterval(start + n * HOUR, start + (n + 1) * HOUR, k) for n, k in enumerate(kw))
    declined = replace(declined, event=replace(declined.event, kind=kind, intervals=steps))
    found = month_statement(file_of("pge-bip"), enrolled("pge-bip"), JULY, [declined])
    assert found.called[0].obligation_kwh == 250.0 and found.called[0].expected == Decimal("-1500.00")


def test_a_surplus_in_one_event_makes_up_for_no_other():
    both = [called("ercot-ers-30", 14, settlement=settled(800.0, 2.0, 2.0)), called("ercot-ers-30", 15, settlement=settled(0.0, 0.0, 0.0))]
    assert month_statement(file_of("ercot-ers-30"), enrolled("ercot-ers-30"), JULY, both).performance == (0.5, 0.5, 0.5)


def test_events_of_other_months_and_programmes_are_not_this_statements():
    others = [called("pge-bip", settlement=settled(0.0, 0.0, 0.0)), called("ercot-ers-30", settlement=settled(0.0, 0.0, 0.0))]
    found = month_statement(file_of("ercot-ers-30"), enrolled("ercot-ers-30"), date(2026, 8, 1), others)
    assert found.called == () and found.performance == (1.0, 1.0, 1.0)


def test_hours_are_real_ones_in_the_programmes_window():
    whole = terms_on(file_of("ercot-ers-30"), JULY)
    assert [available_hours(whole, day) for day in (date(2026, 3, 8), date(2026, 11, 1), JULY)] == [23.0, 25.0, 24.0]
    part = terms_on(file_of("pjm-capacity-dr"), JULY)
    assert available_hours(part, JULY) == 12.0  # 10 to 22 h


def test_a_price_that_changes_within_the_month_pays_each_day_its_own():
    file = file_of("ercot-ers-30")
    old = file.rules.payments[0] if file.rules.payments else None
    assert old is not None
    new = Rule[Any].model_validate(
        {**old.model_dump(), "value": [old.value[0].model_copy(update={"price": 0.01})], "effective": date(2026, 7, 31)}
    )
    changed = file.model_copy(update={"rules": file.rules.model_copy(update={"payments": [old, new]})})
    found = month_statement(changed, enrolled("ercot-ers-30"), JULY, [])
    assert found.expected == Decimal("768.00")  # 200 kW x (720 h x 0.005 + 24 h x 0.010)
    assert ", " in found.rule_version
