"""The judge of the random events sees what is wrong, and the yardstick of what could be held is no easier than the plant."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from ems.program.store import Record
from tests.campaign.events_cases import LEAD_MIN, Call, Case, InjectedFault
from tests.campaign.events_judge import Judged, judge
from tests.campaign.events_oracle import is_feasible
from tests.campaign.events_run import Outcome, site_of
from tests.campaign.events_table import counts

START = datetime.fromisoformat("2024-08-19T00:00:00+00:00")
CALL = Call(LEAD_MIN, "e1", 0, "events-mandatory", "reduce_by", 0.3, 40, 70)
CASE = Case(1, "demo-2mw", "plain", START, (CALL,), InjectedFault("message", "none", "", 0.0, 1.0))
MINUTES = 130


def said(minute: float, to: str, **body: Any) -> Record:
    return Record(1, START + timedelta(minutes=minute), "state", "e1", {"to": to, "accepted_kw": None, **body}, "")


def outcome(kw: list[float], *records: Record, demand_kw: float = 100.0) -> Outcome:
    """One value of import per minute, 1000 kW before the event; 300 kW were asked."""
    classes = {f"hall-a/{name}": np.full(MINUTES, demand_kw) for name in ("interactive", "batch", "training")}
    stored = {"bess-1": 500.0, "ups-1": 400.0}
    before = {"it_kw": 700.0, "cooling_kw": 100.0, "loss_kw": 30.0}
    return Outcome(START, 60.0, kw, kw, {("e1", 0): 300.0, ("e1", 1): 300.0}, list(records), 0.0, before, stored, 0.0, classes)


def trace(**minutes: float) -> list[float]:
    """1000 kW, 700 from minute 40 to 70 and 900 after; `m45=800` changes one minute."""
    kw = [1000.0] * 40 + [700.0] * 30 + [900.0] * (MINUTES - 70)
    for name, value in minutes.items():
        kw[int(name[1:])] = value
    return kw


ACCEPTED = (said(30, "accepted"),)


def judged(kw: list[float], *records: Record, calls: tuple[Call, ...] = (CALL,)) -> Judged:
    (found,) = judge(Case(**{**vars(CASE), "calls": calls}), outcome(kw, *(records or ACCEPTED)))
    return found


def test_what_is_held_is_compliant_and_counted():
    found = judged(trace())
    assert found.is_compliant and found.baseline_kw == 1000.0 and len(found.intervals) == 2
    assert [(i.owed_kwh, i.delivered_kwh) for i in found.intervals] == [(75.0, pytest.approx(75.0))] * 2


@pytest.mark.parametrize(("kw", "holds"), [(920.0, True), (930.0, False)])
def test_95_percent_of_every_interval_are_demanded(kw, holds):
    """A quarter owes 75 kWh; a minute 225 kW over takes 3.75 of them, which is the twentieth part."""
    assert judged(trace(m60=kw)).is_compliant is holds


def test_what_was_never_accepted_owes_nothing_and_what_was_cancelled_nothing_more():
    assert not judged([1000.0] * MINUTES, said(30, "declined")).intervals
    cancel = Call(**{**vars(CALL), "at_min": 50, "modification": 1, "is_cancelled": True})
    found = judged(trace(**{f"m{m}": 1000.0 for m in range(50, 70)}), *ACCEPTED, said(50, "cancelled"), calls=(CALL, cancel))
    assert found.is_compliant and sum(i.owed_kwh for i in found.intervals) == pytest.approx(50.0)


def test_what_was_taken_in_part_owes_that_part():
    found = judged(trace(**{f"m{m}": 850.0 for m in range(40, 70)}), said(30, "partial", accepted_kw=150.0))
    assert found.is_compliant and not judged(trace(**{f"m{m}": 850.0 for m in range(40, 70)})).is_compliant


def test_a_derate_and_a_rebound_are_seen():
    assert judged(trace(), *ACCEPTED, said(50, "derated")).is_derated
    assert judged(trace()).rebound_kw == 0.0
    assert judged(trace(**{f"m{m}": 1100.0 for m in range(80, 85)})).rebound_kw == pytest.approx(98.0)


def test_a_mandatory_event_declined_is_no_compliant_case():
    row = {"program": "events-mandatory", "is_feasible": True, "reserve_breach_s": 0.0, "cpu_s": 0.0}
    held = {"is_compliant": True, "is_derated": False, "rebound_kw": 0.0, "owed_kwh": 1.0, "delivered_kwh": 1.0}
    assert counts([{**row, "events": [{**held, "opts": ["accepted"]}]}])["compliant"] == 1
    assert counts([{**row, "events": [{**held, "opts": ["partial"]}]}])["compliant"] == 0


def test_the_yardstick_knows_what_stores_and_waiting_work_can_do():
    """Halls idle at 420 kW: with 100 kW of interactive work the meter shows 647 kW when all else waits, with 400 kW 1,002 kW. The stores
    give 500 kW, and what the UPS holds above its reserve, for half an hour."""
    site = site_of("demo-2mw")

    def can(kw: float, demand_kw: float = 100.0) -> bool:
        call = Call(**{**vars(CALL), "kind": "reduce_to"})
        told = outcome([1000.0] * MINUTES, *ACCEPTED, demand_kw=demand_kw)
        told.asked_kw["e1", 0] = kw
        return is_feasible(Case(**{**vars(CASE), "calls": (call,)}), told, site)

    assert can(700.0) and can(100.0)
    assert not can(100.0, demand_kw=400.0)
    assert can(650.0, demand_kw=400.0)
