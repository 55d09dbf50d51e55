"""The next move of an event: a function of its status, the time and what is measured. It does nothing itself.

The desk writes each move before anything follows from it; asked again with the same status it gives the same move, so that a crash
between any two writes changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from ems.obligation import Obligation
from ems.program.decide import OUTSIDE, Feasibility, decide, short_notice
from ems.program.enrolment import EnrolmentFile
from ems.program.event import GridEvent, fault_of
from ems.program.stages import (
    PREPOSITION_LEAD,
    SiteFacts,
    acting_event,
    adjustment_window,
    basis_at,
    held_kw,
    limit_kw,
    ramp_begins,
    reads_before,
    recovered_at,
)
from ems.program.stages import stages as stages_of
from ems.program.states import WAITING, State
from ems.program.status import BaselineSteps, EventStatus, encode_obligation, encode_steps
from ems.program.terms import Terms

DERATE_SHARE = 0.05  # of the reduction: less is delivered than compliance asks for
FREEZE_LEAD = timedelta(minutes=1)  # the import before the event is frozen this long before the first limit can move it
SETTLES_IN = timedelta(minutes=5)
METERED_IN = timedelta(seconds=75)  # after it a minute is in the history


class Ports(Protocol):
    """What the machine asks of the world. Each must answer at once; None means not known (now)."""

    def import_kw(self, now: datetime) -> float | None:
        """Mean import of the last minutes."""

    def baseline_steps(self, event: GridEvent, terms: Terms, now: datetime) -> BaselineSteps:
        """The programme's baseline over the event, as far as the meter data of now says: kW by the start of each of its intervals, () where
        it is a level or the history is too short."""

    def evaluate(self, event: GridEvent, terms: Terms, reference_kw: float, now: datetime) -> Feasibility:
        """What can be delivered."""

    def quiet(self, event: GridEvent, window: tuple[datetime, datetime], now: datetime) -> tuple[Obligation, ...]:
        """Limits that keep storage from charging inside a window."""

    def measure(self, status: EventStatus, terms: Terms, enrolment: EnrolmentFile | None, now: datetime) -> dict[str, Any] | None:
        """Baseline, performance and settlement as plain data; None while the meter data is not there yet."""


@dataclass(frozen=True)
class Context:
    """What is known about one event's programme now."""

    terms: Terms
    enrolment: EnrolmentFile | None
    site: SiteFacts
    ports: Ports
    reference_kw: float  # import before the event: frozen, planned or measured
    measured_kw: float | None = None  # import now, or before another event that moves
    standing_kw: float | None = None  # what another event that moved before this one is counted from; None where there is none
    is_standing_read: bool = True  # false until the minutes it is read in are all in the history
    exhausted: str = ""

    @property
    def accept_probability(self) -> float:
        """Demanded of an offer."""
        return self.enrolment.accept_probability if self.enrolment is not None else 0.9


@dataclass(frozen=True)
class Move:
    """One transition and what is written with it."""

    to: State
    body: dict[str, Any]
    alarm: str = ""


def next_move(status: EventStatus, now: datetime, context: Context) -> Move | None:
    """The next move, None while there is nothing to do."""
    match status.state:
        case State.RECEIVED | State.MODIFIED:
            return _checked(status, now, context)
        case State.VALIDATED:
            return _evaluated(status, now, context)
        case State.EVALUATED:
            return _decided(status, context)
        case State.ACCEPTED | State.PARTIAL:
            return _scheduled(status, now, context)
        case State.DECLINED:
            return _recovering(status, now, context, "declined after the site had moved") if status.is_moving else None
        case State.CANCELLED:
            return _recovering(status, now, context, "cancelled") if status.is_moving else None
        case State.ABORTED:
            return _recovering(status, now, context, "aborted")
        case _ if status.state in WAITING:
            return _waiting(status, now, context)
        case State.RAMPING_DOWN:
            return _begun(status, now, context)
        case State.HOLDING | State.DERATED:
            return _holding(status, now, context)
        case State.RECOVERING:
            return _back(status, now, context)
        case _:
            return _afterwards(status, now, context)


def _checked(status: EventStatus, now: datetime, context: Context) -> Move:
    fault = fault_of(status.event, now)
    if fault:
        return Move(State.REJECTED, {"why": fault})
    if status.event.end <= now and not status.is_moving:
        return Move(State.EXPIRED, {"why": f"over since {status.event.end.isoformat()}"})
    if status.state is State.MODIFIED:
        return _evaluated(status, now, context)
    return Move(State.VALIDATED, {})


