"""The desk: takes messages, moves events, says what the site must hold. Everything is written before it has an effect.

All that stands in memory is folded from the store; a new desk on the same file goes on where the old one was cut off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from ems.errors import DataError
from ems.obligation import Obligation
from ems.program.decide import used_up
from ems.program.enrolment import EnrolmentFile, enrolled_terms
from ems.program.event import GridEvent, fault_of, unreadable
from ems.program.flexibility import Promised
from ems.program.ledger import Commitment, Ledger
from ems.program.machine import Context, Move, Ports, next_move
from ems.program.schema import ProgramFile
from ems.program.stages import SiteFacts, basis_kw, stages
from ems.program.states import AFTER, FINAL, MOVING, WAITING, State, may_move
from ems.program.status import EventStatus, encode_obligation, fold
from ems.program.store import EventStore, Record
from ems.program.terms import Terms, local_day, terms_on

MOST_RAW = 1_000_000  # characters of a message that are kept; its hash is of all of it
LOOKED_AT_EVERY = timedelta(minutes=5)
MOST_MOVES = 40  # of one event in one tick; more is a defect, not work
UNENROLLED = ("manual",)  # programmes that a person may use without an enrolment
PAID = ("capacity", "energy")  # kinds of programme that buy a reduction
LIVE = frozenset({*WAITING, *MOVING, State.RECOVERING, State.ACCEPTED, State.PARTIAL, State.ABORTED})


@dataclass(frozen=True)
class Message:
    """What arrived: the raw text as it came, who says so, and the event it means (None: `problem` says why it means none)."""

    source: str
    raw: str
    event: GridEvent | None
    problem: str = ""

    @property
    def sha256(self) -> str:
        """Of the raw text."""
        return hashlib.sha256(self.raw.encode()).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What became of a message: taken, duplicate or refused."""

    verdict: str
    why: str
    event: str = ""


def is_closed(status: EventStatus) -> bool:
    """True when time alone moves the event no more."""
    if status.posted:
        return False
    if status.state in (State.DECLINED, State.CANCELLED):
        return not status.is_moving
    return status.state in FINAL or status.state is State.SETTLED_ESTIMATE


def commitment_of(status: EventStatus) -> Commitment | None:
    """What an accepted event that is not over takes of each resource. One that needs none, the plan being low enough, stands as well."""
    resources = (status.feasibility or {}).get("resources") or {}
    if status.opt not in ("in", "partial") or status.state not in LIVE or status.ended_at is not None:
        return None
    taken = {name: Promised(kw, kwh) for name, (kw, kwh) in resources.items()}
    kw = sum(p.kw for p in taken.values())
    return Commitment(status.event.id, status.event.program, status.event.start, status.event.end, kw, taken)


