"""Readings that cannot be true are not believed: a meter that stands still or shows the impossible, a charge that jumps or is stuck.

The image of a cycle is checked before anything is estimated from it. What is not believed loses its value or is replaced by what the
power measured since can explain, whichever is worse; `problems` says so. State is kept per store and for the meter only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ems.assets.battery.model import Battery
from ems.assets.ups.model import Ups
from ems.guard.counter import Counter
from ems.reading import Quality, Reading
from ems.site.model import Site
from ems.state.image import SiteImage

METER_STUCK_S = 20.0  # energy counters that stand still for so long while power flows
METER_DOUBT = timedelta(seconds=10)  # after an impossible reading, none of the meter is believed
COUNTING_FROM = 0.02  # of the import limit: below it a counter may rest
DRIFT_PER_S = 0.001 / 60.0  # of the capacity: what a charge may rise without power, a gauge correcting itself
DOUBT_SOC = 0.02  # a gauge this far from what the power explains is named, and not charged on its word
POSSIBLE = 1.5  # of everything the site can draw or feed together
LONGEST_GAP_S = 60.0  # power is not integrated over more, or than LONGEST_GAP_CYCLES where a cycle is long
LONGEST_GAP_CYCLES = 2.5


class Plausible:
    """Checks one image after another."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._most_kw = POSSIBLE * _most_kw(site)
        self._counter: tuple[float, datetime] | None = None
        self._impossible_at: datetime | None = None  # when the meter showed a power that cannot be
        self._energy = Counter(self._most_kw)
        stores: list[Battery | Ups] = [*site.batteries, *site.upses]
        longest_gap_s = max(LONGEST_GAP_S, LONGEST_GAP_CYCLES * site.control.cycle_s)
        self._charges = {a.id: Charge(a, longest_gap_s) for a in stores}

    def checked(self, image: SiteImage) -> SiteImage:
        """The image with what cannot be believed taken out."""
        readings, problems = dict(image.readings), dict(image.problems)
        poc = self._site.point_of_connection.id
        why, energy_why = self._why_not_meter(image, poc), self._why_not_energy(image, poc)
        why = why or self._why_doubted(image, poc)
        if why:
            problems.setdefault(poc, why)
            readings[poc] = {**readings[poc], "power_kw": replace(readings[poc]["power_kw"], value=None, quality=Quality.SUSPECT)}
        if energy_why:
            problems.setdefault(f"{poc} energy", energy_why)
        for asset, charge in self._charges.items():
            if asset in readings:
                if impossible := charge.impossible(readings[asset]):
                    problems.setdefault(asset, impossible)
                readings[asset], why = charge.believed(readings[asset])
                if why:
                    problems.setdefault(f"{asset} charge", why)
        return replace(image, readings=readings, problems=problems)

    def encode(self) -> dict[str, float]:
        """What must survive a restart: the charge believed of each store."""
        return {asset: c.explained for asset, c in self._charges.items() if c.explained is not None}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave."""
        for asset, explained in data.items():
            if asset in self._charges:
                self._charges[asset].explained = float(explained)

    def _why_not_meter(self, image: SiteImage, poc: str) -> str:
        power = image.reading(poc, "power_kw")
        if power is None or power.value is None:
            return ""
        if abs(power.value) > self._most_kw:
            self._impossible_at = power.at
            return f"the meter shows {power.value:.0f} kW, more than the site can draw or feed"
        counters = [image.reading(poc, name) for name in ("import_energy_kwh", "export_energy_kwh")]
        values = [c.value for c in counters if c is not None and c.value is not None]
        if not values:
            return ""
        return self._why_stuck(sum(values), power.value, power.at)

    def _why_doubted(self, image: SiteImage, poc: str) -> str:
        """What comes among impossible values may itself be possible, and as wrong: nothing at all, for one."""
        power = image.reading(poc, "power_kw")
        spoilt = [at for at in (self._impossible_at, self._energy.leapt_at) if at is not None]
        if power is None or power.value is None or not spoilt or power.at - max(spoilt) >= METER_DOUBT:
            return ""
        return f"the meter showed the impossible {(power.at - max(spoilt)).total_seconds():.0f} s ago"

    def _why_not_energy(self, image: SiteImage, poc: str) -> str:
        power, bought, sold = (image.reading(poc, name) for name in ("power_kw", "import_energy_kwh", "export_energy_kwh"))
        if power is None or power.value is None or bought is None or bought.value is None:
            return ""
        return self._energy.update(power.at, power.value, bought.value - ((sold.value or 0.0) if sold is not None else 0.0))

    def _why_stuck(self, counted_kwh: float, kw: float, at: datetime) -> str:
        is_resting = abs(kw) < COUNTING_FROM * self._site.point_of_connection.import_limit_kw
        if self._counter is None or counted_kwh != self._counter[0] or is_resting:
            self._counter = (counted_kwh, at)
        stood_s = (at - self._counter[1]).total_seconds()
        return f"the meter stands still: no energy counted for {stood_s:.0f} s" if stood_s >= METER_STUCK_S else ""


class Charge:
    """What may be believed of one store's state of charge: never more than the gauge says, never more than the power explains."""

    def __init__(self, store: Battery | Ups, longest_gap_s: float) -> None:
        self._store, self._longest_gap_s = store, longest_gap_s
        self._most_kw = POSSIBLE * (store.power_kw if isinstance(store, Battery) else store.rating_kw)
        self.explained: float | None = None  # by the power since the start, slowly corrected by the gauge
        self._last: datetime | None = None

    def believed(self, readings: Mapping[str, Reading]) -> tuple[Mapping[str, Reading], str]:
        """The readings with the charge that can be believed, and why it is not the gauge's ("" when it is)."""
        soc, power = readings.get("soc"), readings.get("power_kw" if isinstance(self._store, Battery) else "battery_kw")
        if soc is None or soc.value is None or power is None or power.value is None or abs(power.value) > self._most_kw:
            return readings, ""
        shown = soc.value
        explained = self.explained = self._explained(power.at, power.value, shown)
        changed = dict(readings)
        if shown > explained:
            changed["soc"] = replace(soc, value=explained)
        elif shown < explained - DOUBT_SOC and "max_charge_kw" in readings:
            changed["max_charge_kw"] = replace(readings["max_charge_kw"], value=0.0)
        is_doubtful = abs(shown - explained) > DOUBT_SOC
        return changed, f"the gauge shows {shown:.1%}, the power explains {explained:.1%}; the worse counts" if is_doubtful else ""

    def impossible(self, readings: Mapping[str, Reading]) -> str:
        """Why the power shown cannot be one of this store, "" when it can: a torn or swapped value, another scale."""
        power = readings.get("power_kw" if isinstance(self._store, Battery) else "battery_kw")
        if power is None or power.value is None or abs(power.value) <= self._most_kw:
            return ""
        return f"shows {power.value:.0f} kW, more than it can"

    def _explained(self, at: datetime, kw: float, shown: float) -> float:
        """The charge moved by the energy since the last reading, and towards the gauge by what a gauge may correct. The power of the newer
        reading is what was commanded after the older one: with cycles of minutes that is the one that flowed."""
        before, self._last = self._last, at
        if self.explained is None:
            return shown
        if before is None:
            return self.explained
        gap_s = max(0.0, (at - before).total_seconds())
        charge = self.explained + _moved_soc(self._store, kw, min(gap_s, self._longest_gap_s))
        drift = DRIFT_PER_S * gap_s
        return min(1.0, max(0.0, charge + min(drift, max(-drift, shown - charge))))


def _moved_soc(store: Battery | Ups, kw: float, seconds: float) -> float:
    stored_kw = kw * store.charge_efficiency if kw > 0.0 else kw / store.discharge_efficiency
    return stored_kw * seconds / 3600.0 / store.energy_kwh


def _most_kw(site: Site) -> float:
    """Everything that can draw or feed, together."""
    loads = [c.rating_kw * (1.0 + max((u.loss_fraction for u in site.upses), default=0.0)) for c in site.clusters]
    loads += [c.most_kw for c in site.coolings] + [f.power_kw for f in site.fixed_loads]
    sources = [b.power_kw for b in site.batteries] + [u.rating_kw for u in site.upses] + [r.power_kw for r in site.renewables]
    return sum(loads) + sum(sources) + sum(g.power_kw for g in site.generators)
