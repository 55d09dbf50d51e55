"""The minutes a grid event's baseline is read in: the import there is what the site draws of itself.

What the plan spends or puts off in them, for the price or because its step reaches into the event, would be missing from the baseline:
the event would pay less, and the import could not come back to what it was. Limits and the billing mean are held as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from ems.dispatch.advice import Advice, Wish
from ems.dispatch.trend import ClusterTrend
from ems.obligation import Obligation


def leave_baseline(advice: Advice, obligations: Iterable[Obligation], trends: Mapping[str, ClusterTrend], now: datetime) -> Advice:
    """The advice, without discharging and without work that waits while an obligation in force sets a baseline. `trends` per cluster."""
    reading = next((o for o in obligations if o.sets_baseline and o.is_in_force(now)), None)
    if reading is None:
        return advice
    why = f"the import sets a baseline ({reading.id})"
    storage = {k: w if w.kw >= 0.0 else Wish(0.0, f"idle: {why}") for k, w in advice.storage.items()}
    limits = {c: {k: _asked(w, trends[c].class_held_kw[k], why) for k, w in of.items()} for c, of in advice.limits.items()}
    return replace(advice, storage=storage, limits=limits)


def _asked(limit: Wish, demand_kw: float, why: str) -> Wish:
    return limit if limit.kw >= demand_kw else Wish(demand_kw, f"nothing put off: {why}")
