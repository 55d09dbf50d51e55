"""Rows of one signal with the instant each became known, read only through what was known at an instant. Seconds are epoch UTC."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SAMPLE_S = 300.0  # a step's mean is taken over samples about this far apart
MOST_ROWS = 400_000  # four years of 5-minute prices; beyond, the older half is forgotten
TINY_GAP_S = 1.0  # stamps closer than this are one instant


class Row(NamedTuple):
    """One value over `[from_s, to_s)`, known from `available_s` on."""

    from_s: float
    to_s: float
    available_s: float
    value: float


class View:
    """The newest known version of every row, in the order of `from_s`."""

    def __init__(self) -> None:
        self.n = 0
        self._rows = np.empty((4, 64))

    def put(self, row: Row) -> None:
        """Takes a row in; an older version of the same interval does not replace a newer one."""
        i = self._place(row.from_s)
        if i < self.n and self._rows[0, i] == row.from_s:
            if row.available_s >= self._rows[2, i]:
                self._rows[:, i] = row
            return
        if self.n == self._rows.shape[1]:
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)], axis=1)
        if i < self.n:
            self._rows[:, i + 1 : self.n + 1] = self._rows[:, i : self.n].copy()
        self._rows[:, i] = row
        self.n += 1

    def _place(self, from_s: float) -> int:
        if self.n == 0 or from_s > self._rows[0, self.n - 1]:
            return self.n
        return int(np.searchsorted(self._rows[0, : self.n], from_s))

    def at(self, points_s: Floats) -> Floats:
        """The value at each instant, NaN where no row covers it."""
        if self.n == 0:
            return np.full(points_s.shape, np.nan)
        i = np.searchsorted(self._rows[0, : self.n], points_s, side="right") - 1
        covered = (i >= 0) & (points_s < self._rows[1, i])
        return np.where(covered, self._rows[3, i], np.nan)

    def last_before(self, now_s: float) -> Row | None:
        """The newest row that began before `now_s`."""
        if self.n == 0:
            return None
        i = int(np.searchsorted(self._rows[0, : self.n], now_s, side="left")) - 1
        return Row(*(float(x) for x in self._rows[:, i])) if i >= 0 else None

    def values_since(self, since_s: float) -> Floats:
        """Values of the rows that began at or after an instant."""
        return self._rows[3, int(np.searchsorted(self._rows[0, : self.n], since_s)) : self.n]

    def gaps(self) -> int:
        """How many holes lie between the rows."""
        return int(np.count_nonzero(self._rows[0, 1 : self.n] - self._rows[1, : max(0, self.n - 1)] > TINY_GAP_S))


class KnownSeries:
    """Takes rows in any order and shows, for an instant, what was known then. What cannot be used is counted, never zero.

    `quality` counts: `rows` taken, `duplicate` (same interval and version twice), `backward` (an interval earlier than the one before
    it in the feed), `missing` (no finite value), `absurd` (outside `low..high`), `malformed` (ends before it begins), `negative` (kept).
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.quality: Counter[str] = Counter()
        self._rows: dict[tuple[float, float], Row] = {}  # (from_s, available_s) -> row
        self._waiting: list[Row] = []  # in the order of available_s, not yet in the view
        self._view, self._view_s = View(), -math.inf
        self._all, self._unsettled = View(), list[Row]()
        self._latest_s = -math.inf

    def add(self, rows: Iterable[Row]) -> None:
        """Takes rows in; one that cannot be used is counted and left out."""
        for row in rows:
            if self._is_usable(row):
                self._take(row)
        if len(self._rows) > MOST_ROWS:
            self._forget_the_older_half()
        self._waiting.sort(key=lambda r: -r.available_s)

    def _is_usable(self, row: Row) -> bool:
        if not all(map(math.isfinite, row[:3])) or row.to_s <= row.from_s:
            self.quality["malformed"] += 1
        elif not math.isfinite(row.value):
            self.quality["missing"] += 1
        elif not self.low <= row.value <= self.high:
            self.quality["absurd"] += 1
        elif (row.from_s, row.available_s) in self._rows:
            self.quality["duplicate"] += 1
        else:
            return True
        return False

    def _take(self, row: Row) -> None:
        self.quality["rows"] += 1
        self.quality["negative"] += row.value < 0
        self.quality["backward"] += row.from_s < self._latest_s
        self._latest_s = max(self._latest_s, row.from_s)
        self._rows[row.from_s, row.available_s] = row
        self._unsettled.append(row)
        if row.available_s <= self._view_s:
            self._view.put(row)
        else:
            self._waiting.append(row)

    def _forget_the_older_half(self) -> None:
        kept = sorted(self._rows.values())[len(self._rows) // 2 :]
        self._rows = {(r.from_s, r.available_s): r for r in kept}
        self._waiting, self._unsettled = list(kept), list(kept)
        self._view, self._view_s, self._all = View(), -math.inf, View()

    def known(self, now_s: float) -> View:
        """The rows as they were known at `now_s`. Cheap while `now_s` grows; going back rebuilds the view."""
        if now_s < self._view_s:
            self._view = View()
            self._waiting = sorted(self._rows.values(), key=lambda r: -r.available_s)
        self._view_s = now_s
        while self._waiting and self._waiting[-1].available_s <= now_s:
            self._view.put(self._waiting.pop())
        return self._view

    def whole(self) -> View:
        """Every row in its newest version: for accounting afterwards, never for a decision."""
        for row in sorted(self._unsettled):
            self._all.put(row)
        self._unsettled.clear()
        return self._all

    def report(self) -> dict[str, int]:
        """The counts of `quality` and the present number of gaps, for `data_quality`."""
        return {k: v for k, v in sorted({**self.quality, "gaps": self.whole().gaps()}.items()) if v}


def epoch_s(instant: datetime) -> float:
    """Seconds since 1970 UTC; a naive instant is refused."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no time zone")
    return instant.timestamp()


def instant_at(seconds: float) -> datetime:
    """The aware UTC instant of epoch seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def sample_points(starts: Sequence[datetime], duration_h: Sequence[float]) -> tuple[Floats, NDArray[np.intp]]:
    """Instants inside the steps (epoch seconds, at most SAMPLE_S apart, centred) and the index of each step's first one."""
    begin = np.array([epoch_s(s) for s in starts])
    length = np.asarray(duration_h, dtype=float) * 3600.0
    counts = np.maximum(1, np.ceil(length / SAMPLE_S - 1e-9)).astype(np.intp)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)
    within = np.arange(counts.sum()) - np.repeat(first, counts)
    return np.repeat(begin, counts) + (within + 0.5) * np.repeat(length / counts, counts), first


def step_means(values: Floats, first: NDArray[np.intp]) -> Floats:
    """Mean of the samples of each step."""
    counts = np.diff(np.append(first, len(values)))
    means: Floats = np.add.reduceat(values, first) / counts
    return means


def day_ago(view: View, points_s: Floats, now_s: float, days: tuple[int, ...]) -> Floats:
    """Mean of the values the given numbers of days before (only instants before `now_s`), NaN where none is known."""
    total, count = np.zeros(len(points_s)), np.zeros(len(points_s))
    for d in days:
        values = view.at(points_s - 86400.0 * d)
        ok = np.isfinite(values) & (points_s - 86400.0 * d < now_s)
        total += np.where(ok, values, 0.0)
        count += ok
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
