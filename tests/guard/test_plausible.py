"""Golden cases 1 to 4 of the campaign: a frozen meter, an impossible one, a charge that jumps, a charge that is stuck."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ems.guard.plausible import METER_STUCK_S, Plausible
from ems.reading import Reading
from ems.site.load import load_site
from ems.state.image import SiteImage

START = datetime(2024, 8, 19, 5, tzinfo=UTC)
SITE = load_site(Path(__file__).parents[2] / "config/sites/demo-2mw.yaml")


def image(second: float, poc_kw: float = 900.0, counted_kwh: float | None = None, soc: float = 0.5, battery_kw: float = 0.0) -> SiteImage:
    at = START + timedelta(seconds=second)
    values = {
        "poc": {"power_kw": poc_kw, "import_energy_kwh": second if counted_kwh is None else counted_kwh, "export_energy_kwh": 0.0},
        "bess-1": {"power_kw": battery_kw, "soc": soc, "max_charge_kw": 500.0, "max_discharge_kw": 500.0},
    }
    return SiteImage(at, {asset: {p: Reading(v, at) for p, v in points.items()} for asset, points in values.items()})


def test_golden_1_a_meter_whose_counters_stand_still_while_power_flows_is_not_believed_after_twenty_seconds():
    plausible = Plausible(SITE)
    seen = [plausible.checked(image(k, counted_kwh=7.0)).value("poc", "power_kw", 5.0) for k in range(40)]
    assert seen[: int(METER_STUCK_S)] == [900.0] * int(METER_STUCK_S) and seen[int(METER_STUCK_S) :] == [None] * 20
    moving = plausible.checked(image(40, counted_kwh=7.1))
    assert moving.value("poc", "power_kw", 5.0) == 900.0 and not moving.problems


def test_a_meter_at_rest_may_stand_still():
    plausible = Plausible(SITE)
    assert all(not plausible.checked(image(k, poc_kw=3.0, counted_kwh=7.0)).problems for k in range(60))


@pytest.mark.parametrize("kw", [9000.0, -9000.0])
def test_golden_2_a_meter_that_shows_more_than_the_site_can_draw_or_feed_is_not_believed(kw: float):
    checked = Plausible(SITE).checked(image(0, poc_kw=kw))
    assert checked.value("poc", "power_kw", 5.0) is None and "more than the site can" in checked.problems["poc"]


def test_golden_3_a_charge_that_jumps_up_is_not_spent_and_one_that_jumps_down_is_not_filled():
    plausible = Plausible(SITE)
    plausible.checked(image(0, soc=0.5))
    up = plausible.checked(image(1, soc=0.7))
    assert up.value("bess-1", "soc", 5.0) == pytest.approx(0.5, abs=0.001) and "bess-1 charge" in up.problems
    back = plausible.checked(image(2, soc=0.5))
    assert back.value("bess-1", "soc", 5.0) == 0.5 and not back.problems
    down = plausible.checked(image(3, soc=0.3))
    assert down.value("bess-1", "soc", 5.0) == 0.3 and down.value("bess-1", "max_charge_kw", 5.0) == 0.0


def test_golden_4_a_charge_that_is_stuck_while_the_battery_discharges_falls_with_the_energy_taken():
    plausible = Plausible(SITE)
    for k in range(601):
        checked = plausible.checked(image(k, soc=0.5, battery_kw=-300.0))
    taken = 300.0 * 600 / 3600.0 / 0.94 / 1000.0
    assert checked.value("bess-1", "soc", 5.0) == pytest.approx(0.5 - taken + 0.01, abs=0.002)  # a gauge may correct 0.1 % a minute
    assert "bess-1 charge" in checked.problems


@pytest.mark.parametrize("cycle_s", [1.0, 60.0, 300.0])
@pytest.mark.parametrize("kw", [300.0, -300.0])
def test_a_gauge_that_tells_the_truth_is_believed_however_long_a_cycle_is(cycle_s: float, kw: float):
    plausible, soc = Plausible(replace(SITE, control=replace(SITE.control, cycle_s=cycle_s))), 0.5
    for k in range(8):
        command_kw = kw if k % 4 else 0.0  # each holds for a cycle, and is read at its end
        soc += (command_kw * 0.94 if command_kw > 0.0 else command_kw / 0.94) * cycle_s / 3600.0 / 1000.0
        checked = plausible.checked(image(k * cycle_s, soc=soc, battery_kw=command_kw, counted_kwh=float(k)))
        assert checked.value("bess-1", "soc", 5.0) == pytest.approx(soc, abs=1e-4)
        assert checked.value("bess-1", "max_charge_kw", 5.0) == 500.0 and "bess-1 charge" not in checked.problems


def test_what_is_believed_of_a_charge_survives_a_restart():
    first = Plausible(SITE)
    first.checked(image(0, soc=0.5))
    second = Plausible(SITE)
    second.restore(first.encode())
    assert second.checked(image(1, soc=0.9)).value("bess-1", "soc", 5.0) == pytest.approx(0.5)


def test_a_power_no_battery_can_have_moves_no_charge():
    plausible = Plausible(SITE)
    plausible.checked(image(0, soc=0.5))
    plausible.checked(image(1, soc=0.5, battery_kw=1e6))
    assert plausible.checked(image(2, soc=0.5)).value("bess-1", "soc", 5.0) == 0.5


def test_a_power_no_battery_can_have_takes_it_out_of_the_count():
    checked = Plausible(SITE).checked(image(0, battery_kw=65536.0))
    assert "more than it can" in checked.problems["bess-1"]


def energy(rows: list[tuple[float, float, float]]) -> str:
    """What is said in the end of (second, power, counted)."""
    plausible = Plausible(SITE)
    for second, kw, counted in rows:
        checked = plausible.checked(image(second, poc_kw=kw, counted_kwh=counted))
    return checked.problems.get("poc energy", "")


@pytest.mark.parametrize(("factor", "is_named"), [(1.0, False), (1.1, False), (0.5, True), (-1.0, True), (10.0, True)])
def test_a_meter_whose_power_is_not_what_its_counters_count_is_named(factor: float, is_named: bool):
    true_kw = [600.0 + 300.0 * (k % 4 < 2) for k in range(300)]
    counted = [1000.0 + sum(true_kw[:k]) / 3600.0 for k in range(300)]
    shown = [min(1700.0, factor * kw) for kw in true_kw]
    assert ("contradict" in energy([(float(k), shown[k], counted[k]) for k in range(300)])) == is_named


@pytest.mark.parametrize("leap_kwh", [-1000.0, 400.0])
def test_a_counter_that_leaps_or_runs_backwards_is_named_at_once(leap_kwh: float):
    assert "leap" in energy([(0.0, 900.0, 5000.0), (1.0, 900.0, 5000.25), (2.0, 900.0, 5000.5 + leap_kwh)])


@pytest.mark.parametrize("spoilt", [{"poc_kw": 1e12}, {"counted_kwh": 9e9}])
def test_after_an_impossible_reading_nothing_of_the_meter_is_believed_for_ten_seconds(spoilt: dict[str, float]):
    """Swapped bytes show 1e12 kW in one second and nothing at all in the next: nothing is possible, and as wrong."""
    plausible, believed = Plausible(SITE), []
    for k in range(30):
        given = spoilt if k == 5 else {"poc_kw": 0.0} if k == 6 else {}
        checked = plausible.checked(image(k, **{"counted_kwh": k / 4.0, **given}))
        believed.append(checked.value("poc", "power_kw", 5.0) is not None)
        assert believed[-1] or "impossible" in checked.problems["poc"] or "more than the site can" in checked.problems["poc"]
    assert all(believed[:5]) and not any(believed[5:15]) and all(believed[17:])
