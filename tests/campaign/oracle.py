"""Counts violations of the invariants from the plant's truth, the wire log, the journal file and the alarms shown. Knows nothing of how the
controller decides, and imports nothing of it: ratings come from the site, power from the plant, writes from the bus.

What a fault takes away is known here, so an excursion only counts when somebody who acts at once could have answered it: the search goes
over what each device can still do, with its rating, its stored energy and the lag between a write and its effect.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ems.journal.read import read_journal, verify_journal
from ems.site.model import Site
from tests.campaign.faults import CANARY, KINDS, Fault
from tests.campaign.reach import BACK_S, STRIKES, Reach, is_away, reserve_floor_kwh, strikes
from tests.campaign.world import EPOCH, Second, World

SINGLE_S, DOUBLE_S = 2.0, 5.0  # the longest excursion under one fault, under two
TOLERANCE = 1.001
ECHO_S = 30.0  # a fault can be felt so long after it ended
EXPORT_SLACK_KW = 2.0
INFEASIBLE_WITHIN_S = 3.0  # two seconds, and the cycle that shows it
NOTHING_KWH = 0.01
STALE_S = 5.0
FIRST_CYCLE_S = 2.0
LONGEST_GAP_S = 3.05
LEASE_SLACK_S = 2.0
OUTCOME_S = 30.0
INTERVAL_S = 900  # of the tariff
BALANCE = 0.02  # of the import limit: what is believed of the import may be so far from the truth
BALANCE_S = 30.0  # and this long, before somebody must have said so
HANDED_BACK_S = 3.0
RAMP_LEAD_S = 12.0
METER_CLASS = 0.005
OTHER_ALARMS = ("degraded: plan", "degraded: local", "degraded: limit source", "plan refused", "event refused", "contact refused")


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold, when, and how."""

    invariant: str
    at_s: float
    detail: str


@dataclass
class Excursion:
    """A run of seconds outside a limit."""

    begun_s: float
    seconds: int = 0
    worst_kw: float = 0.0
    faults: int = 0
    feasible: int = 0
    told: bool = False
    is_named: bool = False  # somebody said that it is infeasible
    unused_kw: float = 0.0  # in its last second: what could still have been done, at the meter


@dataclass
class Tally:
    """What a run counted, beside its violations."""

    seconds: int = 0
    import_excursion_s: int = 0
    import_longest_s: int = 0
    import_excursions: int = 0
    export_excursion_s: int = 0
    infeasible: int = 0
    infeasible_runs: list[float] = field(default_factory=list)
    infeasible_unnamed: list[float] = field(default_factory=list)  # of these, nobody said so in that word
    infeasible_unused_kw: float = 0.0  # the most that was left undone at the end of one
    single_longest_s: int = 0  # seconds over the limit in one run with a feasible answer, under one fault at most
    double_longest_s: int = 0  # under more
    cycles: int = 0
    writes: int = 0
    alarms: int = 0
    missed_alarms: list[str] = field(default_factory=list)


