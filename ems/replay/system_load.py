"""The system's load of a scenario: its forecast, a generated truth, when it peaks, and what a planner knows of it at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from ems.errors import DataError
from ems.kpi.bills.coincident import coincident_intervals
from ems.plan.tariff_peaks import PeakPredictor, SystemLoadPredictor
from ems.replay.tables import read_table

if TYPE_CHECKING:
    from ems.replay.world import World

NAMES = {"load": ("load", "load_mw", "load_kw")}
AHEAD_S = 48 * 3600.0
HOUR_S = 3600.0


@dataclass(frozen=True)
class SystemLoad:
    """Means over the intervals of the tariff's rule, in the unit of the file; the truth is the forecast plus an AR(1) error by the hour."""

    at_s: np.ndarray
    forecast: np.ndarray
    truth: np.ndarray
    peaks_s: tuple[float, ...]  # starts of the billed peak intervals


def system_load(world: World) -> SystemLoad | None:
    """The system's load; None where the scenario has none or the tariff does not ask. Raises DataError without a column for it."""
    file, rule = world.scenario.model.system_load, world.site.tariff.coincident_peak
    if file is None or rule is None:
        return None
    table = read_table(world.scenario.files[file.path], file.columns, NAMES, file.time_zone, file.label)
    if "load" not in table.values:
        raise DataError(f"{file.path}: no column for load; name it under `columns:`")
    hours, load = table.seconds, table.values["load"]
    usable = np.isfinite(load)
    hours, load = hours[usable], load[usable]
    error = generated_error(len(load), file.error_share * float(load.max()), file.error_memory, world.seed)
    at_s = np.arange(hours[0], hours[-1] + HOUR_S, 60.0 * rule.interval_min)
    forecast, truth = np.interp(at_s, hours, load), np.interp(at_s, hours, load + error)
    return SystemLoad(at_s, forecast, truth, coincident_intervals(world.site.tariff, world.site.time_zone, at_s, truth))


def generated_error(n: int, sigma: float, memory: float, seed: int) -> np.ndarray:
    """An AR(1) series of stationary deviation `sigma`, by the hour."""
    rng = np.random.default_rng([seed, 4])
    error = rng.normal(0.0, sigma, n)
    for i in range(1, n):
        error[i] = memory * error[i - 1] + np.sqrt(1.0 - memory**2) * error[i]
    return error


class KnownSoFar:
    """A predictor that has seen the truth up to `now` and the forecast beyond."""

    def __init__(self, world: World, load: SystemLoad) -> None:
        file, rule = world.scenario.model.system_load, world.site.tariff.coincident_peak
        assert file is not None and rule is not None
        self.load, self.seen = load, 0
        self.inner = SystemLoadPredictor(world.site.tariff, rule, world.site.time_zone, file.error_share, file.error_memory)
        self.length_s = 60.0 * rule.interval_min

    def probability(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> np.ndarray:
        """As the predictor of the load has it, once it has seen every interval that has ended."""
        until = int(np.searchsorted(self.load.at_s + self.length_s, now.timestamp(), side="right"))
        last = max(0, until - 1)
        end = int(np.searchsorted(self.load.at_s, now.timestamp() + AHEAD_S))
        self.inner.add_forecast(self.load.at_s[last:end], self.load.forecast[last:end])
        for i in range(self.seen, until):
            self.inner.observe(float(self.load.at_s[i]), float(self.load.truth[i]))
        self.seen = max(self.seen, until)
        return self.inner.probability(now, starts, duration_h)


class KnownPeaks:
    """The oracle's: certain of the intervals that will be billed."""

    def __init__(self, load: SystemLoad, interval_min: int) -> None:
        self.peaks_s, self.length_s = load.peaks_s, 60.0 * interval_min

    def probability(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> np.ndarray:
        """The share of a billed interval that lies in each step."""
        begin = np.array([s.timestamp() for s in starts])
        end = begin + HOUR_S * np.asarray(duration_h, float)
        overlap = [np.clip(np.minimum(end, p + self.length_s) - np.maximum(begin, p), 0.0, None) for p in self.peaks_s]
        return np.sum(overlap, axis=0) / self.length_s if overlap else np.zeros(len(begin))


def predictor_for(world: World, is_oracle: bool) -> PeakPredictor | None:
    """Who tells the plan when the system peaks; None: the calendar alone, where the tariff asks."""
    load, rule = system_load(world), world.site.tariff.coincident_peak
    if load is None or rule is None:
        return None
    return KnownPeaks(load, rule.interval_min) if is_oracle else KnownSoFar(world, load)


def billed_peaks(world: World) -> tuple[float, ...]:
    """Starts of the system's peak intervals, for the bill."""
    load = system_load(world)
    return () if load is None else load.peaks_s
