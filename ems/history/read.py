"""What the page and the API ask of history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select

from ems.history.tables import asset_minute, site_minute


class HistoryReader:
    """Rows as plain data, oldest first; instants as ISO text in UTC, None where nothing was measured."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def site_minutes(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """Minute means of the point of connection over `[start, end)`."""
        t = site_minute.c
        query = select(t.start, t.poc_kw, t.outdoor_temp_c, t.tokens).where(t.start >= start, t.start < end).order_by(t.start)
        return self._rows(query, ("start", "poc_kw", "outdoor_temp_c", "tokens"))

    def asset_minutes(self, asset: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """Minute means of one asset over `[start, end)`."""
        t = asset_minute.c
        query = select(t.start, t.power_kw, t.demand_kw, t.soc).where(t.asset == asset, t.start >= start, t.start < end).order_by(t.start)
        return self._rows(query, ("start", "power_kw", "demand_kw", "soc"))

    def _rows(self, query: Any, names: Sequence[str]) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            found = connection.execute(query).all()
        return [dict(zip(names, (row[0].isoformat(), *row[1:]), strict=True)) for row in found]
