"""All feeds of a site: files in our own columns, configured folders, configured addresses; and what they say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ems.mailbox import Mailbox
from ems.office.feeds import OWN_FORMAT, FeedFolder
from ems.office.fetching import DropFolder, Poller
from ems.office.live_feed import LiveFeed
from ems.office.response_store import ResponseStore
from ems.site.model import Site

TOPIC = "feeds"
TELL_EVERY = timedelta(seconds=30)
TOLD_VALID = timedelta(days=30)  # whoever reads it judges its age


class FeedDesk:
    """`tick` looks into folders, posts what is due and tells how the feeds are; `pollers` are run by the service."""

    def __init__(self, site: Site, state_dir: Path, mailbox: Mailbox, now: Callable[[], datetime]) -> None:
        folder = state_dir / "feeds"
        self.own = tuple(FeedFolder(kind, folder / kind.topic, mailbox) for kind in OWN_FORMAT)
        self.live = tuple(LiveFeed(feed, mailbox, ResponseStore(folder / feed.name)) for feed in site.live_feeds)
        self.drops = tuple(DropFolder(live) for live in self.live if live.feed.folder is not None)
        self.pollers = tuple(Poller(live, now) for live in self.live if live.feed.url is not None)
        self.all: tuple[FeedFolder | LiveFeed, ...] = (*self.own, *self.live)
        self._mailbox = mailbox
        self._told: list[dict[str, Any]] = []
        self._tell_at: datetime | None = None

    def tick(self, now: datetime) -> None:
        """Once every few seconds."""
        for own in self.own:
            own.look()
        for drop in self.drops:
            drop.look(now)
        for feed in self.all:
            feed.post_due(now)
        self._tell(now)

    def notes(self, now: datetime) -> tuple[str, ...]:
        """The alarms of the feeds."""
        return tuple(note for feed in self.all if (note := feed.note(now)))

    def counts(self) -> Mapping[tuple[str, str], float]:
        """Counters by (metric, label)."""
        own = {(f"ems_feed_{feed.kind.topic}", what): float(n) for feed in self.own for what, n in feed.counts.copy().items()}
        live = {(f"ems_live_feed_{_metric(f.name)}", what): float(n) for f in self.live for what, n in f.counts.copy().items()}
        return {**own, **live}

    def _tell(self, now: datetime) -> None:
        """Posts how the feeds are, when that is news and every half minute."""
        shown = [s for feed in self.all if (s := feed.shown(now)) is not None]
        if shown == self._told and self._tell_at is not None and now < self._tell_at:
            return
        if self._mailbox.post(TOPIC, {"at": now.isoformat(), "feeds": shown}, now, now + TOLD_VALID) is not None:
            self._told, self._tell_at = shown, now + TELL_EVERY


def _metric(name: str) -> str:
    return name.replace("-", "_")
