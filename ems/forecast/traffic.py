"""From traffic to IT power, learnt online from measured power: requests and tokens per class → GPU work → kW.

Shape and prior: idle, joules per prompt and output token of each class, and one concave part of the total (the four-parameter logistic of
decode power over log2 of the batch, arXiv 2602.05116: H100 P0 = 300 W, R = 300 W, k = 1.0, x0 = 4.2). Recursive least squares with
forgetting moves the coefficients.

Changes are judged by what the same load took before, bin by bin, not by the regression's residual, which a curve it does not fit keeps
away from zero for hours. Two-sided CUSUM against the last hours notices another model, batch or firmware: the memory is opened and the new
behaviour is followed within the hour. Against the last weeks more joules per token are the regression alarm. A load never seen before
accuses nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from ems.forecast.protocol import Floats

LOGISTIC_K, LOGISTIC_X0, LOGISTIC_BATCHES = 1.0, 4.2, 8.0  # log2 of the batch at full load
CONCAVE_SHARE = 0.5  # prior: of the dynamic power in the concave part
PRIOR_WEIGHT = 50.0  # observations the prior counts as
MEMORY = 2880.0  # observations after which an old one weighs 1/e: two days of minutes
DRIFT, THRESHOLD = 1.0, 15.0  # of CUSUM, in usual deviations from what the same load took
LEAST_DEVIATION = 0.01  # of the power
OPENED = 0.05  # of the prior's uncertainty that a noticed change gives back to the coefficients
LEAST_CHANGE = 0.04  # of the power; a smaller change is followed without an alarm
SETTLING = 60  # observations after a change in which no other is looked for
REGRESSION_SHARE = 0.05  # more joules per token than in the last weeks by this much is an alarm
ALARM_MEMORY = 15.0  # observations over which joules per token are averaged for it
MOST_RATIO = 1.5  # of one observation, so that none alone is an alarm
BINS_PER_LOAD, MOST_LOAD = 20, 1.5  # bins of the load, which is 1 at capacity
LEAST_SEEN = 20  # observations before a bin says what its load takes
HOURS, WEEKS = 300.0, 5000.0  # observations of one bin after which an old one weighs 1/e


@dataclass(frozen=True)
class Traffic:
    """Tokens per second of every class, in the order of the classes."""

    prompt_per_s: tuple[float, ...]
    output_per_s: tuple[float, ...]


@dataclass(frozen=True)
class PowerAlarm:
    """`model change`: power no longer follows traffic as learnt; `tokens per joule`: it takes `change_share` more energy per token."""

    name: str
    at: datetime
    change_share: float


class TrafficPower:
    """Power in kW of one cluster from its traffic. `capacity`: output-token equivalents per second at the rating."""

    def __init__(self, classes: int, idle_kw: float, rating_kw: float, capacity_per_s: float, prompt_weight: float = 0.1) -> None:
        self.idle_kw, self.rating_kw, self.classes = idle_kw, rating_kw, classes
        self._weights = np.concatenate([np.full(classes, prompt_weight), np.ones(classes)]) / capacity_per_s
        span = rating_kw - idle_kw
        linear = np.full(2 * classes, (1.0 - CONCAVE_SHARE) * span)
        self._theta = np.concatenate([[idle_kw], linear, [CONCAVE_SHARE * span]])
        size = len(self._theta)
        self._uncertainty = np.eye(size) / PRIOR_WEIGHT * 10.0
        self._most = float(np.trace(self._uncertainty))
        self._shape = self._theta.copy()  # what the bins are relative to: how power shares between classes and load, as assumed
        self._hours, self._weeks = _ByLoad(HOURS), _ByLoad(WEEKS)
        self._deviation, self._residual = 0.05, 0.05 * rating_kw
        self._up = self._down = 0.0
        self._since_change = 0
        self._intensity = 1.0  # measured over what the load took in the last weeks
        self._is_told = False
        self.alarms: list[PowerAlarm] = []

    def predict(self, traffic: Traffic) -> float:
        """Expected power in kW, between idle (or less, if that was learnt) and the rating."""
        return float(np.clip(self._features(traffic) @ self._theta, 0.0, self.rating_kw))

    def deviation_kw(self) -> float:
        """Typical size of the residual."""
        return self._residual

    def quantiles(self, traffic_by_level: list[Traffic]) -> Floats:
        """Power per level of traffic (levels moving together), widened by nothing: the caller's conformal correction does that."""
        return np.maximum.accumulate([self.predict(t) for t in traffic_by_level])

    def observe(self, at: datetime, traffic: Traffic, power_kw: float | None) -> None:
        """One interval's mean traffic and power; None or not finite: nothing is learnt."""
        x = self._features(traffic)
        if power_kw is None or not math.isfinite(power_kw) or not np.isfinite(x).all():
            return
        residual = power_kw - float(x @ self._theta)
        self._residual += 0.01 * (min(abs(residual), 4.0 * self._residual) - self._residual)
        self._watch(at, x, power_kw)
        self._learn(x, residual)
        self._since_change += 1

    def _features(self, traffic: Traffic) -> Floats:
        work = self._weights * np.array([*traffic.prompt_per_s, *traffic.output_per_s], dtype=float)
        return np.concatenate([[1.0], work, [concave(float(work.sum()))]])

    def _learn(self, x: Floats, residual: float) -> None:
        keep = 1.0 - 1.0 / MEMORY
        px = self._uncertainty @ x
        gain = px / (keep + float(x @ px))
        self._theta = self._theta + gain * residual
        shrunk = self._uncertainty - np.outer(gain, px)
        is_bounded = float(np.trace(shrunk)) / keep < self._most
        self._uncertainty = 0.5 * (shrunk + shrunk.T) * (1.0 / keep if is_bounded else 1.0)

    def _watch(self, at: datetime, x: Floats, power_kw: float) -> None:
        """CUSUM of how far the power stands from what this load took in the last hours; a change frees the coefficients to move."""
        load = float(x[1:-1].sum())
        ratio = power_kw / max(float(x @ self._shape), 1e-9)
        self._compare(at, load, ratio)
        usual = self._hours.usual(load)
        if usual is not None and self._since_change >= SETTLING:
            apart = ratio / usual - 1.0
            score = float(np.clip(apart / max(self._deviation, LEAST_DEVIATION), -4.0, 4.0))
            self._up, self._down = max(0.0, self._up + score - DRIFT), max(0.0, self._down - score - DRIFT)
            self._deviation += 0.01 * (min(abs(apart), 4.0 * self._deviation) - self._deviation)
            if max(self._up, self._down) > THRESHOLD:
                self._open(at, apart)
        self._hours.take(load, ratio)
        self._weeks.take(load, ratio)

    def _open(self, at: datetime, change: float) -> None:
        if abs(change) >= LEAST_CHANGE:
            self.alarms.append(PowerAlarm("model change", at, change))
        self._uncertainty = self._uncertainty + np.eye(len(self._theta)) * OPENED
        self._hours = _ByLoad(HOURS)
        self._up = self._down = 0.0
        self._since_change = 0

    def _compare(self, at: datetime, load: float, ratio: float) -> None:
        """Energy per token now against what the same load took in the last weeks."""
        usual = self._weeks.usual(load)
        if usual is None:
            return
        self._intensity += (min(ratio / usual, MOST_RATIO) - self._intensity) / ALARM_MEMORY
        is_worse = self._intensity > 1.0 + REGRESSION_SHARE
        if is_worse and not self._is_told:
            self.alarms.append(PowerAlarm("tokens per joule", at, self._intensity - 1.0))
        self._is_told = is_worse if not self._is_told else self._intensity > 1.0 + 0.5 * REGRESSION_SHARE


