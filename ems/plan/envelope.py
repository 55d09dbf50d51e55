"""The import envelope of a plan: every source of a limit merged, with the limit control holds now, less the margin control keeps."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from ems.horizon import Horizon
from ems.limit import Limit, LimitKind
from ems.obligation import Obligation
from ems.plan.inputs import ImportEnvelope
from ems.signals.envelope import import_envelope as merged_limits

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
    known = list(limits)
    if present_limit_kw is not None:
        until = now + PRESENT_LIMIT_HOLDS
        known.append(Limit(present_limit_kw, LimitKind.ORDER, source="held by control", valid_to=until))
    kw, sources = merged_limits(known, obligations, horizon.starts, horizon.duration_h, now)
    return ImportEnvelope(kw * (1.0 - margin), sources)
