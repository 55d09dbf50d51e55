"""The import envelope: every source of a limit merged into one limit per step, which remembers who set it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import numpy as np

from ems.horizon import Horizon
from ems.limit import Limit
from ems.obligation import Obligation
from ems.plan.inputs import ImportEnvelope

PRESENT_LIMIT_HOLDS = timedelta(minutes=15)  # a limit control holds now, whose end the planner does not know, is kept this long


def import_envelope(
    horizon: Horizon,
    now: datetime,
    limits: Iterable[Limit],
    obligations: Iterable[Obligation],
    present_limit_kw: float | None,
    margin: float,
) -> ImportEnvelope:
    """The smallest limit in force at any time of each step, less a margin (fraction), in kW. Events count from their notice on."""
    ends = [s + timedelta(hours=h) for s, h in zip(horizon.starts, horizon.duration_h, strict=True)]
    kw, source = np.full(horizon.n, np.inf), ["none"] * horizon.n

    def lay(limit_kw: float, name: str, begin: datetime | None, end: datetime | None) -> None:
        for i, (start, stop) in enumerate(zip(horizon.starts, ends, strict=True)):
            if (begin is None or begin < stop) and (end is None or end > start) and limit_kw < kw[i]:
                kw[i], source[i] = limit_kw, name

    for limit in limits:
        lay(limit.kw, f"{limit.kind.value} limit ({limit.source})", limit.valid_from, limit.valid_to)
    for event in obligations:
        if event.notice_at <= now:
            lay(event.import_limit_kw(), f"event {event.id}", event.start, event.end)
    if present_limit_kw is not None:
        lay(present_limit_kw, "limit held by control", None, now + PRESENT_LIMIT_HOLDS)
    return ImportEnvelope(kw * (1.0 - margin), tuple(source))
