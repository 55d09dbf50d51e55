"""Instants and durations as OpenADR 3 writes them: the sentinel start, the duration without end, calendar months."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ems.errors import DataError

SENTINELS = ("0001-01-01", "0000-00-00")  # 3.1 and 3.0.1: "now", or "directly after the one before"
FOREVER_YEARS = 1000  # P9999Y in the standard; anything near it means the same and cannot be added to a date
ISO_DURATION = re.compile(
    r"(-)?P(?=\d|T\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII
)


@dataclass(frozen=True)
class Span:
    """A duration: calendar months, and seconds beside them. `is_open`: it has no end."""

    months: int = 0
    seconds: float = 0.0
    is_open: bool = False

    @property
    def is_nothing(self) -> bool:
        """True when it lasts no time."""
        return not (self.months or self.seconds or self.is_open)

    def __add__(self, other: Span) -> Span:
        return Span(self.months + other.months, self.seconds + other.seconds, self.is_open or other.is_open)


def is_sentinel(value: Any) -> bool:
    """True for the start that is no instant: now, or directly after the interval before."""
    return isinstance(value, str) and value.strip()[:10] in SENTINELS


def instant_from(value: Any, key: str) -> datetime:
    """An aware instant in UTC. DataError in one line otherwise; a sentinel is none."""
    try:
        at = datetime.fromisoformat(str(value).strip())
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise DataError(f"{key} = {_short(value)}: expected an instant with its offset, as 2027-07-15T16:00:00Z")


def span_from(value: Any, key: str) -> Span:
    """An ISO 8601 duration, not negative. DataError in one line otherwise."""
    match = ISO_DURATION.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 64 else None
    if match is None or match[1]:
        raise DataError(f"{key} = {_short(value)}: expected a duration such as PT15M or P9999Y")
    years, months, weeks, days, hours, minutes = (int(g or 0) for g in match.groups()[1:7])
    if years >= FOREVER_YEARS:
        return Span(is_open=True)
    seconds = ((weeks * 7 + days) * 24 + hours) * 3600.0 + minutes * 60.0 + float(match[8] or 0)
    return Span(years * 12 + months, seconds)


def later(at: datetime, span: Span, key: str = "duration") -> datetime | None:
    """The instant a span later; None for one without end. Months count by the calendar, the last day of a month stays in it."""
    if span.is_open:
        return None
    try:
        year, month = divmod(at.year * 12 + at.month - 1 + span.months, 12)
        day = min(at.day, calendar.monthrange(year, month + 1)[1]) if span.months else at.day
        return at.replace(year=year, month=month + 1, day=day) + timedelta(seconds=span.seconds)
    except (ValueError, OverflowError, calendar.IllegalMonthError):
        raise DataError(f"{key}: reaches beyond the calendar") from None


def written(at: datetime) -> str:
    """An instant as we write it: RFC 3339 in UTC."""
    return at.astimezone(UTC).isoformat(timespec="microseconds" if at.microsecond else "seconds").replace("+00:00", "Z")


def written_span(length: timedelta) -> str:
    """A duration as we write it, in seconds or whole minutes."""
    seconds = length.total_seconds()
    return f"PT{round(seconds / 60)}M" if seconds % 60 == 0 else f"PT{seconds:g}S"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
