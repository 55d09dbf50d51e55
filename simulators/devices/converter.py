"""The power electronics of a battery: dead time, then a ramp towards the target."""

from __future__ import annotations

DEAD_TIME_S = 0.1  # from command to first movement; converters answer in 50-200 ms


class Converter:
    """Power in kW, charging positive. `now_kw` is the power at the end of the last step."""

    __slots__ = ("_is_new", "now_kw", "ramp_kw_per_s", "target_kw")

    def __init__(self, ramp_kw_per_s: float) -> None:
        self.ramp_kw_per_s = ramp_kw_per_s
        self.now_kw = 0.0
        self.target_kw = 0.0
        self._is_new = False

    def aim(self, target_kw: float) -> None:
        """Sets the target; the first step after a change begins with the dead time."""
        if target_kw != self.target_kw:
            self.target_kw = target_kw
            self._is_new = True

    def step(self, dt_s: float, low_kw: float, high_kw: float) -> float:
        """Mean power in kW over the step, the target held within [low, high] (bounds that bind act at once)."""
        dead_s = min(DEAD_TIME_S, dt_s) if self._is_new else 0.0
        self._is_new = False
        start_kw = min(high_kw, max(low_kw, self.now_kw))
        target_kw = min(high_kw, max(low_kw, self.target_kw))
        if start_kw == target_kw:
            self.now_kw = target_kw
            return target_kw
        area, self.now_kw = ramp_area(start_kw, target_kw, self.ramp_kw_per_s, dt_s - dead_s)
        return (start_kw * dead_s + area) / dt_s


def ramp_area(start_kw: float, target_kw: float, ramp_kw_per_s: float, duration_s: float) -> tuple[float, float]:
    """kWs under a ramp from start towards target, and the power at its end; the ramp holds once it has arrived."""
    gap_kw = target_kw - start_kw
    needed_s = abs(gap_kw) / ramp_kw_per_s if ramp_kw_per_s > 0 else 0.0
    if needed_s <= duration_s:
        return 0.5 * (start_kw + target_kw) * needed_s + target_kw * (duration_s - needed_s), target_kw
    end_kw = start_kw + gap_kw * duration_s / needed_s
    return 0.5 * (start_kw + end_kw) * duration_s, end_kw
