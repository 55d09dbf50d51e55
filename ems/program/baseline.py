"""The one frame all baselines share: candidate days, like days, pick, mean per interval, same-day adjustment. Every day says why.

Local clock time decides which interval of an earlier day answers to one of the event; a clock time a day does not have (spring) leaves
that day out, of one it has twice (autumn) the first is taken, unless the event itself lies in the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ems.errors import DataError
from ems.program.meter import MeterQuality, MeterSeries
from ems.program.methods import BaselineMethod

Period = tuple[datetime, datetime]
NEAR_ZERO_SHARE = 0.01  # of the event's baseline: a ratio to less than that says nothing


@dataclass(frozen=True)
class DayUse:
    """One day that was looked at: used or not, and why."""

    day: date
    is_used: bool
    why: str


@dataclass(frozen=True)
class Adjustment:
    """The same-day adjustment: what the window said, what was applied (a ratio, or kW added), and why."""

    kind: str
    raw: float | None
    applied: float
    why: str


@dataclass(frozen=True)
class BaselineRun:
    """A baseline and how it came about. One value per interval of the event, kW at the settlement point."""

    method: str
    interval_min: int
    starts: tuple[datetime, ...]
    unadjusted_kw: tuple[float, ...]
    kw: tuple[float, ...]
    days: tuple[DayUse, ...]
    adjustment: Adjustment

    def encode(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "method": self.method,
            "interval_min": self.interval_min,
            "starts": [s.isoformat() for s in self.starts],
            "unadjusted_kw": list(self.unadjusted_kw),
            "kw": list(self.kw),
            "days": [{"day": d.day.isoformat(), "is_used": d.is_used, "why": d.why} for d in self.days],
            "adjustment": vars(self.adjustment),
        }


@dataclass(frozen=True)
class EventDay:
    """What a baseline is asked for. `other_events` and `outages` are periods whose load is not ordinary."""

    start: datetime
    end: datetime
    zone: ZoneInfo
    kind_of_day: Callable[[date], str]
    other_events: tuple[Period, ...] = ()
    outages: tuple[Period, ...] = ()
    nominated: MeterSeries | None = field(default=None, repr=False)

    @property
    def day(self) -> date:
        """The local day the event begins on."""
        return self.start.astimezone(self.zone).date()


def run_baseline(method: BaselineMethod, event: EventDay, meter: MeterSeries) -> BaselineRun:
    """The baseline of an event. DataError when the method has too little to go by."""
    starts = grid(event.start, event.end, method.interval_min)
    if method.form == "constant":
        return _plain(method, starts, [_constant(method)] * len(starts), "the enrolled level")
    if method.form == "nominated":
        return _plain(method, starts, _nominated(method, event, starts), "as nominated before the event")
    if method.form == "near_event":
        return _near_event(method, event, meter, starts)
    return _LikeDays(method, event, meter, starts).run()


def grid(start: datetime, end: datetime, interval_min: int) -> tuple[datetime, ...]:
    """Starts of the settlement intervals that an event touches, on the UTC grid of the interval."""
    step_s = interval_min * 60
    first_s = int(start.timestamp()) // step_s * step_s
    count = max(0, -(-(int(end.timestamp()) - first_s) // step_s))
    return tuple(datetime.fromtimestamp(first_s + i * step_s, UTC) for i in range(count))


def same_clock(instant: datetime, days_back: int, zone: ZoneInfo) -> datetime | None:
    """The instant so many local days earlier at the same clock time; None where that day's clock skips it."""
    local = instant.astimezone(zone)
    wall = (local.replace(tzinfo=None) - timedelta(days=days_back)).replace(fold=local.fold)
    there = wall.replace(tzinfo=zone).astimezone(UTC)
    return there if there.astimezone(zone).replace(tzinfo=None) == wall.replace(fold=0) else None


def overlaps(start: datetime, minutes: float, periods: Sequence[Period]) -> bool:
    """True when `[start, start + minutes)` touches one of the periods."""
    end = start + timedelta(minutes=minutes)
    return any(begin < end and until > start for begin, until in periods)


def _plain(method: BaselineMethod, starts: Sequence[datetime], kw: Sequence[float], why: str) -> BaselineRun:
    none = Adjustment("none", None, 0.0, why)
    return BaselineRun(method.id, method.interval_min, tuple(starts), tuple(kw), tuple(kw), (), none)


def _constant(method: BaselineMethod) -> float:
    if method.constant_kw is None:
        raise DataError(f"baseline: {method.id} needs constant_kw, the level of the enrolment")
    return method.constant_kw


def _nominated(method: BaselineMethod, event: EventDay, starts: Sequence[datetime]) -> list[float]:
    if event.nominated is None:
        raise DataError("baseline: nothing was nominated before the event")
    found = [event.nominated.mean_kw(s, method.interval_min) for s in starts]
    if any(v is None for v in found):
        raise DataError("baseline: the nomination does not cover the event")
    return [v for v in found if v is not None]


