"""Quantiles moved until they hold as often as they promise: online conformal correction, adaptive, asymmetric, per group of leads.

Each level of each lead group has an offset in units of the forecast's own spread, moved after every cell by
`rate × (level − share of the group's leads at or below)` (quantile tracking: Angelopoulos, Candès, Tibshirani 2023; Gibbs and Candès 2021),
so that the long-run coverage is the promised one whatever the series does. Several rates run beside each other, for calm series and for
restless ones; what is said is their mean, weighted by recent pinball loss (Gibbs and Candès 2022, Zaffran et al. 2022). Errors of long
leads come late and together: their rate is less.
"""

from __future__ import annotations

import numpy as np

from ems.forecast.pending import Pending, Progress
from ems.forecast.protocol import LEVEL_ARRAY, LEVELS, MEDIAN, Bools, Floats, Forecast, Forecaster, History, issue

STEADY = (0.02,)  # of the spread, per cell, at the median; further out more, as 1 / sqrt(level (1 − level))
# For load, whose regimes change within days. This and FAVOUR chosen on the first two thirds of eight series and four clients of a ninth.
RESTLESS = (0.005, 0.02, 0.08)
FAVOUR = 1.0  # how strongly the weights follow the pinball loss, in units of the spread
LEAST_SHARE = 0.01  # of the weight given back evenly with every cell, so that no rate is lost for good
LONG_CELLS = 6.0  # beyond this lead the rate falls with the lead
GROUP_EDGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # leads [a, b) share their offsets
WARM_CELLS = 200.0  # the rate grows to its full value over so many cells: the inner forecaster finds its own width first
EXACT = 1e-9  # relative; closer than this the truth is what was said
MOST = 3.0  # offsets stay within this many spreads
MOST_LOSS = 5.0  # spreads of a cell's loss that count
MOST_SILENT = 15  # missing or estimated cells in a row beyond which the quantiles widen no further
STEEPER = 0.5 / np.sqrt(LEVEL_ARRAY * (1.0 - LEVEL_ARRAY))


class Conformal:
    """A Forecaster around a Forecaster. `levels at and around the median` are left alone: `move_middle` moves them too."""

    def __init__(
        self, inner: Forecaster, rates: tuple[float, ...] = STEADY, low: float = 0.0, high: float = np.inf, move_middle: bool = False
    ) -> None:
        self.inner, self.leads, self.name = inner, inner.leads, inner.name
        self.low, self.high = low, high
        self._group = np.searchsorted(GROUP_EDGES, self.leads, side="right") - 1
        groups = int(self._group.max()) + 1
        self._members = np.zeros((groups, len(self.leads)))
        self._members[self._group, np.arange(len(self.leads))] = 1.0
        slower = np.minimum(1.0, LONG_CELLS / np.array(GROUP_EDGES[:groups], dtype=float))
        moves = np.array([move_middle or level != 0.5 for level in LEVELS])
        self._rates = np.array(rates)[:, None, None] * (STEEPER * moves)[:, None] * slower  # [rate, level, group], as what follows
        self._offsets = np.zeros_like(self._rates)
        self._weights = np.full_like(self._rates, 1.0 / len(rates))
        self._favour = 2.0 * FAVOUR * STEEPER[:, None]
        self._seen = np.zeros(groups)
        self._pending = Pending(self.leads, (len(rates) + 1) * len(LEVELS))
        self._progress = Progress(int(self.leads[-1]))

    def update(self, history: History) -> Forecast:
        """Learns from the new cells, then corrects what the inner forecaster says."""
        for cell in self._progress.new_cells(history):
            self._learn(history.target(cell), cell)
        base = self.inner.update(history)
        unit = spread(base.values)
        each = np.clip(base.values + self._offsets[:, :, self._group] * unit, self.low, self.high)
        self._pending.put(history.end, np.concatenate([each, unit[None]]).reshape(-1, len(self.leads)).T)
        offset = (self._weights * self._offsets).sum(axis=0)[:, self._group]
        values = np.clip(outwards(base.values + offset * unit), self.low, self.high)
        values = widened(values, silent_cells(history))
        return issue(history, self.name, self.leads, np.clip(values, self.low, self.high), reason=base.reason)

    def _learn(self, actual: float, cell: int) -> None:
        rows, ok = self._pending.due(cell)
        if not (np.isfinite(actual) and ok.any()):
            return
        numbers = rows.T.reshape(len(self._rates) + 1, len(LEVELS), -1)
        said, unit = numbers[:-1], numbers[-1]  # with the offsets of that time: judged by today's, errors that last would seem covered
        ok = ok & np.isfinite(numbers).all(axis=(0, 1))
        share = self._by_group(below_share(actual, said), ok)
        known = (self._members @ ok) > 0
        self._seen += known
        ramp = np.minimum(1.0, self._seen / WARM_CELLS) * known
        self._offsets = np.clip(self._offsets + ramp * self._rates * (LEVEL_ARRAY[:, None] - share), -MOST, MOST)
        self._favour_the_better(self._by_group(losses(actual, said, unit), ok), known)

    def _by_group(self, values: Floats, ok: Bools) -> Floats:
        """Means `[rate, level, group]` over the leads that are `ok`."""
        means: Floats = np.where(ok, values, 0.0) @ self._members.T / np.maximum(self._members @ ok, 1.0)
        return means

    def _favour_the_better(self, loss: Floats, known: Bools) -> None:
        moved = self._weights * np.exp(-self._favour * known * np.minimum(loss - loss.min(axis=0), MOST_LOSS))
        self._weights = (1.0 - LEAST_SHARE) * moved / moved.sum(axis=0) + LEAST_SHARE / len(moved)


