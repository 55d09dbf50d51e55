"""Hours and emissions of every generator, by year and by reason: the memory of its permit.

A calendar year is one of the site's time zone. What a machine ran because the mains failed does not count against its permit. Hours that
nobody saw are taken from its own counter once it is read again; until then, and without one, a machine last seen on counts as running at
its rating: a permit may be counted too short, never overrun unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ems.assets.generator.model import STARTING, Generator, GeneratorRun, GeneratorState
from ems.site.model import Site

LONGEST_BRIDGE_H = 1 / 6  # over a longer gap what is read now says nothing of what ran
COUNTER_STEP_H = 1.0  # the coarsest counter; one that moved by more than the gap and this was reset or changed
NO_BUDGET = 1e6
LONG_AGO_H = 1e6
ECONOMIC, BASELOAD, MAINS, TEST, LOCAL, ORDER = "economic", "baseload", "mains failure", "test", "local", "order"
STILL_H = 0.25  # a machine that is in fault, or starts, for longer than it should is not counted on sooner


class Seen(NamedTuple):
    """A machine as it was last read."""

    at: datetime
    is_on: bool
    reason: str
    run_hours_h: float | None


class RunLog:
    """Follows all generators of a site; deterministic, plain data for a restart."""

    def __init__(self, site: Site) -> None:
        self._site, self._zone = site, ZoneInfo(site.time_zone)
        self._on: dict[str, tuple[bool, str]] = {}  # on or off, and since when (ISO)
        self._fault_since: dict[str, str] = {}
        self._start_since: dict[str, str] = {}
        self.hours: dict[str, dict[str, dict[str, float]]] = {}  # generator -> year -> reason -> h
        self.emitted_kg: dict[str, dict[str, float]] = {}
        self._seen: dict[str, Seen] = {}
        self._last: datetime | None = None  # the cycle before, of this process
        self._began = ""  # the year of the first cycle: what was used before counts in it

    def update(self, now: datetime, states: Mapping[str, GeneratorState], ordered: Mapping[str, str]) -> dict[str, GeneratorRun]:
        """Takes one cycle. `ordered`: why an emergency machine may be requested now, by id."""
        self._began = self._began or self._year(now)
        for generator in self._site.generators:
            state = states[generator.id]
            if state.is_fresh:
                reason = run_reason(generator, state, ordered.get(generator.id, ""))
                self._count(generator, state, now, reason)
                self._follow(generator.id, state, now)
                self._seen[generator.id] = Seen(now, state.is_on, reason, state.run_hours_h)
        self._last = now
        return {g.id: self._run(g, states[g.id], now, ordered.get(g.id, "")) for g in self._site.generators}

    def used_h(self, generator: Generator, now: datetime) -> float:
        """Hours of this year that count against the permit."""
        year = self._year(now)
        ran = sum(h for reason, h in self.hours.get(generator.id, {}).get(year, {}).items() if reason != MAINS)
        return ran + (generator.permit_used_h if year == self._began else 0.0)

    def _count(self, g: Generator, state: GeneratorState, now: datetime, reason: str) -> None:
        seen = self._seen.get(g.id)
        if seen is None or now <= seen.at:
            return
        gap_h = _hours_between(seen.at, now)
        if seen.at == self._last and gap_h <= LONGEST_BRIDGE_H:
            hours, burns_per_h = gap_h * state.is_on, g.burns_per_h(state.generation_kw)
        else:
            hours, burns_per_h = _unseen_h(seen, state, gap_h), g.burns_per_h(g.power_kw)
            reason = seen.reason if seen.is_on else reason
        if hours > 0.0:
            for year, share in self._shares(seen.at, now).items():
                self._add(g, year, reason, share * hours, burns_per_h)

    def _add(self, g: Generator, year: str, reason: str, hours: float, burns_per_h: float) -> None:
        by_reason = self.hours.setdefault(g.id, {}).setdefault(year, {})
        by_reason[reason] = by_reason.get(reason, 0.0) + hours
        emitted = self.emitted_kg.setdefault(g.id, {})
        emitted[year] = emitted.get(year, 0.0) + g.emission_kg_per_fuel * burns_per_h * hours

    def _shares(self, begin: datetime, end: datetime) -> dict[str, float]:
        """Of a span of time, its share in each calendar year."""
        new_year = datetime(end.astimezone(self._zone).year, 1, 1, tzinfo=self._zone)
        later = min(1.0, (end - new_year) / (end - begin))
        return {self._year(end): later} if later == 1.0 else {self._year(begin): 1.0 - later, self._year(end): later}

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
        unseen_h, is_for_mains = self._silent_h(g, now)
        available = state.available_kw / g.power_kw if state.is_fresh else 0.0
        return GeneratorRun(
            is_on=is_on and state.is_fresh,
            since_h=_hours_since(since, now),
            generation_kw=state.generation_kw,
            available=min(1.0, max(0.0, available if state.mode != "fault" else 1.0)),
            blocked_h=self._blocked_h(g, now),
            permit_left_h=self._permit_left_h(g, now, 0.0 if is_for_mains else unseen_h),
            emission_left_kg=self._emission_left_kg(g, now, unseen_h),
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

    def _silent_h(self, g: Generator, now: datetime) -> tuple[float, bool]:
        """Hours of this year in which a machine last seen on has not been read, and whether it ran because the mains failed."""
        seen = self._seen.get(g.id)
        if seen is None or not seen.is_on or now <= seen.at:
            return 0.0, False
        return _hours_between(seen.at, now) * self._shares(seen.at, now)[self._year(now)], seen.reason == MAINS

    def _permit_left_h(self, g: Generator, now: datetime, unseen_h: float) -> float:
        if g.permit_h_per_year is None:
            return NO_BUDGET
        return max(0.0, g.permit_h_per_year - self.used_h(g, now) - unseen_h)

    def _emission_left_kg(self, g: Generator, now: datetime, unseen_h: float) -> float:
        year = self._year(now)
        budget_kg = g.emission_budget_kg(counts_used=year == self._began)
        unseen_kg = g.emission_kg_per_fuel * g.burns_per_h(g.power_kw) * unseen_h
        return NO_BUDGET if budget_kg is None else max(0.0, budget_kg - unseen_kg - self.emitted_kg.get(g.id, {}).get(year, 0.0))

    def _year(self, now: datetime) -> str:
        return str(now.astimezone(self._zone).year)

    def encode(self) -> dict[str, Any]:
        """Plain data that survives a restart."""
        return {
            "began": self._began,
            "on": {k: list(v) for k, v in self._on.items()},
            "fault_since": dict(self._fault_since),
            "start_since": dict(self._start_since),
            "seen": {k: [s.at.isoformat(), *s[1:]] for k, s in self._seen.items()},
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
        self._seen = {k: Seen(datetime.fromisoformat(at), *rest) for k, (at, *rest) in data.get("seen", {}).items() if k in known}
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


def _unseen_h(seen: Seen, state: GeneratorState, gap_h: float) -> float:
    """Hours it ran in a gap. The counter may have ticked for more than the gap: in coarse ticks it is right on average only if none is cut.
    A short gap is shorter than a tick: it counts in full if the machine was on at either end."""
    if gap_h <= LONGEST_BRIDGE_H:
        return gap_h * (seen.is_on or state.is_on)
    if seen.run_hours_h is not None and state.run_hours_h is not None:
        ran_h = state.run_hours_h - seen.run_hours_h
        if 0.0 <= ran_h <= gap_h + COUNTER_STEP_H:
            return ran_h
    return gap_h * seen.is_on


def _hours_between(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds() / 3600.0


def _hours_since(since: str, now: datetime) -> float:
    return _hours_between(datetime.fromisoformat(since), now) if since else LONG_AGO_H
