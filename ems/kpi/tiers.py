"""How tiers were kept: the share used in the worst window, and how often more was missing than allowed."""

from __future__ import annotations

from ems.assets.workload.model import WorkloadClass
from ems.assets.workload.tier import BUCKET_S, TierWindow

ROUNDING = 1e-6


class TierScore:
    """One class of one cluster. Windows count once they are whole; of a shorter run the whole run counts as one, scaled to a window."""

    def __init__(self, kind: WorkloadClass) -> None:
        self.window = TierWindow(kind)
        self.worst_used = 0.0
        self.violations = 0  # runs of windows beyond what the tier allows
        self._is_beyond = False
        self._is_judged = False
        self._bucket = -1.0

    def add(self, at_s: float, seconds: float, arrived_kwh: float, missing_kwh: float) -> None:
        """Takes what came and what is missing of some seconds from `at_s` on."""
        bucket = at_s // BUCKET_S
        if bucket != self._bucket:
            self._bucket = bucket
            if self.window.covered_s >= self.window.window_s - BUCKET_S:
                self._judge()
        self.window.add(at_s, seconds, arrived_kwh, missing_kwh)

    def close(self) -> None:
        """Judges the last window, or the only one of a short run."""
        if not self._is_judged or self.window.covered_s >= self.window.window_s - BUCKET_S:
            self._judge()

    def _judge(self) -> None:
        self._is_judged = True
        used = self.window.used
        is_beyond = used > 1.0 + ROUNDING
        self.violations += is_beyond and not self._is_beyond
        self._is_beyond, self.worst_used = is_beyond, max(self.worst_used, used)
