"""What a plan knows of a month, a season or a year that begins within its horizon, and what it forgets when one does."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ems.messages import MinuteFrame
from ems.plan.loop import PlanLoop
from ems.plan.peak import BRIDGED, FIRST_GUESS
from ems.plan.tariff import NEXT_DEMAND, UTILISATION
from ems.site.load import load_site
from ems.site.model import Site
from ems.timegrid import interval_start
from tests.plan.test_loop import TrueLoad, state
from tests.site.conftest import DEMO

ZONE = ZoneInfo("America/Chicago")
QUARTER = timedelta(minutes=15)


def at(text: str) -> datetime:
    """A local time of the demo site."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(ZoneInfo("UTC"))


def site_with(**tariff: Any) -> Site:
    return load_site(DEMO, {"tariff": {"energy": "fixed", "energy_price_per_kwh": 0.06, "demand_price_per_kw_month": 0.0, **tariff}})


def feed(loop: PlanLoop, site: Site, begin: datetime, end: datetime, gap: tuple[datetime, datetime] | None = None) -> None:
    """Demand that is high at night and in the afternoon, one minute for each quarter of an hour."""
    t = begin
    while t < end:
        hour = t.astimezone(ZONE).hour
        use = 0.8 if hour >= 21 or hour < 3 else 0.6 if 15 <= hour < 18 else 0.45
        demand: dict[str, float | None] = {c.id: c.idle_kw + (c.peak_kw - c.idle_kw) * use for c in site.clusters}
        if gap is not None and gap[0] <= t < gap[1]:
            demand[site.clusters[0].id] = None
        loop.observe(MinuteFrame(t, None, {}, demand, {}, {}, 25.0))
        t += QUARTER


def free_kw(loop: PlanLoop, now: datetime) -> dict[str, float]:
    return {c.name: c.baseline_kw[0] for c in loop.make_inputs(now, state(now)).commitments if len(c.baseline_kw) == 1}


@pytest.mark.parametrize("begin", ["2023-05-29", "2023-06-01"])  # the days seen lie before the season, or in it
def test_a_window_whose_season_begins_is_defended_from_its_first_day(begin: str) -> None:
    summer = {"months": [6, 7, 8, 9], "days": "weekdays", "hours": [14, 20]}
    site = site_with(demand_charges=[{"name": "peak", "price_per_kw_month": 13.5, "when": [summer]}])
    loop, now = PlanLoop(site), at(begin) + timedelta(days=3)
    feed(loop, site, at(begin), now)
    overall_kw = loop.peak.expected_kw(now, loop.prices, loop.weather)
    assert free_kw(loop, now)["peak"] < 0.75 * overall_kw


def test_days_without_an_hour_of_a_window_are_looked_at_again_until_they_hold_one() -> None:
    site = site_with(demand_charges=[{"name": "peak", "price_per_kw_month": 13.5, "when": [{"days": ["mon"], "hours": [14, 20]}]}])
    loop, friday, tuesday = PlanLoop(site), at("2023-06-09T00:00"), at("2023-06-13T01:00")
    feed(loop, site, friday - timedelta(days=3), friday)
    blind_kw = free_kw(loop, friday)["peak"]
    feed(loop, site, friday, tuesday)
    assert free_kw(loop, tuesday)["peak"] < 0.75 * blind_kw


@pytest.mark.parametrize(("quarters", "is_bridged"), [(1, True), (BRIDGED, True), (BRIDGED + 1, False)])
def test_a_gap_in_the_readings_does_not_make_the_peak_forgotten(quarters: int, is_bridged: bool) -> None:
    site = site_with(demand_price_per_kw_month=13.5)
    loop, now = PlanLoop(site), at("2023-08-13T18:00")
    feed(loop, site, now - timedelta(days=3), now)
    before_kw = loop.make_inputs(now, state(now)).meter.expected_peak_kw
    assert before_kw != pytest.approx(FIRST_GUESS * site.point_of_connection.import_limit_kw)
    feed(loop, site, now, now + timedelta(hours=4), gap=(now, now + quarters * QUARTER))
    later = now + timedelta(hours=4)
    assert loop.make_inputs(later, state(later)).meter.expected_peak_kw == pytest.approx(before_kw, rel=0.02)
    assert (len(loop.peak._complete_quarters(later)) == 288) == is_bridged


