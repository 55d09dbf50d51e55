"""The controller: one image and the news in, one decision out. Pure and deterministic; every fact it keeps is in `memory()`.

State is kept between cycles only where a rolling quantity needs it (peak holds, the running billing interval, the ladder, orders).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ems.assets.battery.model import COMMANDS as BATTERY_COMMANDS
from ems.assets.generator.model import GeneratorRun
from ems.assets.grid_connection.envelope import momentary_limit
from ems.assets.ups.model import COMMANDS as UPS_COMMANDS
from ems.assets.workload.model import CLASSES
from ems.control.commissioning import Commissioning
from ems.control.decision import Decision
from ems.control.foreseen import ForeseenPeaks
from ems.control.ladder import Ladder, Level, Rung
from ems.control.news import PlanWatch, checked_plan, encode_obligation
from ems.control.news import decode_obligation as decode_obligation
from ems.control.orders import OrderBook
from ems.control.window_means import WindowMeans
from ems.dispatch.advice import Advice
from ems.dispatch.arbiter import arbitrate
from ems.dispatch.baseline import leave_baseline
from ems.dispatch.orders import apply_orders, stopped_setpoints
from ems.dispatch.plan_advice import advise_from_plan
from ems.dispatch.rising_peak import RisingPeak
from ems.dispatch.rules import advise_by_rules, advise_limits_only
from ems.dispatch.setpoint import Setpoint
from ems.dispatch.trend import ClusterTrend, DemandTrend
from ems.dispatch.turns import Turns
from ems.errors import EmsError
from ems.guard.ceilings import OVER_CAP, Ceilings, InForce, RecentCaps
from ems.guard.correction import Correction
from ems.guard.degraded import Degraded, Facts, Standing
from ems.guard.export import ExportWatch
from ems.guard.exposure import exposure
from ems.guard.guard import Observed, Verdict, exposure_s_of, guard_site, unfed_kw
from ems.guard.heartbeat import Sources
from ems.guard.loops import Loops
from ems.guard.overload import Overload
from ems.guard.plausible import Plausible
from ems.guard.recovery import Recovery
from ems.guard.response import Response
from ems.guard.unanswered import Unanswered, left_kw
from ems.limit import Allowed, Limit
from ems.messages import Mode, Order, OrderKind
from ems.obligation import Obligation
from ems.plan.plan import Plan, decode_plan
from ems.site.model import Site
from ems.site.storage_classes import planned_site, storage_classes
from ems.site.tariff import BASIC_CHARGE
from ems.state.estimate import SiteState, estimate_state
from ems.state.hold import DayHold, PeakHold, ValleyHold
from ems.state.image import SiteImage
from ems.state.interval import IntervalMeter
from ems.state.run_log import RunLog
from ems.state.throughput import DayThroughput
from ems.state.tier_use import TierUse
from ems.state.unexplained import UnexplainedLoad

FLOOR = {"plan": Level.L0, "rules": Level.L2, "capped": Level.L3}
RAMP_LEAD_S = 10.0
ANSWERED_S, ANSWERED_CYCLES = 5.0, 2.5  # a limit that falls is answered within: what is above it until then needs no explanation
NOT_HANDED_OVER_MARGIN = 1.05  # on the 24-h peak of a cluster that nobody caps
NOTHING_OVER = 0.001  # of the limit: no import that counts as over it
FRESH_PLANS = 2.5  # a plan is fresh for so many planning periods
STORAGE_COMMANDS = (*BATTERY_COMMANDS, *UPS_COMMANDS)
RESERVE_PEAK_S = 900.0  # the reserve carries the peak foreseen within a quarter of an hour
HOSTILE_PLAN = (KeyError, ValueError, TypeError, IndexError, AttributeError)


class Controller:
    """Decides for one site. `policy` is the best adviser allowed: plan, rules or capped."""

    def __init__(
        self,
        site: Site,
        policy: str = "plan",
        modes: Mapping[str, Mode] | None = None,
        memory: Mapping[str, Any] | None = None,
    ) -> None:
        self.site = site
        self.classes, self.planned = storage_classes(site), planned_site(site)
        self.floor = FLOOR[policy]
        commandable = [b.id for b in site.batteries] + [u.id for u in site.upses] + [c.id for c in site.clusters]
        commandable += [g.id for g in site.generators] + [r.id for r in site.renewables]
        led = [c.id for c in site.coolings if c.is_led]
        self.orders = OrderBook({a: (modes or {}).get(a, Mode.OBSERVE) for a in (*commandable, *led)}, frozenset(led))
        self.ladder = Ladder(site.control.ramp_up_dwell_s)
        known_peaks_kw = {past.month: past.kw for past in site.tariff.past_peaks if past.charge == BASIC_CHARGE}
        self.billing = IntervalMeter(site.tariff.demand_interval_min, site.time_zone, known_peaks_kw)
        self.windows = WindowMeans(site)
        self.trend = DemandTrend(site)
        self.foreseen = ForeseenPeaks(site)
        self.load_valley = ValleyHold(site.control.peak_hold_s)
        self.gross_valley = ValleyHold(site.control.peak_hold_s)
        self.run_log = RunLog(site)
        self.throughput, self.tiers = DayThroughput(site), TierUse(site)
        self.last_limits: dict[tuple[str, str], float] = {}  # class limits sent
        self.runs: dict[str, GeneratorRun] = {}
        self.import_hold = PeakHold(60.0)
        self.critical = DayHold()
        self.day_hold = {c.id: DayHold() for c in site.clusters}
        self.unexplained = UnexplainedLoad(site)
        self.last_caps: dict[str, float] = {}
        self.last_storage: dict[str, float] = {}
        self.last_supply: dict[str, float] = {}
        self.normal_since: dict[str, datetime | None] = {u.id: None for u in site.upses}
        self.plan: Plan | None = None
        self.rising_peak = RisingPeak()
        self._ramp_ceiling_kw = 0.0
        self.obligations: dict[str, Obligation] = {}
        self.plausible, self.loops = Plausible(site), Loops(site)
        self.response, self.ceilings, self.caps_in_force = Response(site), Ceilings(site), InForce(site)
        self.recent_caps = RecentCaps(site)
        self.correction, self.unanswered = Correction(), Unanswered()
        self.export_watch = ExportWatch(site)
        self._over_kw = 0.0  # measured import above the highest limit of the last seconds
        self.limit_hold = PeakHold(max(ANSWERED_S, ANSWERED_CYCLES * site.control.cycle_s))
        self.commissioning = Commissioning(site)
        self._counted_kwh: float | None = None  # imported energy, as the meter counts it
        self.degraded = Degraded()
        self.sources, self.plan_watch = Sources(site), PlanWatch()
        self.overload, self.allowed = Overload(site, exposure_s_of(site)), dict[Limit, Allowed]()
        self.recovery = Recovery(site)
        self.turns = Turns(site)
        self._astray: frozenset[str] = frozenset()
        self._told: dict[str, float] = {}  # storage setpoints of this process's last cycle
        if memory:
            self._restore(memory)

    def decide(self, image: SiteImage, news: Sequence[tuple[str, dict[str, Any]]], now: datetime, journal_ok: bool = True) -> Decision:
        """The decision for the cycle at `now`. Every call advances the rolling quantities by one cycle."""
        acknowledged, alarms = self._take_news(news, now)
        image, state = self._believed(image)
        trends = self._follow(state)
        self.runs = self.run_log.update(now, state.generators, self._ordered_runs(now)) if self.site.generators else {}
        observed = self._observed(state)
        verdict = guard_site(self.site, state, self._in_force(now), observed)
        rung = self.ladder.step(*self._best_level(state, now, journal_ok), now)
        advice = self.turns.settled(now, self._advise(rung, state, verdict, trends))
        setpoints = self._setpoints(rung, state, verdict, advice, trends)
        without_answer = _infeasible(verdict, state) or self._unanswered(rung, state, verdict)
        without_answer += self.export_watch.said(state, verdict, {} if rung.level >= Level.L4 else self.last_storage)
        withdraw = tuple(a for a in self.orders.modes if a not in state.locked_out) if rung.level is Level.L5 else ()
        is_disturbed = any(s.mode.storage == "idle" for s in observed.degraded)
        known = list(self.obligations.values())
        tested = self.commissioning.step(image, state, known, verdict.limit_kw, self.orders.modes, is_disturbed)
        if tested is not None and rung.level is not Level.L5:
            setpoints = [*(s for s in setpoints if s.asset != tested.asset), tested]
        handed = [s for s in setpoints if self.orders.modes[s.asset] is Mode.CONTROL or s is tested]
        written = () if rung.level is Level.L5 else tuple(s for s in handed if s.asset not in state.locked_out)
        self._remember(written)
        return Decision(
            state=state,
            verdict=verdict,
            rung=rung,
            adviser=advice.name,
            setpoints=tuple(setpoints),
            written=written,
            withdraw=withdraw,
            alarms=(*alarms, *state.assumed, *_said(image, observed.degraded), *self.unexplained.alarms(), *without_answer),
            acknowledged=tuple(acknowledged),
            interval_kwh=self.billing.energy_kwh,
            month_peak_kw=self.billing.peak_kw,
            critical_kw=max(self.critical.buckets.values(), default=0.0),
            is_healthy=rung.level is not Level.L5,
            degraded=observed.degraded,
            exposure=exposure(self.site, verdict, self.last_storage, self.last_caps),
            runs=self.runs,
            given_kwh=dict(self.throughput.given_kwh),
            tier_past=self.tiers.past(now),
            astray=self._astray,
            lasting_limit_kw=min(self._momentary_limit_kw(now), self.windows.least_kw(now, self.allowed)),
        )

    def _believed(self, image: SiteImage) -> tuple[SiteImage, SiteState]:
        """The image and the state without what cannot be true, and without stores that do not follow."""
        image, residual_kw = self.plausible.checked(image), self.unexplained.held_kw(image.now)
        self._counted_kwh = image.value(self.site.point_of_connection.id, "import_energy_kwh", self.site.control.stale_after_s)
        state = estimate_state(self.site, image, residual_kw)
        checked = self.loops.checked(image, state, self.last_supply)
        if checked is not image:
            image, state = checked, estimate_state(self.site, checked, residual_kw)
        self.response.update(state, self._told)
        over_cap = self.ceilings.update(state, self.last_caps)
        image = replace(image, problems={**image.problems, **over_cap})
        suspects, quarantined = self.response.suspects(image.now), self.commissioning.trust.quarantined()
        self._astray = frozenset(asset for key in (*suspects, *over_cap) if (asset := key.removesuffix(OVER_CAP)) in self.orders.modes)
        if suspects or quarantined:
            image = replace(image, problems={**suspects, **image.problems, **quarantined})
            state = estimate_state(self.site, image, residual_kw)
        return image, state

    def _remember(self, written: Sequence[Setpoint]) -> None:
        """What was sent and may still be on its way when the next image is taken."""
        self.last_caps = {s.asset: s.power_kw for s in written if s.command == "power_cap_kw"}
        self.last_supply = {s.asset: s.power_kw for s in written if s.command == "supply_setpoint_c"}
        self.last_limits = {(s.asset, name): s.power_kw for s in written for name in CLASSES if s.command == f"{name}_limit_kw"}
        self.last_storage = self._told = {s.asset: s.power_kw for s in written if s.command in STORAGE_COMMANDS}

    def memory(self) -> dict[str, Any]:
        """Everything that must survive a restart, as plain data."""
        return {
            "orders": self.orders.encode(),
            "billing": self.billing.encode(),
            "windows": self.windows.encode(),
            "critical": {str(k): v for k, v in self.critical.buckets.items()},
            "last_caps": dict(self.last_caps),
            "last_storage": dict(self.last_storage),
            "last_supply": dict(self.last_supply),
            "run_log": self.run_log.encode(),
            "throughput": self.throughput.encode(),
            "tiers": self.tiers.encode(),
            "obligations": [encode_obligation(o) for o in self.obligations.values()],
            "charge": self.plausible.encode(),
            "loops": self.loops.encode(),
            "trust": self.commissioning.encode(),
            "response": self.response.encode(),
            "degraded": self.degraded.encode(),
            "overload": self.overload.encode(),
            "sources": self.sources.encode(),
            "turns": self.turns.encode(),
            "rising_peak": self.rising_peak.encode(),
        }

    def _restore(self, memory: Mapping[str, Any]) -> None:
        self.orders.restore(memory["orders"])
        self.billing.restore(memory["billing"])
        self.windows.restore(memory["windows"])
        self.critical = DayHold({int(k): v for k, v in memory["critical"].items()})
        self.last_caps = dict(memory["last_caps"])
        self.last_storage = dict(memory["last_storage"])
        self.last_supply = dict(memory.get("last_supply", {}))
        if "run_log" in memory:
            self.run_log.restore(memory["run_log"])
        if "throughput" in memory:
            self.throughput.restore(memory["throughput"])
        self.tiers.restore(memory.get("tiers", {}))
        self.obligations = {o.id: o for o in map(decode_obligation, memory["obligations"])}
        self.plausible.restore(memory.get("charge", {}))
        self.loops.restore(memory.get("loops", {}))
        self.commissioning.trust.restore(memory.get("trust", {}))
        self.response.restore(memory.get("response", {}))
        self.degraded.restore(memory.get("degraded", {}))
        self.overload.restore(memory.get("overload", []))
        self.sources.restore(memory.get("sources", {}))
        self.turns.restore(memory.get("turns", []))
        self.rising_peak.restore(memory.get("rising_peak", []))

    # -- what came in ---------------------------------------------------------------------------------------------------------------

    def _take_news(self, news: Sequence[tuple[str, dict[str, Any]]], now: datetime) -> tuple[list[str], list[str]]:
        acknowledged: list[str] = []
        alarms: list[str] = []
        for topic, body in news:
            try:
                self._take(topic, body, now, acknowledged)
            except (EmsError, *HOSTILE_PLAN) as wrong:  # a message from another process is never trusted
                (acknowledged if topic == "order" else alarms).append(f"{topic} refused: {wrong}")
                if topic == "plan":
                    self.plan_watch.refuse(now)
        return acknowledged, alarms

    def _take(self, topic: str, body: dict[str, Any], now: datetime, acknowledged: list[str]) -> None:
        if topic == "plan":
            self.plan = checked_plan(decode_plan(body), self.planned, now)
            self.rising_peak.take(self.plan, now, self.billing.month)
        elif topic == "order":
            order = Order.decode(body)
            acknowledged.append(self.commissioning.take(order, self.orders.modes) or self.orders.take(order))
        elif topic == "peak":
            self.foreseen.take(body)
        elif topic == "contact":
            self.sources.take(body, now)
        elif topic == "event":
            obligation = decode_obligation(body)
            self.obligations[obligation.id] = obligation

    def _in_force(self, now: datetime) -> list[Obligation]:
        self.obligations = {k: o for k, o in self.obligations.items() if o.end > now}
        return [o for o in self.obligations.values() if o.notice_at <= now]

    # -- what is true ---------------------------------------------------------------------------------------------------------------

    def _follow(self, state: SiteState) -> dict[str, ClusterTrend]:
        self.unexplained.update(state)
        import_kw = max(0.0, state.poc_kw)
        self._bill(state)
        self.windows.update(state.now, import_kw, self._counted_kwh, state.connection.is_fresh)
        self.import_hold.update(state.now, import_kw)
        self.critical.update(state.now, state.it_kw)
        self.tiers.update(state, self.last_limits)
        for ups in self.site.upses:
            is_normal = state.upses[ups.id].is_fresh and state.upses[ups.id].mode == "normal"
            since = self.normal_since[ups.id]
            self.normal_since[ups.id] = (since or state.now) if is_normal else None
        return self.foreseen.raised(self.trend.update(state), self.site.control.peak_hold_s, state.now)

    def _bill(self, state: SiteState) -> None:
        """What the utility's meter counts: as shown; while it is silent as the parts that were all read. A worst case assumed for silent
        devices is no import: it would stand as the month's peak, so nothing is counted until the meter's own count fills the gap."""
        meter_kw = state.connection.power_kw
        if meter_kw is not None:
            self.billing.update(state.now, max(0.0, meter_kw), self._counted_kwh)
        elif len(state.assumed) == 1:  # the meter alone
            self.billing.update(state.now, max(0.0, state.poc_kw), is_metered=False)

    def _observed(self, state: SiteState) -> Observed:
        now = state.now
        quantile_kw = self.plan.critical_q99_kw if self.plan is not None and self.plan.is_valid(now) else None
        heard = self.overload.update(state)
        self.allowed = {**heard, **self.sources.update(now, heard)}
        interval_kw, interval_source = self.windows.lowest(now, self.allowed)
        ramp = self.site.point_of_connection.ramp_limit_kw_per_min
        import_kw = self.import_hold.update(now, max(0.0, state.poc_kw))
        return Observed(
            critical_kw={u.id: self._critical_kw(u.id, state, quantile_kw) for u in self.site.upses},
            since_normal_s={k: (now - t).total_seconds() if t else 0.0 for k, t in self.normal_since.items()},
            load_valley_kw=self.load_valley.update(now, min(state.load_kw, self._load_of_parts_kw(state)) - unfed_kw(state)),
            interval_limit_kw=interval_kw,
            interval_source=interval_source,
            ramp_ceiling_kw=math.inf if ramp is None else self._rise(import_kw, ramp),
            last_caps_kw=self.caps_in_force.update(state, self.last_caps),
            last_storage_kw=self.last_storage,
            fixed_kw=self._not_handed_over(state),
            runs=self.runs,
            gross_valley_kw=self.gross_valley.update(now, state.load_kw + state.generation_kw),
            correction_kw=self._correction_kw(state),
            last_supply_c=self.last_supply,
            given_kwh=self.throughput.update(state),
            degraded=self.degraded.update(self.site, self._facts(state)),
            allowed=self.allowed,
            recent_caps_kw=self.recent_caps.update(now, self.last_caps),
            returning=self.recovery.update(state),
            loops=self.loops.now(),
        )

    def _facts(self, state: SiteState) -> Facts:
        is_missed = self.floor is Level.L0 and (self.plan is None or not self.plan.is_valid(state.now))
        return Facts(
            state,
            unheard=self.sources.lost(state.now),
            plan_gone_s=self.plan_watch.gone_s(state.now, is_missed),
            plans_refused=self.plan_watch.refused(state.now),
            loops=self.loops.now(),
        )

    def _load_of_parts_kw(self, state: SiteState) -> float:
        """The import without storage, as the devices say it; fixed loads draw no more than their nameplates, whatever the meter says."""
        losses_kw = sum(u.power_kw - u.battery_kw for u in state.upses.values())
        return state.it_kw + losses_kw + state.cooling_kw + min(state.fixed_kw, self.unexplained.nameplate_kw) - state.generation_kw

    def _unanswered(self, rung: Rung, state: SiteState, verdict: Verdict) -> list[str]:
        """Said of an import that stands over the limit while nothing more may be asked: from L4 on a person, or blindness, forbids it."""
        is_held = rung.level >= Level.L4
        left = 0.0 if is_held else left_kw(verdict, state, self.last_caps, self.last_storage)
        if not self.unanswered.update(state.now, self._over_kw - NOTHING_OVER * verdict.limit_kw, left):
            return []
        why = rung.cause if is_held else f"all devices together could give {left:.0f} kW more"
        return [f"infeasible: the import stands {self._over_kw:.0f} kW over the limit; {why}"]

    def _ordered_runs(self, now: datetime) -> dict[str, str]:
        """Why an emergency machine may be requested now: an order of a programme that its entry names, or a person."""
        out = {}
        for generator in self.site.generators:
            named = [o for o in self._in_force(now) if o.is_in_force(now) and o.program in generator.ordered_by]
            person = self.orders.order_for(generator.id, now)
            if named:
                out[generator.id] = f"order {named[0].id}"
            elif person is not None and person.kind is OrderKind.OVERRIDE:
                out[generator.id] = f"override by {person.by}"
        return out

    def _correction_kw(self, state: SiteState) -> float:
        """What measured import above the momentary limit takes off the room; without a meter what was known stands."""
        limit_kw = self._momentary_limit_kw(state.now)
        answered_kw = self.limit_hold.update(state.now, limit_kw)  # the highest of the last seconds
        self._over_kw = state.poc_kw - answered_kw if state.connection.is_fresh else 0.0
        return self.correction.update(state.now, self._over_kw, limit_kw)

    def _momentary_limit_kw(self, now: datetime) -> float:
        return momentary_limit(self.site.point_of_connection, self._in_force(now), now, self.allowed)[0]

    def _rise(self, import_kw: float, ramp_kw_per_min: float) -> float:
        """The ceiling that rises with the ramp limit from the import of the last minute, a few seconds ahead of it; the margin kept for
        the connection is added back, since a ramp is a difference."""
        cycle_s = self.site.control.cycle_s
        risen_kw = max(import_kw, self._ramp_ceiling_kw) + ramp_kw_per_min * cycle_s / 60.0
        self._ramp_ceiling_kw = min(risen_kw, import_kw + ramp_kw_per_min * max(RAMP_LEAD_S, 2.0 * cycle_s) / 60.0)
        return self._ramp_ceiling_kw / (1.0 - self.site.control.import_margin)

    def _not_handed_over(self, state: SiteState) -> dict[str, float]:
        """While some assets are in control, the others are what they are: a cluster counts at its held demand and a margin, storage as
        measured. While none is, everything is decided as if it were handed over, so that the advice can be judged."""
        if not any(m is Mode.CONTROL for m in self.orders.modes.values()):
            return {}
        others = [a for a, m in self.orders.modes.items() if m is not Mode.CONTROL]
        storage = {**{k: b.power_kw for k, b in state.batteries.items()}, **{k: u.battery_kw for k, u in state.upses.items()}}
        fixed = {a: storage[a] for a in others if a in storage}
        for cluster in self.site.clusters:
            if cluster.id in others:
                held_kw = self.day_hold[cluster.id].update(state.now, state.clusters[cluster.id].power_kw)
                fixed[cluster.id] = min(cluster.rating_kw, NOT_HANDED_OVER_MARGIN * held_kw)
        return fixed

    def _critical_kw(self, ups_id: str, state: SiteState, quantile_kw: float | None) -> float:
        """The load the reserve must carry: the 24-h peak hold or the upper quantile, whichever is larger; the rating without a forecast
        (the floor of the site file is applied by the UPS itself)."""
        held_kw = max(self.critical.buckets.values(), default=state.it_kw)
        if quantile_kw is None and self.floor is Level.L0:
            return math.inf
        ups = next(u for u in self.site.upses if u.id == ups_id)
        foreseen_kw = sum(self.foreseen.peak_kw(c, RESERVE_PEAK_S, state.now) for c in ups.carries)
        return max(held_kw, quantile_kw or 0.0, foreseen_kw)

    # -- who advises ----------------------------------------------------------------------------------------------------------------

    def _best_level(self, state: SiteState, now: datetime, journal_ok: bool) -> tuple[Level, str]:
        if self.orders.is_all_stopped:
            return (Level.L5, "stopped by a person") if self._is_safe(state) else (Level.L4, "stop ordered: going to safe values")
        if not state.connection.is_fresh and not any(c.is_fresh for c in state.clusters.values()):
            return Level.L4, "neither the meter nor any cluster can be read"
        if not state.connection.is_fresh:
            return max(self.floor, Level.L3), "the meter at the point of connection cannot be read"
        if self.unexplained.contradicts:
            return max(self.floor, Level.L3), "the meter and the devices contradict each other"
        if not journal_ok:
            return max(self.floor, Level.L3), "the journal is late or cannot be written"
        if self.floor is not Level.L0:
            return self.floor, "policy"
        if self.degraded.is_on("planner hostile"):
            return Level.L2, "the planner sends plans that cannot be followed"
        if self.plan is None or not self.plan.is_valid(now):
            return Level.L2, "no valid plan"
        age_s = (now - self.plan.made_at).total_seconds()
        if age_s > FRESH_PLANS * self.site.plan.every_s:
            return Level.L1, f"the plan is {age_s:.0f} s old"
        return Level.L0, "fresh plan"

    def _is_safe(self, state: SiteState) -> bool:
        """True when caps at the contract are read back and storage is idle, or when the ladder is already withdrawn."""
        if self.ladder.rung is not None and self.ladder.rung.level is Level.L5:
            return True
        capped = all(
            state.clusters[c.id].cap_kw is not None and (state.clusters[c.id].cap_kw or 0.0) <= c.contract_cap_kw + 1.0
            for c in self.site.clusters
        )
        storage = [b.power_kw for b in state.batteries.values()] + [u.battery_kw for u in state.upses.values()]
        return capped and all(abs(p) < 0.02 * self.site.point_of_connection.import_limit_kw for p in storage)

    def _advise(self, rung: Rung, state: SiteState, verdict: Verdict, trends: dict[str, ClusterTrend]) -> Advice:
        if rung.level <= Level.L1 and self.plan is not None:
            believed_kw = self.rising_peak.believed_kw(self.plan, state.now, self.billing.month)
            level, month_peak_kw = rung.level.name, self.billing.peak_kw
            advice = advise_from_plan(self.site, self.plan, level, state, trends, believed_kw, month_peak_kw, self.classes)
            return leave_baseline(advice, self._in_force(state.now), trends, state.now)
        if rung.level is Level.L2:
            limit_kw = self._momentary_limit_kw(state.now)
            planned_kw = self.rising_peak.last_kw(self.billing.month) if self.site.tariff.demand_price_per_kw_month > 0.0 else None
            return advise_by_rules(self.site, state, limit_kw, self.billing.peak_kw, planned_kw)  # a ramp in between is no lower limit
        return advise_limits_only(self.site)

    def _setpoints(self, rung: Rung, state: SiteState, verdict: Verdict, advice: Advice, trends: dict[str, ClusterTrend]) -> list[Setpoint]:
        if rung.level >= Level.L4:
            return stopped_setpoints(self.site, state, list(self.orders.modes), rung.cause)
        allowed_kw, patience_kw = None, 0.0
        if advice.goal_kw is not None:
            free_kw = max(self.billing.allowed_kw(state.now, advice.free_goal_kw), advice.planned_kw)
            free_kw = min(free_kw, verdict.room.target_kw)
            allowed_kw = max(0.0, min(free_kw, self.billing.allowed_kw(state.now, advice.goal_kw)))  # what is exported lowers no mean
            if advice.work_goal_kw is not None:
                patience_kw = max(0.0, min(free_kw, self.billing.allowed_kw(state.now, advice.work_goal_kw)) - allowed_kw)
        standing = {a: o for a in self.orders.modes if (o := self.orders.order_for(a, state.now)) is not None}
        advice = apply_orders(self.site, state, advice, standing)
        setpoints = arbitrate(self.site, state, verdict, advice, trends, allowed_kw, self.classes, self.tiers.spent, patience_kw)
        stopped = [a for a, o in standing.items() if o.kind.value == "stop"]
        safe = {(s.asset, s.command): s for s in stopped_setpoints(self.site, state, stopped, "stopped by a person")}
        return [_lower(s, safe.get((s.asset, s.command))) for s in setpoints]


def _lower(setpoint: Setpoint, safe: Setpoint | None) -> Setpoint:
    """A stopped asset gets its safe value; a cap never rises by that."""
    if safe is None:
        return setpoint
    return safe if safe.command != "power_cap_kw" or safe.power_kw <= setpoint.power_kw else setpoint


def _said(image: SiteImage, standing: Sequence[Standing]) -> list[str]:
    """What devices and degraded modes say."""
    return [*(f"{a}: {p}" for a, p in image.problems.items()), *(f"degraded: {s.mode.name}: {s.why}" for s in standing)]


def _infeasible(verdict: Verdict, state: SiteState) -> list[str]:
    idle_kw = sum(max(e.low_kw, verdict.overdrawn_kw.get(k, 0.0)) for k, e in verdict.caps.items())
    need_kw = verdict.room.load_kw(idle_kw) + max(verdict.deepest_storage_kw, sum(e.low_kw for e in verdict.storage.values()))
    if need_kw > verdict.room.target_kw:
        return [f"infeasible: idle power and full discharge still import {need_kw:.0f} kW over the {verdict.limit_source}"]
    return []
