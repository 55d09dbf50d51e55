"""What an event earns or costs, as low, expected and high, with the version of the rules it was reckoned by. Money is Decimal.

energy: sum of delivered x price; availability: kW x hours x price; capacity: kW x months x price, scaled by performance where the
programme says so; penalties by kWh short, kWh above the level, or per event missed. Low and high put the baseline's own error and the
doubt in estimated meter intervals against the site and in its favour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from ems.errors import DataError
from ems.obligation import ObligationKind
from ems.program.baseline import BaselineRun
from ems.program.meter import MeterQuality, MeterSeries
from ems.program.schema import PaymentFile, PenaltyFile
from ems.program.terms import Terms
from ems.timegrid import interval_start

ESTIMATED_ERROR = 0.05  # of an estimated meter interval; no programme states one
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Asked:
    """What was asked in one interval of the baseline: kW in the mean over the `hours` of it that lie in the event."""

    kw: float
    hours: float


@dataclass(frozen=True)
class Duty:
    """What was to be delivered: a reduction by, or a drop to, the kW `asked` in each interval of the baseline, by its start; an interval in
    which nothing was asked is not there. `committed_kw` is what availability is paid on; `hours` and `months` are the period that
    availability and capacity pay for."""

    kind: ObligationKind
    asked: Mapping[datetime, Asked]
    committed_kw: float = 0.0
    hours: float = 0.0
    months: float = 0.0


@dataclass(frozen=True)
class PerformanceRecord:
    """One interval of the baseline. `hours` is the part of it inside the event; kW at the settlement point; `is_compliant`: the interval
    of the programme's compliance that holds it was."""

    start: datetime
    hours: float
    baseline_kw: float
    metered_kw: float
    obligation_kw: float
    delivered_kw: float
    quality: MeterQuality
    is_compliant: bool


@dataclass(frozen=True)
class Line:
    """One line of a settlement in the programme's currency; what the site pays is negative."""

    name: str
    low: Decimal
    expected: Decimal
    high: Decimal


@dataclass(frozen=True)
class Settlement:
    """An estimate, until the counterparty's statement is there."""

    program: str
    rule_version: str
    currency: str
    records: tuple[PerformanceRecord, ...]
    lines: tuple[Line, ...]
    performance: float  # delivered / obligation over the event, unclamped
    obligation_kwh: float
    delivered_kwh: float  # where something was owed; the rest neither makes up for it nor takes from it
    performance_range: tuple[float, float] = (1.0, 1.0)  # the same in the worst and in the best case

    @property
    def low(self) -> Decimal:
        """The sum in the worst case."""
        return sum((x.low for x in self.lines), Decimal(0))

    @property
    def expected(self) -> Decimal:
        """The sum expected."""
        return sum((x.expected for x in self.lines), Decimal(0))

    @property
    def high(self) -> Decimal:
        """The sum in the best case."""
        return sum((x.high for x in self.lines), Decimal(0))

    @property
    def is_compliant(self) -> bool:
        """True when every interval was."""
        return all(r.is_compliant for r in self.records)

    def encode(self) -> dict[str, Any]:
        """Plain data; money as text."""
        return {
            "program": self.program,
            "rule_version": self.rule_version,
            "currency": self.currency,
            "status": "estimate",
            "records": [{**vars(r), "start": r.start.isoformat(), "quality": r.quality.value} for r in self.records],
            "lines": [{"name": x.name, "low": str(x.low), "expected": str(x.expected), "high": str(x.high)} for x in self.lines],
            "low": str(self.low),
            "expected": str(self.expected),
            "high": str(self.high),
            "performance": self.performance,
            "performance_range": list(self.performance_range),
            "obligation_kwh": self.obligation_kwh,
            "delivered_kwh": self.delivered_kwh,
            "is_compliant": self.is_compliant,
        }


def settle(
    terms: Terms,
    duty: Duty,
    baseline: BaselineRun,
    meter: MeterSeries,
    loss_factor: float = 1.0,
    price_per_kwh: Mapping[datetime, float] | None = None,
    error: tuple[float, float] = (0.0, 0.0),
) -> Settlement:
    """The settlement of an event. `error`: the low and high quantile of the baseline's error (baseline less truth, fractions).

    `price_per_kwh` gives indexed prices by interval start. Raises DataError where the meter is missing or bad in the event, or a price is
    not known: then nothing is settled.
    """
    expected = _records(terms, duty, baseline, meter, loss_factor, 0.0, 0.0)
    against = _records(terms, duty, baseline, meter, loss_factor, -max(0.0, error[1]), ESTIMATED_ERROR)
    in_favour = _records(terms, duty, baseline, meter, loss_factor, -min(0.0, error[0]), -ESTIMATED_ERROR)
    cases = [_money(terms, duty, records, price_per_kwh) for records in (against, expected, in_favour)]
    lines = tuple(Line(name, *sorted_around(cases[0][name], cases[1][name], cases[2][name])) for name in cases[1])
    worst, usual, best = (_delivered_share(records) for records in (against, expected, in_favour))
    span = (min(worst, usual), max(best, usual))
    return Settlement(terms.program, terms.version, terms.currency, expected, lines, usual, *_owed_and_delivered_kwh(expected), span)