def test_the_plan_of_the_last_evening_has_the_goal_of_the_month_to_come() -> None:
    site = site_with(demand_price_per_kw_month=12.0)
    loop, now = PlanLoop(site, loads={c.id: TrueLoad(c) for c in site.clusters}), at("2023-08-31T23:50")
    feed(loop, site, now - timedelta(days=3), now)
    plan = loop.plan(now, replace(state(now), peak_so_far_kw=1400.0))
    turn = at("2023-09-01T00:00")
    assert loop.inputs is not None and loop.inputs.meter.expected_next_peak_kw is not None
    next_kw = loop.inputs.meter.expected_next_peak_kw + plan.cost["next demand"] / 12.0
    goals = list(zip(plan.starts, plan.duration_h, plan.window_goal_kw, strict=True))
    assert plan.peak_kw >= 1400.0 > next_kw
    assert {kw for start, hours, kw in goals if start + timedelta(hours=hours) <= turn} == {None}
    assert all(kw == pytest.approx(next_kw, abs=0.1) for start, _, kw in goals if start >= turn)
    assert any(NEXT_DEMAND in source for source in plan.binding)


def test_a_snapshot_from_before_the_turn_does_not_bring_the_old_months_peak() -> None:
    site = site_with(demand_price_per_kw_month=12.0)
    turn = at("2023-09-01T00:00")
    for taken, peak_kw in ((turn - timedelta(seconds=1), 0.0), (turn, 1300.0)):
        said = replace(state(turn), at=taken, peak_so_far_kw=1300.0, interval_start=interval_start(taken, 900))
        assert PlanLoop(site).make_inputs(turn, said).meter.peak_so_far_kw == peak_kw


def test_a_new_years_peak_is_priced_before_it_begins() -> None:
    pair = {"demand_price_per_kw_year": 140.0, "energy_price_per_kwh": 0.0}
    site = site_with(utilisation_hours={"below": pair, "above": pair, "expected_h": 6000})
    loop, now = PlanLoop(site), at("2023-12-31T18:00")
    feed(loop, site, now - timedelta(days=3), now)
    inputs = loop.make_inputs(now, state(now))
    power = [c for c in inputs.commitments if c.name.startswith(UTILISATION)]
    assert [c.up_price for c in power] == [(140.0,), (140.0,)]
    assert [span for c in power for span in c.spans or ()][1][0] == at("2024-01-01T00:00")
    plan = loop.planner.plan(inputs)
    after = np.array([s >= at("2024-01-01T01:00") for s in plan.starts])
    free = max(power[1].baseline_kw[0], 0.0)
    assert np.array(plan.import_kw)[after].max() <= free + 1.0


def test_the_month_to_come_is_priced_in_the_tier_it_will_end_in() -> None:
    tiers = [{"up_to": 300_000.0, "price_per_kwh": 0.08}, {"price_per_kwh": 0.14}]
    site = site_with(energy="time_of_use", energy_price_per_kwh=0.0, energy_periods=[{"name": "all", "rest": True, "tiers": tiers}])
    loop, now = PlanLoop(site), at("2023-08-31T18:00")
    for hour in range(48):
        loop.book.observe(now - timedelta(hours=48 - hour), 3600.0, 900.0)
    price = loop.make_inputs(now, state(now)).import_price_per_kwh
    assert set(np.round(price, 6).tolist()) == {0.14}
    later = at("2023-09-01T03:00")  # three hours tell nothing of a month yet: the month before does
    for hour in range(9):
        loop.book.observe(now + timedelta(hours=hour), 3600.0, 900.0)
    assert set(np.round(loop.make_inputs(later, state(later)).import_price_per_kwh, 6).tolist()) == {0.14}


def test_a_charge_whose_hours_differ_by_season_is_defended_in_those_of_the_season() -> None:
    """One charge with summer and winter hours is two charges written together: in summer the winter's hours set no free peak."""
    summer = {"months": [6, 7, 8, 9], "hours": [14, 20]}
    winter = {"months": [10, 11, 12, 1, 2, 3, 4, 5], "hours": [21, 24]}
    free = []
    for charges in ([("peak", [summer, winter])], [("peak", [summer]), ("winter peak", [winter])]):
        site = site_with(demand_charges=[{"name": name, "price_per_kw_month": 20.0, "when": when} for name, when in charges])
        loop, now = PlanLoop(site), at("2023-08-07")
        feed(loop, site, at("2023-08-03"), now)
        free.append(free_kw(loop, now)["peak"])
    assert free[0] == pytest.approx(free[1])
