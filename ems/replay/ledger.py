"""The plant's truth of one replay, added up step by step: energies, costs, limits and service of summary.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ems.assets.workload.model import CLASSES
from ems.kpi.cost import Cost, demand_charge, stored_energy_credit, work_charge
from ems.kpi.cycles import CycleWear
from ems.kpi.efficiency import carbon_per_it_kwh, facility_kwh, pue
from ems.kpi.limits import Excursions, RampExcursions
from ems.kpi.peak import IntervalPeaks
from ems.kpi.service import share_lost, token_energy_index, tokens_per_joule
from ems.kpi.tiers import TierScore
from ems.replay.billing import BillAccount
from ems.replay.generation import GenerationSums
from ems.replay.world import stores
from ems.site.model import Site
from simulators.plant import PlantStep

SUMS = (
    "import_kwh export_kwh it_kwh cooling_kwh losses_kwh charge_kwh discharge_kwh energy_cost export_revenue wear carbon_kg price_s "
    "seconds prompt output asked_prompt asked_output asked_it_kwh soc_breach shortfall_s shortfall_kwh feeder_s thermal_s dew_s"
)


@dataclass
class ClassSums:
    """Work of one class of one cluster over the window, kWh of IT energy."""

    served: float = 0.0
    deferred: float = 0.0
    recovered: float = 0.0
    dropped: float = 0.0
    throttled: float = 0.0


@dataclass
class Ledger:
    """Takes every plant step. Prices per kWh, carbon in g/kWh (None: not given)."""

    site: Site
    peak_so_far_kw: float
    start: datetime
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SUMS.split(), 0.0))
    excursions: Excursions = field(default_factory=Excursions)
    breach: Excursions = field(default_factory=Excursions)
    initial_kwh: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tariff = self.site.tariff
        self.peaks = IntervalPeaks(tariff.demand_interval_min, self.site.time_zone)
        self.highest = IntervalPeaks(tariff.demand_interval_min, "UTC")
        self.peaks.start_with(self.start.timestamp(), self.peak_so_far_kw)
        self.ramp = RampExcursions(self.site.point_of_connection.ramp_limit_kw_per_min)
        self.work = {c.id: {name: ClassSums() for name in CLASSES} for c in self.site.clusters}
        self.tiers = {(c.id, n): TierScore(k) for c in self.site.clusters for n, k in c.classes.items() if k.tier_loss is not None}
        self.wear_price = {s.id: s.wear_price_per_kwh for s in stores(self.site)}
        self.has_plant = any(c.plant is not None for c in self.site.coolings)
        self.is_led = any(c.is_led for c in self.site.coolings)
        self.cycles = {b.id: CycleWear(b.wear_by_depth, b.energy_kwh) for b in self.site.batteries if b.wear_by_depth}
        self.feeder_limit = {f.id: f for f in self.site.feeders}
        self.generation = GenerationSums(self.site)
        self.fixed_kw = sum(a.power_kw for a in self.site.fixed_loads)
        self.price_adder = tariff.energy_price_per_kwh
        self.is_indexed = tariff.is_market
        self.account = None if tariff.is_plain else BillAccount(self.site, self.start, self.peak_so_far_kw)
        self._minute, self._minute_kws, self._minute_s = -1, 0.0, 0.0

    def price(self, market_per_kwh: float) -> float:
        """What one kWh of import costs."""
        return market_per_kwh + self.price_adder if self.is_indexed else self.price_adder

    def add(self, step: PlantStep, at_s: float, price: float, limit_kw: float, carbon_g: float | None) -> None:
        """Takes one plant step; `price` is what import costs, `limit_kw` the import limit in force."""
        s, dt = self.sums, step.dt_s
        hours = dt / 3600.0
        import_kwh = max(0.0, step.poc_kw) * hours
        export_kwh = max(0.0, -step.poc_kw) * hours
        s["import_kwh"] += import_kwh
        s["export_kwh"] += export_kwh
        s["energy_cost"] += import_kwh * price
        s["export_revenue"] += export_kwh * self.site.tariff.export_price_per_kwh
        s["it_kwh"] += step.it_kw * hours
        s["cooling_kwh"] += step.cooling_kw * hours
        s["losses_kwh"] += step.loss_kw * hours
        s["price_s"] += price * dt
        s["seconds"] += dt
        s["prompt"] += step.prompt_tokens
        s["output"] += step.output_tokens
        s["soc_breach"] += step.soc_breach_kwh
        s["thermal_s"] += step.thermal_breach_s
        s["dew_s"] += step.dew_breach_s
        if carbon_g is not None:
            s["carbon_kg"] += import_kwh * carbon_g / 1000.0
        self.generation.add(step)
        self._stores(step, hours)
        self._work(step)
        self._tiers(step, at_s)
        self.peaks.add(at_s, import_kwh, dt)
        self.highest.add(at_s, import_kwh, dt)
        if self.account is not None:
            self.account.add(at_s, dt, step.poc_kw, price, carbon_g)
        self._limits(step, at_s, limit_kw, dt)

    def asked(self, it_kwh: float, prompt: float, output: float) -> None:
        """What the users of the window would have taken without any cap."""
        self.sums["asked_it_kwh"] += it_kwh
        self.sums["asked_prompt"] += prompt
        self.sums["asked_output"] += output

    def finish(self, dropped: dict[str, dict[str, float]]) -> None:
        """Closes the running interval and counts the work the window's end drops."""
        for score in self.tiers.values():
            score.close()
        self.peaks.close()
        self.highest.close()
        for cluster, classes in dropped.items():
            for name, kwh in classes.items():
                self.work[cluster][name].dropped += kwh

    def _stores(self, step: PlantStep, hours: float) -> None:
        s = self.sums
        for store, kw in step.store_kw.items():
            if kw:
                s["charge_kwh" if kw > 0 else "discharge_kwh"] += abs(kw) * hours
                s["wear"] += abs(kw) * hours * self.wear_price[store]
        for store, cycles in self.cycles.items():
            cycles.add(step.stored_kwh[store])
        if not self.initial_kwh:
            self.initial_kwh = dict(step.stored_kwh)

    def _work(self, step: PlantStep) -> None:
        for cluster, classes in step.work.items():
            sums = self.work[cluster]
            for name, w in classes.items():
                total = sums[name]
                total.served += w.served_kwh
                if w.deferred_kwh or w.recovered_kwh or w.dropped_kwh or w.throttled_kwh:
                    total.deferred += w.deferred_kwh
                    total.recovered += w.recovered_kwh
                    total.dropped += w.dropped_kwh
                    total.throttled += w.throttled_kwh

    def _tiers(self, step: PlantStep, at_s: float) -> None:
        for (cluster, name), score in self.tiers.items():
            w = step.work[cluster][name]
            missing_kwh = w.deferred_kwh + w.throttled_kwh - w.recovered_kwh
            score.add(at_s, step.dt_s, w.served_kwh + missing_kwh, missing_kwh)

    def _limits(self, step: PlantStep, at_s: float, limit_kw: float, dt: float) -> None:
        s = self.sums
        self.excursions.add(step.poc_kw, limit_kw, dt)
        connection_kw = self.site.point_of_connection.import_limit_kw
        if step.poc_kw > connection_kw:
            self.breach.kwh += (step.poc_kw - connection_kw) * dt / 3600.0
        for feeder, kw in step.feeder_kw.items():
            if abs(kw) > self.feeder_limit[feeder].allowed_kw(step.outdoor_temp_c) * 1.001:
                s["feeder_s"] += dt
        missing = sum(step.reserve_shortfall_kwh.values())
        if missing > 0:
            s["shortfall_s"] += dt
            s["shortfall_kwh"] = max(s["shortfall_kwh"], missing)
        minute = int(at_s // 60)
        if minute != self._minute and self._minute_s > 0:
            self.ramp.add(self._minute_kws / self._minute_s)
            self._minute_kws = self._minute_s = 0.0
        self._minute = minute
        self._minute_kws += step.poc_kw * dt
        self._minute_s += dt

    # -- summary.json ---------------------------------------------------------------------------------------------------------------

    def mean_price(self) -> float:
        """Time-mean price of import over the window."""
        return self.sums["price_s"] / self.sums["seconds"] if self.sums["seconds"] else 0.0

    def cost(self, final_kwh: dict[str, float]) -> Cost:
        """The bill; each store's credit uses its own discharge efficiency."""
        s, tariff = self.sums, self.site.tariff
        efficiency = {x.id: x.discharge_efficiency for x in stores(self.site)}
        mean = self.mean_price()
        for store, cycles in self.cycles.items():
            cycles.add(final_kwh[store])
        credit = sum(stored_energy_credit(final_kwh[k] - self.initial_kwh[k], mean, efficiency[k]) for k in final_kwh)
        grid = {"energy": s["energy_cost"] - s["export_revenue"], "carbon": 0.0}
        grid["demand"] = demand_charge(self.peaks.peaks_kw, tariff.demand_price_per_kw_month)
        if self.account is not None:
            grid = self.account.cost()
        return Cost(
            energy=grid["energy"] + self.generation.purchase_cost(),
            fuel=self.generation.fuel_cost(),
            demand=grid["demand"],
            carbon=grid["carbon"],
            wear=s["wear"] + sum(c.money() for c in self.cycles.values()),
            workload=self._workload_cost(),
            limit_breach=self.breach.kwh * self.site.point_of_connection.import_breach_price_per_kwh,
            stored_energy_credit=credit,
        )

    def _workload_cost(self) -> float:
        total = 0.0
        for cluster in self.site.clusters:
            for name, c in cluster.classes.items():
                w = self.work[cluster.id][name]
                prices = (c.defer_price_per_kwh or 0.0, c.throttle_price_per_kwh or 0.0, c.drop_price_per_kwh or 0.0)
                total += work_charge(w.deferred, w.throttled, w.dropped, *prices)
        return total

    def energy(self, final_kwh: dict[str, float]) -> dict[str, float]:
        """The `energy` part. Import - export = IT + cooling + losses + fixed + charge - discharge - generation."""
        s = self.sums
        return {
            "import_kwh": s["import_kwh"],
            "export_kwh": s["export_kwh"],
            "it_kwh": s["it_kwh"],
            "cooling_kwh": s["cooling_kwh"],
            "losses_kwh": s["losses_kwh"],
            "fixed_kwh": self.fixed_kw * s["seconds"] / 3600.0,
            "generation_kwh": sum(self.generation.kwh.values()),
            "charge_kwh": s["charge_kwh"],
            "discharge_kwh": s["discharge_kwh"],
            "stored_change_kwh": sum(final_kwh.values()) - sum(self.initial_kwh.values()),
        }

    def limits(self, resolution_s: float) -> dict[str, Any]:
        """The `limits` part; `reserve_breach_kwh` is the most energy that was missing in a reserve at any instant."""
        s, e = self.sums, self.excursions
        return {
            "resolution_s": resolution_s,
            "import_excursion_s": e.seconds,
            "import_excursion_longest_s": e.longest_s,
            "import_excursion_max_kw": e.max_kw,
            "import_excursion_kwh": e.kwh,
            "reserve_breach_kwh": s["shortfall_kwh"],
            "reserve_shortfall_s": s["shortfall_s"],
            "soc_breach_kwh": s["soc_breach"],
            "ramp_excursion_s": None if self.ramp.limit_kw_per_min is None else self.ramp.seconds,
            "thermal_breach_s": s["thermal_s"] if self.has_plant else None,
            "dew_breach_s": s["dew_s"] if self.is_led else None,
            "feeder_excursion_s": s["feeder_s"] if self.feeder_limit else None,
        }

    def service(self, has_tokens: bool, facility: float) -> dict[str, Any]:
        """The `service` part; latency is not modelled at a site whose clusters are known by their power only."""
        s = self.sums
        output = s["output"]
        lost = {name: self._class_sum(name, "throttled") + self._class_sum(name, "dropped") for name in CLASSES}
        asked = {name: lost[name] + self._class_sum(name, "served") for name in CLASSES}
        return {
            "prompt_tokens": s["prompt"] if has_tokens else None,
            "output_tokens": output if has_tokens else None,
            "tokens_per_joule_it": tokens_per_joule(output, s["it_kwh"]) if has_tokens else None,
            "tokens_per_joule_facility": tokens_per_joule(output, facility) if has_tokens else None,
            "token_energy_index": token_energy_index(output, facility, s["asked_output"], s["asked_it_kwh"]) if has_tokens else None,
            "slo_attainment": None,
            "queueing_delay_s": None,
            "tier_loss": {name: share_lost(lost[name], asked[name]) for name in CLASSES},
            "tier_violations": sum(score.violations for score in self.tiers.values()) if self.tiers else None,
            "tier_budget_used": self._tier_budget_used(),
            "deferred_kwh": sum(self._class_sum(name, "deferred") for name in CLASSES),
            "unrecovered_kwh": sum(self._class_sum(name, "dropped") for name in CLASSES),
            "throttled_kwh": sum(self._class_sum(name, "throttled") for name in CLASSES),
        }

    def _tier_budget_used(self) -> dict[str, float] | None:
        """Per class with a tier, the share of it that was used in the worst window of any cluster; None at a site without tiers."""
        used: dict[str, float] = {}
        for (_, name), score in self.tiers.items():
            used[name] = max(used.get(name, 0.0), score.worst_used)
        return used or None

    def efficiency(self, facility: float, has_carbon: bool) -> dict[str, Any]:
        """The `efficiency` part."""
        s = self.sums
        carbon_kg = s["carbon_kg"] + self.generation.co2_kg() if has_carbon else None
        return {
            "pue": pue(facility, s["it_kwh"]),
            "wue_l_per_kwh": None,
            "carbon_kg": carbon_kg,
            "carbon_g_per_kwh_it": carbon_per_it_kwh(carbon_kg, s["it_kwh"]),
            "sustainable_it_kw": None,
        }

    def facility_kwh(self, final_kwh: dict[str, float]) -> float:
        """Energy the facility used."""
        made_kwh = sum(self.generation.kwh.values())
        stored_kwh = sum(final_kwh.values()) - sum(self.initial_kwh.values())
        return facility_kwh(self.sums["import_kwh"], self.sums["export_kwh"], made_kwh, stored_kwh)

    def _class_sum(self, name: str, what: str) -> float:
        return sum(getattr(self.work[c.id][name], what) for c in self.site.clusters)
