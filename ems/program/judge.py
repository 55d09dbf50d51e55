"""Whether the plan can deliver an event: flexibility and odds against what is asked, and what that is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from ems.errors import DataError
from ems.obligation import Obligation, ObligationKind
from ems.plan.plan import Plan
from ems.program.course import course
from ems.program.decide import Feasibility
from ems.program.enrolment import EnrolmentFile
from ems.program.event import GridEvent
from ems.program.flexibility import flexibility, steps_of
from ems.program.ledger import Ledger
from ems.program.stages import limit_kw
from ems.program.terms import Terms
from ems.site.model import Site
from ems.site.storage_classes import planned_site

DAY = timedelta(days=1)
MONTH_H = 730.0
PEAK_HIT = 0.25  # of the afternoons that a predictor of coincident peaks calls about one in four is a peak (general knowledge)
CONFIDENCE = 0.90
WITH_COOLING = 1.3  # import of a kW of work, losses and cooling included, at most


def judge_event(
    event: GridEvent,
    terms: Terms,
    enrolment: EnrolmentFile | None,
    basis_kw: float,
    site: Site,
    plan: Plan | None,
    reserve_kwh: Mapping[str, float],
    ledger: Ledger,
    now: datetime,
    trust: Mapping[str, float] | None = None,
) -> Feasibility:
    """What the plan says about an event, from now on. An event beyond the plan is judged by the same hours of the plan's last day;
    without a plan nothing is known, and the chance is none."""
    limit = min(limit_kw(event.kind, i.kw, basis_kw, None) for i in event.intervals)
    asked_kw = max(0.0, basis_kw - limit)
    if plan is None:
        return Feasibility(asked_kw, 0.0, 0.0, limiting="no plan to judge by")
    if not terms.allows_generators:
        plan = without_started(plan, site)
    start, end = _inside(plan, max(event.start, now), event.end)
    sold = _beside(ledger, event, terms).promised(terms, start, end)
    until = end + timedelta(minutes=terms.recovery.hold_min)
    try:
        whole = course(site, plan, (start, end, until), reserve_kwh, sold, trust or {})
        spare = flexibility(planned_site(site), plan, start, end, reserve_kwh, sold, trust)
    except DataError as error:
        return Feasibility(asked_kw, 0.0, 0.0, limiting=str(error))
    value, penalty = worth(event, terms, enrolment, asked_kw, plan)
    limits = np.where(whole.is_event, limit, max(basis_kw, limit))
    taken = whole.taken(limits)
    return Feasibility(
        asked_kw=asked_kw,
        kw_p90=whole.held_kw(limits, basis_kw, CONFIDENCE),
        chance=whole.chance(limits),
        value=value,
        penalty=penalty,
        cost=spare.cost_of(max(0.0, spare.highest_import_kw - limit)),  # beyond what the plan does anyway
        limiting=spare.limiting,
        resources={name: (p.kw, p.kwh) for name, p in taken.items()},
    )


def without_started(plan: Plan, site: Site) -> Plan:
    """The plan with what its generators are to give beyond its first step back in the import: started for an event, they are no part of
    what the load delivers."""
    import_kw = np.asarray(plan.import_kw, float)
    for generator in site.generators:
        given_kw = -np.asarray(plan.power_kw.get(generator.id, (0.0,) * len(import_kw)), float)
        import_kw = import_kw + np.maximum(0.0, given_kw - given_kw[0])
    return replace(plan, import_kw=tuple(float(kw) for kw in import_kw))


def _beside(ledger: Ledger, event: GridEvent, terms: Terms) -> Ledger:
    """What is promised beside an event. Events of one programme at the same time are counted from the same import: what one of them takes
    serves the other too."""
    same = [c for c in ledger.commitments if c.program == terms.program and c.start < event.end and c.end > event.start]
    return Ledger(tuple(c for c in ledger.commitments if c not in same))


def worth(event: GridEvent, terms: Terms, enrolment: EnrolmentFile | None, asked_kw: float, plan: Plan) -> tuple[float, float]:
    """Money for delivering and for missing an event: its energy, the month's availability that depends on it, the expected part of a peak
    tag, its penalties."""
    kwh = asked_kw * event.hours
    committed_kw = enrolment.committed_kw if enrolment is not None else 0.0
    price = event.price_per_kwh if event.price_per_kwh is not None else max(plan.price_per_kwh)
    value = 0.0
    for p in terms.payments:
        unit = price if p.price == "indexed" else p.price
        value += unit * {"kwh": kwh, "kw_h": committed_kw * MONTH_H, "kw_month": committed_kw}[p.per]
    if terms.peak is not None and terms.peak.price_per_kw_year is not None:
        value += asked_kw * terms.peak.price_per_kw_year / terms.peak.peaks * PEAK_HIT
    penalty = sum(p.price * (1.0 if p.per == "event" else kwh) for p in terms.penalties)
    return value, penalty


def quiet_limits(event: GridEvent, window: tuple[datetime, datetime], site: Site, plan: Plan, now: datetime) -> tuple[Obligation, ...]:
    """Import limits per plan step inside a window that leave the load all it may need, and storage no charging."""
    try:
        steps = steps_of(plan, max(window[0], plan.starts[0]), window[1])
    except DataError:
        return ()
    stores = [name for name in plan.power_kw if name in plan.energy_kwh]
    limits = []
    for n, i in enumerate(steps):
        stored_kw = sum(plan.power_kw[name][i] for name in stores)  # what they give comes back on top, too: a step may reach into the event
        waiting_kw = sum(r.defer_kw[i] + r.throttle_kw[i] - r.recover_kw[i] for rows in plan.classes.values() for r in rows.values())
        rise_kw = sum(plan.load_q90_kw[c.id][i] - plan.load_q50_kw[c.id][i] for c in site.clusters if c.id in plan.load_q90_kw)
        begin, end = max(window[0], plan.starts[i]), min(window[1], plan.starts[i] + timedelta(hours=plan.duration_h[i]))
        kw = max(0.0, plan.import_kw[i] - stored_kw + WITH_COOLING * max(0.0, waiting_kw) + 1.5 * max(0.0, rise_kw))
        if end > begin:
            limits.append(Obligation(f"{event.id}/quiet-{n}", ObligationKind.IMPORT_LIMIT, round(kw, 3), begin, end, now, event.program))
    return tuple(limits)


def _inside(plan: Plan, start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """The window, taken back by whole days until the plan reaches over it."""
    start = max(start, plan.starts[0])
    while end > plan.horizon.end and start - DAY >= plan.starts[0]:
        start, end = start - DAY, end - DAY
    return start, end