def _near_event(method: BaselineMethod, event: EventDay, meter: MeterSeries, starts: Sequence[datetime]) -> BaselineRun:
    """The mean of intervals shortly before (and after) the event, held flat. Where other events take all of them, of those before the event
    that was there first: it is all one reduction, and what was before it is what the site would import."""
    special = ((event.start, event.end), *event.other_events, *event.outages)
    near: list[datetime] = []
    used: list[datetime] = []
    for edge in (event.start, *sorted((a for a, _ in event.other_events if a < event.start), reverse=True)):
        windows = [(-method.before_h[0], -method.before_h[1], edge), (method.after_h[0], method.after_h[1], event.end)]
        near = [t for a, b, at in windows for t in grid(at + timedelta(hours=a), at + timedelta(hours=b), method.interval_min)]
        used = [t for t in near if not overlaps(t, method.interval_min, special)]
        if used:
            break
    values = [v for t in used if (v := _read(method, meter, t)) is not None]
    if not values:
        raise DataError("baseline: no measured interval near the event that is not itself an event")
    why = f"mean of {len(values)} of {len(near)} intervals near the event"
    return _plain(method, starts, [sum(values) / len(values)] * len(starts), why)


def _read(method: BaselineMethod, meter: MeterSeries, start: datetime) -> float | None:
    kw = meter.mean_kw(start, method.interval_min)
    return None if kw is None else (min(0.0, kw) if method.output_only else kw) * method.loss_factor


