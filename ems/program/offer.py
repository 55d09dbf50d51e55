"""What the site can offer each programme: kW x hours x probability, and the resource that keeps it from being more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ems.errors import DataError
from ems.plan.plan import Plan
from ems.program.channel import ChannelFile
from ems.program.flexibility import Flexibility, flexibility
from ems.program.ledger import Ledger
from ems.program.qualify import unqualified
from ems.program.terms import Terms
from ems.site.model import Site

LEVELS = (0.50, 0.90, 0.95)
USUAL_HOURS = 4.0


@dataclass(frozen=True)
class Offer:
    """`kw` by probability over `[start, start + hours)`; `refusal` says why nothing may be offered, "" when it may."""

    program: str
    start: datetime
    hours: float
    kw: Mapping[float, float]
    limiting: str
    response_s: float
    refusal: str = ""
    is_solved_again: bool = False  # held against the optimizer (ems.program.resolved_offer), not only reckoned from its plan

    def encode(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "start": self.start.isoformat(), "kw": {f"p{round(100 * p)}": kw for p, kw in self.kw.items()}}


def offer(
    terms: Terms,
    site: Site,
    plan: Plan,
    start: datetime,
    reserve_kwh: Mapping[str, float],
    ledger: Ledger,
    trust: Mapping[str, float] | None = None,
    hours: float | None = None,
    channels: Iterable[ChannelFile] = (),
) -> Offer:
    """The offer to a programme from `start` on, aware of what is promised already. Steps down to what the programme counts in. Nothing
    where the site does not qualify; `channels`: how the counterparty is told of the meter."""
    length_h = hours if hours is not None else event_hours(terms)
    end = start + timedelta(hours=length_h)
    if refusal := unqualified(terms, site, channels) or ledger.refusal(terms, start, end) or terms.covers(start, end):
        return Offer(terms.program, start, length_h, dict.fromkeys(LEVELS, 0.0), "", 0.0, refusal)
    try:
        free = flexibility(site, plan, start, end, reserve_kwh, ledger.promised(terms, start, end), trust)
    except DataError as error:
        return Offer(terms.program, start, length_h, dict.fromkeys(LEVELS, 0.0), "", 0.0, str(error))
    return _offer(terms, free)


def event_hours(terms: Terms) -> float:
    """The length an event of the programme must be held for: four hours where it says nothing."""
    if terms.duration_max_h is not None:
        return min(USUAL_HOURS, terms.duration_max_h)
    return max(USUAL_HOURS, terms.duration_min_h or 0.0)


def _offer(terms: Terms, free: Flexibility) -> Offer:
    kw = {level: _counted(terms, free.kw_at(level)) for level in LEVELS}
    small = kw[0.90] < terms.min_kw
    refusal = f"{free.kw_at(0.90):.0f} kW at 90 %, the programme takes {terms.min_kw:g} kW at least" if small else ""
    if terms.response_min is not None and free.response_s > 60.0 * terms.response_min:
        refusal = f"answers within {free.response_s:.0f} s, {terms.response_min:g} min are demanded"
    return Offer(terms.program, free.start, free.hours, kw, free.limiting, free.response_s, refusal)


def _counted(terms: Terms, kw: float) -> float:
    return kw if not terms.step_kw else terms.step_kw * (kw // terms.step_kw)
