"""Hours and emissions of every generator, by year and by reason: the memory of its permit.

A calendar year is one of the site's time zone. What a machine ran because the mains failed does not count against its permit.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ems.assets.generator.model import STARTING, Generator, GeneratorRun, GeneratorState
from ems.site.model import Site

LONGEST_BRIDGE_S = 600.0  # a longer gap is not counted: nobody saw what ran
NO_BUDGET = 1e6
LONG_AGO_H = 1e6
ECONOMIC, BASELOAD, MAINS, TEST, LOCAL, ORDER = "economic", "baseload", "mains failure", "test", "local", "order"
STILL_H = 0.25  # a machine that is in fault, or starts, for longer than it should is not counted on sooner


class RunLog:
    """Follows all generators of a site; deterministic, plain data for a restart."""

    def __init__(self, site: Site) -> None:
        self._site, self._zone = site, ZoneInfo(site.time_zone)
        self._on: dict[str, tuple[bool, str]] = {}  # on or off, and since when (ISO)
        self._fault_since: dict[str, str] = {}
        self._start_since: dict[str, str] = {}
        self.hours: dict[str, dict[str, dict[str, float]]] = {}  # generator -> year -> reason -> h
        self.emitted_kg: dict[str, dict[str, float]] = {}
        self._last: datetime | None = None
        self._began = ""  # the year of the first cycle: what was used before counts in it

    def update(self, now: datetime, states: Mapping[str, GeneratorState], ordered: Mapping[str, str]) -> dict[str, GeneratorRun]:
        """Takes one cycle. `ordered`: why an emergency machine may be requested now, by id."""
        seconds = 0.0 if self._last is None else min(LONGEST_BRIDGE_S, max(0.0, (now - self._last).total_seconds()))
        self._last = now
        self._began = self._began or self._year(now)
        for generator in self._site.generators:
            state = states[generator.id]
            if state.is_fresh:
                self._count(generator, state, now, seconds / 3600.0, ordered.get(generator.id, ""))
                self._follow(generator.id, state, now)
        return {g.id: self._run(g, states[g.id], now, ordered.get(g.id, "")) for g in self._site.generators}

    def used_h(self, generator: Generator, now: datetime) -> float:
        """Hours of this year that count against the permit."""
        year = self._year(now)
        ran = sum(h for reason, h in self.hours.get(generator.id, {}).get(year, {}).items() if reason != MAINS)
        return ran + (generator.permit_used_h if year == self._began else 0.0)

    def _count(self, generator: Generator, state: GeneratorState, now: datetime, hours: float, ordered: str) -> None:
        if not state.is_on or hours <= 0.0:
            return
        year, reason = self._year(now), run_reason(generator, state, ordered)
        by_reason = self.hours.setdefault(generator.id, {}).setdefault(year, {})
        by_reason[reason] = by_reason.get(reason, 0.0) + hours
        kg = generator.emission_kg_per_fuel * generator.burns_per_h(state.generation_kw) * hours
        emitted = self.emitted_kg.setdefault(generator.id, {})
        emitted[year] = emitted.get(year, 0.0) + kg

    def _follow(self, name: str, state: GeneratorState, now: datetime) -> None:
        known = self._on.get(name)
        if known is None or known[0] != state.is_on:
            self._on[name] = (state.is_on, "" if known is None else now.isoformat())
        for since, lasts in ((self._fault_since, state.mode == "fault"), (self._start_since, state.mode in STARTING)):
            if lasts:
                since.setdefault(name, now.isoformat())
            else:
                since.pop(name, None)

    def _run(self, g: Generator, state: GeneratorState, now: datetime, ordered: str) -> GeneratorRun:
        is_on, since = self._on.get(g.id, (False, ""))
        available = state.available_kw / g.power_kw if state.is_fresh else 0.0
        return GeneratorRun(
            is_on=is_on and state.is_fresh,
            since_h=_hours_since(since, now),
            generation_kw=state.generation_kw,
            available=min(1.0, max(0.0, available if state.mode != "fault" else 1.0)),
            blocked_h=self._blocked_h(g, now),
            permit_left_h=NO_BUDGET if g.permit_h_per_year is None else max(0.0, g.permit_h_per_year - self.used_h(g, now)),
            emission_left_kg=self._emission_left_kg(g, now),
            ordered_because=ordered,
            start_left_h=self._start_left_h(g, now),
        )

    def _blocked_h(self, g: Generator, now: datetime) -> float:
        since = self._fault_since.get(g.id)
        return 0.0 if since is None else max(STILL_H, g.repair_h - _hours_since(since, now))

    def _start_left_h(self, g: Generator, now: datetime) -> float:
        """Of a machine that stands, its whole start; of one that nobody hears, what was last seen."""
        is_on, _ = self._on.get(g.id, (False, ""))
        since, start_h = self._start_since.get(g.id), g.start_s / 3600.0
        if since is None:
            return 0.0 if is_on else start_h
        return max(min(STILL_H, start_h), start_h - _hours_since(since, now))

    def _emission_left_kg(self, g: Generator, now: datetime) -> float:
        year = self._year(now)
        budget_kg = g.emission_budget_kg(counts_used=year == self._began)
        return NO_BUDGET if budget_kg is None else max(0.0, budget_kg - self.emitted_kg.get(g.id, {}).get(year, 0.0))

    def _year(self, now: datetime) -> str:
        return str(now.astimezone(self._zone).year)

    def encode(self) -> dict[str, Any]:
        """Plain data that survives a restart."""
        return {
            "began": self._began,
            "on": {k: list(v) for k, v in self._on.items()},
            "fault_since": dict(self._fault_since),
            "start_since": dict(self._start_since),
            "hours": {g: {y: dict(h) for y, h in years.items()} for g, years in self.hours.items()},
            "emitted_kg": {g: dict(years) for g, years in self.emitted_kg.items()},
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave, for the machines that still exist."""
        known = {g.id for g in self._site.generators}
        self._began = str(data["began"])
        self._on = {k: (bool(on), str(since)) for k, (on, since) in data["on"].items() if k in known}
        self._fault_since = {k: str(v) for k, v in data["fault_since"].items() if k in known}
        self._start_since = {k: str(v) for k, v in data.get("start_since", {}).items() if k in known}
        self.hours = {g: {y: dict(h) for y, h in years.items()} for g, years in data["hours"].items() if g in known}
        self.emitted_kg = {g: dict(years) for g, years in data["emitted_kg"].items() if g in known}


def run_reason(generator: Generator, state: GeneratorState, ordered: str) -> str:
    """Why a machine runs, in one word: who started it, and for what."""
    if state.carries_load or state.cause == "transfer":
        return MAINS
    if state.cause in (TEST, LOCAL):
        return state.cause
    if generator.is_baseload:
        return BASELOAD
    return ORDER if generator.is_emergency or ordered else ECONOMIC


def _hours_since(since: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(since)).total_seconds() / 3600.0 if since else LONG_AGO_H
