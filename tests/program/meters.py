"""Hand-made meters for the tests of baselines and settlements."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from ems.program.baseline import EventDay
from ems.program.meter import MeterSeries

GOLDEN_MW = (50, 52, 48, 51, 49, 53, 47, 50, 54, 46)  # ten like days, newest first
EVENT_DAY = date(2026, 7, 15)  # a Wednesday; the days before are kept free of holidays


def kind_of_day(day: date) -> str:
    return {5: "saturday", 6: "sunday"}.get(day.weekday(), "weekday")


def at(day: date, hour: float, zone: ZoneInfo | None = None) -> datetime:
    """The instant of a local clock hour; hour 25 is 01:00 of the next day."""
    wall = datetime(day.year, day.month, day.day, tzinfo=zone or UTC) + timedelta(hours=hour)
    return wall.astimezone(UTC)


def like_days(day: date, count: int) -> list[date]:
    """The weekdays before a day, newest first."""
    found: list[date] = []
    back = 1
    while len(found) < count:
        d = day - timedelta(days=back)
        if kind_of_day(d) == "weekday":
            found.append(d)
        back += 1
    return found


def meter_of(days: Mapping[date, float], hours: Mapping[date, Mapping[int, float]] | None = None, interval_min: int = 60) -> MeterSeries:
    """A flat load per UTC day (kW), single hours of a day replaced; days that are not named are missing."""
    first, last = min(days), max(days)
    per_hour = 60 // interval_min
    kw: list[float | None] = []
    for n in range((last - first).days + 1):
        day = first + timedelta(days=n)
        own = (hours or {}).get(day, {})
        kw += [own.get(h, days.get(day)) for h in range(24) for _ in range(per_hour)]
    return MeterSeries.of(datetime(first.year, first.month, first.day, tzinfo=UTC), interval_min, kw)


def event_on(day: date, from_h: float, to_h: float, **more: object) -> EventDay:
    return EventDay(at(day, from_h), at(day, to_h), ZoneInfo("UTC"), kind_of_day, **more)  # type: ignore[arg-type]


def golden_meter(today: Mapping[int, float], interval_min: int = 60) -> MeterSeries:
    """The golden vectors in MW read as kW: ten flat like days, weekends at 20, the event day at 55 with single hours replaced."""
    days = dict(zip(like_days(EVENT_DAY, 10), map(float, GOLDEN_MW), strict=True))
    weekends = {d: 20.0 for n in range(1, 15) if (d := EVENT_DAY - timedelta(days=n)) not in days}
    return meter_of({**weekends, **days, EVENT_DAY: 55.0}, {EVENT_DAY: today}, interval_min)