def _evaluated(status: EventStatus, now: datetime, context: Context) -> Move:
    """What can be delivered; after the site has moved, what it counts from is frozen already."""
    terms, moved = context.terms, status.is_moving
    baseline_kw, steps = _counted_from(status, now, context)
    reference_kw = context.reference_kw if moved or context.measured_kw is None else context.measured_kw
    found = context.ports.evaluate(status.event, terms, reference_kw if baseline_kw is None else baseline_kw, now)
    counted = {"reference_kw": reference_kw, "baseline_kw": baseline_kw, "baseline_steps": encode_steps(steps)}
    return Move(State.EVALUATED, {"feasibility": vars(found), **counted})


def _counted_from(status: EventStatus, now: datetime, context: Context) -> tuple[float | None, BaselineSteps]:
    """The baseline's mean and its intervals; once the site has moved, those frozen then. Where the programme reads the meter before the
    event while another one is held, what that one is counted from: the reduced import is nobody's baseline."""
    if status.is_moving:
        return status.baseline_kw, status.baseline_steps
    if context.standing_kw is not None and reads_before(context.terms):
        return context.standing_kw, ()
    steps = context.ports.baseline_steps(status.event, context.terms, now)
    return _mean_kw(steps), steps


def _mean_kw(steps: BaselineSteps) -> float | None:
    return sum(kw for _, kw in steps) / len(steps) if steps else None


def _decided(status: EventStatus, context: Context) -> Move:
    found = Feasibility(**(status.feasibility or {}))
    decision = decide(context.terms, status.event, found, context.accept_probability, context.exhausted)
    why = decision.why
    if decision.to is State.DECLINED and not why.startswith(OUTSIDE) and (late := short_notice(context.terms, status)):
        why = f"{OUTSIDE}: {late}; {why}"
    body = {"why": why, "accepted_kw": decision.accepted_kw, "by": "automatic", "feasibility": vars(found)}
    return Move(decision.to, {**body, "rule_version": context.terms.version}, decision.alarm)


def _scheduled(status: EventStatus, now: datetime, context: Context) -> Move:
    if acting_event(status, context.terms).start <= now:
        return Move(State.JOIN_IN_PROGRESS, {"why": "begun already: the rest is delivered"})
    return Move(State.SCHEDULED, {"reference_kw": context.reference_kw})


def _waiting(status: EventStatus, now: datetime, context: Context) -> Move | None:
    begins = ramp_begins(status, context.terms, context.site, context.reference_kw)
    event = acting_event(status, context.terms)
    if now >= begins - FREEZE_LEAD:
        return _ramping(status, now, context)
    window = adjustment_window(event, context.terms)
    opens = min(begins, window[0]) if window else begins
    if status.state is State.SCHEDULED and now >= opens - PREPOSITION_LEAD:
        return _prepositioning(event, window, begins, now, context)
    return None


def _ramping(status: EventStatus, now: datetime, context: Context) -> Move:
    """Freezes what the event is counted from, before the site moves."""
    baseline_kw, steps = _counted_from(status, now, context)
    baseline = {"baseline_kw": baseline_kw, "baseline_steps": encode_steps(steps)}
    if status.is_moving:
        return Move(State.RAMPING_DOWN, {"reference_kw": status.reference_kw, **baseline})
    reference_kw = context.measured_kw if context.measured_kw is not None else context.reference_kw
    if any(o.start < now for o in status.posted if "/quiet-" not in o.id):  # looked late: the first limits hold already
        reference_kw = max(reference_kw, context.reference_kw)
    return Move(State.RAMPING_DOWN, {"reference_kw": reference_kw, **baseline})


def _prepositioning(event: GridEvent, window: tuple[datetime, datetime] | None, begins: datetime, now: datetime, context: Context) -> Move:
    """Storage may be charged for the event until the window opens; inside it the load is what it would be without the event."""
    if window is None:
        intent = f"charging for the event until {begins.isoformat()}: the baseline has no adjustment window"
        return Move(State.PREPOSITIONING, {"intent": intent, "allowed_until": begins.isoformat(), "quiet": []})
    intent = f"charging for the event until {window[0].isoformat()}, none until {window[1].isoformat()}: the load there sets the baseline"
    begin, end = max(now, window[0]), min(window[1], begins)  # the ramp's own limits follow
    asked = context.ports.quiet(event, (begin, end), now) if end > begin else ()
    quiet = [replace(o, sets_baseline=reads_before(context.terms)) for o in asked]
    body = {"intent": intent, "allowed_until": window[0].isoformat(), "quiet": [encode_obligation(o) for o in quiet]}
    return Move(State.PREPOSITIONING, body)


def _holding(status: EventStatus, now: datetime, context: Context) -> Move | None:
    event = acting_event(status, context.terms)
    if now >= event.end:
        return _recovering(status, now, context, "the event is over")
    import_kw = context.ports.import_kw(now)
    if import_kw is None or (status.state is State.HOLDING and now - max(status.since, event.start) < SETTLES_IN):
        return None
    basis = basis_at(status, context.reference_kw, now)
    asked = [limit_kw(event.kind, i.kw, basis, status.accepted_kw) for i in event.intervals if i.start <= now < i.end]
    if not asked:
        return None
    allowed_kw = min(asked) + DERATE_SHARE * max(0.0, basis - min(asked))
    if status.state is State.HOLDING and import_kw > allowed_kw:
        why = f"importing {import_kw:.0f} kW, {min(asked):.0f} kW are asked"
        return Move(State.DERATED, {"why": why}, f"event {event.id} is not held: {why}")
    return Move(State.HOLDING, {"why": "held again"}) if status.state is State.DERATED and import_kw <= min(asked) else None


def _begun(status: EventStatus, now: datetime, context: Context) -> Move | None:
    """The event holds. A baseline that is read off the meter before it is complete only when its last minute is in the history."""
    start = acting_event(status, context.terms).start
    is_shared = context.standing_kw is not None and reads_before(context.terms)
    is_read = reads_before(context.terms) and (bool(status.baseline_steps) or status.baseline_kw is None)
    is_late = is_read if not is_shared else not context.is_standing_read
    if now < (start + METERED_IN if is_late else start):
        return None
    if is_shared:  # as the event before this one is counted now
        return Move(State.HOLDING, {"baseline_kw": context.standing_kw})
    steps = context.ports.baseline_steps(status.event, context.terms, now) if is_read else ()
    return Move(State.HOLDING, {"baseline_kw": _mean_kw(steps), "baseline_steps": encode_steps(steps)} if steps else {})


def _recovering(status: EventStatus, now: datetime, context: Context, why: str) -> Move:
    """The way back up begins where the limit stands now."""
    standing = stages_of(status, context.terms, context.site, context.reference_kw)
    ended_at = min(now, acting_event(status, context.terms).end)
    start_kw = min(held_kw(standing, ended_at - timedelta(microseconds=1), context.reference_kw), context.reference_kw)
    return Move(State.RECOVERING, {"why": why, "start_kw": start_kw, "ended_at": ended_at.isoformat()})


def _back(status: EventStatus, now: datetime, context: Context) -> Move | None:
    """The way back is over; or the baseline is complete only now, of an event that ended before it was."""
    start = acting_event(status, context.terms).start
    ended_at = status.ended_at or now
    if reads_before(context.terms) and status.baseline_steps and start < ended_at and status.since < start + METERED_IN <= now:
        if steps := context.ports.baseline_steps(status.event, context.terms, now):
            read = {"baseline_kw": _mean_kw(steps), "baseline_steps": encode_steps(steps)}
            return Move(State.RECOVERING, {"why": status.why, "start_kw": status.start_kw, "ended_at": ended_at.isoformat(), **read})
    done = recovered_at(status, context.terms, context.site, context.reference_kw)
    return Move(State.COMPLETED, {}) if now >= done else None


def _afterwards(status: EventStatus, now: datetime, context: Context) -> Move | None:
    if status.state is State.COMPLETED:
        found = context.ports.measure(status, context.terms, context.enrolment, now)
        return None if found is None else Move(State.MEASURED, {"result": found})
    if status.state is State.MEASURED:
        return Move(State.REPORTED, {"report": _report(status)})
    if status.state is State.REPORTED:
        settlement = (status.result or {}).get("settlement")
        return Move(
            State.SETTLED_ESTIMATE, {"why": "estimate" if settlement else (status.result or {}).get("trouble", "nothing to settle")}
        )
    return None


def _report(status: EventStatus) -> dict[str, Any]:
    """What any counterparty is told, whatever its protocol."""
    settlement = (status.result or {}).get("settlement") or {}
    return {
        "event": status.event.id,
        "modification": status.event.modification,
        "opt": status.opt,
        "delivered_kwh": settlement.get("delivered_kwh"),
        "obligation_kwh": settlement.get("obligation_kwh"),
        "is_compliant": settlement.get("is_compliant"),
    }