class Desk:
    """The events of one site. `programs` by name; `enrolments` say in which of them the site takes part."""

    def __init__(
        self, store: EventStore, site: SiteFacts, programs: Mapping[str, ProgramFile], enrolments: Sequence[EnrolmentFile], ports: Ports
    ) -> None:
        self.store, self.site, self.programs, self.ports = store, site, programs, ports
        self.enrolments = {e.program: e for e in enrolments}
        self.events: dict[str, EventStatus] = {}
        self.alarms: list[str] = []
        self._sequence = 0
        self._seen: set[str] = set()
        self._commitments: dict[str, Commitment] = {}
        self._pending: dict[str, dict[str, Any]] = {}
        self._looked_at: dict[str, datetime] = {}
        self._is_sure: dict[str, bool] = {}
        self._terms_by_day: dict[tuple[str, date], Terms] = {}
        self.refresh()

    def refresh(self) -> None:
        """Takes what other processes wrote."""
        for record in self.store.since(self._sequence):
            self._take(record)

    # -- what comes in --------------------------------------------------------------------------------------------------------------

    def receive(self, message: Message, now: datetime) -> Answer:
        """Takes one message: written as it came, then its event moves as far as it can. A repeated one changes nothing."""
        with self.store.exclusive():
            return self._receive(message, now)

    def _receive(self, message: Message, now: datetime) -> Answer:
        self.refresh()
        answer = self._judge(message, now)
        key = f"{message.sha256}|{answer.verdict}"
        if answer.verdict == "duplicate" or (answer.verdict == "refused" and key in self._seen):
            return answer
        is_taken = message.event is not None and answer.verdict == "taken"
        body = {"source": message.source, "raw": message.raw[:MOST_RAW], "sha256": message.sha256, **vars(answer)}
        self._write(now, "message", answer.event, {**body, "encoded": message.event.encode() if message.event and is_taken else None})
        if message.event is None or not is_taken:
            return answer
        self._apply(message.event, now)
        self._tick(now)
        return answer

    def keep(self, message: Message, verdict: str, why: str, now: datetime) -> bool:
        """Writes a message that is no event of the desk's own (a capacity limit, a price, what cannot be read) once; False: known."""
        with self.store.exclusive():
            self.refresh()
            if f"{message.sha256}|{verdict}" in self._seen:
                return False
            body = {"source": message.source, "raw": message.raw[:MOST_RAW], "sha256": message.sha256, "verdict": verdict, "why": why}
            self._write(now, "message", "", {**body, "event": "", "encoded": None})
            return True

    def note(self, event: str, body: Mapping[str, object], now: datetime) -> None:
        """Writes a remark about an event, such as a report that was sent."""
        with self.store.exclusive():
            self.refresh()
            self._write(now, "note", event, body)

    def cancel_missing(self, program: str, present: Sequence[str], source: str, now: datetime) -> list[str]:
        """A full list of a programme's events arrived: those it does not name are cancelled. Gives their ids."""
        with self.store.exclusive():
            return self._cancel_missing(program, present, source, now)

    def _cancel_missing(self, program: str, present: Sequence[str], source: str, now: datetime) -> list[str]:
        self.refresh()
        gone = [e for e, s in self.events.items() if s.event.program == program and e not in present and self._may_cancel(s)]
        for event in gone:
            dropped = replace(self.events[event].event, is_cancelled=True)
            body = {"source": source, "raw": "", "sha256": "", "verdict": "taken", "why": "no longer listed by the counterparty"}
            self._write(now, "message", event, {**body, "encoded": dropped.encode()})
            self._apply(dropped, now, body["why"])
        if gone:
            self._tick(now)
        return gone

    def override(self, event: str, opt: str, by: str, why: str, now: datetime) -> str:
        """A person's decision: in, out or abort. It always wins and carries the name. DataError where it can no longer be taken."""
        with self.store.exclusive():
            return self._override(event, opt, by, why, now)

    def _override(self, event: str, opt: str, by: str, why: str, now: datetime) -> str:
        self.refresh()
        if event not in self.events:
            raise DataError(f"no event {event}")
        state = self.events[event].state
        to = {"in": State.ACCEPTED, "out": State.DECLINED, "abort": State.ABORTED}.get(opt)
        if to is None or not may_move(state, to):
            raise DataError(f"event {event} is {state}: {opt} is not possible")
        self._move(event, Move(to, {"why": why, "by": by}), now)
        self._tick(now)
        return f"{event}: {opt} by {by}: {why}"

    def statement(self, event: str, amount: Decimal, by: str, now: datetime) -> str:
        """The counterparty's statement: the settlement is final, with its difference to the estimate. DataError before there is one."""
        with self.store.exclusive():
            self.refresh()
            status = self.events.get(event)
            if status is None or status.state is not State.SETTLED_ESTIMATE:
                raise DataError(f"event {event} is {status.state if status else 'not known'}: there is no estimate to compare with")
            estimate = (status.result or {}).get("settlement")
            if estimate is None:
                raise DataError(f"event {event}: nothing was estimated ({(status.result or {}).get('trouble', 'no result')})")
            difference = amount - Decimal(estimate["expected"])
            is_inside = Decimal(estimate["low"]) <= amount <= Decimal(estimate["high"])
            why = f"stated {amount}, estimated {estimate['expected']}: {'inside' if is_inside else 'outside'} low to high"
            result = {"statement": str(amount), "difference": str(difference)}
            self._move(event, Move(State.SETTLED_FINAL, {"why": why, "by": by, "result": result}), now)
            return f"{event}: {why}, difference {difference}"

    def _judge(self, message: Message, now: datetime) -> Answer:
        event = message.event
        if event is None:
            return Answer("refused", message.problem or "no event in it")
        old = self.events.get(event.id)
        if event.program not in self.programs:
            return Answer("refused", f"no programme {event.program} in which the site is enrolled", event.id)
        if unreadable(event) and (old is None or not event.is_cancelled):
            return Answer("refused", unreadable(event), event.id)
        enrolment = self.enrolments.get(event.program)
        if event.program not in UNENROLLED and enrolment is None:
            return Answer("refused", f"the site is not enrolled in {event.program}", event.id)
        is_withdrawn = old is not None and event.is_cancelled  # that is always taken: the site may be holding it
        if enrolment is not None and not is_withdrawn and not enrolment.is_active(day := self._day_of(event, old, now)):
            ends = f" until {enrolment.until}" if enrolment.until is not None else ""
            why = f"the enrolment in {event.program} is {enrolment.status}, from {enrolment.since}{ends}; the event begins on {day}"
            return Answer("refused", why, event.id)
        return Answer("taken", "", event.id) if old is None else self._judge_again(event, old, now)

    def _day_of(self, event: GridEvent, old: EventStatus | None, now: datetime) -> date:
        """The programme's local day on which an event begins; one that is withdrawn without its intervals goes by what is known of it."""
        intervals = event.intervals or (old.event.intervals if old is not None else ())
        return local_day(self.programs[event.program], intervals[0].start if intervals else now)

    def _judge_again(self, event: GridEvent, old: EventStatus, now: datetime) -> Answer:
        if event.modification == old.event.modification:
            if event.fingerprint() == old.event.fingerprint():
                return Answer("duplicate", "known already", event.id)
            if not (event.is_cancelled and not old.event.is_cancelled):
                return Answer("refused", f"another event under the same modification {event.modification}", event.id)
        if event.modification < old.event.modification:
            return Answer("refused", f"modification {event.modification} is older than {old.event.modification}", event.id)
        if event.program != old.event.program:
            return Answer("refused", f"the event belongs to {old.event.program}", event.id)
        if old.state in FINAL or old.state in AFTER or old.state in (State.RECOVERING, State.CANCELLED):
            return Answer("refused", f"the event is {old.state} already", event.id)
        fault = "" if event.is_cancelled else fault_of(event, now)  # the version known stands
        return Answer("refused", fault, event.id) if fault else Answer("taken", "", event.id)

    def _apply(self, event: GridEvent, now: datetime, why: str = "cancelled by the counterparty") -> None:
        old = self.events.get(event.id)
        body = {"event": event.encode(), "draw_s": event.draw_s(self.site.name)}
        if old is None:
            self._move(event.id, Move(State.RECEIVED, body), now)
            if event.is_cancelled:
                self._move(event.id, Move(State.CANCELLED, {"why": "cancelled before it was known", **body}), now)
        elif event.is_cancelled:
            if self._may_cancel(old):
                kept = replace(old.event, modification=event.modification, is_cancelled=True)
                self._move(event.id, Move(State.CANCELLED, {"why": why, "event": kept.encode()}), now)
        else:
            self._move(event.id, Move(State.MODIFIED, body), now)

    def _may_cancel(self, status: EventStatus) -> bool:
        return may_move(status.state, State.CANCELLED) and status.state is not State.CANCELLED

    # -- what follows ---------------------------------------------------------------------------------------------------------------

    def tick(self, now: datetime) -> None:
        """Moves every event as far as the time and the measurements allow, and writes what the site must hold from then on."""
        with self.store.exclusive():
            self._tick(now)

    def _tick(self, now: datetime) -> None:
        self.refresh()
        for body in list(self._pending.values()):  # written, but cut off before it was applied
            self._apply(GridEvent.decode(body["encoded"]), now, body.get("why") or "cancelled by the counterparty")
        for event in [e for e, s in self.events.items() if not is_closed(s)]:
            for _ in range(MOST_MOVES):
                status = self.events[event]
                move = None if is_closed(status) else next_move(status, now, self._context(status, now))
                if move is None:
                    break
                self._move(event, move, now)
            self._post(event, now)
            self._look_again(event, now)

    def obligations(self) -> tuple[Obligation, ...]:
        """Everything the site must hold, as last written; what was withdrawn comes with its end in the past."""
        live = [s for s in self.events.values() if s.posted or s.withdrawn]
        return tuple(o for s in live for o in (*s.withdrawn, *s.posted))

    @property
    def ledger(self) -> Ledger:
        """What is promised: offers that were taken, and accepted events that are not over."""
        return Ledger((*self._commitments.values(), *(c for s in self.events.values() if (c := commitment_of(s)) is not None)))

    def promise(self, commitment: Commitment, now: datetime) -> None:
        """Writes an offer that the counterparty took."""
        with self.store.exclusive():
            self.refresh()
            self._write(now, "commitment", "", {"promised": commitment.encode()})

    def release(self, name: str, now: datetime) -> None:
        """Writes that a commitment stands no more."""
        with self.store.exclusive():
            self.refresh()
            self._write(now, "commitment", "", {"released": name})

    def _post(self, event: str, now: datetime) -> None:
        status = self.events[event]
        wanted = self._wanted(status, now)
        if wanted == status.posted:
            return
        names = {o.id for o in wanted}
        withdrawn = tuple(replace(o, end=min(o.end, now), start=min(o.start, now)) for o in status.posted if o.id not in names)
        body = {"posted": [encode_obligation(o) for o in wanted], "withdrawn": [encode_obligation(o) for o in withdrawn]}
        self._write(now, "posted", event, body)

    def _look_again(self, event: str, now: datetime) -> None:
        """Asks at every re-plan whether an accepted event that has not begun can still be delivered; a change is written and told."""
        status = self.events[event]
        if status.state not in WAITING or now - self._looked_at.get(event, status.since) < LOOKED_AT_EVERY:
            return
        self._looked_at[event] = now
        context = self._context(status, now)
        basis = status.baseline_kw if status.baseline_kw is not None else context.reference_kw
        found = self.ports.evaluate(status.event, context.terms, basis, now)
        is_sure, was_sure = found.chance >= context.accept_probability, self._is_sure.get(event, True)
        if is_sure != was_sure:
            why = f"{found.asked_kw:.0f} kW hold with probability {found.chance:.2f}" + (f": {found.limiting}" if not is_sure else "")
            self._write(now, "note", event, {"why": why, "feasibility": vars(found)})
            self.alarms = [*self.alarms[-19:], f"event {event}: {why}"]

    def _wanted(self, status: EventStatus, now: datetime) -> tuple[Obligation, ...]:
        if status.state is State.COMPLETED or status.state in AFTER or status.state in FINAL:
            return ()
        if status.state not in LIVE:  # looked at anew: what was asked before stands until that is decided
            return status.posted if status.is_moving else ()
        if self._standing(status) is not None:
            status = replace(status, quiet=())  # another event moves the site: nobody counts from the import now
        return stages(status, self.terms_of(status.event), self.site, self._reference(status, self._measured(now)))

    def _context(self, status: EventStatus, now: datetime) -> Context:
        terms = self.terms_of(status.event)
        others = [s for e, s in self.events.items() if e != status.event.id and s.event.program == terms.program]
        taken = [s for s in others if s.opt in ("in", "partial") and not (s.event.is_cancelled and s.moved_at is None)]
        enrolment = self.enrolments.get(status.event.program)
        measured = self._measured(now)
        reference = self._reference(status, measured)
        exhausted = used_up(terms, status.event, taken) or self._sold_already(status.event, terms)
        first = self._standing(status)
        standing_kw = None if first is None or first.reference_kw is None else basis_kw(first, first.reference_kw)
        is_read = first is None or first.state is not State.RAMPING_DOWN
        return Context(terms, enrolment, self.site, self.ports, reference, measured, standing_kw, is_read, exhausted)

    def _standing(self, status: EventStatus) -> EventStatus | None:
        """The event that has moved the site longest; None where that is this one, or where none moves it."""
        moving = [s for s in self.events.values() if s.is_moving and s.reference_kw is not None]
        first = min(moving, key=lambda s: (s.moved_at or s.since, s.event.id), default=None)
        return None if first is None or first.event.id == status.event.id else first

    def _sold_already(self, event: GridEvent, terms: Terms) -> str:
        """Why a programme that pays may not have this event beside what stands: another one that pays has the same hours, or it was called
        twice and would pay the same kWh twice. Limits and orders sell nothing: they stand beside any."""
        if terms.kind not in PAID or not event.intervals:
            return ""
        sold = Ledger(tuple(c for c in self.ledger.without(event.id).commitments if self._kind_of(c.program) in PAID))
        if refusal := sold.refusal(terms, event.start, event.end):
            return refusal
        if terms.stacking.mode != "exclusive" or all(p.per != "kwh" for p in terms.payments):
            return ""
        twice = [c.id for c in sold.commitments if c.program == terms.program and c.start < event.end and c.end > event.start]
        return f"{twice[0]} is paid for the same kWh" if twice else ""

    def _kind_of(self, program: str) -> str:
        return self.programs[program].kind if program in self.programs else ""

    def terms_of(self, event: GridEvent) -> Terms:
        """The terms in force on the event's local day."""
        file = self.programs[event.program]
        first = event.intervals[0].start if event.intervals else self.events[event.id].received_at
        key = (event.program, local_day(file, first))
        if key not in self._terms_by_day:
            enrolment = self.enrolments.get(event.program)
            self._terms_by_day[key] = enrolled_terms(file, enrolment, key[1]) if enrolment is not None else terms_on(file, key[1])
        return self._terms_by_day[key]

    def _reference(self, status: EventStatus, measured_kw: float | None) -> float:
        """Import before the event: frozen when the site moves; until then as it was at the decision."""
        known = [kw for kw in (status.reference_kw, status.planned_kw, measured_kw) if kw is not None]
        return known[0] if known else self.site.import_limit_kw

    def _measured(self, now: datetime) -> float | None:
        """Import now; before another event that moves, what it was before that."""
        others = [s.reference_kw for s in self.events.values() if s.is_moving and s.reference_kw is not None]
        measured = self.ports.import_kw(now)
        known = [kw for kw in (measured, *others) if kw is not None]
        return max(known, default=None)

    # -- writing --------------------------------------------------------------------------------------------------------------------

    def _move(self, event: str, move: Move, now: datetime) -> None:
        self._write(now, "state", event, {"to": move.to.value, **move.body})
        if move.alarm:
            self.alarms = [*self.alarms[-19:], move.alarm]

    def _write(self, now: datetime, kind: str, event: str, body: Mapping[str, object]) -> None:
        self._take(self.store.append(now, kind, event, body))

    def _take(self, record: Record) -> None:
        self._sequence = record.sequence
        if record.kind == "message":
            self._seen.add(f"{record.body.get('sha256')}|{record.body.get('verdict')}")
            if record.body.get("encoded"):
                self._pending[record.event] = record.body
        elif record.kind == "note" and "feasibility" in record.body:
            self._is_sure[record.event] = not self._is_sure.get(record.event, True)
        elif record.kind == "commitment":
            if promised := record.body.get("promised"):
                self._commitments[promised["id"]] = Commitment.decode(promised)
            self._commitments.pop(record.body.get("released", ""), None)
        elif record.kind == "state":
            self._pending.pop(record.event, None)
        if record.event and (record.event in self.events or record.kind == "state"):
            status = fold(self.events.get(record.event), record)
            if status is not None:
                self.events[record.event] = status
