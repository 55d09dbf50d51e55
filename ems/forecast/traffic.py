"""From traffic to IT power, learnt online from measured power: requests and tokens per class → GPU work → kW.

Shape and prior: idle, joules per prompt and output token of each class, and one concave part of the total (the four-parameter logistic of
decode power over log2 of the batch, arXiv 2602.05116: H100 P0 = 300 W, R = 300 W, k = 1.0, x0 = 4.2). Recursive least squares with
forgetting moves the coefficients. Two-sided CUSUM of the residual notices another model, batch or firmware: the memory is opened and
the new behaviour is followed within the hour; joules per token against what was learnt before is the regression alarm.
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
DRIFT, THRESHOLD = 0.75, 12.0  # of CUSUM, in residual deviations
LEAST_DEVIATION = 0.005  # of the rating
OPENED = 0.05  # of the prior's uncertainty that a noticed change gives back to the coefficients
LEAST_CHANGE = 0.04  # of the power; a smaller drift is followed without an alarm
SETTLING = 60  # observations after a change in which no other is looked for
REGRESSION_SHARE = 0.05  # more joules per token than before by this much is an alarm
ALARM_MEMORY = 15.0  # observations over which joules per token are averaged for it


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
        self._deviation = 0.05 * rating_kw
        self._up = self._down = 0.0
        self._since_change = 0
        self._intensity = 1.0  # measured over expected of the model held as reference
        self._reference = self._theta.copy()
        self._is_told = False
        self.alarms: list[PowerAlarm] = []

    def predict(self, traffic: Traffic) -> float:
        """Expected power in kW, between idle (or less, if that was learnt) and the rating."""
        return float(np.clip(self._features(traffic) @ self._theta, 0.0, self.rating_kw))

    def deviation_kw(self) -> float:
        """Typical size of the residual."""
        return self._deviation

    def quantiles(self, traffic_by_level: list[Traffic]) -> Floats:
        """Power per level of traffic (levels moving together), widened by nothing: the caller's conformal correction does that."""
        return np.maximum.accumulate([self.predict(t) for t in traffic_by_level])

    def observe(self, at: datetime, traffic: Traffic, power_kw: float | None) -> None:
        """One interval's mean traffic and power; None or not finite: nothing is learnt."""
        x = self._features(traffic)
        if power_kw is None or not math.isfinite(power_kw) or not np.isfinite(x).all():
            return
        residual = power_kw - float(x @ self._theta)
        self._watch(at, residual, x, power_kw)
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

    def _watch(self, at: datetime, residual: float, x: Floats, power_kw: float) -> None:
        """CUSUM of the residual; after a change the coefficients are free to move."""
        score = float(np.clip(residual / max(self._deviation, LEAST_DEVIATION * self.rating_kw), -4.0, 4.0))
        settled = self._since_change >= SETTLING
        self._up = max(0.0, self._up + score - DRIFT) if settled else 0.0
        self._down = max(0.0, self._down - score - DRIFT) if settled else 0.0
        if max(self._up, self._down) > THRESHOLD:
            self._open(at, x, power_kw)
        else:
            self._deviation += (min(abs(residual), 4.0 * self._deviation) - self._deviation) * 0.01
        self._compare(at, x, power_kw)

    def _open(self, at: datetime, x: Floats, power_kw: float) -> None:
        share = power_kw / max(float(x @ self._theta), 1e-9) - 1.0
        if abs(share) >= LEAST_CHANGE:
            self.alarms.append(PowerAlarm("model change", at, share))
            self._reference, self._intensity, self._is_told = self._theta.copy(), 1.0, False
        self._uncertainty = self._uncertainty + np.eye(len(x)) * OPENED
        self._up = self._down = 0.0
        self._since_change = 0

    def _compare(self, at: datetime, x: Floats, power_kw: float) -> None:
        """Energy per token now against the reference from before the last change."""
        expected = max(float(x @ self._reference), 1e-9)
        self._intensity += (power_kw / expected - self._intensity) / ALARM_MEMORY
        if self._since_change > SETTLING and not self.alarms:
            self._reference = self._reference + 1e-3 * (self._theta - self._reference)
        is_worse = self._intensity > 1.0 + REGRESSION_SHARE
        if is_worse and not self._is_told and self._since_change > ALARM_MEMORY:
            self.alarms.append(PowerAlarm("tokens per joule", at, self._intensity - 1.0))
        self._is_told = is_worse and (self._is_told or self._since_change > ALARM_MEMORY)


def concave(load: float) -> float:
    """The logistic of log2 of the batch, 0 without load and 1 at full load."""
    if load <= 0.0:
        return 0.0
    top = 1.0 / (1.0 + math.exp(-LOGISTIC_K * (LOGISTIC_BATCHES - LOGISTIC_X0)))
    return 1.0 / (1.0 + math.exp(-LOGISTIC_K * (LOGISTIC_BATCHES + math.log2(load) - LOGISTIC_X0))) / top


def followed_within(model: TrafficPower, changed_at: datetime, hours: float = 1.0) -> bool:
    """True when a model change was noticed within these hours of an instant."""
    return any(a.name == "model change" and timedelta(0) <= a.at - changed_at <= timedelta(hours=hours) for a in model.alarms)
