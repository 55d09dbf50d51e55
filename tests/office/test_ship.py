"""What control said reaches history once and whole, over restarts, replaced files and broken messages."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from ems.history import schema
from ems.history.billing import interval_start
from ems.history.engine import open_engine
from ems.history.retention import MINUTES_KEPT, PLAN_BODIES_KEPT, compact
from ems.history.tables import (
    alarm_change,
    asset_hour,
    asset_minute,
    billing_interval,
    grid_event,
    level_change,
    month_peak,
    person_order,
    plan,
    setpoint_change,
    site_minute,
)
from ems.journal.file import FILE_NAME
from ems.journal.journal import Journal
from ems.mailbox import Mailbox
from ems.office.ship import Shipper
from ems.plan.plan import encode_plan
from tests.control.loop import demo_site
from tests.office.given import KEPT, START, minute_frame, two_day_plan

SITE = demo_site()
ORDER = {"kind": "hold", "asset": "bess-1", "by": "Ada", "why": "works"}


@dataclass
class Place:
    """A state directory with a mailbox, a journal and a history."""

    path: Path
    mailbox: Mailbox
    journal: Journal
    engine: Engine

    def shipper(self) -> Shipper:
        """A shipper as a new process would make it."""
        return Shipper(SITE, self.path, self.mailbox, self.engine)

    def ship(self) -> int:
        assert self.journal.flush()
        return self.shipper().ship(START)

    def minute(self, start: datetime, poc_kw: float | None) -> None:
        self.mailbox.post("minute", minute_frame(SITE, start, poc_kw).encode(), start, start + KEPT)

    def cycle(self, at: datetime, **changes: Any) -> None:
        body = {"level": "L0", "cause": "fresh plan", "setpoints": [], "alarms": [], "news": [], **changes}
        self.journal.append("cycle", at, body)

    def rows(self, table: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key)))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    schema.upgrade(url)
    found = Place(tmp_path, Mailbox(tmp_path / "mailbox.db", 1000), Journal(tmp_path / FILE_NAME, time.monotonic, 5.0), open_engine(url))
    yield found
    found.journal.close()
    found.mailbox.close()
    found.engine.dispose()


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_minutes_are_shipped_once_however_often_the_office_restarts(place: Place):
    for k in range(20):
        place.minute(at(60 * k), 900.0 + k)
    assert place.ship() > 0
    assert place.ship() == 0
    place.minute(at(1200), 950.0)
    place.ship()
    assert [row.poc_kw for row in place.rows(site_minute)] == [*(900.0 + k for k in range(20)), 950.0]


def test_what_was_not_measured_is_null_or_absent_never_zero(place: Place):
    place.minute(START, None)
    place.ship()
    assert place.rows(site_minute)[0].poc_kw is None
    assert "cooling-1" not in {row.asset for row in place.rows(asset_minute)}
    assert place.rows(billing_interval) == []


def test_an_interval_says_how_much_of_it_is_known_and_only_whole_ones_make_a_peak(place: Place):
    for k in range(10):
        place.minute(at(60 * k), 1200.0)
    place.ship()
    [part] = place.rows(billing_interval)
    assert (part.import_kwh, part.known_min) == (pytest.approx(200.0), 10)
    assert place.rows(month_peak) == []
    for k in range(10, 15):
        place.minute(at(60 * k), 600.0)
    place.ship()
    [whole] = place.rows(billing_interval)
    assert (whole.import_kwh, whole.known_min) == (pytest.approx(250.0), 15)
    [peak] = place.rows(month_peak)
    assert (peak.month, peak.peak_kw, peak.at) == ("2024-08", pytest.approx(1000.0), START)


def test_the_month_of_a_peak_is_the_local_one(place: Place):
    last_of_august = datetime(2024, 9, 1, 4, 45, tzinfo=UTC)  # 23:45 in Chicago
    for k in range(30):
        place.minute(last_of_august + timedelta(minutes=k), 1000.0 + 10 * (k // 15))
    place.ship()
    assert [(row.month, row.peak_kw) for row in place.rows(month_peak)] == [("2024-08", 1000.0), ("2024-09", 1010.0)]


def test_export_is_no_negative_import(place: Place):
    for k in range(15):
        place.minute(at(60 * k), -100.0)
    place.ship()
    assert place.rows(billing_interval)[0].import_kwh == 0.0


def test_intervals_stand_on_the_hour():
    assert interval_start(at(14 * 60 + 59), 15) == START
    assert interval_start(at(15 * 60), 15) == at(900)


def test_plans_are_kept_by_hash_with_their_body(place: Place):
    made = two_day_plan(SITE, START)
    for _ in range(2):
        place.mailbox.post("plan", encode_plan(made), START, made.valid_until)
    place.ship()
    [row] = place.rows(plan)
    assert (row.hash, row.made_at, row.body) == (made.hash(), START, encode_plan(made) | {"explain": []} | _lists(made))


def test_only_turns_of_level_setpoints_and_alarms_are_kept(place: Place):
    def asked(kw: float, is_written: bool = True) -> list[Any]:
        return [["bess-1", "power_setpoint_kw", kw, "plan", is_written]]

    place.cycle(at(0), setpoints=asked(0.0))
    place.cycle(at(1), setpoints=asked(1.0))
    place.cycle(at(2), setpoints=asked(-100.0), alarms=["meter silent"])
    place.cycle(at(3), setpoints=asked(-100.0), alarms=["meter silent"], level="L3", cause="meter")
    place.ship()
    place.cycle(at(4), setpoints=asked(-100.0, False), level="L3", cause="meter")
    place.ship()
    assert [(row.at, row.kw, row.is_written) for row in place.rows(setpoint_change)] == [
        (at(0), 0.0, True),
        (at(2), -100.0, True),
        (at(4), -100.0, False),
    ]
    assert [(row.at, row.level) for row in place.rows(level_change)] == [(at(0), "L0"), (at(3), "L3")]
    assert [(row.at, row.is_raised) for row in place.rows(alarm_change)] == [(at(2), True), (at(4), False)]


def test_orders_come_with_the_answer_the_journal_holds(place: Place):
    refused = {**ORDER, "kind": "explode"}
    place.cycle(at(0), news=[["order", ORDER], ["order", refused]])
    place.journal.append("order", at(0), {"sequence": 7, "answer": "bess-1 holds"})
    place.ship()
    place.journal.append("order", at(0), {"sequence": 8, "answer": "order refused: 'explode'"})
    place.ship()
    assert [(row.kind, row.given_by, row.answer) for row in place.rows(person_order)] == [
        ("hold", "Ada", "bess-1 holds"),
        ("explode", "Ada", "order refused: 'explode'"),
    ]
    assert place.rows(person_order)[0].body == ORDER


def test_an_event_is_kept_in_its_newest_version(place: Place):
    place.cycle(at(0), news=[["event", {"id": "e1", "kw": 1200}]])
    place.cycle(at(1), news=[["event", {"id": "e1", "kw": 1100}]])
    place.ship()
    assert [row.body["kw"] for row in place.rows(grid_event)] == [1100]


def test_more_entries_than_one_page_are_shipped_without_a_hole(place: Place):
    for k in range(1300):
        place.cycle(at(k), setpoints=[["bess-1", "power_setpoint_kw", 10.0 * k, "plan", True]])
    place.ship()
    assert [row.sequence for row in place.rows(setpoint_change)] == list(range(1, 1301))


def test_a_journal_that_was_replaced_is_shipped_from_its_beginning(place: Place):
    place.cycle(at(0), setpoints=[["bess-1", "power_setpoint_kw", 10.0, "plan", True]])
    place.ship()
    place.journal.close()
    for part in place.path.glob(f"{FILE_NAME}*"):
        part.unlink()
    place.journal = Journal(place.path / FILE_NAME, time.monotonic, 5.0)
    place.cycle(at(50), setpoints=[["bess-1", "power_setpoint_kw", 20.0, "plan", True]])
    place.ship()
    assert sorted(row.kw for row in place.rows(setpoint_change)) == [10.0, 20.0]


def test_a_mailbox_that_was_replaced_is_shipped_from_its_beginning(place: Place):
    for k in range(5):
        place.minute(at(60 * k), 900.0)
    place.ship()
    place.mailbox.close()
    for part in place.path.glob("mailbox.db*"):
        part.unlink()
    place.mailbox = Mailbox(place.path / "mailbox.db", 1000)
    for k in range(5, 15):
        place.minute(at(60 * k), 900.0)
    place.ship()
    assert len(place.rows(site_minute)) == 15


def test_damage_in_messages_and_entries_is_counted_and_passed_over(place: Place):
    for body in ({}, {"start": "noon"}, {**minute_frame(SITE, START, 1.0).encode(), "start": "2024-08-19T05:00:00"}):
        place.mailbox.post("minute", body, START, START + KEPT)
    place.minute(START, 900.0)
    place.mailbox.post("plan", {"starts": 1}, START, START + KEPT)
    place.cycle(at(0), setpoints=[["short", "row"]])
    place.cycle(at(1), setpoints=[["bess-1", "power_setpoint_kw", 10.0, "plan", True]])
    assert place.journal.flush()
    shipper = place.shipper()
    shipper.ship(START)
    assert shipper.refused == 5
    assert len(place.rows(site_minute)) == len(place.rows(setpoint_change)) == 1


def test_a_journal_entry_that_rotted_is_named_and_the_rest_is_shipped(place: Place):
    for k in range(3):
        place.cycle(at(k), setpoints=[["bess-1", "power_setpoint_kw", 10.0 * k, "plan", True]])
    assert place.journal.flush()
    with sqlite3.connect(place.path / FILE_NAME) as db:
        db.execute("update entry set packed = x'00' where sequence = 2")
    db.close()
    shipper = place.shipper()
    shipper.ship(START)
    assert "entry 2" in shipper.damage[0]
    assert [row.kw for row in place.rows(setpoint_change)] == [0.0, 20.0]


def test_nothing_is_lost_when_a_transaction_fails_halfway(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.minute(START, 900.0)
    with monkeypatch.context() as patch:
        patch.setattr("ems.office.ship.write_mark", _raises)
        with pytest.raises(RuntimeError, match="power cut"):
            place.ship()
    assert place.rows(site_minute) == []
    place.ship()
    assert len(place.rows(site_minute)) == 1


def test_old_minutes_become_hours_and_old_details_go(place: Place):
    made = two_day_plan(SITE, START)
    place.mailbox.post("plan", encode_plan(made), START, made.valid_until)
    for k in range(90):
        place.minute(at(60 * k), 900.0)
    place.cycle(START, setpoints=[["bess-1", "power_setpoint_kw", 10.0, "plan", True]])
    place.ship()
    with place.engine.begin() as connection:
        assert compact(connection, START + timedelta(days=1)) == 0
        compact(connection, START + MINUTES_KEPT + timedelta(hours=1))
        left = connection.scalar(select(func.count()).select_from(site_minute))
    hours = [row for row in place.rows(asset_hour) if row.asset == "hall-a"]
    assert [(row.start, row.mean_kw, row.minutes) for row in hours] == [(START, 600.0, 60)]
    assert left == 30
    assert place.rows(setpoint_change) == []
    assert MINUTES_KEPT > PLAN_BODIES_KEPT
    assert [(row.hash, row.body) for row in place.rows(plan)] == [(made.hash(), None)]


def _lists(made: Any) -> dict[str, Any]:
    """The tuples of an encoded plan as JSON gives them back."""
    import json

    return json.loads(json.dumps(encode_plan(made)))


def _raises(*_: object) -> None:
    raise RuntimeError("power cut")
