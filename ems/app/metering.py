"""Meter data for baselines: from a table a person gives, or from the history of the running site."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ems.errors import DataError
from ems.program.meter import MeterSeries, on_grid


def table_meter(path: Path, time_zone: str | None) -> MeterSeries:
    """The meter in a table with a time column and one of power: `kw`, `poc_kw`, `import_kw` or `power_kw`. DataError when there is none."""
    from ems.replay.tables import read_table

    table = read_table(path, {}, {"kw": ("kw", "poc_kw", "import_kw", "power_kw")}, time_zone)
    if "kw" not in table.values or not table.is_absolute:
        raise DataError(f"{path}: expected a time column with dates and a column kw, poc_kw, import_kw or power_kw")
    values = [None if kw != kw else float(kw) for kw in table.values["kw"].tolist()]
    return on_grid(table.seconds.tolist(), values, table.step_s)


def history_meter(state_dir: Path | None, db: str | None, start: datetime | None = None, end: datetime | None = None) -> MeterSeries:
    """The point of connection in the history of a run, as 15-minute means. DataError when it holds nothing."""
    from ems.app.cli_tools import db_url
    from ems.history.engine import open_engine
    from ems.history.read import HistoryReader

    engine = open_engine(db_url(db, state_dir))
    try:
        first, last = start or datetime(2000, 1, 1, tzinfo=UTC), end or datetime(2200, 1, 1, tzinfo=UTC)
        rows = HistoryReader(engine).site_minutes(first, last)
    finally:
        engine.dispose()
    if not rows:
        raise DataError("the history holds no minute of the point of connection; --meter names a table instead")
    seconds = [datetime.fromisoformat(r["start"]).timestamp() for r in rows]
    return on_grid(seconds, [r["poc_kw"] for r in rows], 60.0, 15)
