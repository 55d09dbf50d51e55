"""What a programme owes for a month of being ready, whether it called or not, as low, expected and high with the version of its rules.

Availability pays kW x hours in the programme's season and hours, capacity kW x the share of the month's days in season; both only on days
on which the enrolment is active. What says so is scaled by the month's delivered / obligation over all its events. An event that the site
declined though the programme covers it counts as not delivered; one that is not measured yet may be anything between nothing and all.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from ems.program.decide import OUTSIDE
from ems.program.enrolment import EnrolmentFile, enrolled_terms
from ems.program.schema import PaymentFile, PenaltyFile, ProgramFile
from ems.program.settlement import Line, cents, sorted_around
from ems.program.status import EventStatus
from ems.program.terms import Terms

DAY = timedelta(days=1)
READY = ("kw_h", "kw_month")  # what is paid for being ready


@dataclass(frozen=True)
class Called:
    """One event of the month. kWh that were owed, and that were delivered in the worst, the expected and the best case."""

    event: str
    obligation_kwh: float
    low_kwh: float
    expected_kwh: float
    high_kwh: float
    low: Decimal = Decimal(0)  # the event's own money
    expected: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    note: str = ""


@dataclass(frozen=True)
class MonthStatement:
    """An estimate of one programme's local month. `hours` of availability, `share` of the month's days on which capacity was held."""

    program: str
    month: str
    currency: str
    rule_version: str
    committed_kw: float
    hours: float
    share: float
    performance: tuple[float, float, float]  # low, expected, high
    lines: tuple[Line, ...]
    called: tuple[Called, ...]

    @property
    def _parts(self) -> tuple[Line | Called, ...]:
        return (*self.lines, *self.called)

    @property
    def low(self) -> Decimal:
        """Readiness and events in the worst case."""
        return sum((x.low for x in self._parts), Decimal(0))

    @property
    def expected(self) -> Decimal:
        """Readiness and events as expected."""
        return sum((x.expected for x in self._parts), Decimal(0))

    @property
    def high(self) -> Decimal:
        """Readiness and events in the best case."""
        return sum((x.high for x in self._parts), Decimal(0))

    def encode(self) -> dict[str, Any]:
        """Plain data; money as text."""
        told = {name: value for name, value in vars(self).items() if name not in ("lines", "called")}
        rows = {name: [_plain(x) for x in getattr(self, name)] for name in ("lines", "called")}
        return {**told, **rows, **{name: str(getattr(self, name)) for name in ("low", "expected", "high")}}


def month_statement(file: ProgramFile, enrolment: EnrolmentFile, month: date, events: Iterable[EventStatus]) -> MonthStatement:
    """The statement of the local month that `month` lies in. `events`: all that are known, also of other months and programmes."""
    days = list(_days(month))
    terms = {day: enrolled_terms(file, enrolment, day) for day in days if enrolment.is_active(day)}
    ready = {day: t for day, t in terms.items() if t.months is None or day.month in t.months}
    last = terms[max(terms)] if terms else enrolled_terms(file, enrolment, days[-1])
    mine = [(s, _local_day(last, s)) for s in events if s.opt and s.event.program == file.name]
    called = tuple(_called(s, terms[day]) for s, day in mine if day in terms)
    factors = _factors(last, called)
    hours = {day: available_hours(t, day) for day, t in ready.items()}
    return MonthStatement(
        program=file.name,
        month=f"{month:%Y-%m}",
        currency=file.currency,
        rule_version=", ".join(dict.fromkeys(t.version for t in terms.values())) or last.version,
        committed_kw=enrolment.committed_kw,
        hours=sum(hours.values()),
        share=len(ready) / len(days),
        performance=factors,
        lines=tuple(_lines(ready, hours, len(days), enrolment.committed_kw, factors)),
        called=called,
    )


def available_hours(terms: Terms, day: date) -> float:
    """The real hours of a local day that lie in the programme's hours: a day on which clocks change has one more or less."""
    if terms.kind_of_day(day) not in terms.window.days:
        return 0.0
    first, last = (_wall(terms, day, h) for h in (terms.window.from_h, terms.window.to_h))
    return (last.timestamp() - first.timestamp()) / 3600.0


