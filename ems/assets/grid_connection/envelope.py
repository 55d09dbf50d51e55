"""What the point of connection allows now: the smallest of its limits in force, and which one that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from ems.assets.grid_connection.model import PointOfConnection
from ems.limit import Allowed, Limit, LimitKind
from ems.obligation import Obligation

NOTHING: Mapping[Limit, Allowed] = {}


def momentary_limit(
    connection: PointOfConnection, obligations: Sequence[Obligation], now: datetime, allowed: Mapping[Limit, Allowed] = NOTHING
) -> tuple[float, str]:
    """The import limit in kW on the 1-s mean, and its source. Limits on longer windows are kept as energy elsewhere. `allowed` is what
    limits that are more than a number of kW allow now (ems/guard/overload.py)."""
    bounds = [_bound(limit, allowed.get(limit)) for limit in connection.limits if _is_momentary(limit, now)]
    bounds += [(o.import_limit_kw(), f"event {o.id}") for o in obligations if o.is_in_force(now)]
    return min(bounds)


def interval_limits(connection: PointOfConnection, now: datetime) -> list[Limit]:
    """The limits in force that are means over a window of the utility meter."""
    return [limit for limit in connection.limits if limit.window_s > 1.0 and limit.is_valid(now) and limit.kind is not LimitKind.BILLING]


def _bound(limit: Limit, allowed: Allowed | None) -> tuple[float, str]:
    name = f"{limit.kind.value} limit ({limit.source})"
    return (limit.kw, name) if allowed is None else (allowed.kw, name + allowed.words)


def _is_momentary(limit: Limit, now: datetime) -> bool:
    return limit.window_s <= 1.0 and limit.is_valid(now)
