"""How responses come in: an address asked on its period with back-off, or a folder looked into."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import httpx
import structlog

from adapters.feeds.http import FeedRefused, fetch, new_client
from ems.errors import EmsError
from ems.office.live_feed import LiveFeed

FIRST_RETRY_S = 15.0
DEFECTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, OSError, EmsError)
PARTIAL = (".tmp", ".part", ".new", ".swp")


log = structlog.get_logger("ems.office.feeds")


class Poller:
    """Asks one address for ever. `now` is site time; waiting and deadlines are wall time."""

    def __init__(self, live: LiveFeed, now: Callable[[], datetime], environment: Mapping[str, str] = os.environ) -> None:
        self.live, self._now, self._environment = live, now, environment
        self._marks: Mapping[str, str] = {}
        self._failures = 0

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.to_thread(self.live.read_back, self._now())
        async with new_client() as client:
            while True:
                await asyncio.sleep(await self._ask_again(client))

    async def _ask_again(self, client: httpx.AsyncClient) -> float:
        """As `ask`; a defect of ours costs this one response, and is told."""
        try:
            return await self.ask(client)
        except DEFECTS as error:
            self.live.refuse(f"a defect of this program: {type(error).__name__}: {error}")
            log.error("feed", feed=self.live.name, error=str(error), exc_info=error)
            return self._pause_s(None)

    async def ask(self, client: httpx.AsyncClient) -> float:
        """Asks once; seconds until the next time. No error leaves here but a broken program."""
        feed = self.live.feed
        self.live.follow_clock(self._now())
        if self.live.fetched_at is None:
            self._marks = {}  # no response that counts could be unchanged
        try:
            fetched = await fetch(client, feed, self._now(), self._environment, self._marks)
        except FeedRefused as refused:
            self.live.refuse(str(refused))
            return self._pause_s(refused.retry_after_s)
        if fetched.body is None:
            self.live.unchanged(self._now())
        elif not await asyncio.to_thread(self.live.take, fetched.body, self._now(), self.live.origin):
            return self._pause_s(None)
        self._marks = {**self._marks, **fetched.marks} if fetched.body is None else fetched.marks
        self._failures = 0
        return feed.poll_s

    def _pause_s(self, retry_after_s: float | None) -> float:
        """15 s, 30 s, 60 s ... up to the period; longer where the server asks for it. What failed is not asked for by its marks."""
        self._marks = {}
        self._failures += 1
        pause_s = min(FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 12), max(self.live.feed.poll_s, FIRST_RETRY_S))
        return max(pause_s, retry_after_s or 0.0)


class DropFolder:
    """Looks into the folder of one feed for new and changed files."""

    def __init__(self, live: LiveFeed) -> None:
        self.live = live
        self.folder = Path(live.feed.folder or "")
        self._seen: dict[str, tuple[int, int]] = {}
        self._is_read_back = False
        self._looked_at: datetime | None = None

    def look(self, now: datetime) -> None:
        """Takes new files in the order of their names, as fetched `now`."""
        if not self._is_read_back:
            self._is_read_back = True
            self.live.read_back(now)
        if self._looked_at is not None and now < self._looked_at:
            self._seen.clear()  # the clock was set back: what was read is known only from an instant to come
        self._looked_at = now
        for path in files_in(self.folder):
            stamp = stamp_of(path)
            if stamp is not None and self._seen.get(path.name) != stamp:
                self._seen[path.name] = stamp
                self._read(path, stamp[1], now)

    def _read(self, path: Path, size: int, now: datetime) -> None:
        if size > self.live.feed.max_bytes:
            self.live.refuse(f"{path.name} has {size} bytes: expected at most {self.live.feed.max_bytes}")
            return
        try:
            body = path.read_bytes()
        except OSError as error:
            self.live.refuse(f"{path.name} cannot be read: {error.strerror or error}")
            return
        self.live.take(body, now, path.name)


def files_in(folder: Path) -> list[Path]:
    """Finished files of a folder by name; none where there is no folder."""
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in found if not path.name.startswith(".") and path.suffix.lower() not in PARTIAL]


def stamp_of(path: Path) -> tuple[int, int] | None:
    """When a file was changed and its size, None for anything that is no file or is gone."""
    try:
        state = path.stat()
        return (state.st_mtime_ns, state.st_size) if path.is_file() else None
    except OSError:
        return None