class _ByLoad:
    """Running means of a ratio by load; `memory` observations of one bin after which an old one weighs 1/e."""

    def __init__(self, memory: float) -> None:
        bins = int(BINS_PER_LOAD * MOST_LOAD)
        self._mean, self._count, self._memory = np.ones(bins), np.zeros(bins), memory

    def usual(self, load: float) -> float | None:
        """The mean at a load, None where too little was seen."""
        i = self._bin(load)
        return float(self._mean[i]) if self._count[i] >= LEAST_SEEN else None

    def take(self, load: float, ratio: float) -> None:
        """One observation."""
        i = self._bin(load)
        self._count[i] += 1.0
        self._mean[i] += (ratio - self._mean[i]) / min(self._count[i], self._memory)

    def _bin(self, load: float) -> int:
        return min(int(load * BINS_PER_LOAD), len(self._mean) - 1)


def concave(load: float) -> float:
    """The logistic of log2 of the batch, 0 without load and 1 at full load."""
    if load <= 0.0:
        return 0.0
    top = 1.0 / (1.0 + math.exp(-LOGISTIC_K * (LOGISTIC_BATCHES - LOGISTIC_X0)))
    return 1.0 / (1.0 + math.exp(-LOGISTIC_K * (LOGISTIC_BATCHES + math.log2(load) - LOGISTIC_X0))) / top


def followed_within(model: TrafficPower, changed_at: datetime, hours: float = 1.0) -> bool:
    """True when a model change was noticed within these hours of an instant."""
    return any(a.name == "model change" and timedelta(0) <= a.at - changed_at <= timedelta(hours=hours) for a in model.alarms)
