"""The import envelope: the one time-varying limit on import that merges limits and obligations and remembers which one binds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from ems.limit import Limit
from ems.obligation import Obligation
from ems.signals.events import known_obligations

NO_LIMIT_KW = 1e9  # where nothing limits the import


def import_envelope(
    limits: Iterable[Limit],
    obligations: Iterable[Obligation],
    starts: Sequence[datetime],
    duration_h: Sequence[float],
    now: datetime,
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The import limit in kW per step and what sets it ("" where nothing does).

    A step touched by a limit or an obligation for any part of it is held to it. Obligations count from their notice; of those with one
    id the newest. Billing limits price and do not bind; a tolerance is not planned with. The first of equal limits is named.
    """
    begin = [s for s in starts]
    end = [s + timedelta(hours=h) for s, h in zip(starts, duration_h, strict=True)]
    kw = np.full(len(begin), NO_LIMIT_KW)
    sources = [""] * len(begin)
    for bound_kw, source, valid_from, valid_to in _bounds(limits, obligations, now):
        for i in range(len(begin)):
            touches = (valid_from is None or valid_from < end[i]) and (valid_to is None or valid_to > begin[i])
            if touches and bound_kw < kw[i]:
                kw[i], sources[i] = bound_kw, source
    return kw, tuple(sources)


Bound = tuple[float, str, datetime | None, datetime | None]


def _bounds(limits: Iterable[Limit], obligations: Iterable[Obligation], now: datetime) -> list[Bound]:
    fixed: list[Bound] = [(x.kw, f"{x.kind} limit ({x.source})", x.valid_from, x.valid_to) for x in limits if x.kind != "billing"]
    asked: list[Bound] = [(o.import_limit_kw(), f"event {o.id}", o.start, o.end) for o in known_obligations(obligations, now)]
    return fixed + asked
