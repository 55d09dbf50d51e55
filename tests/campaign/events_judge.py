"""What became of a case, from the meter's truth and the times of the desk's decisions alone; no equation of ems.program is used.

The baseline of an event is the mean import of the quarter of an hour before it; of one that begins while another of the same programme is
held, the quarter before that one. Settlement intervals are quarters of an hour from the event's start, the last one cut at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.campaign.events_cases import Call, Case
from tests.campaign.events_run import Outcome

QUARTER = timedelta(minutes=15)
SHARE = 0.95
REBOUND, REBOUND_MEAN = timedelta(minutes=60), timedelta(minutes=5)
METER_CLASS = 0.002
IN, OUT = ("accepted", "partial"), ("declined", "cancelled", "rejected", "expired")
DERATED = ("derated", "aborted")


@dataclass(frozen=True)
class Duty:
    """What is owed over `[start, end)`: at most `level_kw` of import, `owed_kw` under the baseline."""

    start: datetime
    end: datetime
    level_kw: float
    owed_kw: float


@dataclass(frozen=True)
class Interval:
    """One settlement interval in kWh: owed, delivered, and whether 95 % of it were."""

    start: datetime
    owed_kwh: float
    delivered_kwh: float
    is_compliant: bool


@dataclass(frozen=True)
class Judged:
    """One event."""

    event: str
    opts: tuple[str, ...]  # its decisions: accepted, partial, declined, ...
    is_derated: bool
    baseline_kw: float
    intervals: tuple[Interval, ...]
    rebound_kw: float  # highest five-minute mean above the baseline within the hour after, kW; 0 when none
    why: str = ""

    @property
    def is_compliant(self) -> bool:
        return all(i.is_compliant for i in self.intervals)

    @property
    def worst(self) -> float:
        """The least share delivered in an interval."""
        return min((i.delivered_kwh / i.owed_kwh for i in self.intervals if i.owed_kwh > 0), default=1.0)


@dataclass
class _Life:
    """An event's decisions: (instant, version decided on, opt, kW taken of it)."""

    decisions: list[tuple[datetime, Call | None, str, float | None]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    why: str = ""


def judge(case: Case, outcome: Outcome) -> list[Judged]:
    """Every event of a case."""
    lives = {name: _life(case, outcome, name) for name in sorted({c.event for c in case.calls})}
    duties = {name: _spans(case, life) for name, life in lives.items()}
    return [_judged(outcome, name, lives[name], duties) for name in lives]


def _life(case: Case, outcome: Outcome, name: str) -> _Life:
    calls = {c.modification: c for c in case.calls if c.event == name}
    life, version = _Life(), 0
    for r in outcome.records:
        if r.kind != "state" or r.event != name:
            continue
        state = r.body["to"]
        life.states.append(state)
        if state == "modified":
            version = r.body["event"]["modification"]
        if state in IN:
            life.decisions.append((r.at, calls[version], state, r.body["accepted_kw"]))
        elif state in OUT:
            life.decisions.append((r.at, None, state, None))
        if state in (*IN, *OUT) and (not life.why or state == "declined"):
            life.why = r.body.get("why", "")
    return life


def _spans(case: Case, life: _Life) -> list[tuple[datetime, datetime, Call, float | None]]:
    """The times in which something was owed, with the version and what was taken of it."""
    found = []
    ends = [d[0] for d in life.decisions[1:]] + [datetime.max.replace(tzinfo=case.begins_at.tzinfo)]
    for (at, call, _, taken), until in zip(life.decisions, ends, strict=True):
        if call is not None:
            start = max(at, case.begins_at + timedelta(minutes=call.start_min))
            end = min(until, case.begins_at + timedelta(minutes=call.end_min))
            if end > start:
                found.append((start, end, call, taken))
    return found


def _judged(outcome: Outcome, name: str, life: _Life, spans: dict[str, list[tuple[datetime, datetime, Call, float | None]]]) -> Judged:
    own = spans[name]
    opts = tuple(d[2] for d in life.decisions)
    is_derated = any(s in DERATED for s in life.states)
    if not own:
        return Judged(name, opts, is_derated, 0.0, (), 0.0, life.why)
    edge = own[0][0] if own[0][2].start_min < 0 else outcome.begins_at + timedelta(minutes=own[0][2].start_min)
    for other in sorted(spans):
        if other != name and spans[other] and spans[other][0][0] <= edge < spans[other][-1][1]:
            edge = spans[other][0][0]
    baseline_kw = mean_import(outcome, edge - QUARTER, edge)
    duties = [_duty(outcome, baseline_kw, *span) for span in own]
    intervals = tuple(_intervals(outcome, baseline_kw, duties))
    last = max(s[-1][1] for s in spans.values() if s)
    return Judged(name, opts, is_derated, baseline_kw, intervals, _rebound(outcome, baseline_kw, last), life.why)


def _duty(outcome: Outcome, baseline_kw: float, start: datetime, end: datetime, call: Call, taken_kw: float | None) -> Duty:
    asked_kw = outcome.asked_kw[call.event, call.modification]
    level_kw = max(0.0, baseline_kw - asked_kw) if call.kind == "reduce_by" else asked_kw
    if taken_kw is not None:
        level_kw = max(level_kw, baseline_kw - taken_kw)
    return Duty(start, end, level_kw, max(0.0, baseline_kw - level_kw))


def _intervals(outcome: Outcome, baseline_kw: float, duties: Sequence[Duty]) -> Iterator[Interval]:
    start, end = duties[0].start, duties[-1].end
    while start < end:
        until = min(start + QUARTER, end)
        parts = [(max(d.start, start), min(d.end, until), d) for d in duties if d.start < until and d.end > start]
        allowed = owed = used = 0.0
        for a, b, d in parts:
            hours = (b - a).total_seconds() / 3600.0
            used += mean_import(outcome, a, b) * hours
            owed += d.owed_kw * hours
            allowed += (d.level_kw + (1.0 - SHARE) * d.owed_kw) * hours
        hours = sum((b - a).total_seconds() for a, b, _ in parts) / 3600.0
        if parts:
            yield Interval(start, owed, baseline_kw * hours - used, used <= allowed + 1e-6)
        start = until


def _rebound(outcome: Outcome, baseline_kw: float, ended: datetime) -> float:
    worst, at = 0.0, ended
    measured_until = outcome.begins_at + timedelta(seconds=outcome.step_s * len(outcome.import_kw))
    while at + REBOUND_MEAN <= min(ended + REBOUND, measured_until):
        worst = max(worst, mean_import(outcome, at, at + REBOUND_MEAN) - baseline_kw * (1.0 + METER_CLASS))
        at += REBOUND_MEAN
    return worst


def mean_import(outcome: Outcome, start: datetime, end: datetime) -> float:
    """Mean import in kW, parts of a step weighted."""
    first, last = ((t - outcome.begins_at).total_seconds() / outcome.step_s for t in (start, end))
    total, at = 0.0, first
    while at < last - 1e-9:
        step = min(int(at + 1e-9), len(outcome.import_kw) - 1)
        upto = min(last, step + 1.0) if step + 1.0 > at + 1e-9 else last
        total += outcome.import_kw[step] * (upto - at)
        at = upto
    return total / (last - first)
