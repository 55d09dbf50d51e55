"""Settlements of hand-made cases, exact to the cent, and what low, expected and high mean."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ems.errors import DataError
from ems.obligation import ObligationKind
from ems.program.baseline import BaselineRun, run_baseline
from ems.program.event import EventInterval, GridEvent
from ems.program.library import find_program
from ems.program.measure import MeasureInputs, asked_by_interval, duty_of
from ems.program.meter import MeterQuality, MeterSeries
from ems.program.methods import METHODS, method_of
from ems.program.schema import PenaltyFile
from ems.program.settlement import Duty, settle
from ems.program.terms import Terms, terms_on
from tests.program.meters import EVENT_DAY, at, event_on, golden_meter

EVENT = event_on(EVENT_DAY, 16, 20)


def terms_of(name: str, day: date = EVENT_DAY) -> Terms:
    return terms_on(find_program(name, Path("x.yaml")), day)


def duty_over(run: BaselineRun, start: datetime, end: datetime, kind: ObligationKind, kw: float, **more: float) -> Duty:
    """The same kW over the whole of `[start, end)`."""
    return Duty(kind, asked_by_interval([EventInterval(start, end, kw)], run.interval_min), **more)


def test_case_one_economic_response_nets_an_hour_above_the_baseline():
    """Baseline 55 kW. Delivered 25, 25, 25 and -5 kWh at 0.10, 0.20, 0.30 and 0.05 USD: 2.50 + 5.00 + 7.50 - 0.25 = 14.75."""
    meter = golden_meter({16: 30.0, 17: 30.0, 18: 30.0, 19: 60.0})
    run = run_baseline(METHODS["pjm_4of5"], EVENT, meter)
    prices = dict(zip(run.starts, (0.10, 0.20, 0.30, 0.05), strict=True))
    duty = duty_over(run, EVENT.start, EVENT.end, ObligationKind.REDUCE_BY, 25.0)
    settlement = settle(terms_of("pjm-economic"), duty, run, meter, price_per_kwh=prices)
    assert settlement.expected == Decimal("14.75")
    assert settlement.delivered_kwh == pytest.approx(70.0)
    assert [r.is_compliant for r in settlement.records] == [True, True, True, False]


def test_case_two_firm_service_level_pays_the_month_and_charges_the_quarter_above():
    """(1,000 - 300) kW x 8.00 = 5,600.00; one quarter of an hour 40 kW above 300 kW: 10 kWh x 6.00 = 60.00; together 5,540.00."""
    start = datetime(2026, 7, 15, 16, tzinfo=ZoneInfo("America/Los_Angeles"))
    meter = MeterSeries.of(start, 15, [300.0, 280.0, 300.0, 340.0, 300.0, 300.0, 300.0, 300.0])
    terms = terms_of("pge-bip")
    run = run_baseline(method_of("fsl", {"constant_kw": 1000.0}), replace(EVENT, start=start, end=start + timedelta(hours=2)), meter)
    duty = duty_over(run, start, start + timedelta(hours=2), ObligationKind.REDUCE_TO, 300.0, committed_kw=700.0, months=1.0)
    settlement = settle(terms, duty, run, meter)
    assert [(x.name, x.expected) for x in settlement.lines] == [
        ("1: paid per kw_month", Decimal("5600.00")),
        ("1: penalty per kwh_above", Decimal("-60.00")),
    ]
    assert settlement.expected == Decimal("5540.00") and settlement.low == settlement.high == settlement.expected
    assert not settlement.is_compliant and settlement.rule_version == terms.version


def test_case_three_availability_is_cut_by_the_performance_factor():
    """500 kW x 2,928 h x 0.005 = 7,320.00; delivered 475 of 500 kWh: factor 0.95; 6,954.00."""
    start = datetime(2026, 7, 15, 16, tzinfo=ZoneInfo("America/Chicago"))
    meter = MeterSeries.of(start, 15, [1500.0, 1500.0, 1600.0, 1500.0])
    run = run_baseline(
        method_of("max_base_load", {"constant_kw": 2000.0}), replace(EVENT, start=start, end=start + timedelta(hours=1)), meter
    )
    duty = duty_over(run, start, start + timedelta(hours=1), ObligationKind.REDUCE_BY, 500.0, committed_kw=500.0, hours=2928.0)
    settlement = settle(terms_of("ercot-ers-30"), duty, run, meter)
    assert settlement.expected == Decimal("6954.00") and settlement.performance == pytest.approx(0.95)


def test_a_shortfall_is_charged_up_to_the_stop_loss():
    start = EVENT.start
    meter = MeterSeries.of(start, 60, [900.0, 1000.0])
    run = run_baseline(method_of("fsl", {"constant_kw": 1000.0, "interval_min": 60}), replace(EVENT, end=start + timedelta(hours=2)), meter)
    duty = duty_over(run, start, start + timedelta(hours=2), ObligationKind.REDUCE_BY, 400.0)
    terms = terms_of("pjm-capacity-dr", date(2027, 7, 15))
    owed = settle(terms, duty, run, meter).lines[-1]
    assert owed.expected == Decimal("-1610.00")  # (300 + 400) kWh x 2.30
    capped = replace(terms, penalties=(PenaltyFile(per="kwh_short", price=2.3, stop_loss=1000.0),))
    assert settle(capped, duty, run, meter).lines[-1].expected == Decimal("-1000.00")


def test_the_fixed_sum_for_a_missed_event_is_owed_once():
    meter = golden_meter({16: 50.0, 17: 30.0, 18: 30.0, 19: 30.0})
    run = run_baseline(METHODS["pjm_4of5"], EVENT, meter)
    terms = replace(terms_of("pjm-economic"), payments=(), penalties=(PenaltyFile(per="event", price=123.45),))
    duty = duty_over(run, EVENT.start, EVENT.end, ObligationKind.REDUCE_BY, 25.0)
    assert settle(terms, duty, run, meter).expected == Decimal("-123.45")
    assert settle(terms, duty, run, golden_meter(dict.fromkeys(range(16, 20), 30.0))).expected == 0


def test_low_and_high_carry_the_baselines_own_error():
    meter = golden_meter(dict.fromkeys(range(16, 20), 30.0))
    run = run_baseline(METHODS["caiso_10in10"], EVENT, meter)
    duty = duty_over(run, EVENT.start, EVENT.end, ObligationKind.REDUCE_BY, 25.0)
    prices = dict.fromkeys(run.starts, 1.0)
    settlement = settle(terms_of("caiso-pdr"), duty, run, meter, price_per_kwh=prices, error=(-0.10, 0.20))
    assert settlement.expected == Decimal("100.00")
    assert settlement.low == Decimal("56.00")  # 55 x 0.8 - 30 = 14 kW: the baseline may have been 20 % too high
    assert settlement.high == Decimal("122.00")  # 55 x 1.1 - 30 = 30.5 kW


def test_an_estimated_interval_widens_and_a_bad_one_is_not_settled():
    meter = golden_meter(dict.fromkeys(range(16, 20), 30.0))
    run = run_baseline(METHODS["caiso_10in10"], EVENT, meter)
    duty = duty_over(run, EVENT.start, EVENT.end, ObligationKind.REDUCE_BY, 25.0)
    index = int((EVENT.start - meter.start).total_seconds() // 3600)

    def marked(quality: MeterQuality) -> MeterSeries:
        return replace(meter, quality=(*meter.quality[:index], quality, *meter.quality[index + 1 :]))

    prices = dict.fromkeys(run.starts, 1.0)
    widened = settle(terms_of("caiso-pdr"), duty, run, marked(MeterQuality.ESTIMATED), price_per_kwh=prices)
    assert (widened.low, widened.expected, widened.high) == (Decimal("98.50"), Decimal("100.00"), Decimal("101.50"))
    for quality in (MeterQuality.BAD, MeterQuality.MISSING):
        with pytest.raises(DataError, match="nothing is settled"):
            settle(terms_of("caiso-pdr"), duty, run, marked(quality), price_per_kwh=prices)


def test_a_price_that_is_not_known_settles_nothing():
    meter = golden_meter(dict.fromkeys(range(16, 20), 30.0))
    run = run_baseline(METHODS["pjm_4of5"], EVENT, meter)
    duty = duty_over(run, EVENT.start, EVENT.end, ObligationKind.REDUCE_BY, 25.0)
    with pytest.raises(DataError, match="no price is known"):
        settle(terms_of("pjm-economic"), duty, run, meter, price_per_kwh={run.starts[0]: 0.1})


def test_an_event_that_starts_within_an_interval_counts_only_its_part():
    meter = golden_meter(dict.fromkeys(range(16, 20), 30.0))
    event = replace(EVENT, start=at(EVENT_DAY, 16.5))
    run = run_baseline(method_of("fsl", {"constant_kw": 50.0, "interval_min": 60}), event, meter)
    settlement = settle(terms_of("ca-elrp"), duty_over(run, event.start, event.end, ObligationKind.REDUCE_BY, 20.0), run, meter)
    assert settlement.delivered_kwh == pytest.approx(20.0 * 3.5)
    assert settlement.expected == Decimal("140.00")


def quarters(terms: Terms, kw: list[float], duty_kw: float, kind: ObligationKind, baseline_kw: float = 1000.0):
    """An event of whole five-minute intervals, settled in the programme's quarters of an hour."""
    start = datetime(2026, 7, 15, 16, tzinfo=ZoneInfo("UTC"))
    end = start + timedelta(minutes=5 * len(kw))
    run = run_baseline(
        method_of("fsl", {"constant_kw": baseline_kw, "interval_min": 5}), replace(EVENT, start=start, end=end), meter_of(kw)
    )
    return settle(terms, duty_over(run, start, end, kind, duty_kw), run, meter_of(kw))