class Oracle:
    """Watches one world. `violations` after `finish`."""

    def __init__(self, world: World, faults: Sequence[Fault]) -> None:
        self.world, self.site, self.faults = world, world.site, sorted(faults, key=lambda f: f.at_s)
        self.violations: list[Violation] = []
        self.tally = Tally()
        self._over: Excursion | None = None
        self._out: Excursion | None = None
        self._alarms: list[str] = []
        self._distrusted: frozenset[str] = frozenset()
        self._telling: list[str] = []  # of them, those that may explain a power
        self._last_cycle_s: float | None = None
        self._infeasible_since: float | None = None
        self._seen_writes = 0
        self._writer = 0
        self._breach_kwh: dict[str, float] = {}
        self._reserve_kwh: dict[str, float] = {}
        self._stored: dict[str, float] = {}
        self._was_normal: dict[str, bool] = {}
        self._peak_it_kw = 0.0
        self._level_changes: list[float] = []
        self._level = ""
        self._starts = 0
        self._waiting_alarm = [f for f in self.faults if KINDS[f.kind].alarm_s is not None and self._can_be_seen(f)]
        self._last_set: dict[tuple[str, str], float] = {}
        self._means: list[list[float]] = []  # per interval of the meter: seconds seen, kWs
        self._month_peak_kw = 0.0
        self._believed_kw: float | None = None
        self._astray_s = 0.0
        self._last_truth_kw = 0.0
        self._imports: deque[float] = deque(maxlen=60)
        self._risen_s = 0.0
        world.on_second.append(self._second)
        world.mailbox.watchers.append(self._message)

    def _can_be_seen(self, fault: Fault) -> bool:
        """False for a source that no limit needs, and for a planner that another fault makes a different one."""
        if fault.kind == "source lost":
            return any(limit.heartbeat_s is not None for limit in self.site.point_of_connection.limits)
        others = [f for f in self.faults if f.kind.startswith("planner") and f is not fault]
        return not fault.kind.startswith("planner") or not any(f.is_active(fault.at_s + 10.0, 10.0) for f in others)

    # -- what is seen -----------------------------------------------------------------------------------------------------------

    def _message(self, topic: str, body: Mapping[str, Any], now: datetime) -> None:
        if topic != "snapshot":
            return
        at_s = (now - EPOCH).total_seconds()
        self.tally.cycles += 1
        alarms = list(body["alarms"])
        self.tally.alarms += bool(alarms) and not self._alarms
        self._alarms, self._telling = alarms, [a for a in alarms if not a.startswith(OTHER_ALARMS)]
        if body["level"] != self._level:
            self._level = body["level"]
            self._level_changes.append(at_s)
        if self._last_cycle_s is not None and at_s - self._last_cycle_s > LONGEST_GAP_S and not self._was_away(self._last_cycle_s, at_s):
            self._broken("I11", at_s, f"no cycle for {at_s - self._last_cycle_s:.1f} s")
        if len(self.world.starts) > self._starts:
            self._starts = len(self.world.starts)
            if at_s - self.world.starts[-1] > FIRST_CYCLE_S:
                self._broken("I9", at_s, f"first cycle {at_s - self.world.starts[-1]:.1f} s after start")
        self._last_cycle_s = at_s
        self._distrust(frozenset(a for a, trust in body["trust"].items() if trust["state"] == "quarantined"), at_s)
        self._believed_kw = body["import_kw"] - body["export_kw"]
        self._month(at_s, body["month_peak_kw"])
        self._hear(at_s)

    def _distrust(self, assets: frozenset[str], at_s: float) -> None:
        """A device may be given up only after faults that bear it out."""
        for asset in assets - self._distrusted:
            if strikes(self.faults, asset, at_s) < STRIKES:
                self._broken("I19", at_s, f"{asset} is in quarantine without {STRIKES} faults in four hours")
        self._distrusted = assets

    def _was_away(self, begin_s: float, end_s: float) -> bool:
        away = ("kill", "pause")
        return any(f.kind in away and f.at_s <= end_s and f.at_s + f.for_s + 10.0 >= begin_s for f in self.faults)

    def _hear(self, at_s: float) -> None:
        """Alarms that had to come."""
        text = " | ".join(self._alarms)
        for fault in list(self._waiting_alarm):
            kind = KINDS[fault.kind]
            due_s = fault.at_s + (kind.alarm_s or 0.0)
            if at_s < fault.at_s:
                break
            if any(w in text for w in (kind.words or (fault.target,))):
                self._waiting_alarm.remove(fault)
            elif at_s >= due_s and fault.for_s > (kind.alarm_s or 0.0) and not self._was_away(fault.at_s - 15.0, due_s):
                self._waiting_alarm.remove(fault)
                self._broken("I19", at_s, f"{fault.number} {fault.kind} of {fault.target}: no alarm within {kind.alarm_s:.0f} s")
            elif fault.for_s <= (kind.alarm_s or 0.0) and at_s >= fault.at_s + fault.for_s:
                self._waiting_alarm.remove(fault)

    def _second(self, second: Second) -> None:
        self.tally.seconds += 1
        self._infeasible_told(second.at_s)
        self._import(second)
        self._rise(second)
        self._meter(second)
        self._balance(second)
        self._export(second)
        self._stores(second)
        self._wire(second.at_s)
        self._leases(second.at_s)

    # -- I1, I2 -----------------------------------------------------------------------------------------------------------------

    def _import(self, second: Second) -> None:
        kw, limit_kw, at_s = second.step.poc_kw, second.limit_kw, second.at_s
        if kw <= limit_kw * TOLERANCE:
            self._over = self._closed("I1", self._over)
            return
        if self._over is None:
            self._over = Excursion(at_s)
            self.tally.import_excursions += 1
        least_kw = self.least_import_kw(second)
        self._extend(self._over, kw - limit_kw, at_s, least_kw <= limit_kw)
        self._over.unused_kw = max(0.0, kw - max(limit_kw, least_kw))
        self.tally.import_excursion_s += 1
        self.tally.import_longest_s = max(self.tally.import_longest_s, self._over.seconds)

    def _export(self, second: Second) -> None:
        over_kw = -second.step.poc_kw - self.site.point_of_connection.export_limit_kw
        if over_kw <= EXPORT_SLACK_KW:
            self._out = self._closed("I2", self._out)
            return
        if self._out is None:
            self._out = Excursion(second.at_s)
        self._extend(self._out, over_kw, second.at_s, self._can_stop_discharge(second.at_s))
        self.tally.export_excursion_s += 1

    def _extend(self, run: Excursion, over_kw: float, at_s: float, is_feasible: bool) -> None:
        run.seconds += 1
        run.worst_kw = max(run.worst_kw, over_kw)
        run.faults = max(run.faults, len(self._felt(at_s)))
        run.feasible += is_feasible
        run.is_named = run.is_named or any(a.startswith("infeasible") for a in self._alarms)
        run.told = run.told or run.is_named

    def _closed(self, invariant: str, run: Excursion | None) -> None:
        if run is None:
            return
        allowed_s = DOUBLE_S if run.faults >= 2 else SINGLE_S
        if invariant == "I1":
            self._count(run)
        if run.feasible > allowed_s:
            names = ", ".join(f"{f.number} {f.kind} of {f.target}" for f in self._felt(run.begun_s)) or "no fault"
            self._broken(invariant, run.begun_s, f"{run.seconds} s, worst {run.worst_kw:.0f} kW, under {names}")
        elif run.seconds > allowed_s and invariant == "I1":
            self.tally.infeasible += 1
            self.tally.infeasible_runs.append(run.begun_s)
            self.tally.infeasible_unused_kw = max(self.tally.infeasible_unused_kw, run.unused_kw)
            if not run.is_named:
                self.tally.infeasible_unnamed.append(run.begun_s)

    def _count(self, run: Excursion) -> None:
        if run.faults >= 2:
            self.tally.double_longest_s = max(self.tally.double_longest_s, run.feasible)
        else:
            self.tally.single_longest_s = max(self.tally.single_longest_s, run.feasible)

    def _felt(self, at_s: float) -> list[Fault]:
        return [f for f in self.faults if f.is_active(at_s, ECHO_S)]

    def least_import_kw(self, second: Second) -> float:
        """The smallest import anybody could reach now: what still obeys does its utmost, the rest is as it is."""
        return Reach(self.world, self.faults, self._peak_it_kw, self._distrusted).least_import_kw(second)

    def _is_away(self, at_s: float) -> bool:
        return is_away(self.faults, at_s)

    def _can_stop_discharge(self, at_s: float) -> bool:
        reach = Reach(self.world, self.faults, self._peak_it_kw, self._distrusted)
        return all(reach.obeys(a.id, at_s) for a in (*self.site.batteries, *self.site.upses))

    def _infeasible_told(self, at_s: float) -> None:
        """Where no answer exists for longer than the time to say so, it must have been said."""
        over = self._over
        if over is None or over.feasible or over.seconds <= INFEASIBLE_WITHIN_S or over.told or self._is_away(at_s):
            return
        if self._telling:
            over.told = True
            return
        over.told = True
        self._broken("I1", at_s, f"over the limit without any feasible answer since {over.begun_s:.0f} s, and no alarm says so")

    # -- I10, I17, I18 ----------------------------------------------------------------------------------------------------------

    def _rise(self, second: Second) -> None:
        """I10: with a ramp limit the import never rises by more than it allows over the highest of the last minute (and the seconds a
        write needs), whatever changes: plan, level, owner."""
        ramp, kw = self.site.point_of_connection.ramp_limit_kw_per_min, max(0.0, second.step.poc_kw)
        if ramp is not None and len(self._imports) == 60:
            is_over = kw > (max(self._imports) + ramp * RAMP_LEAD_S / 60.0) * TOLERANCE and not self._felt(second.at_s)
            self._risen_s = self._risen_s + 1.0 if is_over else 0.0
            if self._risen_s > SINGLE_S:
                self._broken("I10", second.at_s, f"import rises to {kw:.0f} kW from at most {max(self._imports):.0f} kW in the last minute")
        self._imports.append(kw)

    def _meter(self, second: Second) -> None:
        """What the utility's meter counts, interval by interval."""
        k = int(second.at_s) // INTERVAL_S  # the world begins on an interval
        while len(self._means) <= k:
            self._means.append([0.0, 0.0])
        self._means[k][0] += 1.0
        self._means[k][1] += max(0.0, second.step.poc_kw)

    def _month(self, at_s: float, peak_kw: float) -> None:
        """I17: the month's peak never falls."""
        if peak_kw < self._month_peak_kw - 1e-6:
            self._broken("I17", at_s, f"the month's peak fell from {self._month_peak_kw:.1f} to {peak_kw:.1f} kW")
        self._month_peak_kw = peak_kw

    def _month_agrees(self) -> None:
        """I17: it is at least the highest mean of the intervals in which nobody was away and the meter told the truth, and where it always
        did, at most the highest of all."""
        ended = [k for k in range(len(self._means)) if (k + 1) * INTERVAL_S < self.tally.seconds - 2.0]
        whole = [(k, self._means[k][1] / INTERVAL_S) for k in ended]
        clean = [kw for k, kw in whole if not self._is_disturbed(k * INTERVAL_S, (k + 1) * INTERVAL_S)]
        at_s = float(self.tally.seconds)
        if clean and self._month_peak_kw < max(clean) * (1.0 - METER_CLASS) - 1.0:
            self._broken("I17", at_s, f"the month's peak is {self._month_peak_kw:.0f} kW, the meter saw {max(clean):.0f} kW")
        is_always_true = not any(self._is_disturbed(k * INTERVAL_S, (k + 1) * INTERVAL_S) for k in range(len(self._means)))
        if is_always_true and whole and self._month_peak_kw > max(kw for _, kw in whole) * (1.0 + METER_CLASS) + 1.0:
            self._broken(
                "I17", at_s, f"the month's peak is {self._month_peak_kw:.0f} kW, the meter saw {max(kw for _, kw in whole):.0f} kW"
            )

    def _is_disturbed(self, begin_s: float, end_s: float) -> bool:
        return any(f.at_s < end_s and f.at_s + f.for_s + ECHO_S > begin_s for f in self.faults if f.target in ("poc", "site"))

    def _balance(self, second: Second) -> None:
        """I18: what is believed of the import is true to 2 % of the limit, or somebody has said that something is wrong."""
        if self._believed_kw is None or self._last_cycle_s is None or second.at_s - self._last_cycle_s > 2.0:
            self._astray_s = 0.0
            return
        limit_kw, truth_kw = self.site.point_of_connection.import_limit_kw, self._last_truth_kw
        self._last_truth_kw = second.step.poc_kw
        is_near = (
            min(truth_kw, second.step.poc_kw) - BALANCE * limit_kw
            <= self._believed_kw
            <= max(truth_kw, second.step.poc_kw) + BALANCE * limit_kw
        )
        self._astray_s = 0.0 if is_near or self._telling else self._astray_s + 1.0
        if self._astray_s > BALANCE_S:
            self._broken("I18", second.at_s, f"import believed {self._believed_kw:.0f} kW, it is {truth_kw:.0f} kW, and no alarm stands")
            self._astray_s = 0.0

    # -- I3, I4 -----------------------------------------------------------------------------------------------------------------

    def _stores(self, second: Second) -> None:
        self._peak_it_kw = max(self._peak_it_kw, second.step.it_kw)
        for ups in self.world.plant.upses:
            floor_kwh = reserve_floor_kwh(ups.rating, self._peak_it_kw)
            before, after = self._stored.get(ups.id, ups.energy_kwh), ups.energy_kwh
            taken = max(0.0, min(before, floor_kwh) - after)
            self._stored[ups.id] = after
            was_normal, self._was_normal[ups.id] = self._was_normal.get(ups.id, True), ups.mode == "normal"
            if taken > 0.0 and was_normal and ups.mode == "normal" and not self._is_stranger(ups.id, second.at_s):
                self._reserve_kwh[ups.id] = self._reserve_kwh.get(ups.id, 0.0) + taken
                if self._reserve_kwh[ups.id] > NOTHING_KWH:
                    self._broken("I3", second.at_s, f"{ups.id}: {1000 * self._reserve_kwh[ups.id]:.0f} Wh below the reserve by command")
                    self._reserve_kwh[ups.id] = -math.inf
        for battery in self.world.plant.batteries:
            if battery.soc_breach_kwh > 0.0 and abs(battery.power_kw) > 1.0 and not self._is_stranger(battery.id, second.at_s):
                self._breach_kwh[battery.id] = self._breach_kwh.get(battery.id, 0.0) + battery.soc_breach_kwh
                if self._breach_kwh[battery.id] > NOTHING_KWH * battery.rating.energy_kwh:
                    self._broken("I4", second.at_s, f"{battery.id}: {self._breach_kwh[battery.id]:.1f} kWh outside its window by command")
                    self._breach_kwh[battery.id] = -math.inf

    def _is_stranger(self, asset: str, at_s: float) -> bool:
        """Somebody else commands the device, or it does the opposite of what it is told."""
        strangers = ("other_master", "reversed")
        return any(f.kind in strangers and f.target == asset and f.is_active(at_s, BACK_S) for f in self.faults)

    def _wire(self, at_s: float) -> None:
        """Every write that arrived in this second: who, how much, how soon after the last."""
        writes = self.world.bus.writes
        for write in writes[self._seen_writes :]:
            self.tally.writes += 1
            if write.writer < self._writer:
                self._broken("I7", write.at_s, f"{write.asset}: written by epoch {write.writer} after {self._writer}")
            self._writer = max(self._writer, write.writer)
            self._within_rating(write)
            self._in_control(write)
            self._on_fresh_readings(write)
            self._last_set[(write.asset, write.command)] = write.kw
        self._seen_writes = len(writes)

    def _in_control(self, write: Any) -> None:
        """F96: an asset that a person works on gets no writes."""
        for fault in self.faults:
            if fault.kind == "maintenance" and fault.target == write.asset:
                if fault.at_s + HANDED_BACK_S < write.at_s < fault.at_s + fault.for_s and not self._was_away(fault.at_s, write.at_s):
                    self._broken("I4", write.at_s, f"{write.asset} {write.command} {write.kw:.0f} kW while a person works on it")

    def _within_rating(self, write: Any) -> None:
        asset = self.site.assets[write.asset]
        low, high = -math.inf, math.inf
        if write.command == "power_setpoint_kw":
            low, high = -asset.power_kw, asset.power_kw  # type: ignore[union-attr]
        elif write.command == "battery_setpoint_kw":
            low, high = -asset.rating_kw, asset.charge_kw  # type: ignore[union-attr]
        elif write.command == "power_cap_kw":
            low, high = asset.idle_kw, asset.rating_kw  # type: ignore[union-attr]
        else:
            low, high = 0.0, asset.rating_kw  # type: ignore[union-attr]
        if not low - 1.0 <= write.kw <= high + 1.0:
            self._broken("I4", write.at_s, f"{write.asset} {write.command} {write.kw:.0f} kW outside {low:.0f} to {high:.0f} kW")

    def _on_fresh_readings(self, write: Any) -> None:
        """A store whose last answer is old gets nothing but zero."""
        if write.command not in ("power_setpoint_kw", "battery_setpoint_kw") or write.kw == 0.0:
            return
        age_s = write.at_s - self.world.bus.last_read_s.get(write.asset, -math.inf)
        is_new = self._last_set.get((write.asset, write.command)) != write.kw
        if age_s > STALE_S + 1.5 and is_new:
            self._broken("I5", write.at_s, f"{write.asset}: {write.kw:.0f} kW on readings {age_s:.1f} s old")

    # -- I8 ---------------------------------------------------------------------------------------------------------------------

    def _leases(self, at_s: float) -> None:
        epoch_s = EPOCH.timestamp() + at_s + 1.0
        for device in self.world.plant.devices.values():
            until_s = device._lease_until_s
            if until_s == math.inf and _is_commanded(device) and not self._is_stranger(device.id, at_s):
                self._broken("I8", at_s, f"{device.id} holds {device.registers} without a lease")
            if until_s != math.inf and epoch_s - until_s > LEASE_SLACK_S:
                self._broken("I8", at_s, f"{device.id} still commanded {epoch_s - until_s:.0f} s after its lease")

    # -- the end ----------------------------------------------------------------------------------------------------------------

    def finish(self) -> list[Violation]:
        """Closes what is open, reads the journal; all violations in order."""
        self._closed("I1", self._over)
        self._closed("I2", self._out)
        self.world.close()
        self._journal()
        self._bounded()
        self._month_agrees()
        for name, process in enumerate(self.world.graveyard):
            for failure in process[0].failures:
                self._broken("I11", 0.0, f"control {name}: {failure}")
        return sorted(self.violations, key=lambda v: v.at_s)

    def _journal(self) -> None:
        broken = verify_journal(self.world.folder)
        if broken is not None:
            self._broken("I13", float(self.tally.seconds), broken)
        intents: dict[tuple[str, str], list[tuple[float, float]]] = {}
        last_s = -math.inf
        for entry in read_journal(self.world.folder):
            at_s = (entry.at - EPOCH).total_seconds()
            if at_s < last_s:
                self._broken("I20", at_s, f"entry {entry.sequence} is older than the one before it")
            last_s = at_s
            if CANARY in str(entry.body):
                self._broken("I14", at_s, f"a secret of a message is in the journal, entry {entry.sequence} {entry.kind}")
            if entry.kind == "cycle":
                for asset, command, kw, _, is_written in entry.body["setpoints"]:
                    if is_written:
                        intents.setdefault((asset, command), []).append((at_s, kw))
        self._written_ahead(intents)

    def _written_ahead(self, intents: Mapping[tuple[str, str], Sequence[tuple[float, float]]]) -> None:
        index = dict.fromkeys(intents, 0)
        for write in self.world.bus.writes:
            key = (write.asset, write.command)
            rows = intents.get(key, [])
            k = index.get(key, 0)
            while k < len(rows) and rows[k][0] < write.at_s - OUTCOME_S:
                k += 1
            if key in index:
                index[key] = k
            if not any(abs(kw - write.kw) <= 0.6 for at_s, kw in _until(rows, k, write.at_s)) and not self._died_unsaved(write.at_s):
                self._broken("I6", write.at_s, f"{write.asset} {write.command} {write.kw:.0f} kW went out without an intent in the journal")

    def _died_unsaved(self, at_s: float) -> bool:
        """Records still in memory when the process was killed, or when the disk took nothing, are allowed to be lost."""
        disks = ("disk full", "disk slow", "kill")
        return any(f.kind in disks and f.at_s - 5.0 <= at_s <= f.at_s + f.for_s + 10.0 for f in self.faults)

    def _bounded(self) -> None:
        hours = max(1.0, self.tally.seconds / 3600.0)
        changes = len(self._level_changes)
        if changes > 6.0 * hours + 3 * len(self.faults):
            self._broken("I16", float(self.tally.seconds), f"{changes} changes of the ladder in {hours:.1f} h")
        size_mb = sum(p.stat().st_size for p in self.world.folder.glob("journal.db*")) / 1e6
        if size_mb > 30.0 * hours:
            self._broken("I15", float(self.tally.seconds), f"journal of {size_mb:.0f} MB after {hours:.1f} h")

    def _broken(self, invariant: str, at_s: float, detail: str) -> None:
        if sum(v.invariant == invariant for v in self.violations) < 20:
            self.violations.append(Violation(invariant, at_s, detail))


def _until(rows: Sequence[tuple[float, float]], first: int, at_s: float) -> list[tuple[float, float]]:
    found = []
    for k in range(first, len(rows)):
        if rows[k][0] > at_s + 1e-6:
            break
        found.append(rows[k])
    return found


def _is_commanded(device: Any) -> bool:
    """True when a device follows a command that is not what it does without a master."""
    rating = getattr(device, "rating", None)
    if "power_cap_kw" in device.registers:
        return bool(device.registers["power_cap_kw"] > rating.contract_cap_kw + 1.0)  # type: ignore[union-attr]
    return any(abs(kw) > 1.0 for kw in device.registers.values())


def site_of(world: World) -> Site:
    """The site a world is about."""
    return world.site
