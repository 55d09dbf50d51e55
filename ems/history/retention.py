"""How long history keeps what: minutes become hours, old details go. The journal, not this, is the record of evidence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select, update

from ems.history.tables import alarm_change, asset_hour, asset_minute, class_minute, level_change, plan, setpoint_change, site_minute
from ems.history.write import put

MINUTES_KEPT = timedelta(days=400)  # a year and a month: last year's same month stays comparable
CHANGES_KEPT = timedelta(days=90)
PLAN_BODIES_KEPT = timedelta(days=30)
HOURS_AT_ONCE = 24 * 7  # per run, so that no run holds the database long


def compact(connection: Connection, now: datetime) -> int:
    """Rolls minutes older than they are kept into hours and drops what is too old; the number of rows dropped."""
    horizon = now - MINUTES_KEPT
    dropped = _roll_up(connection, datetime.fromtimestamp(int(horizon.timestamp()) // 3600 * 3600, UTC))
    dropped += sum(_drop(connection, table, now - CHANGES_KEPT) for table in (setpoint_change, alarm_change, level_change))
    old = update(plan).where(plan.c.made_at < now - PLAN_BODIES_KEPT, plan.c.body.is_not(None)).values(body=None)
    connection.execute(old)
    return dropped


def _roll_up(connection: Connection, until: datetime) -> int:
    first = connection.scalar(select(func.min(asset_minute.c.start)))
    if first is not None and first < until:
        begin = datetime.fromtimestamp(int(first.timestamp()) // 3600 * 3600, UTC)
        end = min(until, begin + timedelta(hours=HOURS_AT_ONCE))
        while begin < end:
            put(connection, asset_hour, _hour(connection, begin))
            begin += timedelta(hours=1)
        until = end
    return sum(_drop(connection, table, until, "start") for table in (asset_minute, class_minute, site_minute))


def _hour(connection: Connection, start: datetime) -> list[dict[str, Any]]:
    t = asset_minute.c
    query = (
        select(t.asset, func.avg(t.power_kw), func.min(t.power_kw), func.max(t.power_kw), func.count(t.power_kw))
        .where(t.start >= start, t.start < start + timedelta(hours=1))
        .group_by(t.asset)
    )
    names = ("asset", "mean_kw", "low_kw", "high_kw", "minutes")
    return [{**dict(zip(names, row, strict=True)), "start": start} for row in connection.execute(query)]


def _drop(connection: Connection, table: Table, before: datetime, column: str = "at") -> int:
    return connection.execute(delete(table).where(table.c[column] < before)).rowcount
