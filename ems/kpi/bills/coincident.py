"""Which intervals were the system's peaks, once its load is known: what a coincident-peak price is paid for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ems.site.tariff import CoincidentPeak, Tariff
from ems.site.tariff_calendar import LocalTimes

Array = NDArray[np.float64]


def coincident_intervals(tariff: Tariff, time_zone: str, at_s: Array, system_kw: Array) -> tuple[float, ...]:
    """Starts (seconds since 1970) of the peak intervals of a system load given as means of the rule's interval, in order of time.

    With `per_month`: the highest of each of the rule's months. With `per_year`: the highest of a year's season, on different days.
    """
    rule = tariff.coincident_peak
    if rule is None:
        return ()
    times = LocalTimes(at_s, time_zone, tariff)
    can_peak = np.isin(times.month + 1, rule.months) & (times.hour() >= rule.from_h) & (times.hour() < rule.to_h)
    group = times.month_index if rule.per_month else times.month_index // 12
    found: list[float] = []
    for key in np.unique(group[can_peak]):
        inside = np.flatnonzero(can_peak & (group == key))
        found += _highest(rule, at_s[inside], np.asarray(system_kw)[inside], times.day_number[inside])
    return tuple(sorted(found))


def _highest(rule: CoincidentPeak, at_s: Array, kw: Array, day: NDArray[np.int64]) -> list[float]:
    chosen: dict[int, float] = {}
    for k in np.argsort(-kw, kind="stable").tolist():
        if len(chosen) == (rule.per_month or rule.per_year):
            break
        chosen.setdefault(int(day[k]), float(at_s[k]))
    return list(chosen.values())