def losses(actual: float, said: Floats, unit: Floats) -> Floats:
    """Pinball loss in units of the spread, 0 where nothing is spread."""
    error = actual - said
    loss = np.maximum(LEVEL_ARRAY[:, None] * error, (LEVEL_ARRAY[:, None] - 1.0) * error)
    return np.where(unit > 0, loss / np.where(unit > 0, unit, 1.0), 0.0)


def below_share(actual: float, said: Floats) -> Floats:
    """1 where the truth is below what was said, 0 above, the level itself where it is exactly that: a quantile that rests on a floor is met
    as often as the truth rests there too, and such hours say nothing about the width of others."""
    on_it = np.abs(actual - said) <= EXACT * max(1.0, abs(actual))
    return np.where(on_it, LEVEL_ARRAY[:, None], (actual < said).astype(float))


def outwards(values: Floats) -> Floats:
    """Quantiles that never come back towards the median."""
    above = np.maximum.accumulate(values[MEDIAN:], axis=0)
    below = np.minimum.accumulate(values[MEDIAN::-1], axis=0)[::-1]
    ordered: Floats = np.concatenate([below, above[1:]])
    return ordered


def spread(values: Floats) -> Floats:
    """How wide each side is per level and lead: the distance of q90 (above) or q10 (below) from the median."""
    above, below = values[-3] - values[MEDIAN], values[MEDIAN] - values[2]
    both = 0.5 * (above + below)
    size = np.maximum(np.where(LEVEL_ARRAY[:, None] > 0.5, above, below), 0.2 * both)
    return np.where(np.isfinite(size), size, 0.0)


def silent_cells(history: History) -> int:
    """How many of the newest cells in a row are missing or estimated, at most MOST_SILENT; 0 as soon as a value is known again."""
    good = np.isfinite(history.values[-MOST_SILENT:]) & ~history.is_estimate[-MOST_SILENT:]
    return int(np.argmax(good[::-1])) if good.any() else len(good)


def widened(values: Floats, silent: int) -> Floats:
    """The quantiles further from their median by the root of one and the silent cells: an error grows like a random walk's."""
    middle = values[MEDIAN]
    wider: Floats = middle + np.sqrt(1.0 + silent) * (values - middle)
    return wider
