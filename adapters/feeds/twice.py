"""Which instant a local stamp without an offset means in the hour that the clocks pass twice.

Order tells: oldest first, stamps fall back once where the second pass begins. Without a fall all stamps of the hour are of one pass: the
first where a stamp stands just before the hour, the second where one stands just after it. With neither, an observation is the latest that
is not in the future when it was fetched, and a forecast the one nearest to its fetch; a forecast longer ahead cannot be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
CLOCKS = timedelta(minutes=1)  # as far as the clock of a source may be ahead of ours


def readings(stamp: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The instants a naive stamp can mean, in order: none where the clocks skip it, two where they pass it twice."""
    first, second = (stamp.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(zone).replace(tzinfo=None) != stamp:
        return ()
    return (first, second) if second > first else (first,)


def instants_of(stamps: Sequence[datetime], zone: ZoneInfo, at: datetime | None, *, is_forecast: bool) -> list[datetime | None]:
    """The instants of naive stamps, oldest first, of a response fetched `at`; None where there is none or it cannot be told."""
    found = [readings(stamp, zone) for stamp in stamps]
    chosen = [given[0] if len(given) == 1 else None for given in found]
    certain = [instant for instant in chosen if instant is not None]
    twice: dict[object, list[int]] = {}
    for k, given in enumerate(found):
        if len(given) == 2:
            twice.setdefault(stamps[k].date(), []).append(k)
    for places in twice.values():
        passes = _passes([stamps[k] for k in places], [found[k] for k in places], certain, at, is_forecast)
        for k, which in zip(places, passes, strict=True):
            chosen[k] = None if which is None else found[k][which]
    return chosen


def is_newest_first(stamps: Sequence[datetime], zone: ZoneInfo) -> bool:
    """Whether naive stamps run backward. In an hour that comes twice each step is taken as the shorter of the ways it can be read."""
    if len(stamps) < 2:
        return False
    spans = [given[-1] - given[0] if len(given := readings(stamp, zone)) == 2 else None for stamp in stamps]
    if not any(spans):
        return stamps[0] > stamps[-1]
    ahead = 0
    for (a, span), (b, other) in pairwise(zip(stamps, spans, strict=True)):
        step = b - a
        if span and other:
            step = min((step, step - span, step + span), key=abs)
        ahead += (step > timedelta(0)) - (step < timedelta(0))
    return ahead < 0


def _passes(
    stamps: list[datetime], found: list[tuple[datetime, ...]], certain: list[datetime], at: datetime | None, is_forecast: bool
) -> list[int | None]:
    """The pass, 0 or 1, of every stamp of one hour that comes twice, oldest first."""
    is_one = len(set(stamps)) == 1  # hourly: the same stamp again is the second pass; else it is the same row again
    falls = [k for k, (a, b) in enumerate(pairwise(stamps), 1) if b < a or (is_one and b == a)]
    if len(falls) == 1:
        return [int(k >= falls[0]) for k in range(len(stamps))]
    if falls:  # rows in no order: the first time and the second time a stamp stands there
        first_place = {stamp: k for k, stamp in reversed(list(enumerate(stamps)))}
        return [int(k > first_place[stamp]) for k, stamp in enumerate(stamps)]
    return [_one_pass(min(found), max(found), certain, at, is_forecast)] * len(stamps)


def _one_pass(
    oldest: tuple[datetime, ...], newest: tuple[datetime, ...], certain: list[datetime], at: datetime | None, is_forecast: bool
) -> int | None:
    """The pass that all stamps of the hour belong to."""
    if any(timedelta(0) < oldest[0] - instant <= HOUR for instant in certain):
        return 0
    if any(timedelta(0) < instant - newest[1] <= HOUR for instant in certain):
        return 1
    if at is None:
        return 0
    if not is_forecast:
        return int(newest[1] <= at + CLOCKS)
    if at < oldest[0] - HOUR:
        return None
    return int(abs(oldest[1] - at) < abs(oldest[0] - at))
