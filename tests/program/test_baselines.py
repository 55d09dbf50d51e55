"""The golden vectors of every day-matching method, and the edges where baselines go wrong."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.errors import DataError
from ems.program.baseline import EventDay, run_baseline, same_clock
from ems.program.meter import MeterQuality, MeterSeries
from ems.program.methods import METHODS, method_of
from tests.program.meters import EVENT_DAY, GOLDEN_MW, at, event_on, golden_meter, kind_of_day, like_days, meter_of

DURING = {16: 30.0, 17: 30.0, 18: 30.0, 19: 30.0}  # HE17 to HE20
EVENT = event_on(EVENT_DAY, 16, 20)


@pytest.mark.parametrize("interval_min", [60, 30, 15, 5])
@pytest.mark.parametrize(
    ("method", "unadjusted", "raw", "applied", "adjusted", "delivered"),
    [
        ("caiso_10in10", 50.0, 1.10, 1.10, 55.0, 25.0),
        ("pjm_4of5", 50.5, 4.5, 4.5, 55.0, 25.0),
        ("nyiso_5of10", 52.0, 55 / 52, 55 / 52, 55.0, 25.0),
        ("ercot_mid8of10", 50.0, 1.10, 1.10, 55.0, 25.0),
        ("gb_p376_bl01", 50.0, 5.0, 5.0, 55.0, 25.0),
    ],
)
def test_golden_vectors_of_like_days(method, unadjusted, raw, applied, adjusted, delivered, interval_min):
    changes = {"interval_min": max(interval_min, METHODS[method].interval_min)} if interval_min > 5 else {"interval_min": 60}
    run = run_baseline(method_of(method, changes), EVENT, golden_meter(DURING, interval_min))
    assert run.unadjusted_kw == pytest.approx((unadjusted,) * len(run.starts), abs=1e-12)
    assert (run.adjustment.raw, run.adjustment.applied) == pytest.approx((raw, applied))
    assert run.kw == pytest.approx((adjusted,) * len(run.starts), abs=1e-12)
    hours = run.interval_min / 60
    assert sum(kw - 30.0 for kw in run.kw) * hours == pytest.approx(4 * delivered)


def test_golden_vector_of_the_capped_ratio():
    run = run_baseline(METHODS["caiso_10in10"], EVENT, golden_meter({**DURING, 12: 65.0, 13: 65.0, 14: 65.0}))
    assert (run.adjustment.raw, run.adjustment.applied) == (1.3, 1.2)
    assert run.kw == (60.0,) * 4 and "capped" in run.adjustment.why


def test_golden_vector_of_same_day_three_and_two():
    """Event HE13-17 is measured from HE9-11 and HE19-20, as published."""
    today = {8: 50.0, 9: 52.0, 10: 54.0, **dict.fromkeys(range(12, 17), 30.0), 18: 49.0, 19: 51.0}
    run = run_baseline(METHODS["pjm_same_day_3p2"], event_on(EVENT_DAY, 12, 17), golden_meter(today))
    assert run.kw == pytest.approx((51.2,) * 5)
    assert [kw - 30.0 for kw in run.kw] == pytest.approx([21.2] * 5)


def test_the_days_that_are_dropped_are_the_published_ones():
    days = like_days(EVENT_DAY, 10)
    by_mw = dict(zip(GOLDEN_MW, days, strict=True))  # 50 stands twice: the later one wins here and is not asked for

    def left_out(method: str) -> set[date]:
        run = run_baseline(METHODS[method], EVENT, golden_meter(DURING))
        return {d.day for d in run.days if not d.is_used and "another kind" not in d.why}

    assert left_out("pjm_4of5") == {by_mw[48]}
    assert left_out("ercot_mid8of10") == {by_mw[54], by_mw[46]}
    assert {by_mw[m] for m in (46, 47, 48, 49)} <= left_out("nyiso_5of10")
    assert left_out("caiso_10in10") == set()


def test_every_day_looked_at_says_why():
    run = run_baseline(METHODS["pjm_4of5"], EVENT, golden_meter(DURING))
    assert all(d.why for d in run.days)
    assert {d.why for d in run.days if d.is_used} == {"like day"}
    assert "another kind of day (sunday)" in {d.why for d in run.days}


def test_meter_before_holds_the_last_quarter_hour_flat():
    run = run_baseline(METHODS["mbma"], EVENT, golden_meter({**DURING, 15: 57.0}, 5))
    assert run.kw == (57.0,) * 48


def test_an_interval_that_reaches_into_the_event_is_not_what_was_before_it():
    meter = golden_meter({**DURING, 15: 57.0}, 5)
    late = EventDay(EVENT.start + timedelta(minutes=2), EVENT.end, EVENT.zone, kind_of_day)
    assert set(run_baseline(METHODS["mbma"], late, meter).kw) == {57.0}


def test_a_firm_service_level_is_a_constant_of_the_enrolment():
    assert run_baseline(method_of("fsl", {"constant_kw": 40.0}), EVENT, golden_meter(DURING, 15)).kw == (40.0,) * 16
    with pytest.raises(DataError, match="constant_kw"):
        run_baseline(METHODS["fsl"], EVENT, golden_meter(DURING, 15))


def test_a_nomination_is_taken_as_submitted():
    nominated = MeterSeries.of(at(EVENT_DAY, 16), 30, [51.0, 52.0, 53.0, 54.0, 55.0, 56.0, 57.0, 58.0])
    run = run_baseline(METHODS["nominated"], event_on(EVENT_DAY, 16, 20, nominated=nominated), golden_meter(DURING, 30))
    assert run.kw == tuple(float(v) for v in range(51, 59))


def test_sub_metered_output_counts_discharge_and_never_charging():
    days = like_days(EVENT_DAY, 10)
    usual = dict(zip(days, (-2.0, 30.0, -4.0, 0.0, 0.0, 50.0, 0.0, 0.0, 0.0, -4.0), strict=True))  # discharging negative
    meter = meter_of({**usual, EVENT_DAY: 0.0}, {EVENT_DAY: dict.fromkeys(range(16, 20), -25.0)}, 15)
    run = run_baseline(METHODS["meter_output"], EVENT, meter)
    assert run.kw == pytest.approx((-1.0,) * 16)  # (2 + 4 + 4) / 10 of typical output; charging on two days counts as none
    assert run.kw[0] - -25.0 == pytest.approx(24.0)


def test_match_days_are_those_closest_in_the_other_hours():
    days = like_days(EVENT_DAY, 6)
    levels = dict(zip(days, (10.0, 54.0, 56.0, 90.0, 55.0, 20.0), strict=True))
    hours = {d: dict.fromkeys(range(16, 20), levels[d] + 5.0) for d in days}
    hours[EVENT_DAY] = {**DURING, 15: 500.0, 20: 500.0}  # the hours next to the event do not count
    run = run_baseline(METHODS["pjm_match_day_3"], EVENT, meter_of({**levels, EVENT_DAY: 55.0}, hours))
    assert {d.day for d in run.days if d.is_used} == {days[1], days[2], days[4]}
    assert run.kw == pytest.approx((60.0,) * 4)


# Edges


def test_a_holiday_is_a_day_of_the_weekend_kind():
    holiday = like_days(EVENT_DAY, 3)[2]

    def kind(day: date) -> str:
        return "holiday" if day == holiday else kind_of_day(day)

    event = EventDay(EVENT.start, EVENT.end, ZoneInfo("UTC"), kind)
    older = {**dict(zip(like_days(EVENT_DAY, 11), (*map(float, GOLDEN_MW), 80.0), strict=True)), EVENT_DAY: 55.0}
    run = run_baseline(METHODS["pjm_4of5"], event, meter_of(older, {EVENT_DAY: DURING}))
    assert next(d for d in run.days if d.day == holiday).why == "another kind of day (holiday)"
    assert run.unadjusted_kw[0] == pytest.approx((50 + 52 + 51 + 53) / 4)  # 48 was the holiday, 53 comes in, 49 is the lowest


def test_too_few_like_days_is_an_error_with_numbers():
    meter = meter_of({**dict.fromkeys(like_days(EVENT_DAY, 4), 50.0), EVENT_DAY: 55.0})
    with pytest.raises(DataError, match="found 4 like days of at least 5"):
        run_baseline(METHODS["pjm_4of5"], EVENT, meter)


def test_event_days_leave_the_lookback_and_fill_it_only_when_it_is_short():
    days = like_days(EVENT_DAY, 7)
    levels = dict(zip(days, (50.0, 61.0, 62.0, 63.0, 52.0, 54.0, 56.0), strict=True))
    events = tuple((at(d, 16), at(d, 20)) for d in days[1:4])  # back-to-back event days
    event = event_on(EVENT_DAY, 16, 20, other_events=events)
    run = run_baseline(METHODS["caiso_10in10"], event, meter_of({**levels, EVENT_DAY: 55.0}, {EVENT_DAY: DURING}))
    used = {d.day: d.why for d in run.days if d.is_used}
    assert set(used) == {days[0], days[3], days[4], days[5], days[6]}  # four ordinary days, and the event day of the highest load
    assert used[days[3]] == "an event day, for want of ordinary ones"
    assert next(d for d in run.days if d.day == days[1]).why == "event day"


def test_a_long_run_of_event_days_freezes_an_old_baseline():
    days = like_days(EVENT_DAY, 20)
    levels = {d: (80.0 if n < 10 else 50.0) for n, d in enumerate(days)}
    event = event_on(EVENT_DAY, 16, 20, other_events=tuple((at(d, 16), at(d, 20)) for d in days[:10]))
    run = run_baseline(METHODS["caiso_10in10"], event, meter_of({**levels, EVENT_DAY: 50.0}))
    assert run.unadjusted_kw == (50.0,) * 4


def test_a_missing_or_bad_interval_leaves_its_day_out_and_an_estimated_one_is_told():
    days = like_days(EVENT_DAY, 13)
    whole = meter_of({**dict.fromkeys(days, 50.0), EVENT_DAY: 55.0}, {EVENT_DAY: DURING}, 15)
    kw, quality = list(whole.kw), list(whole.quality)

    def index(day: date, hour: float) -> int:
        return int((at(day, hour) - whole.start).total_seconds() // 900)

    kw[index(days[0], 17)] = None
    quality[index(days[0], 17)] = MeterQuality.MISSING
    kw[index(days[1], 18)], quality[index(days[1], 18)] = 9e9, MeterQuality.BAD
    quality[index(days[2], 18)] = MeterQuality.ESTIMATED
    run = run_baseline(METHODS["caiso_10in10"], EVENT, MeterSeries(whole.start, 15, tuple(kw), tuple(quality)))
    why = {d.day: d.why for d in run.days}
    assert why[days[0]] == "17:00 is missing or bad" and why[days[1]] == "18:00 is missing or bad"
    assert why[days[2]] == "like day, 1 intervals estimated"
    assert run.unadjusted_kw == (50.0,) * 4


def test_a_day_of_low_usage_is_replaced_by_the_next():
    days = like_days(EVENT_DAY, 6)
    levels = dict(zip(days, (50.0, 52.0, 10.0, 51.0, 49.0, 53.0), strict=True))
    run = run_baseline(METHODS["pjm_4of5"], EVENT, meter_of({**levels, EVENT_DAY: 55.0}, {EVENT_DAY: DURING}))
    assert run.unadjusted_kw[0] == pytest.approx((50 + 52 + 51 + 53) / 4)
    assert "low usage: 10 kW" in next(d for d in run.days if d.day == days[2]).why


def test_an_event_in_the_first_hours_is_adjusted_from_the_evening_before():
    days = like_days(EVENT_DAY, 10)
    evening = {d - timedelta(days=1): {22: 20.0, 23: 20.0} for d in days} | {EVENT_DAY - timedelta(days=1): {22: 24.0, 23: 24.0}}
    levels = {EVENT_DAY - timedelta(days=n): 20.0 for n in range(1, 16)} | dict.fromkeys(days, 40.0) | {EVENT_DAY: 40.0}
    meter = meter_of({**levels, EVENT_DAY: 48.0}, evening)
    run = run_baseline(METHODS["caiso_10in10"], event_on(EVENT_DAY, 2, 4), meter)  # window 22:00 to 01:00
    assert run.adjustment.raw == pytest.approx((24 + 24 + 48) / (20 + 20 + 40))


def test_a_window_inside_an_earlier_event_is_not_adjusted_with():
    earlier = ((at(EVENT_DAY, 11), at(EVENT_DAY, 15)),)
    whole = run_baseline(METHODS["caiso_10in10"], event_on(EVENT_DAY, 16, 20, other_events=earlier), golden_meter(DURING))
    assert whole.adjustment.applied == 1.0 and "no interval" in whole.adjustment.why
    half = run_baseline(
        METHODS["caiso_10in10"], event_on(EVENT_DAY, 16, 20, other_events=((at(EVENT_DAY, 13), at(EVENT_DAY, 14)),)), golden_meter(DURING)
    )
    assert half.adjustment.raw == pytest.approx(1.1) and half.adjustment.why.startswith("2 intervals")


def test_two_events_in_one_day_have_the_same_like_days():
    morning, evening = (at(EVENT_DAY, 8), at(EVENT_DAY, 10)), (at(EVENT_DAY, 16), at(EVENT_DAY, 20))
    meter = golden_meter({**DURING, 8: 30.0, 9: 30.0})
    first = run_baseline(METHODS["caiso_10in10"], event_on(EVENT_DAY, 8, 10, other_events=(evening,)), meter)
    second = run_baseline(METHODS["caiso_10in10"], event_on(EVENT_DAY, 16, 20, other_events=(morning,)), meter)
    assert [d.day for d in first.days if d.is_used] == [d.day for d in second.days if d.is_used]
    assert first.kw[0] == pytest.approx(55.0) and second.kw[0] == pytest.approx(55.0)


@pytest.mark.parametrize(("today", "like"), [(55.0, 0.0), (55.0, 1e-9), (-5.0, 50.0), (0.0, 50.0)])
def test_a_ratio_near_zero_or_of_an_export_is_not_applied(today, like):
    days = like_days(EVENT_DAY, 10)
    hours = {d: dict.fromkeys((12, 13, 14), like) for d in days} | {EVENT_DAY: dict.fromkeys((12, 13, 14), today)}
    run = run_baseline(METHODS["caiso_10in10"], EVENT, meter_of({**dict.fromkeys(days, 50.0), EVENT_DAY: 55.0}, hours))
    assert run.kw == (50.0,) * 4 and "near zero or exported" in run.adjustment.why


def test_a_site_that_exports_is_adjusted_by_addition_all_the_same():
    days = like_days(EVENT_DAY, 5)
    run = run_baseline(METHODS["pjm_4of5"], EVENT, meter_of({**dict.fromkeys(days, -50.0), EVENT_DAY: -40.0}))
    assert run.kw == (-40.0,) * 4


def test_the_loss_factor_scales_meter_and_baseline_alike():
    run = run_baseline(method_of("pjm_4of5", {"loss_factor": 1.05}), EVENT, golden_meter(DURING))
    assert run.kw == pytest.approx((55.0 * 1.05,) * 4)


def test_a_meter_that_does_not_fit_the_interval_is_refused():
    with pytest.raises(DataError, match="do not fit"):
        run_baseline(method_of("caiso_10in10", {"interval_min": 15}), EVENT, golden_meter(DURING, 60))


@pytest.mark.parametrize(
    ("day", "hour", "count"),
    [(date(2026, 3, 8), 2.5, 0), (date(2026, 3, 8), 3.5, 1), (date(2026, 11, 1), 1.5, 1)],
    ids=["skipped", "after", "twice"],
)
def test_a_clock_change_skips_or_repeats_an_hour(day, hour, count):
    zone = ZoneInfo("America/Los_Angeles")
    the_day_after = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(days=1, hours=hour)
    found = same_clock(the_day_after.astimezone(UTC), 1, zone)
    assert (found is not None) == bool(count)
    if found is not None:
        local = found.astimezone(zone)
        assert (local.date(), local.hour + local.minute / 60, local.fold) == (day, hour, 0)


def test_a_day_of_23_hours_is_left_out_when_its_clock_has_no_such_hour():
    zone = ZoneInfo("America/Los_Angeles")
    event = EventDay(datetime(2026, 3, 15, 2, tzinfo=zone), datetime(2026, 3, 15, 3, tzinfo=zone), zone, kind_of_day)
    meter = MeterSeries.of(datetime(2026, 1, 20, tzinfo=UTC), 60, [50.0] * 24 * 60)
    run = run_baseline(METHODS["caiso_10in10"], event, meter)
    assert next(d for d in run.days if d.day == date(2026, 3, 8)).why == "no 02:00 on that day"


def test_an_event_over_the_repeated_hour_has_an_interval_for_each_of_its_hours():
    zone = ZoneInfo("America/Los_Angeles")
    event = EventDay(datetime(2026, 11, 1, 0, tzinfo=zone), datetime(2026, 11, 1, 3, tzinfo=zone), zone, kind_of_day)
    run = run_baseline(METHODS["caiso_10in10"], event, MeterSeries.of(datetime(2026, 9, 1, tzinfo=UTC), 60, [50.0] * 24 * 70))
    assert len(run.starts) == 4 and run.kw == (50.0,) * 4


LIKE_DAY_METHODS = [m for m in METHODS.values() if m.form == "like_days" and not m.output_only]


@given(st.sampled_from(LIKE_DAY_METHODS), st.floats(1.0, 1e6), st.integers(0, 20), st.integers(1, 3))
def test_a_load_that_never_changes_is_its_own_baseline(method, kw, hour, length):
    first = datetime(2026, 5, 1, tzinfo=UTC)
    meter = MeterSeries.of(first, 30, [kw] * 48 * 80)
    run = run_baseline(method, event_on(EVENT_DAY, hour, hour + length), meter)
    assert run.kw == pytest.approx([kw] * len(run.kw), rel=1e-9)


@given(st.sampled_from(LIKE_DAY_METHODS), st.lists(st.floats(10.0, 100.0), min_size=20, max_size=20), st.floats(0.5, 20.0))
def test_a_baseline_scales_with_the_load(method, levels, factor):
    days = dict(zip([*like_days(EVENT_DAY, 19), EVENT_DAY], levels, strict=True))
    once = run_baseline(method, EVENT, meter_of(days, None, 30))
    scaled = run_baseline(method, EVENT, meter_of({d: v * factor for d, v in days.items()}, None, 30))
    assert scaled.kw == pytest.approx([v * factor for v in once.kw], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("caiso_11in10", {}, "no method"),
        ("caiso_10in10", {"form": "constant"}, "has no form"),
        ("caiso_10in10", {"interval_min": 7}, "interval_min"),
        ("caiso_10in10", {"minimum_days": [11, 4]}, "at least 11"),
        ("caiso_10in10", {"target_days": 10}, "caiso_10in10"),
        ("caiso_10in10", {"adjust_from_h": 1.0}, "adjust_from_h"),
    ],
)
def test_senseless_parameters_are_refused(name, changes, says):
    with pytest.raises(DataError, match=says):
        method_of(name, changes)
