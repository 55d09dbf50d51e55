"""The demo site by quarters of an hour, for the year of programmes: generated load, a coarse dispatcher, a meter, what the desk asks for.

Coarse on purpose: no ramp, no lag, no second. What the year proves is the contract logic (what is promised, counted, metered and paid);
delivery second by second is the business of the event campaign. The forecast knows the past only.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ems.errors import DataError
from ems.obligation import Obligation
from ems.plan.plan import ClassPlan, Plan
from ems.program.baseline import Period
from ems.program.decide import Feasibility
from ems.program.desk import Desk
from ems.program.enrolment import EnrolmentFile
from ems.program.event import GridEvent
from ems.program.judge import judge_event, quiet_limits
from ems.program.measure import (
    MeasureInputs,
    expected_baseline,
    held_steps,
    measure_event,
    metered_until,
    moved_periods,
    reading_plan,
    settlement_interval_min,
)
from ems.program.meter import MeterSeries
from ems.program.stages import acting_event
from ems.program.status import BaselineSteps, EventStatus
from ems.program.terms import Terms
from ems.resources import bundled
from ems.site.load import load_site
from simulators.demand import GeneratedDemand

Array = NDArray[np.float64]
QUARTER, H = timedelta(minutes=15), 0.25
BEFORE = timedelta(days=70)  # of history that baselines look back on
SITE = load_site(bundled("config/sites/demo-2mw.yaml"))
BATTERY, UPS, COOLING = SITE.batteries[0], SITE.upses[0], SITE.coolings[0]
HOUSE_KW = sum(f.power_kw for f in SITE.fixed_loads)
SAMPLES = 3  # of the generator in a quarter
AHEAD = 128  # quarters of the coarse plan
PROFILE_DAYS = 14
LIMIT_SHARE = 0.996  # of the connection limit, as the site file says (control.import_margin)
Q90 = 1.2816
LOAD_SHARE = 0.85  # of the generator's demand above idle: at 1 every month's peak is the connection limit, and nothing could be seen in it
MORE_RECOVERY = 0.2  # of a class's own power: how fast what waited is made up
EMPTY = 1e-6


@dataclass(frozen=True)
class Load:
    """Per quarter from `start`: kW of IT per deferrable class, IT that never waits, and site kW per kW of IT."""

    start: datetime
    steady_kw: Array
    deferrable_kw: Mapping[str, Array]
    factor: Array
    price_per_kwh: Array
    expected_price_per_kwh: Array

    def at(self, step: int) -> datetime:
        """The start of a quarter."""
        return self.start + step * QUARTER

    def step(self, at: datetime) -> int:
        """The quarter that has an instant."""
        return int((at - self.start) // QUARTER)


def generated_load(first: datetime, last: datetime, seed: int) -> Load:
    """Load and prices from BEFORE before `first` to `last`, from the simulators' own generator."""
    start = first - BEFORE
    steps = int((last - start) // QUARTER)
    at_s = start.timestamp() + 900.0 / SAMPLES * np.arange(steps * SAMPLES, dtype=float)
    demand = GeneratedDemand(SITE, seed)
    steady, waiting = np.zeros(steps), {}
    for cluster in SITE.clusters:
        series = demand.series(cluster, at_s)
        rows = {"interactive": series.interactive_kw, "batch": series.batch_kw, "training": series.training_kw}
        means = {name: LOAD_SHARE * row.reshape(steps, SAMPLES).mean(axis=1) for name, row in rows.items()}
        steady += cluster.idle_kw + means["interactive"]
        waiting |= {f"{cluster.id}/{name}": means[name] for name in ("batch", "training")}
    return Load(start, steady, waiting, _factor(at_s[::SAMPLES]), *_prices(at_s[::SAMPLES], seed))


def _factor(at_s: Array) -> Array:
    """Cooling by a sine of the seasons and of the day, and the losses of the UPS."""
    year, day = 2 * np.pi * (at_s / 86400.0 - 200.0) / 365.25, 2 * np.pi * (at_s / 3600.0 - 21.0) / 24.0
    temp_c = 18.0 + 10.0 * np.cos(year) + 6.0 * np.cos(day)
    share = np.clip((temp_c - 10.0) / 30.0, 0.0, 1.0)
    fraction: Array = COOLING.fraction_at_10c + share * (COOLING.fraction_at_40c - COOLING.fraction_at_10c)
    return 1.0 + UPS.loss_fraction + fraction


def _prices(at_s: Array, seed: int) -> tuple[Array, Array]:
    """Real-time prices with rare spikes, and what one expects without knowing these."""
    rng = np.random.default_rng([seed, 7])
    expected: Array = 0.04 + 0.03 * np.clip(np.cos(2 * np.pi * (at_s / 3600.0 - 24.0) / 24.0), 0.0, None)
    spike = np.repeat((rng.random(len(at_s) // 4 + 1) < 0.01) * rng.uniform(0.1, 0.6, len(at_s) // 4 + 1), 4)[: len(at_s)]
    return expected * rng.uniform(0.8, 1.2, len(at_s)) + spike, expected


@dataclass
class Waiting:
    """Work that waits, in kWh of IT by the quarter in which it is due."""

    due: dict[str, deque[tuple[int, float]]] = field(default_factory=dict)

    def put(self, resource: str, by: int, kwh: float) -> None:
        """Puts off work."""
        self.due.setdefault(resource, deque()).append((by, kwh))

    def take(self, resource: str, kwh: float) -> float:
        """Makes up work, the oldest first; gives how much."""
        queue, taken = self.due.get(resource, deque()), 0.0
        while queue and taken < kwh - EMPTY:
            by, there = queue.popleft()
            used = min(there, kwh - taken)
            taken += used
            if there - used > EMPTY:
                queue.appendleft((by, there - used))
        return taken

    def overdue(self, resource: str, step: int) -> float:
        """kWh that can wait no longer than this quarter."""
        return sum(kwh for by, kwh in self.due.get(resource, ()) if by <= step)

    def copy(self) -> Waiting:
        """For a look ahead."""
        return Waiting({name: deque(queue) for name, queue in self.due.items()})


@dataclass
class Plant:
    """Storage and work that waits. `quarter` is the dispatcher: limits first by the battery, then by work; what is left comes back below
    `hold_kw`, the highest mean that the month's load has reached by itself."""

    battery_kwh: float
    waiting: Waiting = field(default_factory=Waiting)
    deferred_kw: dict[str, float] = field(default_factory=dict)  # in the last quarter
    recovered_kw: dict[str, float] = field(default_factory=dict)
    battery_kw: float = 0.0  # charging positive
    short_kw: float = 0.0
    is_recovering: bool = False
    overdue_kw: float = 0.0

    def quarter(self, step: int, load: Load | Forecast, limits: Sequence[float], hold_kw: float) -> float:
        """The mean import of one quarter. `limits`: kW by equal parts of the quarter, () without any."""
        factor, room = float(load.factor[step]), {r: float(kw[step]) for r, kw in load.deferrable_kw.items()}
        must = {r: self.waiting.take(r, self.waiting.overdue(r, step)) / H for r in room}
        natural_kw = factor * (float(load.steady_kw[step]) + sum(room.values())) + HOUSE_KW
        self.overdue_kw = factor * sum(must.values())
        wanted_kw = natural_kw + self.overdue_kw
        ceiling = SITE.point_of_connection.import_limit_kw * LIMIT_SHARE
        allowed = [min(kw, ceiling, wanted_kw) for kw in limits] or [min(ceiling, wanted_kw)]
        cut_kw = wanted_kw - sum(allowed) / len(allowed)
        self.recovered_kw, self.deferred_kw, self.battery_kw = must, {}, 0.0
        self.is_recovering = any(kw > EMPTY for kw in must.values())
        if cut_kw > EMPTY:
            return wanted_kw - self._cut(step, cut_kw, factor, room)
        self.short_kw = 0.0
        return wanted_kw + self._come_back(min([hold_kw, ceiling, *limits]) - wanted_kw, factor, room)

    def _cut(self, step: int, kw: float, factor: float, room: Mapping[str, float]) -> float:
        left_kw = kw
        given = min(left_kw, BATTERY.power_kw, max(0.0, self.battery_kwh - BATTERY.min_energy_kwh) * BATTERY.discharge_efficiency / H)
        self.battery_kwh -= given * H / BATTERY.discharge_efficiency
        self.battery_kw, left_kw = -given, left_kw - given
        for resource, there_kw in sorted(room.items()):
            put_off = min(left_kw / factor, there_kw)
            if put_off > EMPTY:
                self.waiting.put(resource, step + deadline_steps(resource), put_off * H)
                self.deferred_kw[resource] = put_off
                left_kw -= put_off * factor
        self.short_kw = max(0.0, left_kw)
        return kw - self.short_kw

    def _come_back(self, headroom_kw: float, factor: float, room: Mapping[str, float]) -> float:
        used_kw = 0.0
        for resource, there_kw in sorted(room.items()):
            more_kw = min(max(0.0, headroom_kw - used_kw) / factor, MORE_RECOVERY * max(there_kw, 100.0))
            made_up = self.waiting.take(resource, more_kw * H) / H
            self.recovered_kw[resource] = self.recovered_kw.get(resource, 0.0) + made_up
            used_kw += made_up * factor
        missing_kwh = BATTERY.max_energy_kwh - self.battery_kwh
        charge = max(0.0, min(headroom_kw - used_kw, BATTERY.power_kw, missing_kwh / BATTERY.charge_efficiency / H))
        self.battery_kwh += charge * H * BATTERY.charge_efficiency
        self.battery_kw = charge
        self.is_recovering |= used_kw + charge > EMPTY
        return used_kw + charge


@dataclass(frozen=True)
class Forecast:
    """What is expected from a quarter on; indexed like the load it forecasts."""

    steady_kw: Mapping[int, float]
    deferrable_kw: Mapping[str, Mapping[int, float]]
    factor: Mapping[int, float]
    sigma: tuple[float, ...]  # relative, by quarters ahead


def forecast(load: Load, step: int) -> Forecast:
    """The mean of the same quarters of the last days, brought to the level of the last hour; the level counts less with every hour."""
    days = np.arange(1, PROFILE_DAYS + 1)
    index = step + np.arange(AHEAD)
    past = index[:, None] - 96 * (days + (index[:, None] - step) // 96)
    fade = np.exp(-np.arange(AHEAD) * H / 4.0)
    last = np.arange(step - 4, step)

    def ahead(row: Array) -> dict[int, float]:
        profile = row[past].mean(axis=1)
        level = row[last].mean() / max(EMPTY, row[last[:, None] - 96 * days].mean())
        return dict(zip(index.tolist(), (profile * (1.0 + (min(2.0, level) - 1.0) * fade)).tolist(), strict=True))

    total = load.steady_kw + sum(load.deferrable_kw.values())
    spread = float((total[past].std(axis=1) / total[past].mean(axis=1)).mean())
    sigma = tuple(spread * math.sqrt(1.0 - math.exp(-2.0 * (n + 1) * H / 4.0)) for n in range(AHEAD))
    factor = {k: float(load.factor[k - 96 * (1 + (k - step) // 96)]) for k in index.tolist()}
    return Forecast(ahead(load.steady_kw), {r: ahead(kw) for r, kw in load.deferrable_kw.items()}, factor, sigma)


def deadline_steps(resource: str) -> int:
    """How many quarters a class may wait, one kept in hand."""
    cluster, name = resource.split("/")
    hours = next(c for c in SITE.clusters if c.id == cluster).classes[name].deadline_h
    assert hours is not None
    return int(hours / H) - 1


def limits_in(obligations: Iterable[Obligation], start: datetime) -> list[float]:
    """The import limit of each of the fifteen minutes of a quarter, () where none holds in it."""
    here = [o for o in obligations if o.start < start + QUARTER and o.end > start]
    minutes = [start + timedelta(minutes=n) for n in range(15)] if here else []
    return [min((o.import_limit_kw() for o in here if o.is_in_force(m)), default=math.inf) for m in minutes]


class YearPorts:
    """What the desk asks of the world, answered from the coarse site's meter, plan and prices (as ems.office.programs does of a run)."""

    def __init__(self, load: Load, plant: Plant, first: int) -> None:
        self.load, self.plant = load, plant
        self.import_row: list[float | None] = [float(kw) for kw in natural_kw(load)[:first]]  # before the year nothing was called
        self.hold_kw = 0.0
        self.desk: Desk | None = None
        self._planned: tuple[int, int, Plan] | None = None

    def import_kw(self, now: datetime) -> float | None:
        """The last quarter's mean."""
        return self.import_row[-1]

    def meter(self, start: datetime, end: datetime, terms: Terms) -> MeterSeries:
        """From as long before `start` as the baseline looks, no further than is metered."""
        lookback, _, interval_min = reading_plan(terms)
        first = max(0, self.load.step(start - lookback))
        last = min(len(self.import_row), self.load.step(end - timedelta(seconds=1)) + 1)
        each = 15 // interval_min  # of a finer meter every part of a quarter reads alike
        return MeterSeries.of(self.load.at(first), interval_min, [kw for kw in self.import_row[first:last] for _ in range(each)])

    def baseline_steps(self, event: GridEvent, terms: Terms, now: datetime) -> BaselineSteps:
        """The programme's baseline as far as the meter says; () for levels."""
        try:
            run = expected_baseline(event, terms, self._enrolment(event), self.meter(event.start, now, terms), self._others(event))
        except DataError:
            return ()
        return held_steps(run)

    def evaluate(self, event: GridEvent, terms: Terms, reference_kw: float, now: datetime) -> Feasibility:
        """Judged by the coarse plan beside everything that is promised."""
        assert self.desk is not None
        ledger = self.desk.ledger.without(event.id)
        return judge_event(event, terms, self._enrolment(event), reference_kw, SITE, self.plan(now), kept_kwh(), ledger, now)

    def quiet(self, event: GridEvent, window: tuple[datetime, datetime], now: datetime) -> tuple[Obligation, ...]:
        """Limits without charging."""
        return quiet_limits(event, window, SITE, self.plan(now), now)

    def measure(self, status: EventStatus, terms: Terms, enrolment: EnrolmentFile | None, now: datetime) -> dict[str, Any] | None:
        """Once the meter has the hours after the event that the baseline looks at."""
        event = acting_event(status, terms)
        until = min(event.end, status.ended_at or event.end)
        if now < metered_until(until, terms):
            return None
        prices = self.prices(event.start, until, terms)
        meter = self.meter(event.start, metered_until(until, terms), terms)
        inputs = MeasureInputs(event, status.accepted_kw, until, meter, self._others(event), prices)
        try:
            return measure_event(inputs, terms, enrolment)
        except DataError as error:
            return {"trouble": str(error)}

    def prices(self, start: datetime, end: datetime, terms: Terms) -> dict[datetime, float]:
        """What an indexed payment is settled at."""
        if not any(p.price == "indexed" for p in terms.payments):
            return {}
        per = settlement_interval_min(terms) // 15
        first = self.load.step(start) // per * per
        row = self.load.price_per_kwh
        return {self.load.at(k): float(row[k : k + per].mean()) for k in range(first, self.load.step(end - timedelta(seconds=1)) + 1, per)}

    def plan(self, now: datetime) -> Plan:
        """The dispatcher on the forecast, holding what is asked now."""
        assert self.desk is not None
        step, version = self.load.step(now), len(self.desk.events) + sum(len(s.posted) for s in self.desk.events.values())
        if self._planned is None or self._planned[:2] != (step, version):
            obligations = [o for o in self.desk.obligations() if o.end > now]
            self._planned = (step, version, coarse_plan(self.load, step, self.plant, obligations, self.hold_kw))
        return self._planned[2]

    def _others(self, event: GridEvent) -> tuple[Period, ...]:
        return () if self.desk is None else moved_periods(self.desk.events.values(), event.id)

    def _enrolment(self, event: GridEvent) -> EnrolmentFile | None:
        return None if self.desk is None else self.desk.enrolments.get(event.program)


def coarse_plan(load: Load, step: int, plant: Plant, obligations: Sequence[Obligation], hold_kw: float) -> Plan:
    """Forecast, dispatched; what it leaves free is what the desk may promise."""
    expected = forecast(load, step)
    ahead = Plant(plant.battery_kwh, plant.waiting.copy())
    imports, battery_kw, energy, deferred, recovered = [], [], [plant.battery_kwh], [], []
    for k in range(step, step + AHEAD):
        imports.append(ahead.quarter(k, expected, limits_in(obligations, load.at(k)), hold_kw))
        battery_kw.append(ahead.battery_kw)
        energy.append(ahead.battery_kwh)
        deferred.append(ahead.deferred_kw)
        recovered.append(ahead.recovered_kw)
    steps, zeros = range(step, step + AHEAD), (0.0,) * AHEAD
    classes: dict[str, dict[str, ClassPlan]] = {c.id: {} for c in SITE.clusters}
    for resource in load.deferrable_kw:
        cluster, name = resource.split("/")
        rows = (tuple(d.get(resource, 0.0) for d in deferred), tuple(r.get(resource, 0.0) for r in recovered))
        classes[cluster][name] = ClassPlan(rows[0], rows[1], zeros)
    q50 = {c.id: tuple(_cluster_kw(expected, c.id, k) for k in steps) for c in SITE.clusters}
    q90 = {c: tuple(kw * (1.0 + Q90 * s) for kw, s in zip(row, expected.sigma, strict=True)) for c, row in q50.items()}
    return Plan(
        made_at=load.at(step),
        valid_until=load.at(step + 2),
        starts=tuple(load.at(k) for k in steps),
        duration_h=(H,) * AHEAD,
        power_kw={BATTERY.id: tuple(battery_kw), UPS.id: zeros, **q50},
        energy_kwh={BATTERY.id: tuple(energy), UPS.id: (UPS.energy_kwh,) * (AHEAD + 1)},
        classes=classes,
        import_kw=tuple(imports),
        load_q50_kw=q50,
        load_q90_kw=q90,
        price_per_kwh=tuple(float(load.expected_price_per_kwh[k]) for k in steps),
        marginal_price_per_kwh=zeros,
        binding=("",) * AHEAD,
        peak_kw=hold_kw,
        objective=0.0,
    )


def _cluster_kw(expected: Forecast, cluster: str, step: int) -> float:
    """IT power of one cluster: the steady part is split by the clusters' peaks."""
    peaks = {c.id: c.peak_kw for c in SITE.clusters}
    steady = expected.steady_kw[step] * peaks[cluster] / sum(peaks.values())
    return steady + sum(row[step] for r, row in expected.deferrable_kw.items() if r.startswith(f"{cluster}/"))


def natural_kw(load: Load) -> Array:
    """The import without programmes and storage."""
    row: Array = load.factor * (load.steady_kw + sum(load.deferrable_kw.values())) + HOUSE_KW
    return np.minimum(row, SITE.point_of_connection.import_limit_kw * LIMIT_SHARE)


def kept_kwh() -> dict[str, float]:
    """The whole UPS is reserve here."""
    return {UPS.id: UPS.energy_kwh}


def utc(text: str) -> datetime:
    """An instant of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
