"""Grid events in the running daemon: the desk on this site's mailbox, history and plan.

The office ticks it; a person at the command line opens the same desk on the same file. What it asks goes to control and planner as
obligations through the mailbox; they hold them also when the office is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ems.errors import DataError
from ems.history.read import HistoryReader
from ems.mailbox import Mailbox
from ems.obligation import Obligation
from ems.office.grid_events import ShownEvent, shown_events
from ems.office.settled_prices import settled_prices
from ems.plan.plan import Plan, decode_plan
from ems.plan.state import PlanState
from ems.program.baseline import Period
from ems.program.channel import FILE_NAME as CHANNELS
from ems.program.decide import Feasibility
from ems.program.desk import UNENROLLED, Desk
from ems.program.enrolment import FILE_NAME as ENROLMENTS
from ems.program.enrolment import EnrolmentFile, load_enrolments
from ems.program.event import GridEvent
from ems.program.judge import judge_event, quiet_limits
from ems.program.ledger import Ledger
from ems.program.library import find_program
from ems.program.measure import MeasureInputs, expected_baseline, held_steps, measure_event, metered_until, moved_periods, reading_plan
from ems.program.meter import MeterSeries, on_grid
from ems.program.stages import SiteFacts, acting_event
from ems.program.status import BaselineSteps, EventStatus, encode_obligation
from ems.program.store import FILE_NAME as STORE
from ems.program.store import EventStore
from ems.program.terms import Terms
from ems.site.model import Site

LATELY = timedelta(minutes=5)
NOT_COUNTED = ("unknown", "suspect", "quarantined")  # states of trust in which a device is not promised
METER_LAG = timedelta(minutes=5)  # after an event's end its last minutes are in the history
METER_PATIENCE = timedelta(hours=2)  # then it is measured with what there is
FORGOTTEN = timedelta(minutes=10)
KEPT = timedelta(hours=1)
HOSTILE = (KeyError, TypeError, ValueError, AttributeError)


class RunPorts:
    """What the event machine asks of this run (see ems.program.machine.Ports)."""

    def __init__(self, site: Site, mailbox: Mailbox, engine: Engine) -> None:
        self.site, self._mailbox, self._history = site, mailbox, HistoryReader(engine)
        self.desk: Desk | None = None
        self._measure_at: dict[str, datetime] = {}  # by event: when the next attempt is due

    def import_kw(self, now: datetime) -> float | None:
        """Mean import of the last minutes; the newest cycle's while history has none."""
        known = [r["poc_kw"] for r in self._minutes(now - LATELY, now) if r["poc_kw"] is not None]
        if known:
            return sum(known) / len(known)
        snapshot = self._mailbox.latest("snapshot", now)
        kw = None if snapshot is None else snapshot.body.get("import_kw")
        return float(kw) if isinstance(kw, int | float) else None

    def baseline_steps(self, event: GridEvent, terms: Terms, now: datetime) -> BaselineSteps:
        """The programme's baseline over the event; () for levels and where history is too short."""
        try:
            run = expected_baseline(event, terms, self._enrolment(event), self.meter(event.start, now, terms), self._other_periods(event))
        except DataError:
            return ()
        return held_steps(run)

    def evaluate(self, event: GridEvent, terms: Terms, reference_kw: float, now: datetime) -> Feasibility:
        """What the newest plan says about the event."""
        plan = self.plan(now)
        reserve = self.reserve_kwh(plan, now)
        ledger = Ledger() if self.desk is None else self.desk.ledger.without(event.id)
        enrolment, trust = self._enrolment(event), self.trust(now)
        return judge_event(event, terms, enrolment, reference_kw, self.site, plan, reserve, ledger, now, trust)

    def quiet(self, event: GridEvent, window: Period, now: datetime) -> tuple[Obligation, ...]:
        """Limits without charging, where a plan reaches over the window."""
        plan = self.plan(now)
        return () if plan is None else quiet_limits(event, window, self.site, plan, now)

    def measure(self, status: EventStatus, terms: Terms, enrolment: EnrolmentFile | None, now: datetime) -> dict[str, Any] | None:
        """Baseline and settlement once the meter data is there; after METER_PATIENCE what stands against it."""
        until = metered_until(min(acting_event(status, terms).end, status.ended_at or now), terms)
        if now < self._measure_at.get(status.event.id, until + METER_LAG):
            return None
        self._measure_at[status.event.id] = now + METER_LAG
        try:
            return measure_event(self.inputs(status, terms, now), terms, enrolment)
        except DataError as error:
            return None if now < until + METER_PATIENCE else {"trouble": str(error)}

    def inputs(self, status: EventStatus, terms: Terms, now: datetime) -> MeasureInputs:
        """What a measurement looks at."""
        event = acting_event(status, terms)
        until = min(event.end, status.ended_at or event.end)
        meter = self.meter(event.start, metered_until(until, terms), terms)
        prices = settled_prices(self._mailbox, terms, event.start, until)
        return MeasureInputs(event, status.accepted_kw, until, meter, self._other_periods(event), prices)

    def meter(self, start: datetime, end: datetime, terms: Terms) -> MeterSeries:
        """The point of connection in history, from as long before `start` as the baseline looks. DataError when there is none."""
        lookback, _, interval_min = reading_plan(terms)
        rows = self._minutes(start - lookback, end)
        if not rows:
            raise DataError("history holds no minute of the point of connection")
        seconds = [datetime.fromisoformat(r["start"]).timestamp() for r in rows]
        return on_grid(seconds, [r["poc_kw"] for r in rows], 60.0, interval_min)

    def plan(self, now: datetime) -> Plan | None:
        """The newest plan."""
        message = self._mailbox.latest("plan", now)
        try:
            return None if message is None else decode_plan(message.body)
        except HOSTILE:
            return None

    def trust(self, now: datetime) -> Mapping[str, float]:
        """Assets that no longer count in what the site promises: odds of nothing for a device that is suspect, quarantined or silent."""
        snapshot = self._mailbox.latest("snapshot", now)
        states = {} if snapshot is None else snapshot.body.get("trust", {})
        return {asset: 0.0 for asset, trust in states.items() if trust.get("state") in NOT_COUNTED}

    def plan_state(self, now: datetime) -> PlanState | None:
        """What the newest cycle says for planning; None where that is not known."""
        snapshot = self._mailbox.latest("snapshot", now)
        try:
            return None if snapshot is None else PlanState.decode(snapshot.body["plan_state"])
        except HOSTILE:
            return None

    def reserve_kwh(self, plan: Plan | None, now: datetime) -> Mapping[str, float]:
        """Per UPS what must stay in its store for the critical load; nothing where that is not known."""
        state = self.plan_state(now)
        if state is None or plan is None or plan.critical_q99_kw is None:
            return {}
        critical_kw = max(state.critical_kw, plan.critical_q99_kw)
        return {u.id: u.reserve_soc(critical_kw) * u.energy_kwh for u in self.site.upses}

    def minute_kw(self, start: datetime, end: datetime) -> list[float | None]:
        """Minute means of the point of connection."""
        return [r["poc_kw"] for r in self._minutes(start, end)]

    def minute_rows(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """The same with the start of each minute; minutes that were not recorded are not there."""
        return self._minutes(start, end)

    def _enrolment(self, event: GridEvent) -> EnrolmentFile | None:
        return None if self.desk is None else self.desk.enrolments.get(event.program)

    def _other_periods(self, event: GridEvent) -> tuple[Period, ...]:
        return () if self.desk is None else moved_periods(self.desk.events.values(), event.id)

    def _minutes(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        try:
            return self._history.site_minutes(start, end)
        except SQLAlchemyError:
            return []  # no history yet: nothing is known


class Programs:
    """The desk of a run, opened when it is first needed, and the obligations it has sent."""

    def __init__(self, site: Site, state_dir: Path, mailbox: Mailbox, engine: Engine) -> None:
        self.site, self.state_dir, self._mailbox = site, state_dir, mailbox
        self.ports = RunPorts(site, mailbox, engine)
        self.before: Callable[[Desk, datetime], None] = lambda desk, now: None  # takes what the channels brought
        self.others: Callable[[datetime], Iterable[Obligation]] = lambda now: ()  # what connections ask
        self.shown: tuple[ShownEvent, ...] = ()  # for eyes, as of the last tick
        self._sent: dict[str, Obligation] = {}
        self._opened: tuple[float, Desk] | None = None

    def desk(self) -> Desk:
        """The desk; opened anew when the enrolments changed."""
        path = self.enrolments_path
        stamp = path.stat().st_mtime if path.is_file() else 0.0
        if self._opened is None or self._opened[0] != stamp:
            self.close()
            enrolments = load_enrolments(path)
            names = {*UNENROLLED, *(e.program for e in enrolments)}
            programs = {name: find_program(name, path) for name in names}
            facts = SiteFacts(
                self.site.name, self.site.point_of_connection.ramp_limit_kw_per_min, self.site.point_of_connection.import_limit_kw
            )
            desk = Desk(EventStore(self.state_dir / STORE), facts, programs, enrolments, self.ports)
            self.ports.desk = desk
            self._opened = (stamp, desk)
        return self._opened[1]

    @property
    def enrolments_path(self) -> Path:
        """Where the site says which programmes it takes part in."""
        return self.state_dir / ENROLMENTS

    @property
    def is_needed(self) -> bool:
        """True when the site is enrolled anywhere, has events or channels."""
        return any((self.state_dir / name).exists() for name in (ENROLMENTS, STORE, CHANNELS))

    def tick(self, now: datetime) -> int:
        """Moves the events and sends what changed; the number of obligations sent."""
        if not self.is_needed:
            return 0
        desk = self.desk()
        self.before(desk, now)
        desk.tick(now)
        self.shown = shown_events(desk.events.values(), now)
        return self.send(desk, now)

    def send(self, desk: Desk, now: datetime) -> int:
        """Sends every obligation that was not sent yet in this form. After a restart all are sent again: that changes nothing."""
        wanted = [o for o in (*desk.obligations(), *self.others(now)) if o.end > now - FORGOTTEN and self._sent.get(o.id) != o]
        messages = [(encode_obligation(o), now, max(now, o.end) + KEPT) for o in wanted]
        if messages and not self._mailbox.post_many("event", messages):
            raise DataError("obligations could not be sent: the mailbox is busy")
        self._sent = {k: o for k, o in self._sent.items() if o.end > now - FORGOTTEN} | {o.id: o for o in wanted}
        return len(messages)

    def close(self) -> None:
        """Closes the store."""
        if self._opened is not None:
            self._opened[1].store.close()
            self._opened = None
