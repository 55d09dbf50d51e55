"""The days before, moved by today's deviation from them, which fades: what an operator would draw by hand."""

from __future__ import annotations

import numpy as np

from ems.forecast.linear import days_before, mean_rows
from ems.forecast.naive import DAY_S, newest
from ems.forecast.protocol import Floats, History, Ints


class FadingDeviation:
    """`days + (now − days at now) exp(−lead / fade)`, with the last hour's part in `now`; the newest value without days."""

    def __init__(self, leads: Ints, fade_h: float) -> None:
        self.leads, self.fade_h, self.name = leads, fade_h, f"fading-{fade_h:g}h"

    def update(self, history: History) -> Floats:
        day = max(2, round(DAY_S / history.step_s))
        hour = history.values[-max(1, round(3600.0 / history.step_s)) :]
        now = newest(history)
        days = days_before(history, np.append(history.end + self.leads - 1, history.end - 1), day)
        profile = mean_rows(days)
        yesterday = np.where(np.isfinite(days[0]), days[0], profile)
        expected = 0.5 * (profile + yesterday)
        finite = hour[np.isfinite(hour)]
        present = 0.7 * now + 0.3 * (float(finite.mean()) if len(finite) else now)
        fade = np.exp(-self.leads * history.step_s / 3600.0 / self.fade_h)
        moved: Floats = expected[:-1] + (present - expected[-1]) * fade
        return np.where(np.isfinite(moved), moved, now)