def meter_of(kw: list[float]) -> MeterSeries:
    return MeterSeries.of(datetime(2026, 7, 15, 16, tzinfo=ZoneInfo("UTC")), 5, kw)


def test_compliance_is_judged_over_the_programmes_own_interval():
    """900 kW may be met with 5 % less of 100 kW: 905 kW in the mean of a quarter. 940, 880, 890 are 903.3; 940, 890, 890 are 906.7."""
    terms = terms_of("manual")
    assert terms.compliance.interval_min == 15 and terms.compliance.share == 0.95
    kw = [940.0, 880.0, 890.0, 940.0, 890.0, 890.0]
    settlement = quarters(terms, kw, 100.0, ObligationKind.REDUCE_BY)
    assert [r.is_compliant for r in settlement.records] == [True] * 3 + [False] * 3 and not settlement.is_compliant


def test_a_drop_to_a_level_above_the_baseline_is_met_by_staying_under_the_level():
    """The site draws 1,000 kW and may draw 1,200: nothing is owed, and 1,100 kW miss nothing; 1,250 kW are over the level."""
    terms = replace(terms_of("manual"), performance=terms_of("ercot-ers-30").performance)
    held = quarters(terms, [1100.0] * 6, 1200.0, ObligationKind.REDUCE_TO)
    assert held.is_compliant and held.obligation_kwh == 0.0 and held.performance == 1.0
    over = quarters(terms, [1100.0] * 3 + [1250.0] * 3, 1200.0, ObligationKind.REDUCE_TO)
    assert [r.is_compliant for r in over.records] == [True] * 3 + [False] * 3


