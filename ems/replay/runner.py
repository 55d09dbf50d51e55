"""One policy, one seed, one window: the same controller as in the daemon, under a simulated clock, against the simulated plant.

Order within a control step: read, decide, hand over; the plant takes one step under the commands it still has (one tick of actuation
delay), then the new ones are written, then the rest of the plant steps follow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ems.control.controller import Controller
from ems.control.decision import Decision
from ems.messages import Mode
from ems.obligation import Obligation
from ems.replay.field import SimulatedField
from ems.replay.ledger import Ledger
from ems.replay.outputs import Decisions, TimeSeries
from ems.replay.summary import summary
from ems.replay.system_load import billed_peaks
from ems.replay.world import World, encode_obligation, instant, obligation
from simulators.plant import Plant, PlantStep

if TYPE_CHECKING:
    from ems.replay.planning import Planning

POLICIES = ("none", "capped", "rules", "plan", "oracle")
CONTROLLER_POLICY = {"capped": "capped", "rules": "rules", "plan": "plan", "oracle": "plan"}
HEARTBEAT_S = 15.0  # leases are refreshed at least this often, as the field does by itself between slow control steps
PROGRESS_PARTS = 200

Progress = Callable[[float], None]


@dataclass
class Row:
    """Means over one control step."""

    import_kw: float = 0.0
    it_kw: float = 0.0
    poc_kw: float = 0.0
    asset_kw: dict[str, float] = field(default_factory=dict)


class Run:
    """The state of one replay while it runs."""

    def __init__(self, world: World, policy: str) -> None:
        scenario = world.scenario
        self.world, self.policy = world, policy
        self.plant = Plant(world.plant, world.seed, starts_lapsed=policy != "none")
        self.field = SimulatedField(self.plant)
        self.ledger = Ledger(world.plant, scenario.model.peak_so_far_kw, scenario.start)
        if self.ledger.account is not None:
            self.ledger.account.coincident_s = billed_peaks(world)
        self.controller: Controller | None = None
        self.planning: Planning | None = None
        if policy != "none":
            modes = {asset: Mode.CONTROL for asset in world.site.assets}
            self.controller = Controller(world.site, CONTROLLER_POLICY[policy], modes)
            self._carry_peak(self.controller)
        if policy in ("plan", "oracle"):
            from ems.replay.planning import Planning  # brings cvxpy, which takes a second to load and only these policies need

            self.planning = Planning(world, is_oracle=policy == "oracle")
        self.events: list[Obligation] = []
        self._announced = 0
        self.ladder_s = {f"L{i}": 0.0 for i in range(6)}
        self.alarms: dict[str, int] = {}
        self._hour: list[tuple[float, float]] = []  # (seconds, import kW) of the last hour, for baselines
        self._heartbeat_s = 0.0
        self._ladder = ""

    def execute(self, folder: Path, progress: Progress) -> dict[str, Any]:
        """Runs the window and writes summary, timeseries and decisions into `folder`."""
        begun = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            series = stack.enter_context(TimeSeries(folder / "timeseries.parquet"))
            decisions = stack.enter_context(Decisions(folder / "decisions.jsonl"))
            self._warm_up()
            self._loop(series, decisions, progress)
        self.ledger.finish(self.plant.finish())
        if self.planning is not None:
            self.planning.write_fan(folder / "fan.npz")
        result = summary(
            self.world,
            self.policy,
            self.ledger,
            self.field,
            self.stored_kwh(),
            self.ladder_s,
            self.alarms,
            self.planning,
            self._run_hours(),
        )
        result["wall_s"] = round(time.perf_counter() - begun, 3)
        (folder / "summary.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        return result

    def stored_kwh(self) -> dict[str, float]:
        """Energy in each store now."""
        return {d.id: d.energy_kwh for d in self.plant.batteries} | {d.id: d.energy_kwh for d in self.plant.upses}

    def _run_hours(self) -> dict[str, dict[str, dict[str, float]]]:
        """Hours per generator, year and reason, as the controller logged them."""
        return self.controller.run_log.hours if self.controller is not None else {}

    def _carry_peak(self, controller: Controller) -> None:
        """The month's peak before the window, in the controller's own billing meter."""
        start, model = self.world.scenario.start, self.world.scenario.model
        controller.billing.update(start, 0.0)
        controller.billing.peak_kw = model.peak_so_far_kw

    def _warm_up(self) -> None:
        """One plant step before the window, so that the first image holds readings; it is not accounted for."""
        world = self.world
        dt = world.scenario.plant_step_s
        demand = world.part(-1, 1) if all(d.starts_at > 0 for d in world.demand.values()) else world.part(0, 1)
        dew_c = None if world.dew_point_c is None else float(world.dew_point_c[0])
        self.plant.step(dt, instant(world, -1), demand[0], float(world.temp_c[0]), dew_c)

    def _loop(self, series: TimeSeries, decisions: Decisions, progress: Progress) -> None:
        world = self.world
        scenario, rows = world.scenario, world.rows()
        step, n, dt = scenario.control_step_s, scenario.substeps, scenario.plant_step_s
        start_s = scenario.start.timestamp()
        begin, control = scenario.start, timedelta(seconds=step)
        faults = sorted(scenario.model.faults, key=lambda f: f.at)
        every = max(1, scenario.cycles // PROGRESS_PARTS)
        prices, temps = world.price.tolist(), world.temp_c.tolist()
        dews = [None] * len(temps) if world.dew_point_c is None else world.dew_point_c.tolist()
        carbon = None if world.carbon_g is None else world.carbon_g.tolist()
        now = begin
        for cycle in range(scenario.cycles):
            while faults and faults[0].at <= now:
                fault = faults.pop(0)
                self.plant.devices[fault.device].inject(fault.fault, fault.at.timestamp() + fault.for_s)
                decisions.note("fault", now, f"{fault.device}: {fault.fault} for {fault.for_s:g} s")
            news = self._announce(now, decisions)
            binding = self._decide(now, news, decisions) if self.controller is not None else ""
            limit_kw = self._limit_kw(now)
            stored = self.stored_kwh()
            row = Row()
            for sub in range(n):
                index = cycle * n + sub
                at_s = start_s + index * dt
                truth = self.plant.step(dt, now + timedelta(seconds=sub * dt), next(rows), temps[index], dews[index])
                self.ledger.add(truth, at_s, prices[index], limit_kw, None if carbon is None else carbon[index])
                _accumulate(row, truth, n)
                if sub == 0:
                    self.field.flush(at_s + dt)
                    self._heartbeat_s = at_s + dt
                elif at_s + dt - self._heartbeat_s >= HEARTBEAT_S:
                    self.field.heartbeat(at_s + dt)
                    self._heartbeat_s = at_s + dt
            self._write_row(series, start_s + cycle * step, row, limit_kw, stored, prices[cycle * n], binding)
            self._remember(start_s + cycle * step, row.poc_kw)
            now += control
            if cycle % every == 0:
                progress(cycle / scenario.cycles)
        self._ask(world)
        progress(1.0)

    # -- one control step -----------------------------------------------------------------------------------------------------------

    def _announce(self, now: datetime, decisions: Decisions) -> list[tuple[str, dict[str, Any]]]:
        """Events whose notice has come, as the office would post them."""
        news: list[tuple[str, dict[str, Any]]] = []
        entries = self.world.scenario.model.events
        if self._announced == len(entries):
            return news
        due = sorted(range(len(entries)), key=lambda i: entries[i].notice_at)[self._announced :]
        for number in due:
            if entries[number].notice_at > now:
                break
            self._announced += 1
            event = obligation(entries[number], number, self._baseline_kw(), self.world.site.point_of_connection.import_limit_kw)
            self.events.append(event)
            if self.planning is not None:
                self.planning.event(event)
            decisions.note("event", now, f"{event.id}: {event.kind.value} {event.kw:.0f} kW from {event.start.isoformat()}")
            news.append(("event", encode_obligation(event)))
        return news

    def _decide(self, now: datetime, news: list[tuple[str, dict[str, Any]]], decisions: Decisions) -> str:
        """One cycle of the controller; returns what binds the import."""
        assert self.controller is not None
        image = self.field.image(now)
        if self.planning is not None:
            plan = self.planning.arrived(now)
            if plan is not None:
                news = [*news, ("plan", plan)]
            news = [*news, *self.planning.peak_news(now)]
        decision = self.controller.decide(image, news, now)
        self.field.apply(decision.written, refresh_leases=decision.is_healthy, astray=decision.astray)
        if decision.withdraw:
            self.field.release(decision.withdraw)
        if self.planning is not None:
            made = self.planning.cycle(now, image, decision, self.controller.billing.start)
            if made is not None:
                decisions.plan(made, now)
        decisions.setpoints(decision.written, now)
        self._count(decision, now, decisions)
        return decision.verdict.limit_source

    def _count(self, decision: Decision, now: datetime, decisions: Decisions) -> None:
        level = decision.rung.level.name
        self.ladder_s[level] += self.world.scenario.control_step_s
        if level != self._ladder:
            decisions.note("ladder", now, f"{level}: {decision.rung.cause}")
            self._ladder = level
        for alarm in decision.alarms:
            kind = alarm.split(":")[0]
            self.alarms[kind] = self.alarms.get(kind, 0) + 1

    def _limit_kw(self, now: datetime) -> float:
        """The import limit in force: the connection's, or an event's if lower."""
        limit = self.world.site.point_of_connection.import_limit_kw
        return min([limit, *(e.import_limit_kw() for e in self.events if e.is_in_force(now))])

    def _write_row(
        self, series: TimeSeries, at_s: float, row: Row, limit_kw: float, stored: dict[str, float], price: float, binding: str
    ) -> None:
        values = {
            "poc_kw": row.poc_kw,
            "import_kw": max(0.0, row.poc_kw),
            "export_kw": max(0.0, -row.poc_kw),
            "limit_kw": limit_kw,
            "it_kw": row.it_kw,
            "price_per_kwh": price,
        }
        for asset, kw in row.asset_kw.items():
            values[f"asset:{asset}_kw"] = kw
        for store, kwh in stored.items():
            values[f"store:{store}_energy_kwh"] = kwh
        for cluster in self.plant.clusters:
            values[f"demand:{cluster.id}_kw"] = cluster.demand_kw
        series.add(int(at_s * 1e6), values, {"binding": binding, "ladder": self._ladder})

    def _remember(self, at_s: float, poc_kw: float) -> None:
        if not self.world.scenario.model.events:
            return
        self._hour.append((at_s, max(0.0, poc_kw)))
        if len(self._hour) > 7200 / self.world.scenario.control_step_s:
            self._hour = [entry for entry in self._hour if entry[0] > at_s - 3600.0]

    def _baseline_kw(self) -> float:
        """Mean import of the hour before, 0 at the very start."""
        if not self._hour:
            return 0.0
        last = self._hour[-1][0]
        recent = [kw for at_s, kw in self._hour if at_s > last - 3600.0]
        return sum(recent) / len(recent)

    def _ask(self, world: World) -> None:
        for demand in world.demand.values():
            hours = demand.step_s / 3600.0
            inside = slice(demand.starts_at, demand.starts_at + world.steps)
            self.ledger.asked(
                float(demand.power_kw()[inside].sum()) * hours,
                float(demand.prompt_per_s[inside].sum()) * demand.step_s,
                float(demand.output_per_s[inside].sum()) * demand.step_s,
            )


def _accumulate(row: Row, truth: PlantStep, n: int) -> None:
    row.poc_kw += truth.poc_kw / n
    row.it_kw += truth.it_kw / n
    if n == 1:
        row.asset_kw = truth.asset_kw
        return
    for asset, kw in truth.asset_kw.items():
        row.asset_kw[asset] = row.asset_kw.get(asset, 0.0) + kw / n