def sorted_around(low: Decimal, expected: Decimal, high: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """The three with low <= expected <= high."""
    return min(low, expected), expected, max(high, expected)


def _records(
    terms: Terms, duty: Duty, baseline: BaselineRun, meter: MeterSeries, loss_factor: float, baseline_error: float, meter_error: float
) -> tuple[PerformanceRecord, ...]:
    rows = []
    for start, base_kw in zip(baseline.starts, baseline.kw, strict=True):
        if start not in duty.asked:
            continue
        minutes = baseline.interval_min
        quality, kw = meter.worst(start, minutes), meter.mean_kw(start, minutes)
        if kw is None or quality in (MeterQuality.BAD, MeterQuality.MISSING):
            raise DataError(f"settlement: the meter is {quality.value} at {start.isoformat()}: nothing is settled on that")
        if quality is MeterQuality.ESTIMATED:
            kw *= 1.0 + meter_error
        rows.append(_record(duty, start, base_kw * (1.0 + baseline_error), kw * loss_factor, quality))
    return _judged(terms, duty, rows)


def _record(duty: Duty, start: datetime, base_kw: float, metered_kw: float, quality: MeterQuality) -> PerformanceRecord:
    asked = duty.asked[start]
    obligation_kw = asked.kw if duty.kind is ObligationKind.REDUCE_BY else max(0.0, base_kw - asked.kw)
    return PerformanceRecord(start, asked.hours, base_kw, metered_kw, obligation_kw, base_kw - metered_kw, quality, is_compliant=False)


def _judged(terms: Terms, duty: Duty, records: Sequence[PerformanceRecord]) -> tuple[PerformanceRecord, ...]:
    """The records with compliance, by the programme's own intervals: what was metered over the whole of each against what may be."""
    over_kwh: dict[datetime, float] = {}
    for r in records:
        at = interval_start(r.start, 60 * terms.compliance.interval_min)
        over_kwh[at] = over_kwh.get(at, 0.0) + (r.metered_kw - _allowed_kw(terms, duty, r)) * r.hours
    met = {at: kwh <= 1e-9 for at, kwh in over_kwh.items()}
    return tuple(replace(r, is_compliant=met[interval_start(r.start, 60 * terms.compliance.interval_min)]) for r in records)


def _allowed_kw(terms: Terms, duty: Duty, r: PerformanceRecord) -> float:
    """The import that still counts as delivered. A drop to a level above the baseline allows that level."""
    asked_kw = duty.asked[r.start].kw
    level_kw = r.baseline_kw - asked_kw if duty.kind is ObligationKind.REDUCE_BY else asked_kw
    return level_kw + (1.0 - terms.compliance.share) * r.obligation_kw


def _money(terms: Terms, duty: Duty, records: Sequence[PerformanceRecord], prices: Mapping[datetime, float] | None) -> dict[str, Decimal]:
    factor = _performance(terms, records)
    lines: dict[str, Decimal] = {}
    for number, payment in enumerate(terms.payments):
        scale = factor if payment.scaled_by_performance else 1.0
        lines[f"{number + 1}: paid per {payment.per}"] = cents(scale * _paid(payment, duty, records, prices))
    for number, penalty in enumerate(terms.penalties):
        lines[f"{number + 1}: penalty per {penalty.per}"] = -cents(_penalty(penalty, duty, records))
    return lines


def _performance(terms: Terms, records: Sequence[PerformanceRecord]) -> float:
    return min(max(_delivered_share(records), terms.performance.floor), terms.performance.cap)


def _delivered_share(records: Sequence[PerformanceRecord]) -> float:
    """Where nothing was owed, the baseline under the level of a drop, nothing was missed either."""
    owed_kwh, delivered_kwh = _owed_and_delivered_kwh(records)
    return delivered_kwh / owed_kwh if owed_kwh > 0 else 1.0


def _owed_and_delivered_kwh(records: Sequence[PerformanceRecord]) -> tuple[float, float]:
    owing = [r for r in records if r.obligation_kw > 0.0]
    return sum(r.obligation_kw * r.hours for r in owing), sum(r.delivered_kw * r.hours for r in owing)


def _paid(payment: PaymentFile, duty: Duty, records: Sequence[PerformanceRecord], prices: Mapping[datetime, float] | None) -> float:
    if payment.per == "kwh":
        return sum(_kwh(payment, r) * _price(payment, r.start, prices) for r in records)
    if payment.price == "indexed":
        raise DataError(f"settlement: a payment per {payment.per} cannot be indexed")
    return duty.committed_kw * (duty.hours if payment.per == "kw_h" else duty.months) * payment.price


def _kwh(payment: PaymentFile, r: PerformanceRecord) -> float:
    return (r.delivered_kw if payment.below_zero else max(0.0, r.delivered_kw)) * r.hours


def _price(payment: PaymentFile, start: datetime, prices: Mapping[datetime, float] | None) -> float:
    if payment.price != "indexed":
        return payment.price
    if prices is None or start not in prices:
        raise DataError(f"settlement: no price is known for {start.isoformat()}")
    return prices[start]


def _penalty(penalty: PenaltyFile, duty: Duty, records: Sequence[PerformanceRecord]) -> float:
    if penalty.per == "event":
        owed = 0.0 if all(r.is_compliant for r in records) else penalty.price
    elif penalty.per == "kwh_short":
        owed = penalty.price * sum(max(0.0, r.obligation_kw - r.delivered_kw) * r.hours for r in records)
    elif duty.kind is ObligationKind.REDUCE_BY:
        raise DataError("settlement: a penalty above a level needs a drop to that level")
    else:
        owed = penalty.price * sum(max(0.0, r.metered_kw - duty.asked[r.start].kw) * r.hours for r in records)
    return owed if penalty.stop_loss is None else min(owed, penalty.stop_loss)


def cents(money: float) -> Decimal:
    """Money in whole cents."""
    return Decimal(repr(round(money, 9))).quantize(CENT, ROUND_HALF_UP)