@pytest.mark.parametrize(("metered", "delivered_kwh"), [((700.0, 650.0), 300.0), ((1000.0, 300.0), 0.0)])
def test_what_is_delivered_is_counted_where_something_was_owed(metered: tuple[float, float], delivered_kwh: float):
    """A drop to 700 kW for two hours; the baseline is 1,000 kW, then 600: 300 kWh are owed in the first hour, none in the second."""
    start = datetime(2026, 7, 15, 16, tzinfo=ZoneInfo("UTC"))
    run = hours_at(start, [1000.0, 600.0])
    duty = duty_over(run, start, start + timedelta(hours=2), ObligationKind.REDUCE_TO, 700.0)
    found = settle(terms_of("ercot-ers-10"), duty, run, MeterSeries.of(start, 60, list(metered)))
    assert (found.obligation_kwh, found.delivered_kwh) == (300.0, delivered_kwh)
    assert found.performance == delivered_kwh / 300.0


def hours_at(start: datetime, kw: list[float]) -> BaselineRun:
    """A baseline by the hour, set by hand."""
    method = method_of("fsl", {"constant_kw": 0.0, "interval_min": 60})
    run = run_baseline(method, replace(EVENT, start=start, end=start + timedelta(hours=len(kw))), MeterSeries.of(start, 60, kw))
    return replace(run, kw=tuple(kw))


