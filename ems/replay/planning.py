"""The plan loop of a replay: the daemon's own PlanLoop, called every few minutes, its answer arriving one control step later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from ems.control.decision import Decision
from ems.control.minutes import MinuteMeans
from ems.control.plan_state import plan_state
from ems.errors import PlanInfeasible
from ems.forecast.announced import AnnouncedLoad
from ems.forecast.peak_watch import PeakWatch
from ems.forecast.quantiles import Quantiles
from ems.messages import MinuteFrame
from ems.obligation import Obligation
from ems.plan.loop import PlanLoop
from ems.plan.plan import Plan, encode_plan
from ems.plan.sources import LoadSource
from ems.plan.surprise import is_surprise
from ems.replay.billing import carbon_rows
from ems.replay.bound import solve_window
from ems.replay.future import TrueLoad, TruePeak, TruePrices, TrueWeather, true_loads, true_prices, true_weather
from ems.replay.generation import true_resources
from ems.replay.scores import ForecastScores
from ems.replay.system_load import predictor_for
from ems.replay.world import World
from ems.state.image import SiteImage

MINUTE = timedelta(minutes=1)
SOLVE_DELAY_S = 5.0  # a plan is never used earlier than this after its state was read


class Planning:
    """Feeds minutes to the plan loop, asks it for plans, hands them over when they would have arrived."""

    def __init__(self, world: World, is_oracle: bool) -> None:
        self.world = world
        self.loop = foreseeing_loop(world) if is_oracle else forecasting_loop(world)
        self.loop.add_prices(world.signals.price_rows)
        self.loop.add_weather(world.signals.weather_rows)
        self.loop.add_carbon(carbon_rows(world))
        for frame in history_frames(world):
            self.loop.observe(frame)
        self.minutes = MinuteMeans(world.site)
        self.peaks = PeakWatch({c.id: c.rating_kw for c in world.site.clusters}, world.scenario.control_step_s)
        self.scores = ForecastScores(world)
        self.every = timedelta(seconds=world.scenario.model.plan_every_s)
        self.delay = timedelta(seconds=max(world.scenario.control_step_s, SOLVE_DELAY_S))
        self.next_at = world.scenario.start
        self.last: Plan | None = None
        self.waiting: list[tuple[datetime, Plan]] = []
        self.solves = self.fallbacks = self.verify_failures = 0
        self.ms: list[float] = []
        self.fan: dict[str, Quantiles] = {}  # what was forecast at the middle of the window, for the report
        self.middle = world.scenario.start + (world.scenario.model.end - world.scenario.start) / 2

    def event(self, event: Obligation) -> None:
        """An event became known: it is planned for at once."""
        self.loop.add_events([event])
        self.next_at = min(self.next_at, event.notice_at)

    def arrived(self, now: datetime) -> dict[str, Any] | None:
        """The newest plan that has arrived by now, as it would come through the mailbox."""
        plan = None
        while self.waiting and self.waiting[0][0] <= now:
            plan = self.waiting.pop(0)[1]
        return None if plan is None else encode_plan(plan)

    def peak_news(self, now: datetime) -> list[tuple[str, dict[str, Any]]]:
        """The peaks to come, as the planner would tell the guard by now."""
        body = self.peaks.message(now)
        return [] if body is None else [("peak", body)]

    def cycle(self, now: datetime, image: SiteImage, decision: Decision, interval_start: datetime | None) -> Plan | None:
        """Takes one cycle; returns the plan when one was made."""
        clusters = decision.state.clusters
        self.peaks.observe(now, {name: c.demand_kw if c.is_fresh else None for name, c in clusters.items()})
        frame = self.minutes.update(decision.state, image)
        if frame is not None:
            for start in minutes_between(frame.start, now):
                self.loop.observe(replace(frame, start=start))
        surprised = frame is not None and self.last is not None and is_surprise(self.world.site, self.last, frame)
        if now < self.next_at and not surprised:
            return None
        self.next_at = now + self.every
        self.last = self._plan(now, decision, interval_start) or self.last
        return self.last if self.last is not None and self.last.made_at == now else None

    def _plan(self, now: datetime, decision: Decision, interval_start: datetime | None) -> Plan | None:
        state = plan_state(self.world.site, decision, interval_start)
        begun = time.perf_counter()
        self.solves += 1
        try:
            plan = self.loop.plan(now, state)
        except PlanInfeasible as clash:
            self.fallbacks += 1
            self.verify_failures += "check" in str(clash)
            return None
        finally:
            self.ms.append(1000.0 * (time.perf_counter() - begun))
        self.scores.take(self.loop.forecasts, plan)
        if not self.fan and now >= self.middle:
            self.fan = dict(self.loop.forecasts)
        self.waiting.append((now + self.delay, plan))
        return plan

    def write_fan(self, path: Path) -> None:
        """The forecast of the middle of the window: per cluster `begin` (seconds since 1970 UTC), `q10`, `q50`, `q90`."""
        columns = {}
        for name, fan in self.fan.items():
            columns[f"{name}:begin"] = np.array([start.timestamp() for start in fan.starts])
            columns |= {f"{name}:q{round(100 * level)}": fan.q(level) for level in (0.1, 0.5, 0.9)}
        if columns:
            np.savez(path, allow_pickle=False, **columns)

    def report(self) -> dict[str, Any]:
        """The `planner` part of summary.json."""
        p50, p99 = np.percentile(self.ms, [50, 99]) if self.ms else (None, None)
        return {
            "solves": self.solves,
            "fallbacks": self.fallbacks,
            "verify_failures": self.verify_failures,
            "ms_p50": None if p50 is None else round(float(p50), 3),
            "ms_p99": None if p99 is None else round(float(p99), 3),
        }


def forecasting_loop(world: World) -> PlanLoop:
    """The plan loop as in the daemon; jobs are announced to it, each known from its announcement on."""
    peaks = predictor_for(world, is_oracle=False)
    loop = PlanLoop(world.site, settle_at=world.scenario.model.end, system_peaks=peaks)
    for number, job in enumerate(world.scenario.model.jobs):
        loop.announce({job.cluster: [AnnouncedLoad(job.announced_at, job.start, job.end, job.kw, source=f"job {number}")]})
    return loop


def foreseeing_loop(world: World) -> PlanLoop:
    """The plan loop of the oracle: the true future of loads, prices, weather, and of the peak the window can be held to."""
    loads = {name: TrueLoad(series) for name, series in true_loads(world).items()}
    resources: dict[str, LoadSource] = {name: TrueLoad(series) for name, series in true_resources(world).items()}
    prices, weather = TruePrices(true_prices(world)), TrueWeather(true_weather(world))
    peaks, end = predictor_for(world, is_oracle=True), world.scenario.model.end
    loop = PlanLoop(world.site, loads=loads, prices=prices, weather=weather, settle_at=end, system_peaks=peaks)
    loop.resources = resources
    try:
        loop.peak = TruePeak(solve_window(world).peak_kw)  # type: ignore[assignment]
    except PlanInfeasible:  # a window without a bound: the oracle expects its peak as the plan does
        pass
    return loop


def minutes_between(start: datetime, now: datetime) -> Iterator[datetime]:
    """The whole minutes from `start` to the running one. Where a cycle lasts several, what was measured in the first holds for all: four of
    five minutes would else count as not seen, and a forecaster that sees a fifth of the load believes in none of it."""
    while start + MINUTE <= now:
        yield start
        start += MINUTE


def history_frames(world: World) -> list[MinuteFrame]:
    """What the site would have recorded before the window: demand per cluster as minute means, nothing about the rest."""
    step = world.scenario.plant_step_s
    steps = min((d.starts_at for d in world.demand.values()), default=0)
    minutes = int(steps * step // 60)
    start = world.scenario.start - timedelta(minutes=minutes)
    columns = {name: _minute_means(d.starts_at, step, minutes, {**d.class_kw, "all": d.power_kw()}) for name, d in world.demand.items()}
    starts = [start + timedelta(minutes=i) for i in range(minutes)]
    given = {name: series.means(starts, [1.0 / 60.0] * minutes).tolist() for name, series in true_resources(world).items()}
    return [_frame(world, at, i, columns, {name: row[i] for name, row in given.items()}) for i, at in enumerate(starts)]


def _minute_means(starts_at: int, step: float, minutes: int, series: dict[str, np.ndarray]) -> dict[str, list[float]]:
    edges = starts_at - np.round(np.arange(minutes, -1, -1) * 60.0 / step).astype(int)
    return {name: (np.add.reduceat(v[: edges[-1]], edges[:-1]) / np.diff(edges)).tolist() for name, v in series.items()} if minutes else {}


def _frame(
    world: World, start: datetime, i: int, columns: dict[str, dict[str, list[float]]], given_kw: dict[str, float | None]
) -> MinuteFrame:
    return MinuteFrame(
        start=start,
        poc_kw=None,
        asset_kw={name: column["all"][i] for name, column in columns.items()},
        demand_kw={name: column["all"][i] for name, column in columns.items()},
        class_demand_kw={c.id: {name: columns[c.id][name][i] for name in c.classes} for c in world.site.clusters},
        soc={},
        outdoor_temp_c=None,
        available_kw=given_kw,
    )
