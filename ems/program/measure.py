"""From an event, its terms and the meter to baseline and settlement: one pure function, run by the daemon and again by an auditor."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from ems.errors import DataError
from ems.obligation import ObligationKind
from ems.program.accuracy import measure_accuracy, ordinary_days
from ems.program.baseline import BaselineRun, EventDay, Period, run_baseline
from ems.program.enrolment import EnrolmentFile
from ems.program.event import EventInterval, GridEvent
from ems.program.meter import MeterSeries
from ems.program.methods import BaselineMethod, method_of
from ems.program.settlement import Asked, Duty, settle
from ems.program.status import BaselineSteps, EventStatus
from ems.program.terms import Terms
from ems.timegrid import interval_start

LOOKBACK = timedelta(days=62)  # of the longest method, with the hours of its window
NEAR = timedelta(days=1)  # of methods that look only at the hours around the event
ERROR_LEVELS = (0.1, 0.9)
MOST_STEPS = 300  # of a baseline that is held interval by interval


@dataclass(frozen=True)
class MeasureInputs:
    """Everything a measurement looks at. `event` as acted on; `until`: when it ended, if earlier than asked (a cancel)."""

    event: GridEvent
    accepted_kw: float | None
    until: datetime
    meter: MeterSeries
    other_events: tuple[Period, ...] = ()
    price_per_kwh: Mapping[datetime, float] = field(default_factory=dict)

    def encode(self) -> dict[str, Any]:
        """Plain data, the meter apart."""
        return {
            "event": self.event.encode(),
            "accepted_kw": self.accepted_kw,
            "until": self.until.isoformat(),
            "other_events": [[a.isoformat(), b.isoformat()] for a, b in self.other_events],
            "price_per_kwh": {t.isoformat(): p for t, p in self.price_per_kwh.items()},
        }

    @staticmethod
    def decode(data: Mapping[str, Any], meter: MeterSeries) -> MeasureInputs:
        """The inputs back."""
        return MeasureInputs(
            event=GridEvent.decode(data["event"]),
            accepted_kw=data["accepted_kw"],
            until=datetime.fromisoformat(data["until"]),
            meter=meter,
            other_events=tuple((datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in data["other_events"]),
            price_per_kwh={datetime.fromisoformat(t): p for t, p in data["price_per_kwh"].items()},
        )


def measure_event(inputs: MeasureInputs, terms: Terms, enrolment: EnrolmentFile | None) -> dict[str, Any]:
    """Baseline and settlement as plain data, with everything they were reckoned from. DataError where they cannot be had."""
    method, day = baseline_method(terms, enrolment), event_day(inputs, terms)
    run = run_baseline(method, day, inputs.meter)
    error = error_range(method, day, inputs.meter, terms)
    prices = inputs.price_per_kwh or None
    if not terms.is_scored(inputs.event.is_test):
        terms = replace(terms, payments=(), penalties=())
    settlement = settle(terms, duty_of(inputs, enrolment, run.interval_min), run, inputs.meter, method.loss_factor, prices, error)
    return {
        "baseline": run.encode(),
        "settlement": settlement.encode(),
        "error": list(error),
        "inputs": inputs.encode(),
        "meter": inputs.meter.encode(),
        "enrolment_sha256": sha256_of(None if enrolment is None else enrolment.model_dump(mode="json")),
    }


def baseline_method(terms: Terms, enrolment: EnrolmentFile | None) -> BaselineMethod:
    """The programme's method with the enrolment's own level."""
    if terms.baseline is None:
        raise DataError(f"{terms.program} names no baseline")
    own = {} if enrolment is None or enrolment.constant_kw is None else {"constant_kw": enrolment.constant_kw}
    return method_of(terms.baseline.method, {**terms.baseline.with_, **own})


def reading_plan(terms: Terms) -> tuple[timedelta, timedelta, int]:
    """How long before an event and after it the meter is read for a programme, and in intervals of how many minutes (at most 15)."""
    if terms.baseline is None:
        return NEAR, timedelta(0), 15
    method = method_of(terms.baseline.method, terms.baseline.with_)
    before = LOOKBACK if method.form == "like_days" else NEAR
    return before, timedelta(hours=method.after_h[1]), min(15, method.interval_min)


def settlement_interval_min(terms: Terms) -> int:
    """The length of the intervals in which a programme measures and pays."""
    return 15 if terms.baseline is None else method_of(terms.baseline.method, terms.baseline.with_).interval_min


def metered_until(until: datetime, terms: Terms) -> datetime:
    """Up to when the meter must be read for an event that ended at `until`: its last interval whole, and the hours after it that the
    baseline looks at."""
    length = timedelta(minutes=settlement_interval_min(terms))
    last = interval_start(until - timedelta(microseconds=1), int(length.total_seconds()))
    return last + length + reading_plan(terms)[1]


def event_day(inputs: MeasureInputs, terms: Terms) -> EventDay:
    """What the baseline is asked for."""
    return EventDay(inputs.event.start, inputs.until, terms.zone, terms.kind_of_day, inputs.other_events)


def expected_baseline(
    event: GridEvent, terms: Terms, enrolment: EnrolmentFile | None, meter: MeterSeries, other_events: tuple[Period, ...] = ()
) -> BaselineRun:
    """The baseline as far as the meter data up to now says, for an event that has not begun. `other_events`: when the site was moved by
    others, as the settlement will count them."""
    inputs = MeasureInputs(event, None, event.end, meter, other_events)
    return run_baseline(baseline_method(terms, enrolment), event_day(inputs, terms), meter)


def held_steps(run: BaselineRun) -> BaselineSteps:
    """A baseline by its intervals, for what is held during the event: () for an enrolled level; of more than MOST_STEPS their mean."""
    if run.adjustment.why == "the enrolled level":
        return ()
    if len(run.kw) > MOST_STEPS:
        return ((run.starts[0], sum(run.kw) / len(run.kw)),)
    steps: list[tuple[datetime, float]] = []
    for start, kw in zip(run.starts, run.kw, strict=True):
        if not steps or steps[-1][1] != kw:  # a flat baseline is one step
            steps.append((start, kw))
    return tuple(steps)


def moved_periods(events: Iterable[EventStatus], but: str) -> tuple[Period, ...]:
    """When the site acted on events other than the one named."""
    spans = ((s.event.start, min(s.event.end, s.ended_at or s.event.end)) for s in events if s.moved_at and s.event.id != but)
    return tuple(p for p in spans if p[1] > p[0])


def duty_of(inputs: MeasureInputs, enrolment: EnrolmentFile | None, interval_min: int) -> Duty:
    """What was to be delivered in each interval of the baseline, `interval_min` long: what was asked then, no more than was accepted."""
    event, most_kw = inputs.event, inputs.accepted_kw
    steps = asked_steps(event, inputs.until)
    if not steps:
        raise DataError("the event ended before it began: nothing is measured")
    if event.kind is ObligationKind.REDUCE_BY and most_kw is not None:
        steps = [replace(s, kw=min(s.kw, most_kw)) for s in steps]
    return Duty(event.kind, asked_by_interval(steps, interval_min), enrolment.committed_kw if enrolment is not None else 0.0)


def asked_steps(event: GridEvent, until: datetime) -> list[EventInterval]:
    """The intervals of an event one after the other, up to `until`. Where they overlap the lowest import is asked, as it is held."""
    strictest = max if event.kind is ObligationKind.REDUCE_BY else min
    edges = sorted({min(t, until) for i in event.intervals for t in (i.start, i.end)})
    found = []
    for start, end in pairwise(edges):
        if here := [i.kw for i in event.intervals if i.start <= start < i.end]:
            found.append(EventInterval(start, end, strictest(here)))
    return found


def asked_by_interval(steps: Iterable[EventInterval], interval_min: int) -> dict[datetime, Asked]:
    """The time-weighted mean of the steps in each interval of the baseline that they touch, and how much of it they fill."""
    length = timedelta(minutes=interval_min)
    kws: dict[datetime, float] = defaultdict(float)
    seconds: dict[datetime, float] = defaultdict(float)
    for step in steps:
        at = interval_start(step.start, 60 * interval_min)
        while at < step.end:
            part_s = (min(at + length, step.end) - max(at, step.start)).total_seconds()
            kws[at] += step.kw * part_s
            seconds[at] += part_s
            at += length
    return {at: Asked(kws[at] / s, s / 3600.0) for at, s in seconds.items()}


def error_range(method: BaselineMethod, day: EventDay, meter: MeterSeries, terms: Terms) -> tuple[float, float]:
    """Low and high quantile of the baseline's error on the site's ordinary days; zero for levels, and where history is too short."""
    if method.form in ("constant", "nominated"):
        return 0.0, 0.0
    before = meter.between(meter.start, day.start)
    try:
        found = measure_accuracy(method, day, before, ordinary_days(day, before, None, [terms.kind_of_day(day.day)]))
    except DataError:
        return 0.0, 0.0
    return found.quantile(ERROR_LEVELS[0]), found.quantile(ERROR_LEVELS[1])


def sha256_of(data: object) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
