"""Peaks somebody foresees: they raise the measured holds, never lower them, and lapse with their message. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ems.dispatch.trend import ClusterTrend
from ems.site.model import Site


class ForeseenPeaks:
    """The newest message of peaks to come per cluster; nothing is foreseen without a valid one."""

    def __init__(self, site: Site) -> None:
        self._rating_kw = {c.id: c.rating_kw for c in site.clusters}
        self._windows_s: tuple[float, ...] = ()
        self._peaks_kw: dict[str, tuple[float, ...]] = {}
        self._valid_until: datetime | None = None

    def take(self, body: Mapping[str, Any]) -> None:
        """Takes a message whole or not at all. Raises KeyError, TypeError or ValueError on one that is no forecast of peaks."""
        windows = tuple(float(w) for w in body["windows_s"])
        peaks = {str(name): tuple(float(kw) for kw in row) for name, row in body["peaks_kw"].items()}
        if any(len(row) != len(windows) or not all(math.isfinite(kw) and kw >= 0.0 for kw in row) for row in peaks.values()):
            raise ValueError("expected one finite peak of at least 0 kW per window and cluster")
        if set(peaks) - set(self._rating_kw) or list(windows) != sorted(windows):
            raise ValueError("expected clusters of this site and windows in rising order")
        valid_until = datetime.fromisoformat(body["valid_until"])
        if valid_until.tzinfo is None:
            raise ValueError("expected an instant with its time zone")
        self._windows_s, self._peaks_kw, self._valid_until = windows, peaks, valid_until

    def peak_kw(self, cluster: str, window_s: float, now: datetime) -> float:
        """The peak foreseen within the shortest window of at least `window_s` (the longest there is), within the rating; 0 without one."""
        if self._valid_until is None or now >= self._valid_until or not self._windows_s or cluster not in self._peaks_kw:
            return 0.0
        place = next((i for i, w in enumerate(self._windows_s) if w >= window_s), len(self._windows_s) - 1)
        return min(self._peaks_kw[cluster][place], self._rating_kw[cluster])

    def raised(self, trends: Mapping[str, ClusterTrend], window_s: float, now: datetime) -> dict[str, ClusterTrend]:
        """The trends with each held peak at least at what is foreseen within `window_s`."""
        return {k: replace(t, held_kw=max(t.held_kw, self.peak_kw(k, window_s, now))) for k, t in trends.items()}
