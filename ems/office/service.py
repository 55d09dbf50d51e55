"""The office service: one event loop that looks into the mailbox, serves HTTP, and keeps the schedule. Control never waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import structlog
import uvicorn
from sqlalchemy import Engine

from ems.clock import Clock
from ems.errors import EmsError
from ems.history import schema
from ems.history.engine import open_engine
from ems.history.read import HistoryReader
from ems.mailbox import Mailbox
from ems.office.alarms.desk import AlarmDesk
from ems.office.api import Office, build_app
from ems.office.health import Health, judge
from ems.office.live import Live
from ems.office.log import set_up_logs
from ems.office.render import Renderer
from ems.office.schedule import Schedule
from ems.office.stream import Feed
from ems.site.model import Site
from ems.site.resolved import site_from_data

HOST = "127.0.0.1"
LOOK_EVERY_S = 0.25  # wall
MAILBOX = "mailbox.db"

log = structlog.get_logger("ems.office")


async def serve(state_dir: Path, site_path: Path, port: int, clock: Clock, db_url: str) -> None:
    """Serves until cancelled. `site_path` is the resolved site.json of the run. Raises EmsError when the port is busy."""
    set_up_logs()
    listening = listen(port)
    service = Service(state_dir, resolved_site(site_path), clock, db_url)
    try:
        await service.run(listening)
    finally:
        service.close()
        listening.close()


def resolved_site(path: Path) -> Site:
    """The site inside a run's site.json, or of a file that holds only the site; EmsError when it is neither."""
    try:
        data = json.loads(path.read_text())
        return site_from_data(data.get("site", data))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EmsError(f"{path}: not a resolved site ({error})") from None


def listen(port: int) -> socket.socket:
    """A socket on the loopback address; EmsError in one line when the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise EmsError(f"port {port} cannot be used: {getattr(error, 'strerror', None) or error}") from None
    return listening


class Service:
    """The parts of one office, and the loop that joins them."""

    def __init__(self, state_dir: Path, site: Site, clock: Clock, db_url: str) -> None:
        self.clock = clock
        self.mailbox = Mailbox(state_dir / MAILBOX, busy_ms=1000)
        self._looking_glass = Mailbox(state_dir / MAILBOX, busy_ms=100)  # reads only, never behind a writer of this process
        self.live = Live(site, self._looking_glass, clock.speed)
        self.engine = open_engine(db_url)
        self.db_url = db_url
        self.schedule = Schedule(site, state_dir, self.mailbox, self.engine, clock, self._prepare_history)
        self.alarms = AlarmDesk(site, state_dir)
        self._began_s = clock.wall_s()
        renderer = Renderer(self.live)
        self.feed = Feed(self.live, renderer, clock.now, self.judged)
        history = HistoryReader(self.engine)
        self.app = build_app(
            Office(
                self.live,
                self.mailbox,
                clock.now,
                self.judged,
                renderer,
                self.feed,
                history,
                self.counts,
                hint=self.schedule.channels.hint,
                envelope=lambda: self.schedule.channels.envelope,
            )
        )
        self._server: uvicorn.Server | None = None

    def judged(self, now: datetime) -> Health:
        """The health of the site, with the office's own troubles as notes."""
        return judge(self.live, now, (*self.schedule.notes(now), *self.alarms.notes()))

    def counts(self) -> Mapping[tuple[str, str], float]:
        """Counters of the office for /metrics."""
        return self.schedule.counts()

    async def run(self, listening: socket.socket) -> None:
        """Until cancelled or stopped."""
        self.live.remember_minutes(self.clock.now())
        self.live.look(self.clock.now())
        config = uvicorn.Config(self.app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        self._server = QuietServer(config)
        self.schedule.start()
        tasks = [asyncio.create_task(self._keep_looking()), *(asyncio.create_task(p.run()) for p in self.schedule.feeds.pollers)]
        log.info("listening", address=f"http://{HOST}:{listening.getsockname()[1]}", history=self.engine.dialect.name)
        try:
            await self._server.serve(sockets=[listening])
        finally:
            for task in tasks:
                task.cancel()
            self.schedule.stop()

    async def stop(self) -> None:
        """Ends the streams and the server."""
        await self.feed.close()
        if self._server is not None:
            self._server.should_exit = True

    def close(self) -> None:
        """Closes the files."""
        self.alarms.close()
        self.engine.dispose()
        self.mailbox.close()
        self._looking_glass.close()

    async def _keep_looking(self) -> None:
        trouble = ""
        while True:
            is_new = False
            try:
                is_new = bool(self.live.look(self.clock.now()))
                self.live.grid_events = self.schedule.programs.shown
                trouble = ""
            except (EmsError, OSError) as error:  # the page shows its age until the mailbox can be read again
                if str(error) != trouble:
                    log.warning("the mailbox cannot be read", error=str(error))
                trouble = str(error)
            if self._look_at_alarms(self.clock.now()) or is_new:
                await self.feed.tell()
            await asyncio.sleep(LOOK_EVERY_S)

    def _look_at_alarms(self, now: datetime) -> bool:
        """Brings the alarms up to date; True when one was raised or cleared."""
        live, up_s = self.live, self.clock.wall_s() - self._began_s
        changed = self.alarms.look(now, live.snapshot, self.judged(now), live.is_fresh(now), up_s)
        live.standing = self.alarms.book.standing
        return bool(changed)

    def _prepare_history(self, engine: Engine) -> None:
        schema.upgrade(self.db_url)


class QuietServer(uvicorn.Server):
    """Leaves signals to the process that holds it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield
