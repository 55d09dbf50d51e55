"""Where an event stands, folded from its records: nothing is known that was not written first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ems.errors import InvariantBroken
from ems.obligation import Obligation, ObligationKind
from ems.program.event import GridEvent
from ems.program.states import State, may_move
from ems.program.store import Record

BaselineSteps = tuple[tuple[datetime, float], ...]  # kW by the start of each interval, ascending


@dataclass(frozen=True)
class EventStatus:
    """One event now. `reference_kw`: import before the site moved, frozen then; `accepted_kw`: the reduction promised, None: all of it."""

    event: GridEvent
    state: State
    since: datetime
    received_at: datetime
    draw_s: float = 0.0
    opt: str = ""  # in, partial or out
    accepted_kw: float | None = None
    decided_by: str = ""
    why: str = ""
    planned_kw: float | None = None  # the same, as expected when the decision was taken
    reference_kw: float | None = None
    baseline_kw: float | None = None  # what a reduction is counted from, frozen with reference_kw
    baseline_steps: BaselineSteps = ()  # the same by its intervals
    feasibility: dict[str, Any] | None = None
    moved_at: datetime | None = None
    ended_at: datetime | None = None  # when recovery began
    start_kw: float | None = None  # the import limit in force when recovery began
    posted: tuple[Obligation, ...] = ()
    withdrawn: tuple[Obligation, ...] = ()
    quiet: tuple[Obligation, ...] = ()
    result: dict[str, Any] | None = None

    @property
    def is_moving(self) -> bool:
        """True while the site acts on the event."""
        return self.moved_at is not None and self.ended_at is None


def fold(status: EventStatus | None, record: Record) -> EventStatus | None:
    """The status after one more record. InvariantBroken where the records contradict the machine."""
    body = record.body
    if record.kind == "posted" and status is not None:
        posted, withdrawn = (tuple(decode_obligation(o) for o in body[k]) for k in ("posted", "withdrawn"))
        return replace(status, posted=posted, withdrawn=withdrawn)
    if record.kind != "state":
        return status
    state = State(body["to"])
    if not may_move(status.state if status else None, state):
        raise InvariantBroken(f"event {record.event} cannot go from {status.state if status else 'nothing'} to {state}")
    if status is None:
        event = GridEvent.decode(body["event"])
        return EventStatus(event, state, record.at, record.at, float(body["draw_s"]), why=body.get("why", ""))
    return _moved(replace(status, state=state, since=record.at, why=body.get("why", "")), record)


def _moved(status: EventStatus, record: Record) -> EventStatus:
    body, state = record.body, status.state
    if state is State.MODIFIED:
        return replace(status, event=GridEvent.decode(body["event"]), draw_s=float(body["draw_s"]))
    if state is State.CANCELLED and "event" in body:
        return replace(status, event=GridEvent.decode(body["event"]))
    if state in (State.ACCEPTED, State.PARTIAL, State.DECLINED):
        opt = {State.ACCEPTED: "in", State.PARTIAL: "partial", State.DECLINED: "out"}[state]
        return replace(status, opt=opt, accepted_kw=body.get("accepted_kw"), decided_by=body.get("by", "automatic"))
    if state is State.EVALUATED:
        found = replace(status, feasibility=body["feasibility"], planned_kw=body["reference_kw"], baseline_kw=body["baseline_kw"])
        return replace(found, baseline_steps=_steps(body))
    if state is State.PREPOSITIONING:
        return replace(status, quiet=tuple(decode_obligation(o) for o in body.get("quiet", ())))
    if state is State.RAMPING_DOWN and status.moved_at is None:
        found = replace(status, moved_at=record.at, reference_kw=body["reference_kw"], baseline_kw=body["baseline_kw"])
        return replace(found, baseline_steps=_steps(body))
    if state is State.HOLDING and "baseline_kw" in body:
        return replace(status, baseline_kw=body["baseline_kw"], baseline_steps=_steps(body))
    if state is State.RECOVERING:
        if "baseline_kw" in body:
            status = replace(status, baseline_kw=body["baseline_kw"], baseline_steps=_steps(body))
        return replace(status, ended_at=datetime.fromisoformat(body["ended_at"]), start_kw=body["start_kw"])
    if state in (State.MEASURED, State.SETTLED_ESTIMATE, State.SETTLED_FINAL):
        shown = {k: v for k, v in body.get("result", {}).items() if k not in ("meter", "inputs")}  # those stay in the file
        return replace(status, result={**(status.result or {}), **shown})
    return status


def _steps(body: Mapping[str, Any]) -> BaselineSteps:
    return tuple((datetime.fromisoformat(at), float(kw)) for at, kw in body.get("baseline_steps", ()))


def encode_steps(steps: BaselineSteps) -> list[list[Any]]:
    """Plain data."""
    return [[at.isoformat(), kw] for at, kw in steps]


def encode_obligation(o: Obligation) -> dict[str, Any]:
    """Plain data, as the mailbox carries it."""
    return {
        **vars(o),
        "kind": o.kind.value,
        "start": o.start.isoformat(),
        "end": o.end.isoformat(),
        "notice_at": o.notice_at.isoformat(),
    }


def decode_obligation(data: dict[str, Any]) -> Obligation:
    """The obligation back."""
    instants = {k: datetime.fromisoformat(data[k]) for k in ("start", "end", "notice_at")}
    return Obligation(**{**data, **instants, "kind": ObligationKind(data["kind"])})
