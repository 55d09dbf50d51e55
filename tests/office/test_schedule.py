"""The office's jobs: a failing one is counted and told, tried again, and never takes the others along."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import Engine

from ems.errors import DataError
from ems.history import schema
from ems.office import schedule as schedule_module
from ems.office.schedule import Schedule
from tests.office.given import Running

WAIT_S = 60.0


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path)


@pytest.fixture
def made(running: Running) -> Iterator[Callable[..., Schedule]]:
    schedules: list[Schedule] = []

    def make(prepare: Callable[[Engine], None] | None = None) -> Schedule:
        service = running.service()
        up = prepare or (lambda _: schema.upgrade(service.db_url))
        schedules.append(Schedule(running.site, running.state_dir, running.mailbox, service.engine, service.clock, up))
        return schedules[-1]

    yield make
    for schedule in schedules:
        schedule.stop()


def test_jobs_run_in_utc_from_memory_with_every_default_said(made: Callable[..., Schedule], monkeypatch: pytest.MonkeyPatch):
    schedule = made()
    scheduler = schedule._scheduler
    assert isinstance(scheduler, BackgroundScheduler)
    assert str(scheduler.timezone) == "UTC"
    scheduler.start(paused=True)
    jobs = scheduler.get_jobs()
    assert {job.id for job in jobs} == {"ship", "feeds", "compact", "programs"}
    assert {(job.misfire_grace_time, job.coalesce, job.max_instances) for job in jobs} == {(schedule_module.GRACE_S, True, 1)}


def test_minutes_dropped_prices_and_compaction_are_done_by_the_ticking_schedule(made: Callable[..., Schedule], running: Running):
    folder = running.state_dir / "feeds" / "prices"
    folder.mkdir(parents=True)
    (folder / "p.csv").write_text("valid_from,valid_to,price_per_mwh\n2024-08-19T04:00:00Z,2024-08-19T04:15:00Z,30\n")
    running.minutes(3)
    schedule = made()
    schedule.start()
    wait_until(lambda: schedule.counts().get(("ems_history_rows", "shipped"), 0) > 0 and bool(running.mailbox.since("prices", 0)))
    assert schedule.notes(running.now) == ()


def test_a_failing_job_is_counted_told_and_gone_from_the_notes_once_it_works(made: Callable[..., Schedule], running: Running):
    is_broken = True

    def prepare(engine: Engine) -> None:
        if is_broken:
            raise DataError("the disk is full")
        schema.upgrade(str(engine.url))

    schedule = made(prepare)
    schedule.start()
    wait_until(lambda: "ship" in schedule.trouble and "compact" in schedule.trouble)
    assert schedule.counts()["ems_job_errors", "ship"] >= 1
    assert "ship: DataError: the disk is full" in schedule.notes(running.now)
    is_broken = False
    wait_until(lambda: (schedule.ship(), "ship" not in schedule.trouble)[1])  # a run that failed meanwhile may be told after ours


def test_a_run_that_overlaps_the_one_before_is_skipped_and_counted(made: Callable[..., Schedule], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schedule_module, "SHIP_EVERY_S", 0.05)
    go_on = threading.Event()
    schedule = made(lambda _: go_on.wait(WAIT_S))
    schedule.start()
    try:
        wait_until(lambda: schedule.counts().get(("ems_jobs_skipped", "ship"), 0) > 0)
    finally:
        go_on.set()


def test_old_history_is_compacted_once_a_day_of_site_time(made: Callable[..., Schedule], monkeypatch: pytest.MonkeyPatch):
    runs = []
    monkeypatch.setattr(schedule_module, "compact", lambda connection, now: runs.append(now) or 0)
    schedule = made()
    for _ in range(3):
        schedule.compact()
    assert len(runs) == 1


def wait_until(is_so: Callable[[], bool]) -> None:
    """Waits for another thread."""
    tick = threading.Event()
    for _ in range(int(WAIT_S / 0.02)):
        if is_so():
            return
        tick.wait(0.02)
    raise AssertionError(f"not within {WAIT_S} s")
