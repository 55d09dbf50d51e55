"""From a response to values in our units over UTC intervals. A row that cannot be used is refused by place, key and value; the rest is
taken; nothing is made up.

Rows may come newest first. A naive stamp is local time of the feed's zone: one that the clock change skips is refused, one that comes
twice is read as `adapters/feeds/twice.py` says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from statistics import mode
from typing import Any
from zoneinfo import ZoneInfo

from adapters.feeds.body import ABSENT, RawRow, raw_rows, shown
from adapters.feeds.kinds import KINDS, UNITS
from adapters.feeds.twice import instants_of, is_newest_first, readings
from ems.errors import DataError
from ems.signals.prices import day_ahead_known_at
from ems.site.feed import CARBON, DAY_AHEAD_PRICE, FETCHED, INTERVAL_END, INTERVAL_START, PUBLISHED, WEATHER_FORECAST, Feed

COMPLAINTS_KEPT = 20
FORECASTS = (DAY_AHEAD_PRICE, WEATHER_FORECAST)
FIRST_YEAR, LAST_YEAR = 1971, 2200  # outside, a stamp is not in the unit it is said to be in


@dataclass(frozen=True, order=True)
class FeedValue:
    """One value in our unit over `[start, end)`; `public_at` is when it becomes known by the feed's rule, None: when it is fetched."""

    start: datetime
    end: datetime
    value: float
    public_at: datetime | None


@dataclass(frozen=True)
class Response:
    """What a response holds: values in order of time, what was refused and why, counts of everything odd."""

    values: tuple[FeedValue, ...]
    complaints: tuple[str, ...]
    counts: Counter[str]


@dataclass(frozen=True)
class _Stamped:
    place: str
    start: datetime  # or the end, where stamps label it
    end: datetime | None
    raw: RawRow


def read_response(body: bytes, feed: Feed, at: datetime | None = None) -> Response:
    """The values of a body fetched `at` (None: nobody knows). Raises DataError when the body as a whole cannot be used."""
    reader = _Reader(feed, at)
    stamped = reader.stamped(list(raw_rows(body, feed)))
    values = [v for row in reader.with_ends(stamped) if (v := reader.value(*row)) is not None]
    return Response(tuple(reader.once_each(values)), tuple(reader.complaints), reader.counts)


