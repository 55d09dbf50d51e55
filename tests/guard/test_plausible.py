"""Golden cases 1 to 4 of the campaign: a frozen meter, an impossible one, a charge that jumps, a charge that is stuck."""

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
