"""Hours and emissions by year and by reason, seen and unseen; repairs and starts followed; what a restart of control keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ems.assets.generator.model import GeneratorState
from ems.guard.generation import unknown_run
from ems.site.resolved import site_from_json, site_to_json
from ems.state.run_log import RunLog
from tests.assets.generator_site import DIESEL, FAR, GAS, SMR, a_generator, site_with

SITE = site_with(gas_1=GAS, diesel_1=DIESEL, smr_1=SMR)
GAS_1, DIESEL_1 = (a_generator(SITE, name) for name in ("gas-1", "diesel-1"))
LOADED = GeneratorState(-300.0, "loaded", 400.0, is_fresh=True)
STANDING = GeneratorState(0.0, "off", 400.0, is_fresh=True)
SILENT = GeneratorState(0.0, "fault", 0.0, is_fresh=False)
NOW = datetime(2024, 12, 31, 12, tzinfo=UTC)


def run_for(log: RunLog, hours_on: float, state: GeneratorState, begin: datetime, ordered: dict[str, str] | None = None) -> datetime:
    states = {g.id: replace(STANDING, available_kw=g.power_kw) for g in SITE.generators}
    for _ in range(round(hours_on * 60) + 1):
        log.update(begin, {**states, "gas-1": state, "diesel-1": state}, ordered or {})
        begin += timedelta(minutes=1)
    return begin - timedelta(minutes=1)


def test_hours_are_logged_by_reason_and_a_mains_failure_does_not_use_the_permit() -> None:
    log = RunLog(SITE)
    now = run_for(log, 1.0, replace(LOADED, cause="request"), NOW, {"diesel-1": "order x"})
    now = run_for(log, 0.5, replace(LOADED, cause="test"), now)
    run_for(log, 2.0, replace(LOADED, cause="transfer", carries_load=True), now)
    assert log.hours["diesel-1"]["2024"] == pytest.approx({"order": 1.0, "test": 0.5, "mains failure": 2.0})
    assert log.hours["gas-1"]["2024"] == pytest.approx({"economic": 1.0, "test": 0.5, "mains failure": 2.0})
    assert log.used_h(replace(DIESEL_1, permit_used_h=3.0), now) == pytest.approx(4.5)


def test_a_permit_is_remembered_over_a_restart_and_begins_again_with_the_local_year() -> None:
    log = RunLog(SITE)
    now = run_for(log, 2.0, LOADED, NOW)
    again = RunLog(SITE)
    again.restore(log.encode())
    assert again.used_h(GAS_1, now) == pytest.approx(2.0)
    new_year = datetime(2025, 1, 1, 6, 0, tzinfo=UTC)  # midnight in Chicago
    assert again.used_h(GAS_1, new_year - timedelta(seconds=1)) == pytest.approx(2.0)
    assert again.used_h(GAS_1, new_year) == 0.0


PERMIT = {"permit_h_per_year": 100.0, "emission_kg_per_fuel": 0.001, "emission_kg_per_year": 50.0}
PERMITTED_SITE = site_with(gas_1={**GAS, **PERMIT})
OFF_AGAIN = replace(STANDING, cause="none")


@pytest.mark.parametrize(
    ("back", "counter_h", "counted_h"),
    [
        (LOADED, (700.0, 705.0), 5.0),
        (OFF_AGAIN, (700.0, 701.5), 1.5),  # stopped while nobody saw it: less than was feared
        (OFF_AGAIN, (None, None), 5.0),
        (LOADED, (700.0, None), 5.0),
        (LOADED, (700.0, 3.0), 5.0),  # another counter
        (OFF_AGAIN, (700.0, 706.5), 5.0),  # more than the time there was
    ],
)
def test_hours_that_nobody_saw_count_as_running_until_its_counter_tells(
    back: GeneratorState, counter_h: tuple[float | None, float | None], counted_h: float
) -> None:
    log = RunLog(PERMITTED_SITE)
    log.update(NOW, {"gas-1": replace(LOADED, cause="test", run_hours_h=counter_h[0])}, {})
    for minute in range(1, 300):
        runs = log.update(NOW + timedelta(minutes=minute), {"gas-1": SILENT}, {})
        assert runs["gas-1"].permit_left_h == pytest.approx(100.0 - minute / 60)
    rated_kg_per_h = 0.001 * GAS_1.burns_per_h(400.0)
    assert runs["gas-1"].emission_left_kg == pytest.approx(50.0 - rated_kg_per_h * 299 / 60)
    again = RunLog(PERMITTED_SITE)
    again.restore(log.encode())
    for follower in (log, again):  # control may be new as well
        runs = follower.update(NOW + timedelta(hours=5), {"gas-1": replace(back, run_hours_h=counter_h[1])}, {})
        assert follower.hours["gas-1"]["2024"] == pytest.approx({"test": counted_h})
        assert runs["gas-1"].permit_left_h == pytest.approx(100.0 - counted_h)
        assert runs["gas-1"].emission_left_kg == pytest.approx(50.0 - rated_kg_per_h * counted_h)


def test_a_machine_last_seen_off_counts_what_its_counter_tells_and_no_more() -> None:
    for before_h, after_h, counted in ((700.0, 702.0, {"economic": 2.0}), (None, None, {})):
        log = RunLog(PERMITTED_SITE)
        log.update(NOW, {"gas-1": replace(STANDING, run_hours_h=before_h)}, {})
        assert log.update(NOW + timedelta(hours=4), {"gas-1": SILENT}, {})["gas-1"].permit_left_h == 100.0
        log.update(NOW + timedelta(hours=5), {"gas-1": replace(STANDING, run_hours_h=after_h)}, {})
        assert log.hours.get("gas-1", {}).get("2024", {}) == pytest.approx(counted)


def test_a_silence_over_new_year_counts_in_both_years() -> None:
    log = RunLog(PERMITTED_SITE)
    new_year = datetime(2025, 1, 1, 6, tzinfo=UTC)  # midnight in Chicago
    log.update(new_year - timedelta(hours=3), {"gas-1": LOADED}, {})
    runs = log.update(new_year + timedelta(hours=1), {"gas-1": SILENT}, {})
    assert runs["gas-1"].permit_left_h == pytest.approx(99.0)
    log.update(new_year + timedelta(hours=2), {"gas-1": LOADED}, {})
    assert [log.hours["gas-1"][y]["economic"] for y in ("2024", "2025")] == pytest.approx([3.0, 2.0])


CO = {"name": "co", "kg_per_fuel": 0.004, "kg_per_year": 12.0, "used_kg": 2.0}
NOX_AND_CO = {**GAS, "emission_kg_per_fuel": 0.001, "emission_kg_per_year": 50.0, "other_emissions": [CO]}


def test_of_two_pollutants_the_budget_that_is_used_up_first_bounds_the_machine() -> None:
    """10 kg of CO are left, as 2,500 units of fuel, where 50 kg of NOx would be 50,000: 2.5 kg of NOx may be emitted."""
    site = site_with(gas_1=NOX_AND_CO)
    log, gas = RunLog(site), next(g for g in site.generators if g.id == "gas-1")
    states = {g.id: replace(STANDING, available_kw=g.power_kw) for g in site.generators}
    assert log.update(NOW, states, {})["gas-1"].emission_left_kg == pytest.approx(2.5) == unknown_run(gas).emission_left_kg
    for minute in range(1, 61):
        runs = log.update(NOW + timedelta(minutes=minute), {**states, "gas-1": LOADED}, {})
    burnt = gas.burns_per_h(LOADED.generation_kw)
    assert runs["gas-1"].emission_left_kg == pytest.approx(2.5 - 0.001 * burnt)
    next_year = log.update(datetime(2025, 1, 1, 6, tzinfo=UTC), states, {})
    assert next_year["gas-1"].emission_left_kg == pytest.approx(12.0 / 0.004 * 0.001)
    assert site_from_json(site_to_json(site)) == site


def test_a_machine_in_fault_is_counted_out_until_its_repair_and_its_dwell_survives_a_restart() -> None:
    log = RunLog(SITE)
    states = {g.id: replace(STANDING, available_kw=g.power_kw) for g in SITE.generators}
    log.update(NOW, {**states, "gas-1": LOADED}, {})
    later = NOW + timedelta(hours=1)
    runs = log.update(later, {**states, "gas-1": replace(STANDING, mode="fault", available_kw=0.0)}, {})
    assert (runs["gas-1"].is_on, runs["gas-1"].since_h, runs["gas-1"].blocked_h) == (False, 0.0, GAS_1.repair_h)
    again = RunLog(SITE)
    again.restore(log.encode())
    runs = again.update(later + timedelta(hours=3), {**states, "gas-1": replace(STANDING, mode="fault")}, {})
    assert runs["gas-1"].blocked_h == pytest.approx(1.0) and runs["gas-1"].since_h == pytest.approx(3.0)
    runs = again.update(later + timedelta(hours=4), states, {})
    assert runs["gas-1"].blocked_h == 0.0 and runs["gas-1"].permit_left_h >= FAR


COURSE = [  # hours since noon, what the reactor says, hours of its start that are left
    (0.0, "loaded", 0.0),
    (1.0, "fault", 48.0),  # from the end of its repair
    (2.0, "off", 48.0),
    (3.0, "starting", 48.0),
    (33.0, "warming", 18.0),
    (43.0, "silent", 8.0),  # its start goes on
    (63.0, "synchronising", 0.25),  # late: not at once
    (64.0, "loaded", 0.0),
    (65.0, "silent", 0.0),  # as it was last seen
    (66.0, "fault", 48.0),
    (67.0, "starting", 48.0),
]


def test_the_start_of_a_reactor_is_followed_to_its_load_over_restarts_of_control() -> None:
    log = RunLog(SITE)
    states = {g.id: replace(STANDING, available_kw=g.power_kw) for g in SITE.generators}
    for at_h, mode, left_h in COURSE:
        reactor = SILENT if mode == "silent" else replace(STANDING, mode=mode)
        runs = log.update(NOW + timedelta(hours=at_h), {**states, "smr-1": reactor}, {})
        assert runs["smr-1"].start_left_h == pytest.approx(left_h), (at_h, mode)
        memory, log = log.encode(), RunLog(SITE)
        log.restore(memory)
