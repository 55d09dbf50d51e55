"""The office loop: APScheduler ticks on the wall clock, each job does what is due on the site clock. Nothing here can stop control.

Jobs stand in memory and are made anew at every start; how far each got stands in our own tables. Errors and skipped runs are logged and
counted; a job that fails is tried again at its next tick.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import Engine

from ems.clock import Clock
from ems.errors import EmsError
from ems.history.retention import compact
from ems.history.write import read_mark, write_mark
from ems.mailbox import Mailbox
from ems.office.channels import Channels
from ems.office.feed_desk import FeedDesk
from ems.office.programs import Programs
from ems.office.ship import Shipper
from ems.site.model import Site

SHIP_EVERY_S = 2.0  # wall
FEEDS_EVERY_S = 2.0
PROGRAMS_EVERY_S = 1.0
COMPACT_EVERY_S = 60.0
GRACE_S = 30  # a run that is later than this is skipped and counted
WORKERS = 2
COMPACT_PERIOD_H = 24  # of site time

log = structlog.get_logger("ems.office.schedule")


class Schedule:
    """The jobs of one office. `prepare` brings the schema up; it is tried until it works."""

    def __init__(
        self, site: Site, state_dir: Path, mailbox: Mailbox, engine: Engine, clock: Clock, prepare: Callable[[Engine], None]
    ) -> None:
        self._clock, self._engine, self._prepare = clock, engine, prepare
        self.shipper = Shipper(site, state_dir, mailbox, engine)
        self.feeds = FeedDesk(site, state_dir, mailbox, clock.now)
        self.programs = Programs(site, state_dir, mailbox, engine)
        self.channels = Channels(self.programs, state_dir, mailbox, clock)
        self.programs.before, self.programs.others = self.channels.deliver, self.channels.obligations
        self.trouble: dict[str, str] = {}  # by job, while its last run failed
        self._counts: Counter[tuple[str, str]] = Counter()
        self._is_prepared = False
        self._lock = threading.Lock()
        self._scheduler = _scheduler()
        self._scheduler.add_listener(self._heard, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self._add("ship", self.ship, SHIP_EVERY_S)
        self._add("feeds", self.feed, FEEDS_EVERY_S)
        self._add("programs", self.move_events, PROGRAMS_EVERY_S)
        self._add("compact", self.compact, COMPACT_EVERY_S)

    def start(self) -> None:
        """Begins to tick, every job at once and then on its period."""
        self._scheduler.start()

    def stop(self) -> None:
        """Ends the ticking and waits for the runs under way."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
        self.channels.close()

    def ship(self) -> None:
        """Ships news into history."""
        self._prepare_once()
        self._counts["ems_history_rows", "shipped"] += self.shipper.ship(self._clock.now())
        self.trouble.pop("ship", None)

    def feed(self) -> None:
        """Reads dropped files, posts the rows that are due on the site clock and tells how the feeds are."""
        self.feeds.tick(self._clock.now())
        self.trouble.pop("feeds", None)

    def move_events(self) -> None:
        """Moves grid events and sends what they ask of the site."""
        self._prepare_once()
        self.channels.reckon(self._clock.now())
        self._counts["ems_obligations", "sent"] += self.programs.tick(self._clock.now())
        self.trouble.pop("programs", None)

    def compact(self) -> None:
        """Rolls up and drops old history, once a day of site time."""
        self._prepare_once()
        now = self._clock.now()
        day = int(now.timestamp() // (COMPACT_PERIOD_H * 3600))
        with self._engine.begin() as connection:
            if read_mark(connection, "compact", "")[0] < day:
                self._counts["ems_history_rows", "dropped"] += compact(connection, now)
                write_mark(connection, "compact", "", day, {}, now)
        self.trouble.pop("compact", None)

    def notes(self, now: datetime) -> tuple[str, ...]:
        """The office's own troubles, for eyes."""
        damage = (f"journal: {text}" for text in self.shipper.damage[-1:])
        channels = self.channels.notes(now)
        return (*channels, *(f"{job}: {text}" for job, text in sorted(self.trouble.copy().items())), *self.feeds.notes(now), *damage)

    def counts(self) -> Mapping[tuple[str, str], float]:
        """Counters by (metric, label)."""
        return {**self._counts.copy(), **self.feeds.counts(), ("ems_history_refused", "messages"): self.shipper.refused}

    def _prepare_once(self) -> None:
        with self._lock:
            if not self._is_prepared:
                self._prepare(self._engine)
                self._is_prepared = True

    def _add(self, name: str, job: Callable[[], None], every_s: float) -> None:
        first = datetime.now(UTC)
        self._scheduler.add_job(
            job, "interval", seconds=every_s, id=name, next_run_time=first, misfire_grace_time=GRACE_S, coalesce=True, max_instances=1
        )

    def _heard(self, event: JobExecutionEvent) -> None:
        if event.code != EVENT_JOB_ERROR:
            self._counts["ems_jobs_skipped", event.job_id] += 1
            log.warning("job skipped", job=event.job_id, overlaps=event.code == EVENT_JOB_MAX_INSTANCES)
            return
        text = in_one_line(event.exception)
        self._counts["ems_job_errors", event.job_id] += 1
        if self.trouble.get(event.job_id) != text:
            detail = None if isinstance(event.exception, EmsError) else event.traceback
            log.error("job failed", job=event.job_id, error=text, detail=detail)
        self.trouble[event.job_id] = text


def in_one_line(error: BaseException) -> str:
    """The cause of an error, without the statement that met it."""
    return f"{type(error).__name__}: {str(getattr(error, 'orig', None) or error).splitlines()[0] if str(error) else ''}"


def _scheduler() -> BackgroundScheduler:
    return BackgroundScheduler(
        jobstores={"default": MemoryJobStore()}, executors={"default": ThreadPoolExecutor(WORKERS)}, timezone=UTC, daemon=True
    )
