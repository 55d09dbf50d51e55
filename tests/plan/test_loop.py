"""What is observed and announced goes in, a plan comes out; the true future may be put in the place of the forecasters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Event
from unittest.mock import Mock

import numpy as np
import pytest

from ems.assets.workload.model import Cluster
from ems.errors import PlanInfeasible
from ems.forecast.quantiles import LEVELS, Quantiles
from ems.limit import Limit, LimitKind
from ems.messages import MinuteFrame
from ems.obligation import Obligation, ObligationKind
from ems.plan import look
from ems.plan.envelope import import_envelope
from ems.plan.loop import PlanLoop
from ems.plan.peak import FIRST_GUESS, PeakExpectation
from ems.plan.planner import Planner
from ems.plan.state import PlanState
from ems.plan.verify import verify
from ems.signals.prices import PriceRow
from ems.signals.weather import WeatherRow
from ems.site.load import load_site
from ems.timegrid import TimeGrid
from tests.plan.given import MONDAY, backlog, demo_site
from tests.site.conftest import DEMO

SITE = demo_site()


@dataclass
class TrueLoad:
    cluster: Cluster

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        pass

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Quantiles:
        load = np.array([self.at(s) for s in starts])
        return Quantiles(tuple(starts), tuple(duration_h), {level: load for level in LEVELS})

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        return self.cluster.peak_kw

    def at(self, when: datetime) -> float:
        c = self.cluster
        return c.idle_kw + (c.peak_kw - c.idle_kw) * (0.5 + 0.4 * np.sin(2 * np.pi * (when.hour + when.minute / 60 - 13) / 24))


class TruePrice:
    def __init__(self) -> None:
        self.rows: list[PriceRow] = []

    def add(self, rows: Iterable[PriceRow]) -> None:
        self.rows += rows

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> np.ndarray:
        return np.array([0.02 if s.hour < 12 else 0.2 for s in starts])


class TrueWeather:
    def add(self, rows: Iterable[WeatherRow]) -> None:
        pass

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> np.ndarray:
        return np.full(len(starts), 25.0)


def oracle_loop() -> PlanLoop:
    return PlanLoop(SITE, loads={c.id: TrueLoad(c) for c in SITE.clusters}, prices=TruePrice(), weather=TrueWeather())


def state(now: datetime = MONDAY, **change: object) -> PlanState:
    made = PlanState(
        at=now,
        energy_kwh={"bess-1": 500.0, "ups-1": 390.0},
        clusters={c.id: backlog(20.0, 5.0) for c in SITE.clusters},
        critical_kw=1000.0,
        peak_so_far_kw=900.0,
        interval_start=now,
        interval_kwh=0.0,
        cooling_kw=180.0,
        import_limit_kw=1370.0,
        poc_kw=1000.0,
        outdoor_temp_c=25.0,
    )
    return replace(made, **change)  # type: ignore[arg-type]


def test_the_state_survives_the_mailbox() -> None:
    assert PlanState.decode(state().encode()) == state()


@pytest.mark.parametrize("interval_min", [15, 30])
def test_the_running_interval_of_every_charge_that_shares_it_is_the_one_control_counts(interval_min: int) -> None:
    charge = {"name": "facility", "price_per_kw_month": 12.0, "interval_min": interval_min}
    site = load_site(DEMO, {"tariff": {"energy": "fixed", "energy_price_per_kwh": 0.05, "demand_charges": [charge]}})
    loop, now = PlanLoop(site), MONDAY + timedelta(minutes=10)
    for minute in range(10):
        loop.observe(MinuteFrame(MONDAY + timedelta(minutes=minute), 1000.0, {}, {}, {}, {}, 25.0))
    state_now = state(now, interval_start=MONDAY, interval_kwh=166.9)
    inputs = loop.make_inputs(now, state_now)
    shared = interval_min == site.tariff.demand_interval_min
    assert (inputs.interval_energy_kwh[interval_min] == 166.9) == shared
    assert verify(site, inputs, Planner(site).plan(inputs)) == []


def test_the_month_to_come_is_not_lent_the_peak_of_the_month_that_ends() -> None:
    charge = {"name": "facility", "price_per_kw_month": 12.0}
    site = load_site(DEMO, {"tariff": {"energy": "fixed", "energy_price_per_kwh": 0.05, "demand_charges": [charge]}})
    loop, now = PlanLoop(site), datetime(2024, 8, 31, 20, tzinfo=UTC)  # 15:00 local, nine hours before September
    for minute in range(2 * 24 * 60):
        at = now + timedelta(minutes=minute - 2 * 24 * 60)
        demand = {c.id: 0.5 * c.rating_kw for c in site.clusters}
        loop.observe(MinuteFrame(at, 1400.0 if minute < 60 else 700.0, {}, demand, {}, {}, 25.0))
    free_kw = {c.name: c.baseline_kw[0] for c in loop.make_inputs(now, state(now, peak_so_far_kw=1400.0)).commitments}
    overall_kw = loop.peak.expected_kw(now, loop.prices, loop.weather)
    assert free_kw == {"facility": pytest.approx(1400.0), "facility, next month": pytest.approx(overall_kw)}
    assert overall_kw < 1300.0


def test_a_fresh_site_without_any_history_gets_a_plan() -> None:
    loop = PlanLoop(SITE)
    plan = loop.plan(MONDAY, state())
    assert plan.peak_kw >= FIRST_GUESS * 1370 - 1e-6
    assert plan.load_q50_kw["hall-a"][0] == SITE.clusters[0].rating_kw  # nothing known counts as nameplate, not as nothing


def test_the_true_future_can_stand_in_for_the_forecasters() -> None:
    plan = oracle_loop().plan(MONDAY, state())
    assert plan.load_q50_kw["hall-a"] == plan.load_q90_kw["hall-a"]
    noon, midnight = (plan.horizon.index_at(MONDAY + timedelta(hours=h)) for h in (7, 19))
    assert noon is not None and midnight is not None
    dear = zip(plan.power_kw["bess-1"][noon:midnight], plan.duration_h[noon:midnight], strict=True)
    assert sum(kw * hours for kw, hours in dear) < -300  # kWh: from noon to midnight the price is tenfold


def test_an_event_counts_from_its_notice_on_and_a_newer_one_replaces_it() -> None:
    loop = oracle_loop()
    event = Obligation("7", ObligationKind.IMPORT_LIMIT, 900.0, MONDAY + timedelta(hours=2), MONDAY + timedelta(hours=3), MONDAY)
    loop.add_events([replace(event, notice_at=MONDAY + timedelta(minutes=1))])
    assert "event 7" not in loop.make_inputs(MONDAY, state()).envelope.source
    loop.add_events([event])
    inputs = loop.make_inputs(MONDAY, state())
    inside = [k for k, s in enumerate(inputs.horizon.starts) if event.start <= s < event.end]
    assert inside and all(inputs.envelope.source[k] == "event 7" and inputs.envelope.kw[k] < 900.1 for k in inside)
    loop.add_events([replace(event, kw=1000.0)])
    assert loop.make_inputs(MONDAY, state()).envelope.kw[inside[0]] == pytest.approx(1000 * (1 - SITE.control.import_margin))


def test_the_envelope_is_the_least_limit_of_each_step_and_names_its_source() -> None:
    horizon = TimeGrid(1).at(MONDAY)
    tonight = Limit(
        800.0, LimitKind.CONNECTION, source="non-firm", valid_from=MONDAY + timedelta(hours=1), valid_to=MONDAY + timedelta(hours=2)
    )
    envelope = import_envelope(horizon, MONDAY, [Limit(1000.0), tonight], [], 900.0, margin=0.0)
    assert (envelope.kw[0], envelope.source[0]) == (900.0, "order limit (held by control)")
    assert (envelope.kw[5], envelope.source[5]) == (1000.0, "protective limit (site file)")
    assert (envelope.kw[13], envelope.source[13]) == (800.0, "connection limit (non-firm)")
    assert envelope.kw[-1] == 1000.0


def test_a_store_that_is_not_measured_is_not_used() -> None:
    plan = oracle_loop().plan(MONDAY, state(energy_kwh={"ups-1": 390.0}))
    assert not any(plan.power_kw["bess-1"])


def test_energy_of_another_billing_interval_does_not_count() -> None:
    loop = oracle_loop()
    now = MONDAY + timedelta(minutes=20)
    running = loop.make_inputs(now, state(now, interval_start=MONDAY + timedelta(minutes=15), interval_kwh=80.0))
    over = loop.make_inputs(now, state(now, interval_start=MONDAY, interval_kwh=80.0))
    assert running.meter.interval_energy_kwh == pytest.approx(80.0) and over.meter.interval_energy_kwh == 0.0


def test_the_reserve_follows_the_larger_of_held_and_expected_critical_load() -> None:
    loop, ups = oracle_loop(), SITE.upses[0]
    expected = loop.make_inputs(MONDAY, state(critical_kw=100.0))
    held = loop.make_inputs(MONDAY, state(critical_kw=1500.0))
    assert expected.critical_q99_kw == 1400.0
    assert expected.reserve_kwh["ups-1"] == pytest.approx(ups.reserve_soc(1400.0) * 400)
    assert held.reserve_kwh["ups-1"] == pytest.approx(ups.reserve_soc(1500.0) * 400)


def frames(days: float, level: float) -> list[MinuteFrame]:
    """Demand with a daily hump, one minute for each quarter of an hour to keep the test short."""
    out = []
    for k in range(round(days * 96)):
        at = MONDAY - timedelta(days=days) + timedelta(minutes=15 * k)
        use = level + 0.3 * np.sin(2 * np.pi * (at.hour - 13) / 24)
        out.append(MinuteFrame(at, None, {}, {c.id: c.idle_kw + (c.peak_kw - c.idle_kw) * use for c in SITE.clusters}, {}, {}, 25.0))
    return out


def expectation(days: float, level: float) -> PeakExpectation:
    peak = PeakExpectation(SITE)
    for frame in frames(days, level):
        peak.observe(frame.start, 60.0, frame.demand_kw)
    return peak


def test_the_expected_peak_follows_the_days_seen_and_never_leaves_the_limit() -> None:
    low, high, beyond = (expectation(1.5, level).expected_kw(MONDAY, TruePrice(), TrueWeather()) for level in (0.3, 0.5, 1.1))
    assert 700 < low < high < 1370.0 and beyond == 1370.0


def test_a_plan_does_not_wait_for_days_that_take_long_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three days of a campus take 15 s; live, a plan has 2."""
    may_go_on, solved = Event(), look.solve_bound
    monkeypatch.setattr(look, "solve_bound", lambda *given: (may_go_on.wait(60.0), solved(*given))[1])
    peak = PeakExpectation(SITE, wait_s=0.05)
    for frame in frames(1.5, 0.5):
        peak.observe(frame.start, 60.0, frame.demand_kw)
    assert peak.expected_kw(MONDAY, TruePrice(), TrueWeather()) == pytest.approx(FIRST_GUESS * 1370)
    may_go_on.set()
    assert peak._look is not None and peak._look[1].is_done(60.0)
    assert peak.expected_kw(MONDAY, TruePrice(), TrueWeather()) == expectation(1.5, 0.5).expected_kw(MONDAY, TruePrice(), TrueWeather())


