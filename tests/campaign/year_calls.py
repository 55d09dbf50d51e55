"""A year of calls under five stacked programmes, drawn by a seed before anything is decided: none is chosen, replaced or left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from ems.obligation import ObligationKind
from ems.program.enrolment import EnrolmentFile
from ems.program.event import EventInterval, GridEvent

QUARTER = timedelta(minutes=15)
BY, TO, LIMIT = ObligationKind.REDUCE_BY, ObligationKind.REDUCE_TO, ObligationKind.IMPORT_LIMIT
MODIFIED, CANCELLED, REPEATED, LATE = 0.15, 0.10, 0.10, 0.05  # share of the calls


@dataclass(frozen=True)
class Caller:
    """How often and how a programme calls, uniform in every range. Hours are local; `kw` is a reduction or a level, as `kind` says."""

    program: str
    calls_a_year: int
    kind: ObligationKind
    kw: tuple[float, float]
    notice_h: tuple[float, float]
    hours: tuple[float, float]
    between_h: tuple[float, float] = (0.0, 24.0)  # of its start
    months: tuple[int, ...] = tuple(range(1, 13))


@dataclass(frozen=True)
class Stack:
    """Five programme files joined by one site, with what it agreed in each."""

    name: str
    zone: str
    tariff: str
    callers: tuple[Caller, ...]
    enrolments: tuple[EnrolmentFile, ...]


@dataclass(frozen=True)
class Call:
    """A message and when it arrives."""

    at: datetime
    event: GridEvent


def enrolled(program: str, **more: float) -> EnrolmentFile:
    """Active since long before the year."""
    return EnrolmentFile(program=program, status="active", since=date(2025, 7, 1), **more)  # type: ignore[arg-type]


SUMMER = (5, 6, 7, 8, 9, 10)
ALWAYS = (
    Caller("nonfirm-connection", 40, LIMIT, (900.0, 1300.0), (0.0, 24.0), (0.5, 6.0)),
    Caller("manual", 12, BY, (50.0, 250.0), (0.0, 4.0), (0.5, 3.0), (7.0, 20.0)),
)
CALIFORNIA = Stack(
    "california",
    "America/Los_Angeles",
    "us-tou-demand-ratchet",
    (
        Caller("pge-bip", 40, TO, (850.0, 850.0), (0.5, 1.0), (1.0, 7.0), (12.0, 19.0)),
        Caller("ca-elrp", 44, BY, (100.0, 300.0), (2.0, 26.0), (1.0, 5.0), (15.0, 19.0), SUMMER),
        Caller("caiso-pdr", 60, BY, (100.0, 250.0), (0.5, 24.0), (1.0, 4.0)),
        *ALWAYS,
    ),
    (
        enrolled("pge-bip", committed_kw=300.0, level_kw=850.0, constant_kw=1150.0),
        enrolled("ca-elrp", committed_kw=200.0),
        enrolled("caiso-pdr", committed_kw=200.0),
        enrolled("nonfirm-connection", level_kw=700.0, constant_kw=1450.0),
    ),
)
TEXAS = Stack(
    "texas",
    "America/Chicago",
    "ercot-real-time-4cp",
    (
        Caller("ercot-ers-30", 32, BY, (200.0, 200.0), (0.5, 0.75), (1.0, 3.0)),
        Caller("ercot-4cp", 24, BY, (150.0, 300.0), (2.0, 8.0), (1.0, 2.0), (15.0, 17.0), (6, 7, 8, 9)),
        Caller("texas-sb6", 6, LIMIT, (700.0, 900.0), (0.5, 2.0), (1.0, 4.0)),
        *ALWAYS,
    ),
    (
        enrolled("ercot-ers-30", committed_kw=200.0),
        enrolled("ercot-4cp", committed_kw=200.0),
        enrolled("texas-sb6", level_kw=700.0, constant_kw=1450.0),
        enrolled("nonfirm-connection", level_kw=700.0, constant_kw=1450.0),
    ),
)
STACKS = {s.name: s for s in (CALIFORNIA, TEXAS)}


def calls_of(stack: Stack, year: int, months: Sequence[int], seed: int) -> tuple[Call, ...]:
    """Every message of the given months, by arrival. A year's calls fall uniformly on the days of the caller's months."""
    rng = np.random.default_rng([seed, *stack.name.encode()])
    found = [call for caller in stack.callers for call in _of_caller(caller, ZoneInfo(stack.zone), year, rng)]
    inside = [c for c in found if c.event.start.astimezone(ZoneInfo(stack.zone)).month in months]
    return tuple(sorted(inside, key=lambda c: (c.at, c.event.id, c.event.modification)))


def _of_caller(caller: Caller, zone: ZoneInfo, year: int, rng: np.random.Generator) -> Iterator[Call]:
    days = [d for n in range(366) if (d := date(year, 1, 1) + timedelta(days=n)).year == year and d.month in caller.months]
    for number in range(caller.calls_a_year):
        day = days[int(rng.integers(len(days)))]
        hour = _quarters(rng, caller.between_h)
        start = (datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(hours=hour)).astimezone(UTC)
        end = start + timedelta(hours=max(0.25, _quarters(rng, caller.hours)))
        kw = float(round(rng.uniform(*caller.kw)))
        event = GridEvent(f"{caller.program}-{number:02d}", caller.program, 0, caller.kind, (EventInterval(start, end, kw),))
        at = start - timedelta(hours=_quarters(rng, caller.notice_h))
        if rng.random() < LATE:
            at = start + QUARTER
        yield Call(at, event)
        yield from _afterwards(caller, event, at, rng)


def _afterwards(caller: Caller, event: GridEvent, at: datetime, rng: np.random.Generator) -> Iterator[Call]:
    """What is told later about the same event."""
    fate, later = rng.random(), at + QUARTER * int(rng.integers(1, 8))
    if fate < MODIFIED:
        first = event.intervals[0]
        longer = replace(first, end=first.end + QUARTER * int(rng.integers(-1, 3)), kw=float(round(rng.uniform(*caller.kw))))
        if longer.end > longer.start:
            yield Call(later, replace(event, modification=1, intervals=(longer,)))
    elif fate < MODIFIED + CANCELLED:
        yield Call(later, replace(event, modification=1, is_cancelled=True))
    elif fate < MODIFIED + CANCELLED + REPEATED:
        yield Call(later, event)


def _quarters(rng: np.random.Generator, between: tuple[float, float]) -> float:
    """Hours in quarters, uniform in a range."""
    low, high = between
    return round(4 * float(rng.uniform(low, high))) / 4
