"""One year of programmes, run: each call through enrolment, event machine and ledger, each quarter through the coarse site, each event to
its settlement. The product is whole from the message on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.coincident import coincident_intervals
from ems.kpi.bills.lines import MonthlyBill
from ems.kpi.bills.metered import Metered
from ems.program.desk import Desk, Message
from ems.program.library import load_program, program_paths
from ems.program.months import MonthStatement, month_statement
from ems.program.stages import SiteFacts
from ems.program.store import EventStore
from ems.resources import bundled
from ems.site.source import read_source
from ems.site.tariff import Tariff
from ems.site.tariff_checks import checked_tariff
from tests.campaign.year_calls import Call, Stack, calls_of
from tests.campaign.year_site import BATTERY, QUARTER, SITE, Array, Load, Plant, YearPorts, generated_load, limits_in, natural_kw

YEAR = 2026
OPEN_KW = 1e-6
SETTLES = timedelta(hours=6)  # after the last quarter, for what is still to be measured


class QuickStore(EventStore):
    """Does not wait for the disk: a year of writes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._db.execute("pragma synchronous = off")


@dataclass(frozen=True)
class Quarter:
    """One quarter of an hour as it was."""

    at: datetime
    import_kw: float
    short_kw: float
    is_recovering: bool
    overdue_kw: float  # of import, for work that could wait no longer


@dataclass(frozen=True)
class Year:
    """Everything that a year left behind. `without_kw`: the same load, plant and weather with nobody calling."""

    stack: Stack
    months: tuple[int, ...]
    first: datetime
    load: Load
    calls: tuple[Call, ...]
    desk: Desk
    quarters: tuple[Quarter, ...]
    without_kw: Array
    cpu_s: float

    @property
    def zone(self) -> ZoneInfo:
        """Where programmes and bills are local."""
        return ZoneInfo(self.stack.zone)

    @property
    def import_kw(self) -> Array:
        """As metered."""
        return np.array([q.import_kw for q in self.quarters])

    @property
    def tariff(self) -> Tariff:
        """What the site is billed by."""
        return checked_tariff(read_source(bundled(f"config/tariffs/{self.stack.tariff}.yaml")))

    def bills(self, kw: Array) -> tuple[MonthlyBill, ...]:
        """The bills of an import; the system peaks when the site's own load would, which is the worst case for it."""
        step = self.load.step(self.first)
        price = self.load.price_per_kwh[step : step + len(kw)]
        metered = Metered(self.first, 15, kw, market_per_kwh=price)
        peaks = coincident_intervals(self.tariff, self.stack.zone, metered.at_s, natural_kw(self.load)[step : step + len(kw)])
        return make_bills(
            self.tariff, SITE.currency, self.stack.zone, Metered(self.first, 15, kw, market_per_kwh=price, coincident_s=peaks)
        )

    def statements(self) -> list[MonthStatement]:
        """What each programme owes for each month."""
        enrolled = [e for e in self.stack.enrolments if e.program in self.desk.programs]
        return [
            month_statement(self.desk.programs[e.program], e, date(YEAR, m, 1), self.desk.events.values())
            for e in enrolled
            for m in self.months
        ]


def run_year(stack: Stack, months: Sequence[int], seed: int, folder: Path) -> Year:
    """Runs neighbouring months of the year, quarter by quarter. The store is left open in the desk."""
    begun = time.process_time()
    zone = ZoneInfo(stack.zone)
    first = datetime(YEAR, min(months), 1, tzinfo=zone).astimezone(UTC)
    after = datetime(YEAR + max(months) // 12, max(months) % 12 + 1, 1, tzinfo=zone).astimezone(UTC)
    load = generated_load(first, after + timedelta(days=3), seed)
    calls = calls_of(stack, YEAR, months, seed)
    begins, ends = load.step(first), load.step(after)
    plant = Plant(BATTERY.max_energy_kwh)
    ports = YearPorts(load, plant, begins)
    programs = {p.stem: load_program(p) for p in program_paths() if p.stem in {c.program for c in stack.callers}}
    desk = Desk(QuickStore(folder / f"{stack.name}.db"), SiteFacts(SITE.name, None, 1450.0), programs, stack.enrolments, ports)
    ports.desk = desk
    quarters = tuple(_quarters(desk, ports, plant, load, calls, begins, ends, zone))
    for n in range(int(SETTLES / QUARTER)):
        desk.tick(load.at(ends + n))
    return Year(stack, tuple(months), first, load, calls, desk, quarters, _without(load, begins, ends, zone), time.process_time() - begun)


def _quarters(
    desk: Desk, ports: YearPorts, plant: Plant, load: Load, calls: Sequence[Call], begins: int, ends: int, zone: ZoneInfo
) -> Iterator[Quarter]:
    waiting = list(calls)
    hold = Hold(natural_kw(load), zone)
    for step in range(begins, ends):
        now = load.at(step)
        ports.hold_kw = hold.kw
        while waiting and waiting[0].at <= now:
            call = waiting.pop(0)
            desk.receive(Message("generated year", repr(call.event.encode()), call.event), now)
        desk.tick(now)
        import_kw = plant.quarter(step, load, limits_in(desk.obligations(), now), hold.kw)
        ports.import_row.append(import_kw)
        hold.see(step, now)
        yield Quarter(now, import_kw, plant.short_kw, plant.is_recovering, plant.overdue_kw)


class Hold:
    """The highest mean that the load itself has reached in the local month: what waited comes back below it."""

    def __init__(self, natural: Array, zone: ZoneInfo) -> None:
        self._natural, self._zone, self._month, self.kw = natural, zone, 0, 0.0

    def see(self, step: int, now: datetime) -> None:
        """One more quarter."""
        month = now.astimezone(self._zone).month
        self.kw = max(self.kw if month == self._month else 0.0, float(self._natural[step]))
        self._month = month


def _without(load: Load, begins: int, ends: int, zone: ZoneInfo) -> Array:
    plant, hold, rows = Plant(BATTERY.max_energy_kwh), Hold(natural_kw(load), zone), []
    for step in range(begins, ends):
        rows.append(plant.quarter(step, load, (), hold.kw))
        hold.see(step, load.at(step))
    return np.array(rows)
