"""One random event on the simulated site: the replay's loop, with the product's own desk between the calls and the controller.

The head-end's calls reach `ems.program.desk.Desk` as messages; what the desk posts goes to controller and planner through
`ems.office.programs.Programs.send`, as in the daemon. The desk looks at the same minutes, plan and trust as the daemon's
(`ems.office.programs.RunPorts`), only that they come from this process instead of a mailbox and a database.
"""

from __future__ import annotations

import gc
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from ems.control.controller import Controller, decode_obligation
from ems.control.decision import Decision
from ems.control.plan_state import plan_state
from ems.forecast.peak_watch import PeakWatch
from ems.mailbox import Message as Posted
from ems.messages import MinuteFrame, Mode
from ems.obligation import ObligationKind
from ems.office.programs import Programs, RunPorts
from ems.plan.plan import Plan
from ems.program.desk import Desk, Message
from ems.program.enrolment import EnrolmentFile
from ems.program.event import EventInterval, GridEvent
from ems.program.library import load_program
from ems.program.stages import SiteFacts
from ems.program.store import EventStore, Record
from ems.replay import generated
from ems.replay.future import TruePeak
from ems.replay.ledger import Ledger
from ems.replay.planning import Planning
from ems.replay.runner import Run
from ems.replay.scenario import FaultEntry, Load, PriceFile, Scenario, ScenarioModel, TraceFile
from ems.replay.world import World, build_world
from ems.site.load import load_site
from ems.site.model import Site
from simulators.plant import PlantStep
from tests.campaign.events_cases import AFTER_MIN, HALLS, PROGRAMS, Call, Case

CONFIG = Path(__file__).resolve().parents[2] / "config"
FOLDER = Path(__file__).parent / "programs"
RAM = Path("/dev/shm")
CONTROL_S = 5.0
TICK = timedelta(seconds=15)  # of the desk, beside its look at every call
PEAK_WATCH_S = 15.0  # the planner's watch for peaks looks so often, as its own process does on a busy machine
PLAN_EVERY_S = 300.0
PEAK_SO_FAR_KW = {"demo-2mw": 1300.0, "enterprise-50mw": 38000.0}
CANCEL_MIN = 15
CALLED_FROM = timedelta(minutes=15)  # depth is a share of the mean import of so long before the first call, what storage charges left out:
# else a battery that charges then would make a cut of nothing
HISTORY_S = 86400.0  # of load before a window, instead of three days: the forecasters' start-up is half of a short case
DISCHARGING = 0.01  # of a UPS's rating: beyond it the store gives on command

Files = {p: load_program(FOLDER / f"{p}.yaml") for p in PROGRAMS}
ENROLMENTS = tuple(EnrolmentFile(program=p, status="active", since=date(2024, 1, 1), committed_kw=100.0) for p in PROGRAMS)


@dataclass
class Outcome:
    """What one case left behind. `import_kw`: the truth at the meter, one mean per control step from `begins_at` on."""

    begins_at: datetime
    step_s: float
    import_kw: list[float]
    load_kw: list[float]  # the same without what storage takes or gives, one mean per plant step
    asked_kw: dict[tuple[str, int], float]  # (event, modification) -> kW, as the calls said
    records: list[Record]
    reserve_breach_s: float
    before: dict[str, float]  # of the half hour before the first call: mean it, cooling and loss kW
    stored_kwh: dict[str, float]  # at the first call
    backlog_kwh: float
    demand: dict[str, np.ndarray]  # per cluster/class, kW per control step
    alarms: dict[str, int] = field(default_factory=dict)
    ladder_s: dict[str, float] = field(default_factory=dict)
    solves: int = 0
    fallbacks: int = 0


