"""Rows go in once on both databases; marks move with them; old rows become hours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from ems.history import schema
from ems.history.billing import account
from ems.history.engine import open_engine
from ems.history.read import HistoryReader
from ems.history.retention import MINUTES_KEPT, compact
from ems.history.tables import asset_hour, billing_interval, month_peak, person_order, setpoint_change, site_minute
from ems.history.write import put, put_new, read_mark, write_mark
from ems.journal.file import FILE_NAME
from ems.journal.journal import Journal
from ems.mailbox import Mailbox
from ems.office.ship import Shipper
from ems.plan.plan import encode_plan
from tests.control.loop import demo_site
from tests.office.given import minute_frame, two_day_plan

AT = datetime(2024, 8, 19, 5, tzinfo=UTC)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    schema.upgrade(url)
    found = open_engine(url)
    yield found
    found.dispose()


def test_a_row_written_twice_stands_once_in_its_newest_form(engine: Engine):
    with engine.begin() as connection:
        put(connection, site_minute, [{"start": AT, "poc_kw": 900.0}])
        put(connection, site_minute, [{"start": AT, "poc_kw": 950.0}])
        put_new(connection, site_minute, [{"start": AT, "poc_kw": 1.0}])
        assert put(connection, site_minute, []) == 0
        assert list(connection.scalars(select(site_minute.c.poc_kw))) == [950.0]


def test_a_mark_is_of_one_source_only(engine: Engine):
    with engine.begin() as connection:
        assert read_mark(connection, "journal", "a") == (0, {})
        write_mark(connection, "journal", "a", 7, {"level": ["L0"]}, AT)
        write_mark(connection, "journal", "a", 9, {"level": ["L1"]}, AT)
        assert read_mark(connection, "journal", "a") == (9, {"level": ["L1"]})
        assert read_mark(connection, "journal", "b") == (0, {})


def test_accounting_twice_gives_the_same_peak(engine: Engine):
    minutes = [AT + timedelta(minutes=k) for k in range(15)]
    with engine.begin() as connection:
        put(connection, site_minute, [{"start": m, "poc_kw": 1200.0} for m in minutes])
        for _ in range(2):
            account(connection, minutes, 15, "America/Chicago")
        assert [row.import_kwh for row in connection.execute(select(billing_interval))] == [pytest.approx(300.0)]
        assert [(row.month, row.peak_kw) for row in connection.execute(select(month_peak))] == [("2024-08", pytest.approx(1200.0))]


def test_everything_ships_to_both_databases_and_ages_there(engine: Engine, tmp_path: Path):
    site = demo_site()
    mailbox, journal = Mailbox(tmp_path / "mailbox.db", 1000), Journal(tmp_path / FILE_NAME, time.monotonic, 5.0)
    plan = two_day_plan(site, AT)
    mailbox.post("plan", encode_plan(plan), AT, plan.valid_until)
    for k in range(60):
        start = AT + timedelta(minutes=k)
        mailbox.post("minute", minute_frame(site, start, 1000.0).encode(), start, start + timedelta(days=4))
    order = {"kind": "hold", "asset": "bess-1", "by": "Ada", "why": "works"}
    setpoints = [["bess-1", "power_setpoint_kw", 10.0, "plan", True]]
    journal.append("cycle", AT, {"level": "L0", "cause": "x", "setpoints": setpoints, "alarms": ["a"], "news": [["order", order]]})
    journal.append("order", AT, {"sequence": 1, "answer": "bess-1 holds"})
    assert journal.flush()
    for _ in range(2):
        Shipper(site, tmp_path, mailbox, engine).ship(AT)
    journal.close()
    mailbox.close()
    rows = HistoryReader(engine).asset_minutes("hall-a", AT, AT + timedelta(hours=1))
    assert len(rows) == 60 and rows[0] == {"start": AT.isoformat(), "power_kw": 600.0, "demand_kw": 640.0, "soc": None}
    with engine.begin() as connection:
        assert [row.answer for row in connection.execute(select(person_order))] == ["bess-1 holds"]
        compact(connection, AT + MINUTES_KEPT + timedelta(hours=2))
        assert list(connection.scalars(select(setpoint_change.c.kw))) == []
        assert [row.minutes for row in connection.execute(select(asset_hour).where(asset_hour.c.asset == "hall-a"))] == [60]
