"""Events of stacked programmes at one time: what pays for the same kWh is taken once, what only limits stands beside it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ems.obligation import ObligationKind
from ems.program.desk import Desk
from ems.program.enrolment import EnrolmentFile
from ems.program.event import EventInterval, GridEvent
from ems.program.library import find_program
from ems.program.measure import MeasureInputs, expected_baseline, measure_event, metered_until
from ems.program.states import State
from ems.program.terms import terms_on
from tests.program.desks import NOW, PROGRAMS, SITE, QuickStore, World, event, message
from tests.program.meters import EVENT_DAY, like_days, meter_of

NAMES = ("pge-bip", "ca-elrp", "caiso-pdr", "nonfirm-connection", "manual")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    enrolled = tuple(
        EnrolmentFile(program=n, status="active", since=date(2026, 1, 1), committed_kw=200.0, constant_kw=1000.0) for n in NAMES
    )
    world = World(can_kw=1000.0, value=500.0, resources={"bess-1": (100.0, 200.0)})
    world.desk = Desk(QuickStore(tmp_path / "p.db"), SITE, PROGRAMS, enrolled, world)
    return world.desk


def call(desk: Desk, name: str, program: str, **more: float) -> tuple[State, str]:
    kind = {"pge-bip": ObligationKind.REDUCE_TO, "nonfirm-connection": ObligationKind.IMPORT_LIMIT}.get(program, ObligationKind.REDUCE_BY)
    desk.receive(message(event(name, program, kind=kind, **more)), NOW)
    return desk.events[name].state, desk.events[name].why


def test_of_two_programmes_that_stand_alone_the_second_is_declined_with_the_reason(desk: Desk):
    assert call(desk, "a", "caiso-pdr", start_min=690)[0] is not State.DECLINED
    state, why = call(desk, "b", "ca-elrp", start_min=720)  # 17:00 in California
    assert state is State.DECLINED and "caiso-pdr has a commitment in this window (a) and ca-elrp stands alone" in why
    assert why.startswith("outside the programme")  # costs it no performance


def test_nested_programmes_and_limits_stand_beside_each_other(desk: Desk):
    for name, program in (("a", "nonfirm-connection"), ("b", "pge-bip"), ("c", "ca-elrp"), ("d", "manual")):
        assert call(desk, name, program, start_min=690)[0] is not State.DECLINED, name


def test_the_same_programme_does_not_pay_for_the_same_hours_twice(desk: Desk):
    assert call(desk, "a", "ca-elrp", start_min=690)[0] is not State.DECLINED
    state, why = call(desk, "b", "ca-elrp", start_min=720)
    assert state is State.DECLINED and "a is paid for the same kWh" in why
    assert call(desk, "c", "ca-elrp", start_min=690 + 1440)[0] is not State.DECLINED


def test_the_last_interval_of_an_event_is_metered_whole():
    terms = terms_on(find_program("ca-elrp", Path("x.yaml")), date(2026, 7, 15))
    ends = datetime(2026, 7, 15, 18, 15, tzinfo=UTC)
    assert metered_until(ends, terms) == ends + timedelta(minutes=45)
    assert metered_until(ends + timedelta(minutes=45), terms) == ends + timedelta(minutes=45)
    same_day = terms_on(find_program("pjm-economic", Path("x.yaml")), date(2026, 7, 15))
    assert metered_until(ends, same_day) >= ends + timedelta(minutes=45)


def test_the_baseline_that_is_held_leaves_out_the_days_that_the_settlement_will_leave_out():
    """Held against a baseline of other days than those it is measured by, a reduction delivered in full is measured short."""
    terms = terms_on(find_program("ca-elrp", Path("x.yaml")), EVENT_DAY)
    days = like_days(EVENT_DAY, 12)
    meter = meter_of({**dict.fromkeys(days, 1000.0), days[0]: 400.0, EVENT_DAY: 1000.0}, interval_min=15)
    start = datetime(2026, 7, 15, 16, tzinfo=UTC)
    asked = GridEvent("e2", "ca-elrp", 0, ObligationKind.REDUCE_BY, (EventInterval(start, start + timedelta(hours=2), 200.0),))
    earlier = (
        datetime(days[0].year, days[0].month, days[0].day, 14, tzinfo=UTC),
        datetime(days[0].year, days[0].month, days[0].day, 20, tzinfo=UTC),
    )
    with_, without = (expected_baseline(asked, terms, None, meter, others) for others in ((), (earlier,)))
    assert {round(kw) for kw in without.kw} == {1000} and min(with_.unadjusted_kw) < 990.0
    assert days[0] in {d.day for d in with_.days if d.is_used} and days[0] not in {d.day for d in without.days if d.is_used}
    measured = measure_event(MeasureInputs(asked, None, asked.end, meter, (earlier,)), terms, None)
    assert measured["baseline"]["kw"] == list(without.kw)
