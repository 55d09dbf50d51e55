"""Whether the site takes part: what can be delivered, with which probability, at which expected net value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from ems.obligation import ObligationKind
from ems.program.event import GridEvent
from ems.program.states import State
from ems.program.status import EventStatus
from ems.program.terms import Terms

DAY = timedelta(days=1)
PER_EVENT = "hours an event"
OUTSIDE = "outside the programme"  # begins the reason of a refusal that costs no performance


@dataclass(frozen=True)
class Feasibility:
    """What the site could deliver of an event. `kw_p90`: the reduction held throughout with 90 % probability; `chance`: of delivering all
    that is asked; `value` and `penalty` in the programme's currency, for delivering and for missing it; `cost` of delivering."""

    asked_kw: float
    kw_p90: float
    chance: float
    value: float = 0.0
    penalty: float = 0.0
    cost: float = 0.0
    limiting: str = ""
    resources: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # kW and kWh that delivering takes, by resource

    @property
    def net_value(self) -> float:
        """Expected: paid when delivered, charged when not, and what the work and wear cost."""
        return self.chance * self.value - (1.0 - self.chance) * self.penalty - self.cost


@dataclass(frozen=True)
class Decision:
    """Taking part in full, in part (then `accepted_kw`), or not, with the reason."""

    to: State
    why: str
    accepted_kw: float | None = None
    alarm: str = ""


def decide(terms: Terms, event: GridEvent, found: Feasibility, accept_probability: float, exhausted: str) -> Decision:
    """Mandatory events are never declined. Others are taken when they pay on average and hold with the probability demanded; else the
    part that holds, where the programme takes so little; else not. A drop to a level that is charged above it is taken whole: declining
    costs as much, and a part would be held too high. `exhausted`: which limit of the programme is used up, "" when none."""
    if terms.is_mandatory:
        short_kw = found.asked_kw - found.kw_p90
        alarm = f"{short_kw:.0f} kW of {found.asked_kw:.0f} kW may be missing: {found.limiting}" if short_kw > 0 else ""
        return Decision(State.ACCEPTED, "mandatory", None, alarm)
    outside = terms.covers(event.start, event.end)
    if outside or exhausted:
        return Decision(State.DECLINED, f"{OUTSIDE}: {outside or exhausted}")
    if event.kind is not ObligationKind.REDUCE_BY and any(p.per == "kwh_above" for p in terms.penalties):
        short = f"{found.kw_p90:.0f} kW of {found.asked_kw:.0f} kW hold: {found.limiting}" if found.chance < accept_probability else ""
        return Decision(State.ACCEPTED, "what is above the level is charged, taken or not", None, short)
    if found.chance >= accept_probability and found.net_value >= 0:
        return Decision(State.ACCEPTED, f"{found.asked_kw:.0f} kW with probability {found.chance:.2f}, net value {found.net_value:.2f}")
    if found.net_value < 0 and found.chance >= accept_probability:
        return Decision(State.DECLINED, f"costs more than it brings: net value {found.net_value:.2f}")
    part_kw = _in_steps(min(found.kw_p90, found.asked_kw), terms.step_kw)
    if part_kw >= max(terms.min_kw, 1.0) and found.value >= found.cost:
        return Decision(State.PARTIAL, f"{part_kw:.0f} of {found.asked_kw:.0f} kW hold: {found.limiting}", part_kw)
    return Decision(State.DECLINED, f"{found.kw_p90:.0f} kW of {found.asked_kw:.0f} kW hold: {found.limiting}")


def used_up(terms: Terms, event: GridEvent, taken: list[EventStatus]) -> str:
    """Which of the programme's counters this event would exceed, given the events already taken; "" when none. Tests that the programme
    does not count use up nothing, and nothing keeps them out but their length."""
    taken = [s for s in taken if terms.is_scored(s.event.is_test)]
    day = _day(terms, event.start)
    same_day = [s for s in taken if _day(terms, s.event.start) == day]
    same_month = [s for s in taken if (d := _day(terms, s.event.start)).year == day.year and d.month == day.month]
    same_year = [s for s in taken if _day(terms, s.event.start).year == day.year]
    counters = (
        (terms.max_events_per_day, len(same_day) + 1, "events a day"),
        (terms.max_events_per_month, len(same_month) + 1, "events a month"),
        (terms.max_events_per_year, len(same_year) + 1, "events a year"),
        (terms.max_hours_per_month, _hours(same_month) + event.hours, "hours a month"),
        (terms.max_hours_per_year, _hours(same_year) + event.hours, "hours a year"),
        (terms.duration_max_h, event.hours, PER_EVENT),
        (terms.max_consecutive_days, days_in_a_row(day, {_day(terms, s.event.start) for s in taken}), "days in a row"),
    )
    over = [(what, f"{have:g} {what}, at most {most:g}") for most, have, what in counters if most is not None and have > most]
    return next((text for what, text in over if terms.is_scored(event.is_test) or what == PER_EVENT), "")


def short_notice(terms: Terms, status: EventStatus) -> str:
    """That a call came with less notice than agreed, "" when it did not. Such a call may be taken; declining it costs no performance."""
    minutes = (status.event.start - status.received_at).total_seconds() / 60.0
    return f"{max(0.0, minutes):g} min of notice, {terms.notice_min:g} are agreed" if minutes < terms.notice_min else ""


def days_in_a_row(day: date, taken: set[date]) -> int:
    """How many days with a call, one after the other, a call on `day` would make."""
    first, last = day, day
    while first - DAY in taken:
        first -= DAY
    while last + DAY in taken:
        last += DAY
    return (last - first).days + 1


def _hours(taken: list[EventStatus]) -> float:
    return sum(s.event.hours for s in taken)


def _day(terms: Terms, at: datetime) -> date:
    return at.astimezone(terms.zone).date()


def _in_steps(kw: float, step_kw: float | None) -> float:
    return kw if not step_kw else step_kw * (kw // step_kw)