def _wall(terms: Terms, day: date, hour: float) -> datetime:
    midnight = datetime.combine(day, time())
    return (midnight + timedelta(hours=hour)).replace(tzinfo=terms.zone)


def _days(month: date) -> Iterator[date]:
    first = month.replace(day=1)
    yield from (first + n * DAY for n in range(calendar.monthrange(first.year, first.month)[1]))


def _local_day(terms: Terms, status: EventStatus) -> date | None:
    return status.event.start.astimezone(terms.zone).date() if status.event.intervals else None


def _called(status: EventStatus, terms: Terms) -> Called:
    """What an event that was decided on says about delivery; money of its own where it is settled, and where declining it costs."""
    settlement = (status.result or {}).get("settlement")
    name, owed = status.event.id, status.event.owed_kwh((status.feasibility or {}).get("asked_kw", 0.0))
    if not terms.is_scored(status.event.is_test):
        return Called(name, 0.0, 0.0, 0.0, 0.0, note="a test that the programme does not score")
    if settlement:
        kwh = settlement["obligation_kwh"]
        usual = settlement["performance"]
        worst, best = settlement.get("performance_range", (usual, usual))
        low, expected, high = (Decimal(settlement[case]) for case in ("low", "expected", "high"))
        return Called(name, kwh, worst * kwh, usual * kwh, best * kwh, low, expected, high)
    if status.event.is_cancelled and status.moved_at is None:
        return Called(name, 0.0, 0.0, 0.0, 0.0, note="cancelled before it began")
    if status.opt == "out":
        owed = 0.0 if status.why.startswith(OUTSIDE) else owed
        cost = -sum((_penalty(p, owed) for p in terms.penalties), Decimal(0))
        return Called(name, owed, 0.0, 0.0, 0.0, cost, cost, cost, note=status.why)
    return Called(name, owed, 0.0, owed, owed, note="not measured" + (f": {trouble}" if (trouble := _trouble(status)) else ""))


def _penalty(penalty: PenaltyFile, owed_kwh: float) -> Decimal:
    """What a call costs of which nothing is delivered."""
    money = penalty.price * (owed_kwh if penalty.per != "event" else float(owed_kwh > 0))
    return cents(money if penalty.stop_loss is None else min(money, penalty.stop_loss))


def _trouble(status: EventStatus) -> str:
    return str((status.result or {}).get("trouble", ""))


def _factors(terms: Terms, called: Sequence[Called]) -> tuple[float, float, float]:
    """Delivered / obligation over the month, within the programme's floor and cap; a month without a call counts as delivered. What one
    event delivers above the cap makes up for no other."""
    floor, cap = terms.performance.floor, terms.performance.cap
    owed = sum(c.obligation_kwh for c in called)
    if owed <= 0:
        return (min(1.0, cap),) * 3
    cases = ("low_kwh", "expected_kwh", "high_kwh")
    shares = (sum(min(getattr(c, case), cap * c.obligation_kwh) for c in called) / owed for case in cases)
    low, expected, high = (max(s, floor) for s in shares)
    return min(low, expected), expected, max(high, expected)


def _lines(
    ready: Mapping[date, Terms], hours: Mapping[date, float], days: int, kw: float, factors: tuple[float, float, float]
) -> Iterator[Line]:
    """One line per payment for being ready: the prices in force on each day, summed, then scaled and rounded once."""
    sums: dict[tuple[int, str, bool], float] = {}
    for day, terms in ready.items():
        for number, payment in enumerate(terms.payments):
            if payment.per in READY:
                key = (number, payment.per, payment.scaled_by_performance)
                sums[key] = sums.get(key, 0.0) + _unit_price(payment) * (hours[day] if payment.per == "kw_h" else 1.0 / days)
    for (number, per, is_scaled), money_per_kw in sums.items():
        cases = [cents(kw * money_per_kw * (f if is_scaled else 1.0)) for f in factors]
        yield Line(f"{number + 1}: ready, per {per}", *sorted_around(*cases))


def _unit_price(payment: PaymentFile) -> float:
    return 0.0 if payment.price == "indexed" else payment.price


def _plain(row: object) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in vars(row).items()}