class LocalMailbox:
    """Topics in this process: what the desk sends waits here for control and planner; the newest snapshot is made when it is asked for."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, dict[str, Any]]] = []
        self.snapshot: Callable[[], dict[str, Any]] | None = None

    def post_many(self, topic: str, messages: Any) -> list[int]:
        self.waiting += [(topic, body) for body, _, _ in messages]
        return list(range(1, len(messages) + 1))

    def latest(self, topic: str, now: datetime) -> Posted | None:
        if topic != "snapshot" or self.snapshot is None:
            return None
        return Posted(topic, 1, now, now + timedelta(minutes=1), self.snapshot())

    def taken(self) -> list[tuple[str, dict[str, Any]]]:
        """Everything that waits, once."""
        found, self.waiting = self.waiting, []
        return found


class LocalPorts(RunPorts):
    """The daemon's ports on minutes and a plan that are here already."""

    def __init__(self, site: Site, mailbox: Any) -> None:
        super().__init__(site, mailbox, None)  # type: ignore[arg-type]
        self.minutes: list[tuple[datetime, float | None]] = []
        self.newest: Callable[[], Plan | None] = lambda: None

    def plan(self, now: datetime) -> Plan | None:
        found = self.newest()
        return found if found is not None and found.valid_until > now else None

    def _minutes(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        first, last = (bisect_left(self.minutes, t, key=lambda m: m[0]) for t in (start, end))
        return [{"start": at.isoformat(), "poc_kw": kw} for at, kw in self.minutes[first:last]]


class RamStore(EventStore):
    """Waits for no disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._db.execute("pragma synchronous = off")


class TruthLedger(Ledger):
    """Counts the seconds in which the store of a UPS could not carry its load for the promised minutes, unless a lost input took it."""

    def watch(self, lost: Mapping[str, float]) -> TruthLedger:
        """`lost`: per UPS the epoch second at which its input is lost."""
        self.lost, self.breach_s = lost, 0.0
        self.parts: list[tuple[float, float, float]] = []
        self.load_kw: list[float] = []  # import without what storage takes or gives
        return self

    def add(self, step: PlantStep, at_s: float, price: float, limit_kw: float, carbon_g: float | None) -> None:
        super().add(step, at_s, price, limit_kw, carbon_g)
        self.load_kw.append(step.poc_kw - sum(step.store_kw.values()))
        if len(self.parts) < 360:
            self.parts.append((step.it_kw, step.cooling_kw, step.loss_kw))
        for ups in self.site.upses:
            is_spent = at_s >= self.lost.get(ups.id, float("inf"))
            is_giving = step.store_kw[ups.id] < -DISCHARGING * ups.rating_kw
            if step.reserve_shortfall_kwh[ups.id] > 0.0 and not (is_spent and not is_giving):
                self.breach_s += step.dt_s


class NothingLeft(Exception):
    """The rest of the window shows nothing."""


class NullSink:
    """Takes what a replay writes, and keeps the import."""

    def __init__(self) -> None:
        self.import_kw: list[float] = []

    def add(self, at_us: int, values: Mapping[str, float], texts: Mapping[str, str]) -> None:
        self.import_kw.append(values["poc_kw"])

    def note(self, kind: str, now: datetime, text: str) -> None:
        pass

    def plan(self, plan: Plan, now: datetime) -> None:
        pass

    def setpoints(self, setpoints: Any, now: datetime) -> None:
        pass


class EventRun(Run):
    """A replay whose obligations come from the desk."""

    def __init__(self, case: Case, world: World, folder: Path, until_min: int | None = None) -> None:
        super().__init__(world, "plan")
        self.case = case
        self.until_min = window_min(case) if until_min is None else until_min
        begins = case.begins_at.timestamp()
        lost = {case.fault.target: begins + case.fault.at_s} if case.fault.kind == "input_lost" else {}
        start = world.scenario.model.peak_so_far_kw
        self.ledger = TruthLedger(world.plant, start, world.scenario.start).watch(lost)
        self.mailbox = LocalMailbox()
        self.ports = LocalPorts(world.site, self.mailbox)
        poc = world.site.point_of_connection
        facts = SiteFacts(world.site.name, poc.ramp_limit_kw_per_min, poc.import_limit_kw)
        self.desk = Desk(RamStore(folder / "programs.db"), facts, Files, ENROLMENTS, self.ports)
        self.ports.desk = self.desk
        self.programs = Programs(world.site, folder, self.mailbox, None)  # type: ignore[arg-type]
        self.ports.newest = lambda: self.controller.plan if self.controller is not None else None
        self.calls = list(case.calls)
        self.sent: list[GridEvent] = []
        self.asked_kw: dict[tuple[str, int], float] = {}
        self.sink = NullSink()
        self.stored: dict[str, float] = {}
        self.backlog_kwh = 0.0
        self._called_kw: float | None = None
        assert self.planning is not None
        self._listen(self.planning)

    def execute_case(self) -> Outcome:
        """Runs the window."""
        self._warm_up()
        with suppress(NothingLeft):
            self._loop(self.sink, self.sink, lambda done: None)  # type: ignore[arg-type]
        assert isinstance(self.ledger, TruthLedger) and self.planning is not None
        parts = np.array(self.ledger.parts).mean(axis=0)
        records = self.desk.store.since()
        self.desk.store.close()
        return Outcome(
            self.case.begins_at,
            self.world.scenario.control_step_s,
            self.sink.import_kw,
            self.ledger.load_kw,
            self.asked_kw,
            records,
            self.ledger.breach_s,
            dict(zip(("it_kw", "cooling_kw", "loss_kw"), parts.tolist(), strict=True)),
            self.stored,
            self.backlog_kwh,
            self._demand(),
            self.alarms,
            self.ladder_s,
            self.planning.solves,
            self.planning.fallbacks,
        )

    def _demand(self) -> dict[str, np.ndarray]:
        begin, n = {k: d.starts_at for k, d in self.world.demand.items()}, self.world.steps
        return {f"{k}/{name}": kw[begin[k] : begin[k] + n] for k, d in self.world.demand.items() for name, kw in d.class_kw.items()}

    # -- what the head-end and the faults do ----------------------------------------------------------------------------------------

    def _announce(self, now: datetime, decisions: Any) -> list[tuple[str, dict[str, Any]]]:
        """The calls that are due, a tick of the desk, and what it sends."""
        if self._is_down("office", now):
            return []
        if self._is_over(now):
            raise NothingLeft
        self._call(now)
        if self._begins("repeated", now):
            self._repeat(now)
        if (now - self.case.begins_at) % TICK:
            self.programs.send(self.desk, now)  # what a call just now brought
            return self._news()
        self.desk.tick(now)
        self.programs.send(self.desk, now)
        return self._news()

    def _news(self) -> list[tuple[str, dict[str, Any]]]:
        """What the desk sent, to the controller and the planner."""
        news = self.mailbox.taken()
        for _, body in news:
            self.events.append(decode_obligation(body))
            if self.planning is not None:
                self.planning.event(self.events[-1])
        return news

    def _is_over(self, now: datetime) -> bool:
        """True when what is left of the window shows nothing: long after a cancel, or when every event was turned down before it began."""
        if self.calls:
            return False
        if now >= self._at(self.until_min):
            return True
        is_declined = all(s.opt == "out" and s.moved_at is None for s in self.desk.events.values())
        return is_declined and now >= self._at(max(c.start_min for c in self.case.calls))

    def _call(self, now: datetime) -> None:
        while self.calls and self._at(self.calls[0].at_min) <= now:
            call = self.calls.pop(0)
            if self._called_kw is None:
                self._called_kw = self._import_before()
                self.stored = self.stored_kwh()
                self.backlog_kwh = sum(b.kwh for c in self.plant.clusters for b in c.backlogs.values())
            event = self._event(call)
            self.sent.append(event)
            self._receive(event, now)

    def _receive(self, event: GridEvent, now: datetime) -> None:
        self.desk.receive(Message("the campaign", event.fingerprint(), event), now)

    def _event(self, call: Call) -> GridEvent:
        assert self._called_kw is not None
        kind = ObligationKind(call.kind)
        share = call.depth if kind is ObligationKind.REDUCE_BY else 1.0 - call.depth
        kw = self.asked_kw.get((call.event, 0), 0.0) if call.is_cancelled else round(share * self._called_kw, 1)
        self.asked_kw[call.event, call.modification] = kw
        interval = EventInterval(self._at(call.start_min), self._at(call.end_min), kw)
        return GridEvent(call.event, call.program, call.modification, kind, (interval,), is_cancelled=call.is_cancelled)

    def _repeat(self, now: datetime) -> None:
        """All that was said comes again, then an older version of it, then something that means nothing."""
        for event in self.sent:
            self._receive(event, now)
            self._receive(GridEvent(**{**vars(event), "modification": event.modification - 1}), now)
        self.desk.receive(Message("the campaign", "{", None, "no JSON"), now)

    def _import_before(self) -> float:
        assert isinstance(self.ledger, TruthLedger)
        steps = int(CALLED_FROM.total_seconds() // self.world.scenario.control_step_s)
        return min(sum(kw[-steps:]) / len(kw[-steps:]) for kw in (self.sink.import_kw, self.ledger.load_kw))

    def _at(self, minute: float) -> datetime:
        return self.case.begins_at + timedelta(minutes=minute)

    def _is_down(self, process: str, now: datetime) -> bool:
        f = self.case.fault
        since = (now - self.case.begins_at).total_seconds() - f.at_s
        return f.group == "process" and f.kind == process and 0.0 <= since < f.for_s

    def _begins(self, kind: str, now: datetime) -> bool:
        f, step = self.case.fault, self.world.scenario.control_step_s
        return f.kind == kind and 0.0 <= (now - self.case.begins_at).total_seconds() - f.at_s < step

    # -- control --------------------------------------------------------------------------------------------------------------------

    def _decide(self, now: datetime, news: list[tuple[str, dict[str, Any]]], decisions: Any) -> str:
        if self._begins("control", now):  # killed: this cycle is lost, the next is decided by another process
            assert self.controller is not None
            modes = {asset: Mode.CONTROL for asset in self.world.site.assets}
            self.controller = Controller(self.world.site, "plan", modes, self.controller.memory())
            self.mailbox.waiting += news
            return "nobody decides"
        return super()._decide(now, news, decisions)

    def _count(self, decision: Decision, now: datetime, decisions: Any) -> None:
        super()._count(decision, now, decisions)
        controller = self.controller
        assert controller is not None
        self.mailbox.snapshot = lambda: {
            "import_kw": max(0.0, decision.state.poc_kw),
            "trust": controller.commissioning.shown(),
            "plan_state": plan_state(self.world.site, decision, controller.billing.start).encode(),
        }

    def _listen(self, planning: Planning) -> None:
        """The minutes that the planner is shown go to the desk's history too; while the planner is down there is no new plan."""
        observe, plan = planning.loop.observe, planning._plan
        if self.world.scenario.control_step_s < PEAK_WATCH_S:
            planning.peaks = PeakWatch({c.id: c.rating_kw for c in self.world.site.clusters}, PEAK_WATCH_S)
        planning.loop.peak = TruePeak(PEAK_SO_FAR_KW[self.case.site])  # type: ignore[assignment]  # of the month: given

        def heard(frame: MinuteFrame) -> None:
            self.ports.minutes.append((frame.start, frame.poc_kw))
            observe(frame)

        planning.loop.observe = heard  # type: ignore[method-assign]
        planning._plan = lambda now, *rest: None if self._is_down("planner", now) else plan(now, *rest)  # type: ignore[method-assign]


def run_case(case: Case, control_s: float = CONTROL_S, site: Site | None = None, until_min: int | None = None) -> Outcome:
    """Runs a case, on another site than it names and shorter where that is wanted."""
    with mock.patch.object(generated, "HISTORY_S", HISTORY_S):
        world = build_world(scenario_of(case, control_s, site), case.seed)
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing of a case makes circles worth the search; the next one begins with a collection
    with tempfile.TemporaryDirectory(prefix="events-", dir=RAM if RAM.is_dir() else None) as folder:
        return EventRun(case, world, Path(folder), until_min).execute_case()


def scenario_of(case: Case, control_s: float = CONTROL_S, site: Site | None = None) -> Scenario:
    """The window on generated load, prices and weather."""
    prices = "generated/prices_rt_15min.csv"
    fault = case.fault
    devices = fault.group not in ("process", "message")
    model = ScenarioModel(
        site=case.site,
        start=case.begins_at,
        end=case.begins_at + timedelta(minutes=case.end_min),
        control_step_s=control_s,
        plan_every_s=PLAN_EVERY_S,
        seed=case.seed,
        peak_so_far_kw=PEAK_SO_FAR_KW[case.site],
        load=[Load(cluster=c, trace=TraceFile(kind="power", format="generated")) for c in HALLS[case.site]],
        prices=PriceFile(path=prices, columns={"time": "t_utc", "price": "price_usd_per_mwh"}, per="MWh", currency="USD"),
        faults=[_entry(case)] if devices else [],
    )
    return Scenario(CONFIG / "scenarios" / "events.yaml", model, site or site_of(case.site), {prices: CONFIG / "scenarios" / prices})


def window_min(case: Case) -> int:
    """The length of the window: of a cancelled event no more than an hour and a quarter after that."""
    cancelled = [c.at_min for c in case.calls if c.is_cancelled]
    return min([case.end_min, *(at + AFTER_MIN + CANCEL_MIN for at in cancelled)])


def _entry(case: Case) -> FaultEntry:
    f = case.fault
    return FaultEntry(at=case.begins_at + timedelta(seconds=f.at_s), device=f.target, fault=f.kind, for_s=f.for_s)  # type: ignore[arg-type]


@cache
def site_of(name: str) -> Site:
    """The site of a file."""
    return load_site(CONFIG / "sites" / f"{name}.yaml")
