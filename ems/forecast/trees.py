"""Gradient-boosted quantile trees, refitted once a day (hourly series every six days) in a child process that ends.

LightGBM and its libgomp never enter this process.

The child (`ems.forecast.trees_child`) gets the history, fits one model per level with the lead as a feature, and returns the trees as plain
arrays, which are evaluated here. Without lightgbm or libgomp, or when the child fails, the stand-in answers and `reason` says why.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np

from ems.forecast.linear import features
from ems.forecast.naive import DAY_S
from ems.forecast.protocol import LEVEL_ARRAY, Floats, Forecast, Forecaster, History, Ints, issue

FITTED = (0.1, 0.5, 0.9)
FIRST_DAYS, KEPT_DAYS, REFIT_DAYS = 2.0, 28.0, 1.0
REFIT_CELLS = 144  # an hourly series is refitted when as much is new, not every day
LONGEST_FIT_S = 120.0
# The other levels, by Student's t with three degrees of freedom: distance from the median in units of the fitted q10 or q90.
T3 = np.array([-4.541, -2.353, -1.638, -0.978, -0.584, -0.277, 0.0, 0.277, 0.584, 0.978, 1.638, 2.353, 4.541]) / 1.638


@dataclass(frozen=True)
class Tree:
    """One tree: inner node i goes to `left[i]` where `x[feature[i]] <= threshold[i]`, else to `right[i]`; child −n is leaf n − 1."""

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    leaves: Floats

    def values(self, x: Floats) -> Floats:
        """One leaf value per row of `x`."""
        at = np.zeros(len(x), dtype=np.intp) if len(self.feature) else np.full(len(x), -1, dtype=np.intp)
        while (at >= 0).any():
            node = np.maximum(at, 0)
            goes_left = x[np.arange(len(x)), self.feature[node]] <= self.threshold[node]
            at = np.where(at >= 0, np.where(goes_left, self.left[node], self.right[node]), at)
        leaf: Floats = self.leaves[-1 - at]
        return leaf


class QuantileTrees:
    """A Forecaster; `stand_in` answers until the first fit and whenever a fit failed."""

    name = "trees"

    def __init__(self, leads: Ints, stand_in: Forecaster, low: float = 0.0, high: float = np.inf) -> None:
        self.leads, self.stand_in, self.low, self.high = leads, stand_in, low, high
        self._models: list[list[Tree]] = []
        self._fitted_at = -(10**12)
        self._why = "no trees fitted yet"

    def update(self, history: History) -> Forecast:
        """Refits when enough is new, then forecasts."""
        stand_in = self.stand_in.update(history)
        self._refit(history)
        if not self._models:
            return replace(stand_in, reason=self._why)
        level, unit, x = features(history, self.leads)
        low, middle, high = (sum_of(trees, with_lead(x, self.leads)) for trees in self._models)
        sides = np.where(LEVEL_ARRAY[:, None] < 0.5, np.maximum(middle - low, 0.0), np.maximum(high - middle, 0.0))
        values = level + unit * (x[:, 0] + middle + T3[:, None] * sides)
        return issue(history, self.name, self.leads, np.clip(values, self.low, self.high))

    def _refit(self, history: History) -> None:
        days = DAY_S / history.step_s
        if len(history.values) < FIRST_DAYS * days or history.end - self._fitted_at < max(REFIT_DAYS * days, REFIT_CELLS):
            return
        self._fitted_at = history.end
        try:
            self._models = fit_in_child(history.until(history.end), self.leads)
            self._why = ""
        except ChildFailed as failure:
            self._models, self._why = [], str(failure)


class ChildFailed(Exception):
    """The child did not return trees; the message names why."""


def fit_in_child(history: History, leads: Ints) -> list[list[Tree]]:
    """Trees per level of FITTED. Raises ChildFailed: lightgbm or libgomp absent, a fit too long, anything else the child said."""
    kept = int(KEPT_DAYS * DAY_S / history.step_s)
    package = io.BytesIO()
    values, estimate = history.values[-kept:], history.is_estimate[-kept:]
    first = history.end - len(values)
    np.savez(package, values=values, estimate=estimate, first=first, step_s=history.step_s, leads=leads, zone=np.array(history.time_zone))
    command = [sys.executable, "-m", "ems.forecast.trees_child"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, input=package.getvalue(), capture_output=True, timeout=LONGEST_FIT_S, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ChildFailed(f"no trees: {type(error).__name__}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ChildFailed(lines[-1] if lines else f"no trees: the child ended with {done.returncode}")
    return [[tree_of(t) for t in model] for model in json.loads(done.stdout)]


def tree_of(parts: dict[str, list[float]]) -> Tree:
    """A tree from the child's lists."""
    whole = {k: np.array(parts[k], dtype=np.intp) for k in ("feature", "left", "right")}
    return Tree(whole["feature"], np.array(parts["threshold"]), whole["left"], whole["right"], np.array(parts["leaves"]))


def with_lead(x: Floats, leads: Ints) -> Floats:
    """Features and the logarithm of the lead."""
    return np.column_stack([x, np.log(leads)])


def sum_of(trees: list[Tree], x: Floats) -> Floats:
    """What a model says per row."""
    return np.asarray(np.sum([tree.values(x) for tree in trees], axis=0), dtype=np.float64)
