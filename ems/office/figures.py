"""Numbers for reports to a head-end, from history, plan and the newest cycle. What is not known is None."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from statistics import NormalDist

from adapters.openadr3.reports import Figure, Period
from ems.errors import DataError
from ems.mailbox import Mailbox
from ems.office.programs import HOSTILE, RunPorts
from ems.program.desk import Desk
from ems.program.flexibility import flexibility

Z80 = NormalDist().inv_cdf(0.9)  # half of the band that holds 80 %
STATES = {"in": "acting", "partial": "acting", "out": "opted_out"}


class OfficeFigures:
    """The figures of one run at `now`."""

    def __init__(self, ports: RunPorts, desk: Desk, mailbox: Mailbox, now: datetime) -> None:
        self._ports, self._desk, self._mailbox, self._now = ports, desk, mailbox, now

    def demand_kw(self, period: Period) -> Figure | None:
        """Mean import over a period, from minute means."""
        known = [kw for kw in self._ports.minute_kw(*period) if kw is not None]
        minutes = max(1.0, (period[1] - period[0]).total_seconds() / 60.0)
        return Figure(max(0.0, sum(known) / len(known)), min(1.0, len(known) / minutes)) if known else None

    def forecast_kw(self, period: Period) -> Figure | None:
        """Mean planned import over a period that the newest plan covers; the width is that of its load quantiles."""
        plan = self._ports.plan(self._now)
        if plan is None or period[0] < plan.starts[0] or period[1] > plan.horizon.end:
            return None
        kwh = width = 0.0
        for i, (start, hours) in enumerate(zip(plan.starts, plan.duration_h, strict=True)):
            shared = min(period[1], start + timedelta(hours=hours)) - max(period[0], start)
            h = max(0.0, shared.total_seconds()) / 3600.0
            kwh += h * plan.import_kw[i]
            width += h * sum(plan.load_q90_kw[c][i] - plan.load_q50_kw[c][i] for c in plan.load_q90_kw)
        length = (period[1] - period[0]).total_seconds() / 3600.0
        return Figure(kwh / length, half_width=width / length)

    def baseline_kw(self, event: str) -> float | None:
        """What the event's reduction is counted from."""
        status = self._desk.events.get(event)
        if status is None:
            return None
        return status.baseline_kw if status.baseline_kw is not None else status.reference_kw

    def flexible_kw(self, period: Period, probability: float) -> float | None:
        """The reduction that the plan leaves free over a period, beside what is promised to others."""
        plan = self._ports.plan(self._now)
        if plan is None:
            return None
        try:
            reserve, trust = self._ports.reserve_kwh(plan, self._now), self._ports.trust(self._now)
            free = flexibility(self._ports.site, plan, *period, reserve, {}, trust)
        except DataError:
            return None
        return free.kw_at(probability)

    def storage(self) -> Mapping[str, float]:
        """Sums over the batteries, from the newest cycle."""
        snapshot = self._mailbox.latest("snapshot", self._now)
        batteries = {b.id: b for b in self._ports.site.batteries}
        try:
            rows = [] if snapshot is None else [a for a in snapshot.body["assets"] if a["id"] in batteries]
            parts = [(batteries[a["id"]], float(a["soc"])) for a in rows]
        except HOSTILE:
            return {}
        if not parts or len(parts) != len(batteries):
            return {}
        return {
            "energy_kwh": sum(soc * b.energy_kwh for b, soc in parts),
            "usable_kwh": sum((b.soc_max - b.soc_min) * b.energy_kwh for b, _ in parts),
            "charge_kw": sum(b.power_kw for b, _ in parts),
            "discharge_kw": sum(b.power_kw for b, _ in parts),
        }

    def state_of(self, event: str) -> str:
        """opted_out, acting or normal."""
        status = self._desk.events.get(event)
        if status is None:
            return "normal"
        return "acting" if status.is_moving else "opted_out" if STATES.get(status.opt) == "opted_out" else "normal"