def called(kind: ObligationKind, *kw: float, minutes: int = 60) -> GridEvent:
    """An event of steps, each so many minutes long; a negative one is a pause."""
    start = at(EVENT_DAY, 16)
    spans = [(start + n * timedelta(minutes=minutes), k) for n, k in enumerate(kw)]
    return GridEvent("e", "ercot-ers-10", 0, kind, tuple(EventInterval(s, s + timedelta(minutes=minutes), k) for s, k in spans if k >= 0))


def settled(event: GridEvent, baseline_kw: list[float], metered_kw: list[float], penalty: str = "", accepted_kw: float | None = None):
    """An event by the hour against a baseline that is set by hand."""
    run, meter = hours_at(event.start, baseline_kw), MeterSeries.of(event.start, 60, metered_kw)
    penalties = (PenaltyFile(per=penalty, price=1.0),) if penalty else ()  # type: ignore[arg-type]
    duty = duty_of(MeasureInputs(event, accepted_kw, event.end, meter), None, run.interval_min)
    return settle(replace(terms_of("ercot-ers-10"), payments=(), penalties=penalties), duty, run, meter)


BY, TO = ObligationKind.REDUCE_BY, ObligationKind.REDUCE_TO


@pytest.mark.parametrize(("kind", "kw", "penalty"), [(BY, (200.0, 400.0), "kwh_short"), (TO, (800.0, 600.0), "kwh_above")])
def test_each_interval_of_an_event_in_steps_is_judged_and_charged_by_its_own_kw(
    kind: ObligationKind, kw: tuple[float, float], penalty: str
):
    """200 kW, then 400 kW under 1,000 kW: what is exactly delivered misses nothing; the other way round 200 kWh are short of the second."""
    held = settled(called(kind, *kw), [1000.0] * 2, [800.0, 600.0], penalty)
    assert [r.obligation_kw for r in held.records] == [200.0, 400.0] and held.is_compliant
    assert (held.performance, held.expected) == (1.0, 0)
    turned = settled(called(kind, *kw), [1000.0] * 2, [600.0, 800.0], penalty)
    assert [r.is_compliant for r in turned.records] == [True, False] and turned.expected == Decimal("-200.00")


def test_no_step_owes_more_than_was_accepted():
    found = settled(called(BY, 200.0, 400.0), [1000.0] * 2, [800.0, 700.0], accepted_kw=300.0)
    assert [r.obligation_kw for r in found.records] == [200.0, 300.0] and found.is_compliant


def test_an_interval_that_spans_two_steps_owes_their_mean_over_time():
    found = settled(called(BY, 100.0, 200.0, 400.0, 400.0, minutes=30), [1000.0] * 2, [850.0, 600.0])
    assert [(r.obligation_kw, r.hours) for r in found.records] == [(150.0, 1.0), (400.0, 1.0)] and found.is_compliant


def test_a_pause_between_two_steps_owes_nothing_and_is_not_measured():
    """An OpenADR level 0 is left out of the event: the load may be what it likes then."""
    found = settled(called(BY, 200.0, -1.0, 400.0), [1000.0] * 3, [800.0, 1300.0, 600.0])
    assert [(r.start.hour, r.obligation_kw) for r in found.records] == [(16, 200.0), (18, 400.0)] and found.is_compliant


def test_where_steps_overlap_the_lowest_import_is_owed():
    event = called(TO, 800.0, 600.0)
    both = (replace(event.intervals[0], end=event.end), event.intervals[1])
    found = settled(replace(event, intervals=both), [1000.0] * 2, [800.0, 600.0])
    assert [r.obligation_kw for r in found.records] == [200.0, 400.0] and found.is_compliant