class _Reader:
    """Reads one body; keeps what it refuses."""

    def __init__(self, feed: Feed, at: datetime | None) -> None:
        self.feed, self.zone, self.at = feed, ZoneInfo(feed.time_zone), at
        self.kind, _ = KINDS[feed.kind]
        self.complaints: list[str] = []
        self.counts: Counter[str] = Counter()

    # -- stamps -------------------------------------------------------------------------------------------------------------------------

    def stamped(self, rows: list[tuple[str, RawRow]]) -> list[_Stamped]:
        """Rows whose stamps can be read, oldest first."""
        read = [(place, raw, stamp) for place, raw in rows if (stamp := self._read_stamp(place, raw)) is not None]
        self.counts["backward"] += sum(_sortable(b[2]) < _sortable(a[2]) for a, b in pairwise(read))
        if self._is_newest_first([stamp for _, _, stamp in read]):
            read.reverse()
            self.counts["backward"] = max(0, len(read) - 1 - self.counts["backward"])
        found = []
        for (place, raw, stamp), instant in zip(read, self._instants([stamp for _, _, stamp in read]), strict=True):
            try:
                if instant is None:
                    raise self._no_instant(stamp)
                end = None if self.feed.columns.end is None else self._end(self._read(raw, "end"), instant)
            except DataError as error:
                self._refuse(f"{place} {error}")
                continue
            found.append(_Stamped(place, instant, end, raw))
        return sorted(found, key=lambda row: row.start)

    def _read_stamp(self, place: str, raw: RawRow) -> datetime | None:
        try:
            for name, expected in self.feed.expect_row.items():
                if str(raw[name]) != expected:
                    raise DataError(f"{name} = {shown(raw[name])}: expected {expected}")
            return self._read(raw, "time")
        except DataError as error:
            self._refuse(f"{place} {error}")
            return None

    def _read(self, raw: RawRow, part: str) -> datetime:
        """The stamp of a part as it stands: aware, or naive where the row names no zone."""
        given, form = raw.get(part, ABSENT), self.feed.time_format
        try:
            if form in ("epoch_s", "epoch_ms"):
                stamp = datetime.fromtimestamp(_number(given, ".") / (1000.0 if form == "epoch_ms" else 1.0), UTC)
            elif isinstance(given, str):
                stamp = datetime.fromisoformat(given.strip()) if form == "iso" else datetime.strptime(given.strip(), form)
            else:
                raise ValueError
            if not FIRST_YEAR <= stamp.year < LAST_YEAR:
                raise ValueError
            return stamp
        except (ValueError, OverflowError, OSError):
            raise DataError(f"{part} = {shown(given)}: expected a time in {form}, within living memory") from None

    def _is_newest_first(self, stamps: list[datetime]) -> bool:
        if any(stamp.tzinfo is not None for stamp in stamps):
            return _sortable(stamps[0]) > _sortable(stamps[-1])
        return is_newest_first(stamps, self.zone)

    def _instants(self, stamps: list[datetime]) -> Iterator[datetime | None]:
        """In UTC, of stamps oldest first; None where a naive one is no instant, or no single one."""
        naive = [stamp for stamp in stamps if stamp.tzinfo is None]
        told = iter(instants_of(naive, self.zone, self.at, is_forecast=self._is_forecast()))
        return (next(told) if stamp.tzinfo is None else stamp.astimezone(UTC) for stamp in stamps)

    def _is_forecast(self) -> bool:
        return self.feed.kind in FORECASTS or (self.feed.kind == CARBON and self.feed.known not in (INTERVAL_START, INTERVAL_END))

    def _end(self, stamp: datetime, start: datetime) -> datetime:
        """The end of an interval: of an hour that comes twice the first end after the start."""
        given = self._readings(stamp)
        return next((instant for instant in given if instant > start), given[-1])

    def _published(self, stamp: datetime) -> datetime:
        """When a value was published: of an hour that comes twice the latest that is not in the future."""
        given = self._readings(stamp)
        return next((instant for instant in reversed(given) if self.at is not None and instant <= self.at), given[0])

    def _readings(self, stamp: datetime) -> tuple[datetime, ...]:
        given = readings(stamp, self.zone) if stamp.tzinfo is None else (stamp.astimezone(UTC),)
        if not given:
            raise self._no_instant(stamp)
        return given

    def _no_instant(self, stamp: datetime) -> DataError:
        if readings(stamp, self.zone):
            return DataError(f"time = {stamp.isoformat()}: expected a time with its offset (clocks pass it twice in {self.feed.time_zone})")
        return DataError(f"time = {stamp.isoformat()}: expected a time there is in {self.feed.time_zone} (clocks skip it)")

    def with_ends(self, rows: list[_Stamped]) -> Iterable[tuple[_Stamped, datetime, datetime]]:
        """Each row with its interval: by the end column, else by the length told, else by the distance most stamps have."""
        step = self._step(rows)
        for row in rows:
            if row.end is not None:
                yield row, row.start, row.end
            elif self.feed.label == "end":
                yield row, row.start - step, row.start
            else:
                yield row, row.start, row.start + step

    def _step(self, rows: Sequence[_Stamped]) -> timedelta:
        if self.feed.step_min is not None or self.feed.columns.end is not None:
            return timedelta(minutes=self.feed.step_min or 0.0)
        distances = [b.start - a.start for a, b in pairwise(rows) if b.start > a.start]
        if not distances and rows:
            raise DataError("one stamp only: expected step_min in the feed, the length of an interval")
        return min(timedelta(days=1), mode(distances)) if distances else timedelta(0)

    # -- values -------------------------------------------------------------------------------------------------------------------------

    def value(self, row: _Stamped, start: datetime, end: datetime) -> FeedValue | None:
        """The value of a row, None (and a complaint) where it cannot be used."""
        try:
            if not timedelta(0) < end - start <= timedelta(days=1):
                raise DataError(f"end = {end.isoformat()}: expected after {start.isoformat()} and within a day of it")
            value = self._in_our_unit(row.raw.get("value", ABSENT))
            return FeedValue(start, end, value, self._public_at(row, start, end))
        except DataError as error:
            self._refuse(f"{row.place} {error}")
            return None

    def _in_our_unit(self, given: Any) -> float:
        try:
            theirs = _number(given, self.feed.decimal)
        except (ValueError, OverflowError):
            raise DataError(f"value = {shown(given)}: expected a number") from None
        factor, offset = UNITS[self.feed.per]
        ours = theirs * self.feed.scale * factor + offset
        if not self.kind.low <= ours <= self.kind.high:
            low, high = ((bound - offset) / factor / self.feed.scale for bound in (self.kind.low, self.kind.high))
            raise DataError(f"value = {shown(given)}: expected {low:g} to {high:g} in {self.feed.per}")
        return ours

    def _public_at(self, row: _Stamped, start: datetime, end: datetime) -> datetime | None:
        rule = self.feed.known
        if rule == PUBLISHED:
            return self._published(self._read(row.raw, "published"))
        if rule in (FETCHED, INTERVAL_START, INTERVAL_END):
            return {FETCHED: None, INTERVAL_START: start, INTERVAL_END: end}[rule]
        return day_ahead_known_at(start, time.fromisoformat(rule), self.feed.time_zone).astimezone(UTC)

    def once_each(self, values: list[FeedValue]) -> list[FeedValue]:
        """Values that do not contradict each other: the same interval twice with the same value counts once, with two values not at all."""
        kept: list[FeedValue] = []
        for value in values:
            before = kept[-1] if kept else None
            if before is None or value.start >= before.end:
                self.counts["gap"] += before is not None and value.start > before.end
                kept.append(value)
            elif replace(before, public_at=value.public_at) == value:
                self.counts["duplicate"] += 1
            else:
                said = f"{value.start.isoformat()} has {before.value:g} and {value.value:g}" if value.start == before.start else ""
                self._refuse(said or f"{value.start.isoformat()} lies inside the interval from {before.start.isoformat()}")
        return kept

    def _refuse(self, text: str) -> None:
        self.counts["refused"] += 1
        if len(self.complaints) < COMPLAINTS_KEPT:
            self.complaints.append(text)


def _sortable(stamp: datetime) -> datetime:
    return stamp.replace(tzinfo=None) if stamp.tzinfo is None else stamp.astimezone(UTC).replace(tzinfo=None)


def _number(given: Any, decimal: str) -> float:
    """A finite number of JSON or of text. Raises ValueError."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise ValueError
    number = float(given.strip().replace(decimal, ".") if isinstance(given, str) else given)
    if not math.isfinite(number):
        raise ValueError
    return number
