"""Load on the 5-minute grid: finer input is averaged, coarser input fills its cells, what was not seen stays missing."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CELL_S = 300
CELLS_PER_DAY = 288
KEPT_CELLS = 35 * CELLS_PER_DAY
SEEN_SHARE = 0.3  # a cell counts as seen when at least this share of it was measured


class FiveMinuteGrid:
    """Means of 5-minute cells `[300 i, 300 (i + 1))` of epoch time. The newest cell is open until something later is observed."""

    def __init__(self) -> None:
        self.first = 0  # cell number of values[0]
        self.n = 0  # closed cells
        self._values = np.full(2 * KEPT_CELLS, np.nan)
        self._open: int | None = None
        self._sum_kws = 0.0
        self._seen_s = 0.0

    @property
    def values(self) -> Floats:
        """Means in kW of the closed cells, NaN where missing, oldest first."""
        return self._values[: self.n]

    @property
    def end(self) -> int:
        """The number of the cell after the newest closed one."""
        return self.first + self.n

    def observe(self, start_s: float, duration_s: float, mean_kw: float | None) -> int:
        """Takes the mean over `[start_s, start_s + duration_s)`; None, NaN: nothing was measured. Returns how many cells it closed.

        What lies before the open cell came too late and is left out.
        """
        closed_before = self.end
        at, end = start_s, start_s + duration_s
        while at < end:
            cell = math.floor(at / CELL_S)
            until = min(end, (cell + 1.0) * CELL_S)
            self._add(cell, until - at, mean_kw)
            at = until
        self.close_until(math.floor(end / CELL_S))
        return self.end - closed_before

    def close_until(self, cell: int) -> None:
        """Closes every cell before `cell`; the unseen ones are missing."""
        if self._open is not None and cell > self._open:
            self._append(self.mean_of_open_cell())
            self._append_missing(cell - self._open - 1)
            self._open, self._sum_kws, self._seen_s = cell, 0.0, 0.0

    def _add(self, cell: int, seconds: float, mean_kw: float | None) -> None:
        if self._open is None:
            self._open = self.first = cell
        self.close_until(cell)
        if cell == self._open and mean_kw is not None and math.isfinite(mean_kw):
            self._sum_kws += mean_kw * seconds
            self._seen_s += seconds

    def mean_of_open_cell(self, seen_share: float = SEEN_SHARE) -> float:
        """Mean in kW of what was seen of the open cell, NaN when that is less than `seen_share` of it."""
        return self._sum_kws / self._seen_s if self._seen_s > 0 and self._seen_s >= seen_share * CELL_S else math.nan

    def _append(self, value: float) -> None:
        if self.n == len(self._values):
            self._drop(self.n - KEPT_CELLS)
        self._values[self.n] = value
        self.n += 1

    def _append_missing(self, count: int) -> None:
        if count > KEPT_CELLS:
            self.first, self.n = self.end + count, 0
            return
        for _ in range(count):
            self._append(math.nan)

    def _drop(self, count: int) -> None:
        self._values[: self.n - count] = self._values[count : self.n].copy()
        self.first += count
        self.n -= count
