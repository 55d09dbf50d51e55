"""The plan loop: what is observed and announced goes in, a plan for `now` comes out. The planner process and replay run the same one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ems.commitment import Commitment
from ems.forecast.announced import AnnouncedLoad
from ems.forecast.jobs import SourceWithJobs
from ems.forecast.load import LoadForecaster
from ems.forecast.price_source import ForecastPrices
from ems.forecast.quantiles import Quantiles
from ems.forecast.served import load_source
from ems.forecast.weather import dew_points_ahead_c
from ems.horizon import Horizon
from ems.messages import MinuteFrame
from ems.obligation import Obligation
from ems.plan.envelope import import_envelope
from ems.plan.generation import GenerationInputs, ordered_shares
from ems.plan.inputs import DemandMeter, LoadBranch, PlanInputs, is_worn_out, stores_of
from ems.plan.minimum_bill import MonthMoney, demand_peaks, is_weighed
from ems.plan.peak import PeakExpectation
from ems.plan.plan import Plan
from ems.plan.planner import Planner
from ems.plan.price_basis import basis_alarm, basis_line, price_basis
from ems.plan.sources import LoadSource, PriceSource, WeatherSource
from ems.plan.state import PlanState
from ems.plan.tariff import tariff_commitments
from ems.plan.tariff_book import Expected, TariffBook
from ems.plan.tariff_memory import decode_memory
from ems.plan.tariff_peaks import PeakPredictor
from ems.signals.carbon import CarbonBook, CarbonRow
from ems.signals.prices import DAY_AHEAD, REAL_TIME, PriceBook, PriceRow
from ems.signals.weather import WeatherBook, WeatherRow
from ems.site.model import Site
from ems.site.storage_classes import planned_site, storage_classes
from ems.site.tariff import MARKET, Window
from ems.site.tariff_prices import step_prices
from ems.timegrid import TimeGrid, interval_start

Array = NDArray[np.float64]
FRAME_S = 60.0
Courses = tuple[tuple[float, float], ...]  # probability and quantile of each
COURSES: Courses = ()  # branches: cheaper in one development week, dearer in another, twice the time (tests/benchmarks/uncertainty.md)
REFILL_H = 2.0  # within this the UPS store can be refilled to its reserve: the load until then is what the reserve must carry


class PlanLoop:
    """Composes forecasts, tariff, limits and measured state into inputs, and plans.

    `loads` (per cluster id), `prices` and `weather` may be given, e.g. the true future for an oracle. `budget_s` is the solver's wall
    time; None limits iterations instead (replay). `settle_at`: when the accounts close, if that is known. `system_peaks`: says when the
    system peaks, where the tariff asks. `courses`: the branches of the load beside the median's, each a probability and a quantile.
    """

    def __init__(
        self,
        site: Site,
        budget_s: float | None = None,
        loads: Mapping[str, LoadSource] | None = None,
        prices: PriceSource | None = None,
        weather: WeatherSource | None = None,
        settle_at: datetime | None = None,
        system_peaks: PeakPredictor | None = None,
        courses: Courses = COURSES,
    ) -> None:
        self.classes = storage_classes(site)
        site = self.site = planned_site(site)
        self.budget_s = budget_s
        self.grid = TimeGrid.covering(site.plan.horizon_h)
        self.loads: dict[str, LoadSource] = (
            dict(loads) if loads is not None else {c.id: load_source(c.rating_kw, c.idle_kw) for c in site.clusters}
        )
        self.prices: PriceSource = prices if prices is not None else expected_prices(site)
        self.weather: WeatherSource = weather if weather is not None else WeatherBook()
        self.settle_at = settle_at
        is_peak_priced = site.tariff.demand_price_per_kw_month > 0.0 and bool(site.clusters)
        self.courses = courses if is_peak_priced else ()
        self.carbon = CarbonBook()
        self.book = TariffBook(site, system_peaks)
        self.money = MonthMoney(site) if is_weighed(site.tariff) else None
        self.peak = PeakExpectation(site, budget_s)
        self.events: dict[str, Obligation] = {}
        self.resources: dict[str, LoadSource] = {r.id: LoadForecaster(r.power_kw, 0.0, unknown_kw=0.0) for r in site.renewables}
        self.forecasts: dict[str, Quantiles] = {}  # of the last plan, per cluster
        self.inputs: PlanInputs | None = None  # of the last plan
        self.price_basis: tuple[str, ...] = ()  # per step of the last plan, what its market price rests on

    @cached_property
    def planner(self) -> Planner:
        """Compiled when the first plan is made."""
        return Planner(self.site, self.budget_s, len(self.courses))

    def observe(self, frame: MinuteFrame) -> None:
        """Takes the means of one minute."""
        for cluster, source in self.loads.items():
            source.observe(frame.start, FRAME_S, frame.demand_kw.get(cluster))
        for renewable, source in self.resources.items():
            source.observe(frame.start, FRAME_S, frame.available_kw.get(renewable))
        self.peak.observe(frame.start, FRAME_S, frame.demand_kw)
        self.book.observe(frame.start, FRAME_S, frame.poc_kw)
        if self.money is not None:
            minute = Horizon((frame.start,), (FRAME_S / 3600.0,))
            price_per_kwh = float(self._prices(minute.end, minute)[0][0])
            self.money.observe(frame.start, FRAME_S, frame.poc_kw, price_per_kwh)

    def memory(self) -> dict[str, Any] | None:
        """What the tariff's charges remember of the months before, as plain data; None for a tariff that remembers nothing."""
        if self.site.tariff.is_plain and self.money is None:
            return None
        return {"book": self.book.memory().encode(), "money": None if self.money is None else self.money.memory()}

    def remember(self, data: Mapping[str, Any]) -> None:
        """Takes back what `memory` gave before a restart. Raises KeyError, TypeError, ValueError or AttributeError on anything else."""
        book = decode_memory(data["book"])
        if self.money is not None and data["money"] is not None:
            self.money.remember(data["money"])
        self.book.remember(book)

    def announce(self, loads: Mapping[str, Iterable[AnnouncedLoad]]) -> None:
        """Takes announced load per cluster. Raises ValueError for a cluster that the site does not have."""
        for cluster, announced in loads.items():
            if cluster not in self.loads:
                raise ValueError(f"announced load for {cluster}: expected one of {', '.join(self.loads)}")
            source = self.loads[cluster]
            if isinstance(source, SourceWithJobs):  # a true future holds the jobs already
                source.announce(announced)

    def add_prices(self, rows: Iterable[PriceRow]) -> None:
        """Takes price rows as they become known; under a day-ahead tariff the day-ahead price is the price."""
        if DAY_AHEAD in (self.site.tariff.energy, self.site.tariff.export_energy):
            rows = [replace(r, source=REAL_TIME) for r in rows if r.source == DAY_AHEAD]
        self.prices.add(rows)

    def add_carbon(self, rows: Iterable[CarbonRow]) -> None:
        """Takes carbon intensities, of the kind the tariff prices, as they become known."""
        self.carbon.add(rows)

    def add_weather(self, rows: Iterable[WeatherRow]) -> None:
        """Takes temperatures as they become known."""
        self.weather.add(rows)

    def add_events(self, obligations: Iterable[Obligation]) -> None:
        """Takes grid events and orders; a newer one with the same id replaces the older."""
        self.events.update((o.id, o) for o in obligations)

    def plan(self, now: datetime, state: PlanState) -> Plan:
        """The plan for `now` from the measured state. Raises PlanInfeasible when there is none."""
        self.inputs = self.make_inputs(now, state)
        self.price_basis = price_basis(self.site.tariff, self.prices, now, self.inputs.horizon)
        plan = self.planner.plan(self.inputs)
        return replace(plan, lines=(*plan.lines, *basis_line(self.price_basis, plan.duration_h)))

    @property
    def price_alarm(self) -> str:
        """That the last plan had no market price for its beginning, "" when it had."""
        return basis_alarm(self.price_basis, self.site.tariff.market_fallback_per_kwh)

    def make_inputs(self, now: datetime, state: PlanState) -> PlanInputs:
        """Everything the plan looks at, as known at `now`."""
        horizon = self.grid.at(now)
        starts, hours = horizon.starts, horizon.duration_h
        self.forecasts = {name: source.forecast(now, starts, hours) for name, source in self.loads.items()}
        price, export_price = self._prices(now, horizon)
        critical_q99_kw = self._critical_q99_kw(now)
        reserve_for_kw = max(state.critical_kw, critical_q99_kw)
        inputs = PlanInputs(
            now=now,
            horizon=horizon,
            load_q50_kw={name: f.q(0.5) for name, f in self.forecasts.items()},
            load_q90_kw={name: f.q(0.9) for name, f in self.forecasts.items()},
            import_price_per_kwh=price,
            export_price_per_kwh=export_price,
            outdoor_temp_c=np.asarray(self.weather.forecast(now, starts, hours), float),
            envelope=import_envelope(
                horizon,
                now,
                self.site.point_of_connection.limits,
                self.events.values(),
                state.import_limit_kw,
                self.site.control.import_margin,
            ),
            store_energy_kwh=self._store_energy_kwh(state),
            reserve_kwh={u.id: u.reserve_soc(reserve_for_kw) * u.energy_kwh for u in self.site.upses},
            backlog=state.clusters,
            tier_past=state.tier_past,
            meter=self._meter(now, state),
            cooling_kw=state.cooling_kw,
            supply_temp_c=state.supply_temp_c,
            dew_point_c={name: dew_points_ahead_c(dew_c, hours) for name, dew_c in state.dew_point_c.items()},
            import_now_kw=state.poc_kw,
            given_kwh=self._given_kwh(state),
            unavailable=frozenset(s.id for s in stores_of(self.site) if not self._measured(s.id, state) or is_worn_out(s)),
            present=self._present(state),
            critical_q99_kw=critical_q99_kw,
            generation=self._generation(now, horizon, state),
            commitments=self._commitments(now, horizon),
            interval_energy_kwh=self._running_kwh(now, state),
            branches=self._branches(),
            settle_at=self.settle_at,
        )
        return inputs if self.money is None else replace(inputs, minimum_left=self._minimum_left(self.money, inputs))

    def _minimum_left(self, money: MonthMoney, inputs: PlanInputs) -> float | None:
        """What is left of the month's minimum bill for the horizon."""
        demand = tariff_commitments(self.site.tariff, inputs)[1]
        return money.left(inputs.horizon, demand_peaks(demand, inputs.commitments), self.settle_at)

    def _running_kwh(self, now: datetime, state: PlanState) -> dict[int, float]:
        """Energy of the running intervals of the charges, by their minutes. The book's comes from means of minutes, control's from every
        cycle: where both count the same interval there is one truth, for the plan as for what checks it."""
        known, own_min = dict(self.book.interval_energy_kwh(now)), self.site.tariff.demand_interval_min
        return known if own_min not in known else {**known, own_min: self._meter(now, state).interval_energy_kwh}

    def _branches(self) -> tuple[LoadBranch, ...]:
        """Courses in which every cluster follows one upper quantile all along; none where no peak has a price."""
        return tuple(LoadBranch(p, {name: f.q(level) for name, f in self.forecasts.items()}) for p, level in self.courses)

    def _generation(self, now: datetime, horizon: Horizon, state: PlanState) -> GenerationInputs:
        """Where the generators stand, what orders name them for, and what sun and wind are expected to give."""
        expected = {name: s.forecast(now, horizon.starts, horizon.duration_h) for name, s in self.resources.items()}
        return GenerationInputs(
            runs=state.runs,
            ordered=ordered_shares(self.site, horizon, self.events.values()),
            available_q10_kw={name: f.q(0.1) for name, f in expected.items()},
            available_q50_kw={name: f.q(0.5) for name, f in expected.items()},
        )

    def _prices(self, now: datetime, horizon: Horizon) -> tuple[Array, Array]:
        """Import and export price per step: market (where the tariff follows one), adder and energy periods."""
        tariff, exports_at_market = self.site.tariff, self.site.tariff.export_energy in MARKET
        market = np.zeros(horizon.n)
        if tariff.is_market or exports_at_market:
            market = np.asarray(self.prices.forecast(now, horizon.starts, horizon.duration_h), float)
        month_kwh = self.book.tier_kwh(now, self._expected_kw(now))
        period, export = step_prices(tariff, self.site.time_zone, horizon.starts, horizon.duration_h, month_kwh)
        return market * tariff.is_market + tariff.energy_price_per_kwh + period, market * exports_at_market + export

    def _commitments(self, now: datetime, horizon: Horizon) -> tuple[Commitment, ...]:
        """The tariff's charges beyond energy and one demand charge. Their peaks so far, month by month, are the book's."""
        carbon = None if self.site.tariff.carbon is None else self.carbon.forecast(now, horizon.starts, horizon.duration_h)
        return self.book.commitments(now, horizon, self._expected_kw(now), carbon, self.settle_at)

    def _expected_kw(self, now: datetime) -> Expected:
        """The peak in kW that some hours of a month will set anyway, as known at `now`."""

        def expected_kw(windows: Sequence[Window], days_left: float) -> float:
            overall_kw = self.peak.expected_kw(now, self.prices, self.weather, days_left)
            return overall_kw if not windows else self.peak.expected_within_kw(windows, overall_kw, days_left)

        return expected_kw

    def _critical_q99_kw(self, now: datetime) -> float:
        """Sum over the clusters behind a UPS of what each will not exceed until the store could be refilled."""
        carried = {i for u in self.site.upses for i in u.carries}
        return sum(source.max_quantile(now, REFILL_H, 0.99) for name, source in self.loads.items() if name in carried)

    def _store_energy_kwh(self, state: PlanState) -> dict[str, float]:
        """Measured energies, within what a store can hold; a store that is not measured counts as empty and is not used."""
        return {s.id: float(np.clip(sum(self._measured(s.id, state).values()), 0.0, s.energy_kwh)) for s in stores_of(self.site)}

    def _measured(self, store: str, state: PlanState) -> dict[str, float]:
        """Energies known of a store: its own, or those of the strings planned as it."""
        members = [s.id for s in self.classes[store]] if store in self.classes else [store]
        return {m: state.energy_kwh[m] for m in members if m in state.energy_kwh}

    def _given_kwh(self, state: PlanState) -> dict[str, float]:
        """What each store has given today; of a class what its strings have given together. Only of stores somebody counts."""
        sums = {name: [state.given_kwh[s.id] for s in strings if s.id in state.given_kwh] for name, strings in self.classes.items()}
        alone = {k: v for k, v in state.given_kwh.items() if k in self.site.assets}
        return {**alone, **{name: sum(given) for name, given in sums.items() if given}}

    def _present(self, state: PlanState) -> dict[str, float]:
        """For each class of strings the share of its rating that is measured; silent strings are planned without."""
        return {
            name: sum(s.power_kw for s in strings if s.id in state.energy_kwh) / sum(s.power_kw for s in strings)
            for name, strings in self.classes.items()
        }

    def _meter(self, now: datetime, state: PlanState) -> DemandMeter:
        running = interval_start(now, self.site.tariff.demand_interval_min * 60)
        since_h = max(0.0, (now - state.at).total_seconds()) / 3600
        metered_kwh = state.interval_kwh + max(0.0, state.poc_kw) * since_h if state.interval_start == running else 0.0
        next_month_at = next_month_start(now, self.site.time_zone)
        days_left = (next_month_at - now) / timedelta(days=1)
        is_of_this_month = next_month_start(state.at, self.site.time_zone) == next_month_at
        return DemandMeter(
            peak_so_far_kw=state.peak_so_far_kw if is_of_this_month else 0.0,
            expected_peak_kw=self.peak.expected_kw(now, self.prices, self.weather, days_left),
            expected_next_peak_kw=self.peak.expected_kw(now, self.prices, self.weather),
            interval_energy_kwh=metered_kwh,
            next_month_at=next_month_at,
        )


def expected_prices(site: Site) -> PriceBook:
    """Forecasts where the site sells at a real-time market: there the price is all it lives on. Who only buys plans on the book's rule
    (prices known, then day-ahead): over four development weeks forecasts earned it 0.1 to 0.3 %, less than a seed moves, and none of those
    weeks was scarce."""
    tariff = site.tariff
    if tariff.export_energy in ("indexed", "real_time"):
        return ForecastPrices(tariff.market_fallback_per_kwh, site.time_zone)
    return PriceBook(tariff.market_fallback_per_kwh)


def next_month_start(now: datetime, time_zone: str) -> datetime:
    """The first instant of the next local month, in UTC."""
    local = now.astimezone(ZoneInfo(time_zone)).replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    first = (local.replace(tzinfo=None) + timedelta(days=32)).replace(day=1)
    return first.replace(tzinfo=ZoneInfo(time_zone)).astimezone(now.tzinfo)
