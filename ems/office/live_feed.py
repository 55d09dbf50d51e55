"""One feed of the site: its responses become rows for the planner, each version known from when it was fetched; what is wrong is told.

Standard behaviour in words: config/feeds/README.md.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from adapters.feeds.http import host_of
from adapters.feeds.kinds import KINDS, FeedRow
from adapters.feeds.rows import FeedValue, read_response
from ems.errors import DataError
from ems.mailbox import Mailbox
from ems.office.outbox import MEMORY, Outbox
from ems.office.response_store import ResponseStore
from ems.signals.another_unit import is_another_unit
from ems.site.feed import CARBON, PRICES, Feed

AHEAD = timedelta(days=15)  # no feed of ours knows further; a stamp beyond is a fault of its unit
NOTHING_YET = timedelta(minutes=10)  # a feed that gave nothing for so long is stale, whatever its age may be
INSTEAD = {
    "real_time_price": "the plan goes on with the day-ahead price or the profile of earlier days",
    "day_ahead_price": "the plan goes on with the profile of earlier days",
    "carbon": "the plan goes on with the day before",
    "weather": "the plan goes on with the day before",
    "weather_forecast": "the plan goes on with the day before",
}


class LiveFeed:
    """Takes responses from any thread; `post_due` sends what is due at `now` (site time)."""

    def __init__(self, feed: Feed, mailbox: Mailbox, store: ResponseStore) -> None:
        self.feed, self.store = feed, store
        self.kind, source = KINDS[feed.kind]
        self.source = source or feed.signal
        self.counts: Counter[str] = Counter()  # responses, unchanged, failed, rows, revised, duplicate, refused, gap, backward, posted, old
        self.outbox = Outbox(self.kind, mailbox, self.counts)
        self.problem = ""  # of the newest attempt
        self.fetched_at: datetime | None = None  # the newest response that could be used, or that nothing has changed
        self._first_at: datetime | None = None  # of all responses known
        self._given: set[datetime] = set()  # instants from which rows are known
        self._ahead: set[datetime] = set()  # those a clock gave that was ahead: an older row may be known from there on
        self._watched_since: datetime | None = None
        self._latest: dict[datetime, FeedRow] = {}
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """As the site file calls it."""
        return self.feed.name

    @property
    def origin(self) -> str:
        """Where it comes from, for eyes."""
        return host_of(self.feed) if self.feed.url else str(self.feed.folder)

    # -- responses ----------------------------------------------------------------------------------------------------------------------

    def take(self, body: bytes, at: datetime, origin: str) -> bool:
        """Takes a response fetched `at`; False when nothing in it could be used. The body is kept either way."""
        with self._lock:
            self.follow_clock(at)
            try:
                taken, refused, said = self._take(body, at)
            except DataError as error:
                taken, refused, said = 0, 0, str(error)
            self._keep(body, at, origin, taken, refused, said)
            self.counts["responses"] += 1
            self.counts["failed"] += not taken
            self.problem = said
            self.fetched_at = at if taken else self.fetched_at
            return bool(taken)

    def refuse(self, reason: str) -> None:
        """There is no response, and why."""
        with self._lock:
            self.counts["failed"] += 1
            self.problem = reason

    def unchanged(self, at: datetime) -> None:
        """The source says that its last response still holds."""
        with self._lock:
            self.counts["unchanged"] += 1
            self.problem, self.fetched_at = "", at

    def read_back(self, now: datetime) -> None:
        """Takes again what was kept before a restart; a page changed since then reads it anew."""
        with self._lock:
            for at, body in self.store.read_back(now - MEMORY, now):
                try:
                    self._take(body, at)
                    self.fetched_at = at
                except DataError:
                    continue
            self.counts.clear()
            if self.store.set_aside:
                self._ahead = set(self.store.set_aside)
                self.problem = f"{len(self.store.set_aside)} kept responses stamped by a clock that was ahead are set aside"

    def follow_clock(self, now: datetime) -> None:
        """Where the clock was set back behind the newest fetch, what was fetched is known only from an instant to come: nothing of it
        counts as fetched or posted, and all is to be asked for again."""
        with self._lock:
            if self.fetched_at is None or self.fetched_at <= now:
                return
            self._ahead |= {at for at in self._given if at > now}
            self.problem = f"the clock went back from {self.fetched_at:%Y-%m-%d %H:%M}Z: what was fetched before is asked for again"
            self.fetched_at, self._watched_since = None, now
            self.outbox.go_back(now)

    def _take(self, body: bytes, at: datetime) -> tuple[int, int, str]:
        """(values taken or known already, rows refused, what to tell). Raises DataError when the whole cannot be used."""
        response = read_response(body, self.feed, at)
        values = [v for v in response.values if at - MEMORY < v.end <= at + AHEAD]
        self.counts.update(response.counts)
        self.counts["old"] += len(response.values) - len(values)
        if not values:
            raise DataError(_nothing(response.values, response.complaints))
        if self.feed.kind in (*PRICES, CARBON) and is_another_unit([v.value for v in values], self._week()):
            raise DataError(f"values a thousand times off those of the week before: expected {self.feed.per}")
        self._first_at = at if self._first_at is None else min(self._first_at, at)
        for value in values:
            self._take_value(value, at)
        self._latest = {start: row for start, row in self._latest.items() if row.valid_to > at - MEMORY}
        self._given, self._ahead = ({x for x in known if x > at - MEMORY} for known in (self._given, self._ahead))
        refused = response.counts["refused"]
        return len(values), refused, f"{refused} rows refused, first {response.complaints[0]}" if refused else ""

    def _take_value(self, value: FeedValue, at: datetime) -> None:
        before = self._latest.get(value.start)
        known_at = self._known_at(value, at, before)
        if before is not None and (before.value, before.valid_to) == (value.value, value.end) and self._still_holds(before, known_at):
            self.counts["duplicate"] += 1
            return
        self.counts["rows" if before is None else "revised"] += 1
        row = FeedRow(known_at, value.start, value.end, self.source, value.value)
        self._latest[value.start] = row
        self._given.add(known_at)
        self.outbox.put(row)

    def _still_holds(self, before: FeedRow, known_at: datetime) -> bool:
        """Whether a row is what the planner knows of its interval at an instant: known by then, and no row stamped ahead of its time has
        come in between."""
        return before.available_at <= known_at and not any(before.available_at <= at < known_at for at in self._ahead)

    def _known_at(self, value: FeedValue, at: datetime, before: FeedRow | None) -> datetime:
        """When it became known here: at the fetch, not before it was public; by its rule where that lies before our first look."""
        assert self._first_at is not None
        public_at = at if value.public_at is None else value.public_at
        if before is None and public_at <= self._first_at:
            return public_at
        return max(at, public_at)

    def _week(self) -> list[float]:
        return [row.value for row in self._latest.values()]

    def _keep(self, body: bytes, at: datetime, origin: str, taken: int, refused: int, said: str) -> None:
        try:
            self.store.keep(body, at, origin, taken, refused, said)
        except OSError:
            self.counts["not kept"] += 1

    # -- rows ---------------------------------------------------------------------------------------------------------------------------

    def post_due(self, now: datetime) -> int:
        """Posts rows whose time has come; how many."""
        with self._lock:
            self.follow_clock(now)
            self._watched_since = self._watched_since or now
            return self.outbox.post_due(now)

    def is_stale(self, now: datetime) -> bool:
        """True when its newest interval ended longer ago than it may."""
        with self._lock:
            allowed = timedelta(minutes=self.feed.max_age_min)
            if self.outbox.newest is None:
                return self._watched_since is not None and now - self._watched_since > max(allowed, NOTHING_YET)
            return now - self.outbox.newest.valid_to > allowed

    def note(self, now: datetime) -> str | None:
        """The alarm of this feed in one line, None when it is well."""
        with self._lock:
            because = f" ({self.problem})" if self.problem else ""
            if not self.is_stale(now):
                return f"feed {self.name}{because}" if self.problem else None
            newest = self.outbox.newest
            none = "it has given nothing yet" if not self._ahead else "nothing was fetched since the clock went back"
            last = f"its newest value ended {newest.valid_to:%Y-%m-%d %H:%M}Z" if newest else none
            return f"feed {self.name} is stale: {last}{because}; {INSTEAD[self.feed.kind]}"

    def shown(self, now: datetime) -> dict[str, Any]:
        """The feed for `ems status` and the page."""
        with self._lock:
            return self.outbox.shown(self.name, self.origin, self.fetched_at, self.is_stale(now), self.note(now))


def _nothing(values: Sequence[FeedValue], complaints: Sequence[str]) -> str:
    if values:
        return f"no value of the last {MEMORY.days} or the next {AHEAD.days} days: the newest ends {values[-1].end:%Y-%m-%d %H:%M}Z"
    return f"no usable row, first {complaints[0]}" if complaints else "no row"
