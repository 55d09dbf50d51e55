"""Which programme can this load safely join? Answered from its own history, before anybody signs.

A baseline that errs turns a reduction delivered in full into one that is measured short. For every programme the method is run on the
site's ordinary days at the programme's hours; the share of days on which a full delivery would be measured short decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from ems.errors import DataError
from ems.program.accuracy import Accuracy, measure_accuracy, ordinary_days
from ems.program.baseline import EventDay, Period
from ems.program.meter import MeterSeries
from ems.program.methods import BaselineMethod, method_of
from ems.program.terms import Terms

USUAL_HOURS = (16.0, 20.0)  # where programmes without a window call most
SAFE_SHORT = 0.05  # of days measured short although all was delivered
DOUBTFUL_SHORT = 0.20
BIAS_LARGEST = 0.04  # the threshold of AEMO's predictability test, where a programme states none
LEAST_HISTORY_MIN = 24 * 60.0  # of known intervals: a part of a day says nothing of a load's mean
NO_HISTORY = "there is less than a day of history to judge by"
LIMITING = ("order", "connection")  # kinds that limit a load and buy nothing: their smallest size is the load's

Verdict = Literal["safe", "doubtful", "unsafe", "unknown"]


@dataclass(frozen=True)
class Risk:
    """The answer for one programme. `chance_short`: share of days on which a full delivery is measured short."""

    program: str
    verdict: Verdict
    why: str
    method: str = ""
    accuracy: Accuracy | None = None
    chance_short: float | None = None


def assess(terms: Terms, meter: MeterSeries, reduction_kw: float | None, events: Sequence[Period] = ()) -> Risk:
    """The risk of one programme for a load whose reduction would be `reduction_kw`; None: not known either."""
    if terms.kind == "peak_tag":
        return Risk(terms.program, "safe", "nothing is promised and no baseline is used: it pays to be low in the peaks")
    if (small := too_small(terms, meter, reduction_kw)) is not None:
        return small
    if terms.baseline is None:
        return Risk(terms.program, "unknown", "the programme names no baseline")
    method = method_of(terms.baseline.method, terms.baseline.with_)
    if method.form == "constant":
        return Risk(terms.program, "safe", "drop to a level: no day is matched, only the level must be held", method.id)
    if method.form == "nominated":
        return Risk(terms.program, "unknown", "the baseline is the site's own nomination", method.id)
    if reduction_kw is None:
        return Risk(terms.program, "unknown", NO_HISTORY, method.id)
    return _measured(terms, method, meter, reduction_kw, events)


def too_small(terms: Terms, meter: MeterSeries, reduction_kw: float | None) -> Risk | None:
    """What speaks against joining where the programme has a smallest size, of the load or of its reduction; None where nothing does."""
    if terms.min_kw <= 0.0:
        return None
    if terms.kind in LIMITING:
        asked, kw, found = f"is for loads from {terms.min_kw:g} kW", highest_kw(meter), "{:.0f} kW is the most this one drew"
    else:
        asked, kw, found = f"takes {terms.min_kw:g} kW at least", reduction_kw, "{:.0f} kW could be reduced"
    if kw is None:
        return Risk(terms.program, "unknown", f"{asked}; {NO_HISTORY}")
    return Risk(terms.program, "unsafe", f"{asked}; {found.format(kw)}") if kw < terms.min_kw else None


def mean_kw(meter: MeterSeries) -> float | None:
    """The mean of what is known; None with less than a day of it."""
    known = _known(meter)
    return sum(known) / len(known) if known else None


def highest_kw(meter: MeterSeries) -> float | None:
    """The highest interval; None with less than a day of them."""
    return max(_known(meter), default=None)


def _known(meter: MeterSeries) -> list[float]:
    known = [kw for kw in meter.kw if kw is not None]
    return known if len(known) * meter.interval_min >= LEAST_HISTORY_MIN else []


def usual_event(terms: Terms, day: date, events: Sequence[Period] = ()) -> EventDay:
    """An event of the programme's usual hours and length on a day."""
    from_h = max(terms.window.from_h, min(USUAL_HOURS[0], terms.window.to_h - 1.0))
    longest = terms.duration_max_h if terms.duration_max_h is not None else 4.0
    length = max(terms.duration_min_h or 0.0, min(longest, USUAL_HOURS[1] - USUAL_HOURS[0]))
    start = datetime(day.year, day.month, day.day, tzinfo=terms.zone) + timedelta(hours=from_h)
    end = start + timedelta(hours=min(length, terms.window.to_h - from_h))
    return EventDay(start.astimezone(UTC), end.astimezone(UTC), terms.zone, terms.kind_of_day, tuple(events))


def _measured(terms: Terms, method: BaselineMethod, meter: MeterSeries, reduction_kw: float, events: Sequence[Period]) -> Risk:
    last = meter.end.astimezone(terms.zone).date()
    event = usual_event(terms, last, events)
    days = ordinary_days(event, meter, terms.months, terms.window.days)
    try:
        accuracy = measure_accuracy(method, event, meter, days)
    except DataError as error:
        return Risk(terms.program, "unknown", str(error), method.id)
    short = accuracy.chance_short(reduction_kw, terms.compliance.share)
    verdict, why = judge(terms, accuracy, short)
    return Risk(terms.program, verdict, why, method.id, accuracy, short)


def judge(terms: Terms, accuracy: Accuracy, short: float) -> tuple[Verdict, str]:
    """The verdict and its reason: the programme's own test first, then how often a full delivery is measured short."""
    limits = terms.accuracy
    if limits is not None and limits.rrmse_max is not None and accuracy.rrmse > limits.rrmse_max:
        return "unsafe", f"refused by its own test: error {accuracy.rrmse:.1%}, at most {limits.rrmse_max:.0%}"
    bias_max = limits.bias_max if limits is not None and limits.bias_max is not None else BIAS_LARGEST
    if abs(accuracy.bias) > bias_max:
        return "unsafe", f"the baseline is off by {accuracy.bias:+.1%} on the mean"
    says = f"a full delivery is measured short on {short:.0%} of {accuracy.days} days"
    return ("safe" if short <= SAFE_SHORT else "doubtful" if short <= DOUBTFUL_SHORT else "unsafe"), says
