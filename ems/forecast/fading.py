"""The days before, moved by today's deviation from them, which fades: what an operator would draw by hand."""

from __future__ import annotations

import numpy as np

from ems.forecast.linear import days_before, mean_rows
from ems.forecast.naive import DAY_S, newest
from ems.forecast.protocol import Floats, History, Ints

FLOOR = 0.02  # of the level, added to both sides of a ratio: a load near zero says little of the day's shape
MOST_RATIO = 5.0


class DaysBefore:
    """What the days before say of the leads and of now, worked out once per history for all that ask."""

    def __init__(self, leads: Ints) -> None:
        self.leads = leads
        self._end, self._said = -1, (np.nan, np.nan, np.empty(0), np.nan)

    def today(self, history: History) -> tuple[float, float, Floats, float]:
        """The newest value, the same with the last hour's part, what the days before say per lead, and what they say for now."""
        if history.end != self._end:
            self._end, self._said = history.end, today(history, self.leads)
        return self._said


class FadingDeviation:
    """`days + (now − days at now) exp(−lead / fade)`, with the last hour's part in `now`; the newest value without days."""

    def __init__(self, days: DaysBefore, fade_h: float) -> None:
        self.leads, self.fade_h, self.name, self._days = days.leads, fade_h, f"fading-{fade_h:g}h", days

    def update(self, history: History) -> Floats:
        """One value per lead."""
        now, present, expected, before = self._days.today(history)
        moved: Floats = expected + (present - before) * fade(self.leads, history.step_s, self.fade_h)
        return np.where(np.isfinite(moved), moved, now)


class FadingRatio:
    """`days × (now / days at now) ^ exp(−lead / fade)`: a service twice as busy as yesterday has a peak twice as high. For loads, which are
    never negative; the newest value without days."""

    def __init__(self, days: DaysBefore, fade_h: float) -> None:
        self.leads, self.fade_h, self.name, self._days = days.leads, fade_h, f"ratio-{fade_h:g}h", days

    def update(self, history: History) -> Floats:
        """One value per lead."""
        now, present, expected, before = self._days.today(history)
        floor = FLOOR * (abs(before) + abs(present)) + 1e-9
        ratio = np.clip((present + floor) / (max(before, 0.0) + floor), 1.0 / MOST_RATIO, MOST_RATIO)
        moved: Floats = expected * ratio ** fade(self.leads, history.step_s, self.fade_h)
        return np.where(np.isfinite(moved), moved, now)


def today(history: History, leads: Ints) -> tuple[float, float, Floats, float]:
    """As `DaysBefore.today`."""
    day = max(2, round(DAY_S / history.step_s))
    hour = history.values[-max(1, round(3600.0 / history.step_s)) :]
    now = newest(history)
    days = days_before(history, np.append(history.end + leads - 1, history.end - 1), day)
    profile = mean_rows(days)
    yesterday = np.where(np.isfinite(days[0]), days[0], profile)
    expected = 0.5 * (profile + yesterday)
    finite = hour[np.isfinite(hour)]
    present = 0.7 * now + 0.3 * (float(finite.mean()) if len(finite) else now)
    return now, present, expected[:-1], float(expected[-1])


def fade(leads: Ints, step_s: float, fade_h: float) -> Floats:
    """What is left of today's deviation per lead."""
    left: Floats = np.exp(-leads * step_s / 3600.0 / fade_h)
    return left
