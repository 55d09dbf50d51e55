"""The peak to expect follows the days as they come, and the days left end where the accounts do."""

from datetime import timedelta

from ems.plan.loop import PlanLoop
from ems.plan.peak import PeakExpectation
from tests.plan.given import MONDAY
from tests.plan.test_loop import SITE, TruePrice, TrueWeather, expectation, frames, state

DAY = timedelta(days=1)


def expected_kw(peak: PeakExpectation, days_later: float) -> float:
    return peak.expected_kw(MONDAY + days_later * DAY, TruePrice(), TrueWeather())


def test_a_load_that_grows_raises_the_expected_peak_the_day_after() -> None:
    peak = expectation(3.0, 0.3)
    before = expected_kw(peak, 0.0)
    for frame in frames(1.0, 0.6):
        peak.observe(frame.start + DAY, 60.0, frame.demand_kw)
    assert expected_kw(peak, 1.0) > before + 100.0


def test_the_days_left_end_where_the_accounts_do() -> None:
    def meter_kw(loop: PlanLoop) -> float:
        for frame in frames(1.5, 0.4):
            loop.observe(frame)
        return loop.make_inputs(MONDAY, state(MONDAY)).meter.expected_peak_kw

    assert meter_kw(PlanLoop(SITE, settle_at=MONDAY + 2 * DAY)) < meter_kw(PlanLoop(SITE)) / 1.05
