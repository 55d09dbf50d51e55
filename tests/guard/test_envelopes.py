"""What single assets may do now, and the rule that says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.assets.battery.envelope import battery_envelope
from ems.assets.battery.model import BatteryState
from ems.assets.cooling.envelope import cooling_growth
from ems.assets.envelope import Envelope
from ems.assets.ups.envelope import ups_envelope
from ems.assets.ups.model import Ups, UpsState
from ems.assets.workload.envelope import assumed_cap_kw, cap_envelope
from ems.assets.workload.model import ClusterState
from ems.errors import InvariantBroken
from tests.control.loop import demo_site

SITE = demo_site()
BESS = SITE.batteries[0]
UPS = SITE.upses[0]
HALL = SITE.clusters[0]
GOOD = BatteryState(0.0, 0.5, 500.0, 500.0, is_fresh=True)
NORMAL = UpsState(56.0, 1000.0, 0.0, 1.0, "normal", is_fresh=True)


@pytest.mark.parametrize(
    ("state", "low", "high", "rule"),
    [
        (GOOD, -500, 500, "rating"),
        (replace(GOOD, soc=0.05), 0, 500, "state of charge"),
        (replace(GOOD, soc=0.95), -500, 0, "rating"),
        (replace(GOOD, soc=0.02), 0, 500, "state of charge"),
        (replace(GOOD, max_discharge_kw=120.0), -120, 500, "device limit"),
        (replace(GOOD, is_fresh=False), 0, 0, "device not trusted"),
        (replace(GOOD, is_local=True), 0, 0, "device in LOCAL"),
    ],
)
def test_a_battery(state: BatteryState, low: float, high: float, rule: str) -> None:
    envelope = battery_envelope(BESS, state, 60.0)
    assert (envelope.low_kw, envelope.high_kw, envelope.low_rule) == (pytest.approx(low), pytest.approx(high), rule)


@given(st.floats(0, 1), st.floats(10, 600))
def test_a_battery_that_dies_with_its_last_setpoint_stays_in_its_window(soc: float, exposure_s: float) -> None:
    envelope = battery_envelope(BESS, replace(GOOD, soc=soc), exposure_s)
    worst = soc + envelope.low_kw / BESS.discharge_efficiency * exposure_s / 3600 / BESS.energy_kwh
    best = soc + envelope.high_kw * BESS.charge_efficiency * exposure_s / 3600 / BESS.energy_kwh
    assert worst >= min(soc, BESS.soc_min) - 1e-9
    assert best <= max(soc, BESS.soc_max) + 1e-9


@pytest.mark.parametrize(
    ("ups", "state", "since_s", "low_rule"),
    [
        (UPS, replace(NORMAL, mode="bypass"), 900, "UPS is bypass"),
        (UPS, replace(NORMAL, mode="on_battery"), 900, "UPS is on battery"),
        (UPS, replace(NORMAL, mode="eco"), 900, "UPS is eco"),
        (UPS, NORMAL, 30, "just after a transfer"),
        (UPS, replace(NORMAL, is_fresh=False), 900, "device not trusted"),
        (UPS, replace(NORMAL, is_local=True), 900, "device in LOCAL"),
        (replace(UPS, is_grid_interactive=False), NORMAL, 900, "monitored only"),
    ],
)
def test_a_ups_gives_nothing_outside_normal_operation(ups: Ups, state: UpsState, since_s: float, low_rule: str) -> None:
    envelope = ups_envelope(ups, state, 1400.0, 60.0, since_s)
    assert (envelope.low_kw, envelope.high_kw, envelope.low_rule) == (0.0, 0.0, low_rule)


def test_a_ups_at_its_reserve_gives_nothing_and_lead_acid_never_gives() -> None:
    at_reserve = replace(NORMAL, soc=UPS.reserve_soc(1400.0))
    assert ups_envelope(UPS, at_reserve, 1400.0, 60.0, 900).low_kw == pytest.approx(0.0, abs=1e-9)
    assert ups_envelope(UPS, NORMAL, 1400.0, 60.0, 900).low_kw < -100
    assert ups_envelope(replace(UPS, is_lead_acid=True), NORMAL, 0.0, 60.0, 900).low_kw == 0.0


def test_a_ups_relieves_the_grid_by_at_most_the_load_it_carries() -> None:
    assert ups_envelope(UPS, replace(NORMAL, load_kw=40.0), 0.0, 1.0, 900).low_kw == pytest.approx(-40.0)


@given(st.floats(0, 3000), st.floats(0, 1), st.floats(60, 120))
def test_a_ups_that_dies_discharging_still_holds_the_reserve(critical_kw: float, soc: float, exposure_s: float) -> None:
    envelope = ups_envelope(UPS, replace(NORMAL, soc=soc, load_kw=UPS.rating_kw), critical_kw, exposure_s, 900)
    left = soc + envelope.low_kw / UPS.discharge_efficiency * exposure_s / 3600 / UPS.energy_kwh
    assert left >= min(soc, UPS.reserve_soc(critical_kw)) - 1e-9
    usable = UPS.usable_kwh(max(left, UPS.reserve_soc(critical_kw)))
    assert usable >= UPS.reserve_kwh(critical_kw) - 1e-6


def test_redundant_blocks_and_age_do_not_count_for_the_reserve() -> None:
    pair = replace(UPS, blocks=2, redundant_blocks=1)
    assert pair.usable_kwh(1.0) == pytest.approx(UPS.usable_kwh(1.0) / 2)
    assert pair.reserve_soc(700.0) - UPS.soc_error == pytest.approx(2 * (UPS.reserve_soc(700.0) - UPS.soc_error))


def test_a_cap_lies_between_idle_and_rating_and_a_silent_cluster_counts_as_what_it_lapses_to() -> None:
    state = ClusterState(500.0, 500.0, 640.0, {}, is_fresh=True)
    assert (cap_envelope(HALL, state).low_kw, cap_envelope(HALL, state).high_kw) == (HALL.idle_kw, HALL.rating_kw)
    assert cap_envelope(HALL, replace(state, is_local=True)).high_kw == 500.0
    assert assumed_cap_kw(HALL, state, 600.0) == 640.0
    assert assumed_cap_kw(HALL, state, 700.0) == 700.0, "a wider cap still on its way counts"
    assert assumed_cap_kw(HALL, replace(state, cap_kw=None), 300.0) == HALL.contract_cap_kw
    assert assumed_cap_kw(HALL, replace(state, cap_kw=None), None) == HALL.rating_kw


def test_cooling_follows_heat_with_its_lag() -> None:
    cooling = SITE.coolings[0]
    assert cooling_growth(cooling, 0.0) == 0.0
    assert cooling_growth(cooling, 300.0) == pytest.approx(0.632, abs=0.001)
    assert cooling_growth(replace(cooling, lag_s=0.0), 1.0) == 1.0


@given(st.floats(-100, 100), st.floats(0, 100), st.floats(-300, 300), st.floats(0, 300))
def test_a_rule_may_only_narrow(low: float, width: float, other_low: float, other_width: float) -> None:
    envelope = Envelope("x", low, low + width, "a", "a")
    cut = envelope.narrowed(other_low, other_low + other_width, "b")
    assert envelope.low_kw <= cut.low_kw <= cut.high_kw <= envelope.high_kw


def test_an_empty_envelope_cannot_be_built() -> None:
    with pytest.raises(InvariantBroken, match="empty envelope"):
        Envelope("x", 1.0, 0.0, "a", "b")
