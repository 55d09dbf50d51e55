"""Import energy per billing interval and the month's peak, from minute means. What is not known is not counted as zero."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from ems.history.tables import billing_interval, month_peak, site_minute
from ems.history.write import put


def interval_start(at: datetime, length_min: int) -> datetime:
    """The start of the billing interval that holds an instant; intervals stand on the UTC hour."""
    length_s = length_min * 60
    return datetime.fromtimestamp(int(at.timestamp()) // length_s * length_s, UTC)


def account(connection: Connection, minutes: Iterable[datetime], length_min: int, time_zone: str) -> None:
    """Accounts anew for the intervals and months that hold the given minutes."""
    starts = sorted({interval_start(m, length_min) for m in minutes})
    rows = [_interval(connection, start, length_min) for start in starts]
    put(connection, billing_interval, rows)
    for row in rows:
        if row["known_min"] == length_min:
            _raise_peak(connection, row["start"], row["import_kwh"] * 60.0 / length_min, time_zone)


def _interval(connection: Connection, start: datetime, length_min: int) -> dict[str, Any]:
    t = site_minute.c
    query = select(t.poc_kw).where(t.start >= start, t.start < start + timedelta(minutes=length_min), t.poc_kw.is_not(None))
    imports_kw = [max(0.0, kw) for kw in connection.scalars(query)]
    kwh = sum(imports_kw) / 60.0 if imports_kw else None
    return {"start": start, "import_kwh": kwh, "known_min": len(imports_kw), "length_min": length_min}


def _raise_peak(connection: Connection, start: datetime, mean_kw: float, time_zone: str) -> None:
    month = start.astimezone(ZoneInfo(time_zone)).strftime("%Y-%m")
    before = connection.scalar(select(func.max(month_peak.c.peak_kw)).where(month_peak.c.month == month))
    if before is None or mean_kw > before:
        put(connection, month_peak, [{"month": month, "peak_kw": mean_kw, "at": start}])