def test_days_that_cannot_be_replayed_leave_the_guess_and_a_defect_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for failure, is_told in ((PlanInfeasible("no"), False), (ValueError("wrong"), True)):
        monkeypatch.setattr(look, "solve_bound", Mock(side_effect=failure))
        peak = expectation(1.5, 0.5)
        with pytest.raises(ValueError, match="wrong") if is_told else nullcontext():
            peak.expected_kw(MONDAY, TruePrice(), TrueWeather())
        assert peak.expected_kw(MONDAY, TruePrice(), TrueWeather()) == pytest.approx(FIRST_GUESS * 1370)
        monkeypatch.setattr(look, "solve_bound", solved := Mock(side_effect=failure))
        with pytest.raises(ValueError, match="wrong") if is_told else nullcontext():
            peak.expected_kw(MONDAY + timedelta(hours=1), TruePrice(), TrueWeather())
        assert solved.called == is_told, "a defect is looked at again, days that cannot be replayed are not"


def test_few_days_left_in_the_month_are_expected_to_peak_less_than_a_whole_month() -> None:
    peak = expectation(1.5, 0.4)
    whole, week, two_days = (peak.expected_kw(MONDAY, TruePrice(), TrueWeather(), days) for days in (30.0, 7.0, 2.0))
    assert whole > week > two_days > whole / 1.15
    for later, is_lower in ((timedelta(0), False), (timedelta(days=11), True)):
        loop = PlanLoop(SITE)
        for frame in frames(1.5, 0.4):
            loop.observe(replace(frame, start=frame.start + later))
        meter = loop.make_inputs(MONDAY + later, state(MONDAY + later)).meter
        assert meter.expected_next_peak_kw is not None
        assert (meter.expected_next_peak_kw > meter.expected_peak_kw) == is_lower


def test_with_less_than_a_day_seen_the_expected_peak_is_a_share_of_the_limit() -> None:
    assert expectation(0.9, 0.5).expected_kw(MONDAY, TruePrice(), TrueWeather()) == pytest.approx(FIRST_GUESS * 1370)


def test_the_same_history_gives_the_same_plans() -> None:
    def plans() -> list[str]:
        loop = PlanLoop(SITE)
        for frame in frames(1.2, 0.5):
            loop.observe(frame)
        return [loop.plan(MONDAY + timedelta(minutes=5 * k), state(MONDAY + timedelta(minutes=5 * k))).hash() for k in range(3)]

    assert plans() == plans()


def test_a_plan_over_the_end_of_a_month_and_daylight_saving_time_is_made() -> None:
    for now in (datetime(2024, 8, 31, 23, 58, 11, tzinfo=UTC), datetime(2024, 11, 2, 22, 3, 59, tzinfo=UTC)):
        plan = oracle_loop().plan(now, state(now))
        assert len(plan.starts) == TimeGrid.covering(48).n and "next demand" in plan.cost
