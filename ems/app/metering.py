"""Meter data for baselines: from a table a person gives, or from the history of the running site."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ems.app.wrong_usage import WrongUsage
from ems.errors import DataError
from ems.program.meter import MeterSeries, on_grid

NO_HISTORY = "unknown: the history holds no minute of the point of connection; --meter names a table instead"


def table_meter(path: Path, time_zone: str | None) -> MeterSeries:
    """The meter in a table with a time column and one of power: `kw`, `poc_kw`, `import_kw` or `power_kw`. DataError when there is none."""
    from ems.replay.tables import read_table

    if time_zone is not None and not is_zone(time_zone):
        raise WrongUsage(f"--time-zone {time_zone}: expected a zone such as America/Chicago")
    table = read_table(path, {}, {"kw": ("kw", "poc_kw", "import_kw", "power_kw")}, time_zone)
    if "kw" not in table.values or not table.is_absolute:
        raise DataError(f"{path}: expected a time column with dates and a column kw, poc_kw, import_kw or power_kw")
    values = [None if kw != kw else float(kw) for kw in table.values["kw"].tolist()]
    if all(kw is None for kw in values):
        raise DataError(f"{path}: no row holds a power that is a number")
    return on_grid(table.seconds.tolist(), values, table.step_s)


def history_meter(state_dir: Path | None, db: str | None, start: datetime | None = None, end: datetime | None = None) -> MeterSeries:
    """The point of connection in the history of a run, as 15-minute means. DataError when it holds nothing."""
    from sqlalchemy import inspect

    from ems.app.cli_tools import db_url
    from ems.app.statedir import find_state_dir
    from ems.history.engine import open_engine
    from ems.history.read import HistoryReader

    if not db and not find_state_dir(state_dir).has_history:
        raise DataError(NO_HISTORY)  # and no empty one is made by asking
    engine = open_engine(db_url(db, state_dir))
    try:
        first, last = start or datetime(2000, 1, 1, tzinfo=UTC), end or datetime(2200, 1, 1, tzinfo=UTC)
        is_begun = inspect(engine).has_table("site_minute")  # else no site has run here yet
        rows = HistoryReader(engine).site_minutes(first, last) if is_begun else []
    finally:
        engine.dispose()
    if all(r["poc_kw"] is None for r in rows):
        raise DataError(NO_HISTORY)
    seconds = [datetime.fromisoformat(r["start"]).timestamp() for r in rows]
    return on_grid(seconds, [r["poc_kw"] for r in rows], 60.0, 15)


def is_zone(name: str) -> bool:
    """Whether the time-zone database knows the name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    return True