class _LikeDays:
    """Baselines from earlier days that are alike."""

    def __init__(self, method: BaselineMethod, event: EventDay, meter: MeterSeries, starts: Sequence[datetime]) -> None:
        self.method, self.event, self.meter, self.starts = method, event, meter, tuple(starts)
        self.group = next((g for g in method.like if event.kind_of_day(event.day) in g), method.like[-1])
        self.is_other = 0 if "weekday" in self.group else 1
        self.why: dict[int, str] = {}  # by days back: why a day is not used
        self.kw: dict[int, list[float]] = {}  # by days back: the event's intervals on that day
        self.target = method.target_days[self.is_other]
        self.last = 0  # days back of the last like day looked at

    def run(self) -> BaselineRun:
        days = self._enough(self._without_low_usage(self._candidates()))
        self.last = max(days)
        picked = self._pick(days)
        unadjusted = [sum(self.kw[d][i] for d in picked) / len(picked) for i in range(len(self.starts))]
        adjustment = self._adjustment(picked, unadjusted)
        kw = [v * adjustment.applied if adjustment.kind == "ratio" else v + adjustment.applied for v in unadjusted]
        m = self.method
        return BaselineRun(m.id, m.interval_min, self.starts, tuple(unadjusted), tuple(kw), self._uses(picked), adjustment)

    def _candidates(self) -> list[int]:
        """Days back, nearest first, that are alike and ordinary; all that the lookback holds."""
        return [d for d in range(1, self.method.lookback_days + 1) if self._is_candidate(d)]

    def _is_candidate(self, back: int) -> bool:
        day = self.event.day - timedelta(days=back)
        kind = self.event.kind_of_day(day)
        if kind not in self.group:
            self.why[back] = f"another kind of day ({kind})"
        elif self._has(day, self.event.other_events):
            self.why[back] = "event day"
            self._values(back)
        elif self._has(day, self.event.outages):
            self.why[back] = "outage"
        else:
            return self._values(back)
        return False

    def _has(self, day: date, periods: Sequence[Period]) -> bool:
        zone = self.event.zone
        return any(a.astimezone(zone).date() <= day <= (b - timedelta(seconds=1)).astimezone(zone).date() for a, b in periods)

    def _values(self, back: int) -> bool:
        """Reads the day's intervals; False (with the reason) where one is not there."""
        found: list[float] = []
        for start in self.starts:
            there = same_clock(start, back, self.event.zone)
            kw = None if there is None else _read(self.method, self.meter, there)
            if kw is None:
                local = start.astimezone(self.event.zone)
                self.why.setdefault(back, f"no {local:%H:%M} on that day" if there is None else f"{local:%H:%M} is missing or bad")
                return False
            found.append(kw)
        self.kw[back] = found
        return True

    def _without_low_usage(self, days: list[int]) -> list[int]:
        """The nearest target days, of which none is far under the mean of them; those left out are replaced by the next."""
        share = self.method.low_usage_share
        while share is not None:
            nearest = days[: self.target]
            mean = sum(map(self._mean, nearest)) / max(1, len(nearest))
            low = [d for d in nearest if self._mean(d) < share * mean] if mean > 0 else []
            if not low:
                break
            for d in low:
                self.why[d] = f"low usage: {self._mean(d):.0f} kW, under {share:.0%} of {mean:.0f} kW"
            days = [d for d in days if d not in low]
        return days[: self.target]

    def _enough(self, days: list[int]) -> list[int]:
        """At least the minimum, with the event days of the highest load where the method says so. DataError when there are too few."""
        least = self.method.minimum_days[self.is_other]
        if len(days) < least and self.method.fills_with_event_days:
            spare = sorted((d for d, w in self.why.items() if w == "event day" and d in self.kw), key=self._mean, reverse=True)
            days = sorted(days + spare[: least - len(days)])
        if len(days) < least:
            raise DataError(
                f"baseline: {self.method.id} found {len(days)} like days of at least {least} in {self.method.lookback_days} days"
            )
        return days

    def _pick(self, days: list[int]) -> list[int]:
        keep, pick = self.method.keep_days[self.is_other], self.method.pick
        if pick == "all" or len(days) <= keep:
            return days
        if pick == "closest":
            return self._leave_out(days, sorted(days, key=self._distance)[:keep], f"not among the {keep} closest")
        ranked = sorted(days, key=lambda d: (-self._mean(d), d))
        cut = 0 if pick == "highest" else (len(days) - keep) // 2
        return self._leave_out(days, ranked[cut : cut + keep], f"not among the {'middle' if cut else 'highest'} {keep}")

    def _leave_out(self, days: list[int], kept: list[int], why: str) -> list[int]:
        self.why.update({d: why for d in days if d not in kept})
        return [d for d in days if d in kept]

    def _mean(self, back: int) -> float:
        return sum(self.kw[back]) / len(self.kw[back])

    def _distance(self, back: int) -> float:
        """Mean squared difference over the day's other hours; the hour before and after the event are left out too."""
        begin = self.event.start.astimezone(self.event.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        hour = timedelta(hours=1)
        near = ((self.event.start - hour, self.event.end + hour), *self.event.other_events)
        step = self.method.interval_min
        instants = [t for t in grid(begin, begin + 24 * hour, step) if not overlaps(t, step, near)]
        pairs = [(_read(self.method, self.meter, t), self._read_back(t, back)) for t in instants]
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        return sum((a - b) ** 2 for a, b in both) / len(both) if both else float("inf")

    def _read_back(self, start: datetime, back: int) -> float | None:
        there = same_clock(start, back, self.event.zone)
        return None if there is None else _read(self.method, self.meter, there)

    def _adjustment(self, picked: Sequence[int], unadjusted: Sequence[float]) -> Adjustment:
        kind = self.method.adjustment
        none = 1.0 if kind == "ratio" else 0.0
        if kind == "none":
            return Adjustment("none", None, 0.0, "the method has none")
        pairs = self._adjustment_pairs(picked)
        if not pairs:
            return Adjustment(kind, None, none, "no interval of the window is measured outside events")
        actual, base = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
        if kind == "additive":
            return Adjustment(kind, actual - base, actual - base, f"{len(pairs)} intervals of the window")
        level = sum(unadjusted) / len(unadjusted)
        if level <= 0 or actual <= 0 or base <= NEAR_ZERO_SHARE * level:
            return Adjustment(kind, None, none, "a ratio says nothing where the load is near zero or exported")
        raw = actual / base
        low, high = self.method.adjust_cap or (0.0, float("inf"))
        applied = min(max(raw, low), high)
        return Adjustment(kind, raw, applied, f"{len(pairs)} intervals of the window" + (", capped" if applied != raw else ""))

    def _adjustment_pairs(self, picked: Sequence[int]) -> list[tuple[float, float]]:
        """Per interval of the window: the load measured and the mean of the picked days at the same clock time."""
        m, event = self.method, self.event
        window = grid(event.start - timedelta(hours=m.adjust_from_h), event.start - timedelta(hours=m.adjust_to_h), m.interval_min)
        pairs = []
        for start in window:
            if overlaps(start, m.interval_min, ((event.start, event.end), *event.other_events, *event.outages)):
                continue
            actual = _read(m, self.meter, start)
            like = [v for d in picked if (v := self._read_back(start, d)) is not None]
            if actual is not None and like:
                pairs.append((actual, sum(like) / len(like)))
        return pairs

    def _uses(self, picked: Sequence[int]) -> tuple[DayUse, ...]:
        """Every day looked at, nearest first; days beyond the last one used are not."""
        looked_at = sorted(d for d in {*self.why, *picked} if d <= self.last)
        return tuple(DayUse(self.event.day - timedelta(days=d), d in picked, self._reason(d, d in picked)) for d in looked_at)

    def _reason(self, back: int, is_used: bool) -> str:
        if not is_used:
            return self.why[back]
        if self.why.get(back) == "event day":
            return "an event day, for want of ordinary ones"
        there = [t for s in self.starts if (t := same_clock(s, back, self.event.zone)) is not None]
        estimated = sum(self.meter.worst(t, self.method.interval_min) is MeterQuality.ESTIMATED for t in there)
        return f"like day, {estimated} intervals estimated" if estimated else "like day"
