"""What a programme asks of telemetry, generators and tests is enforced, and the reason is told."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ems.app.cli import app
from ems.obligation import ObligationKind
from ems.program.channel import ChannelFile
from ems.program.decide import used_up
from ems.program.enrolment import EnrolmentFile
from ems.program.event import EventInterval, GridEvent
from ems.program.judge import judge_event, without_started
from ems.program.ledger import Ledger
from ems.program.library import find_program, load_program
from ems.program.measure import MeasureInputs, measure_event
from ems.program.meter import MeterSeries
from ems.program.months import month_statement
from ems.program.offer import offer
from ems.program.qualify import most_reduction_kw, telemetry_of, unqualified
from ems.program.schema import ProgramFile, ProgramTestFile
from ems.program.states import State
from ems.program.status import EventStatus
from ems.program.terms import Terms, terms_on
from tests.assets.generator_site import DIESEL, GAS, site_with
from tests.program.test_offers import BATTERY, HOUR, NOW, RESERVE, SITE, plan

DAY = date(2026, 7, 15)
BIP = find_program("pge-bip", Path("x.yaml"))
UNSCORED = ProgramTestFile(says="a test call is not an event", counts_as_event=False)


def terms(**rules: object) -> Terms:
    return replace(terms_on(BIP, DAY), **rules)


def channel(profile: str = "aggregator", **more: object) -> ChannelFile:
    return ChannelFile.model_validate(
        {"id": "agg", "profile": profile, "url": "https://h.example/", "programs": {"theirs": "pge-bip"}, **more}
    )


@pytest.mark.parametrize(
    ("rules", "channels", "says"),
    [
        ({"telemetry_interval_s": 900.0}, [], ""),
        ({"telemetry_interval_s": 30.0}, [], "telemetry every 30 s is asked for, the minutes of the history gives 60 s"),
        ({"telemetry_interval_s": 30.0}, [channel()], ""),
        ({"telemetry_interval_s": 30.0}, [channel(telemetry_s=60.0)], "channel agg gives 60 s"),
        ({"telemetry_interval_s": 30.0}, [channel(telemetry_s=60.0), channel()], ""),  # one way is enough
        ({"telemetry_interval_s": 30.0}, [channel("openadr-3.1")], "gives 60 s"),
        ({"telemetry_latency_s": 60.0}, [channel()], ""),
        ({"telemetry_latency_s": 60.0}, [channel(telemetry_s=60.0)], "telemetry within 60 s is asked for, channel agg takes 90 s"),
        ({"telemetry_latency_s": 120.0}, [channel("openadr-3.1", poll_s=60.0)], "takes 150 s"),
        ({"telemetry_interval_s": 30.0, "program": "another"}, [channel()], "the minutes of the history"),  # it serves another programme
    ],
)
def test_a_site_whose_telemetry_is_too_slow_is_told_so_and_offers_nothing(rules, channels, says):
    asked = terms(**{"telemetry_interval_s": None, "telemetry_latency_s": None, **rules})
    why = unqualified(asked, SITE, channels)
    assert (says in why) if says else why == ""
    found = offer(replace(asked, min_kw=0.0), SITE, plan(), NOW, RESERVE, Ledger(), channels=channels)
    assert found.refusal == why and (found.kw[0.90] > 0.0) == (why == "")


def test_a_site_without_a_meter_tells_nobody_anything():
    blind = replace(SITE, point_of_connection=replace(SITE.point_of_connection, meter=None))
    assert "names no meter" in unqualified(terms(telemetry_interval_s=3600.0), blind, [channel()])
    assert unqualified(terms(telemetry_interval_s=None, telemetry_latency_s=None), blind) == ""


@given(st.floats(1.0, 4000.0), st.floats(1.0, 4000.0), st.sampled_from([30.0, 60.0, 300.0]), st.floats(0.25, 100.0))
def test_a_stricter_demand_never_lets_a_site_in(interval_s, latency_s, pace_s, cycle_s):
    site = replace(SITE, control=replace(SITE.control, cycle_s=cycle_s))
    ways = [channel(telemetry_s=pace_s)]
    strict, lax = (terms(telemetry_interval_s=interval_s * k, telemetry_latency_s=latency_s * k) for k in (1.0, 1.5))
    assert unqualified(strict, site, ways) or not unqualified(lax, site, ways)
    [told] = telemetry_of(strict, site, ways)
    assert (unqualified(strict, site, ways) == "") == (told.interval_s <= interval_s and told.latency_s <= latency_s)


def test_lint_tells_a_site_for_which_programmes_it_does_not_qualify(tmp_path):
    text = (
        (Path("config/programs") / "pge-bip.yaml")
        .read_text()
        .replace("telemetry_interval_s: {value: 900", "telemetry_interval_s: {value: 30")
    )
    path = tmp_path / "pge-bip.yaml"
    path.write_text(text)
    said = CliRunner().invoke(app, ["programs", "lint", str(path), "--site", "demo-2mw"])
    assert said.exit_code == 0 and "demo-2mw does not qualify for pge-bip: telemetry every 30 s is asked for" in said.output
    lines = tmp_path / "channels.yaml"
    lines.write_text("channels:\n  - {id: agg, profile: aggregator, url: 'https://h.example/', programs: {x: pge-bip}}\n")
    said = CliRunner().invoke(app, ["programs", "lint", str(path), "--site", "demo-2mw", "--channels", str(lines)])
    assert "nothing speaks against joining any of them" in said.output


def test_a_site_under_a_programmes_smallest_size_does_not_qualify():
    most_kw, drawn_kw = most_reduction_kw(SITE, False), SITE.point_of_connection.import_limit_kw
    open_to_all = {"telemetry_interval_s": None, "telemetry_latency_s": None}
    assert unqualified(terms(min_kw=most_kw, **open_to_all), SITE) == ""
    assert "takes 1000000 kW at least, the site could reduce" in unqualified(terms(min_kw=1e6, **open_to_all), SITE)
    order = terms(kind="order", min_kw=drawn_kw + 1.0, **open_to_all)
    assert "the connection carries" in unqualified(order, SITE) and unqualified(replace(order, min_kw=drawn_kw), SITE) == ""


def test_a_site_reduces_no_more_than_it_can_move_nor_than_its_connection_carries():
    small = replace(SITE, assets={name: a for name, a in SITE.assets.items() if name == BATTERY.id})
    assert most_reduction_kw(small, False) == BATTERY.power_kw
    connection = replace(SITE.point_of_connection, export_limit_kw=0.0)
    assert most_reduction_kw(replace(SITE, point_of_connection=connection), True) <= connection.import_limit_kw


def test_what_a_started_generator_gives_is_no_part_of_what_a_load_delivers():
    made, site = plan(import_kw=1200.0), site_with(gas=GAS)
    gives = (-100.0, *(-100.0,) * 3, *(-350.0,) * (len(made.starts) - 4))
    found = without_started(replace(made, power_kw={**made.power_kw, "gas": gives}), site)
    assert found.import_kw[:4] == (1200.0,) * 4 and set(found.import_kw[4:]) == {1450.0}


def test_an_event_that_only_a_started_generator_would_meet_is_not_taken_for_deliverable():
    made, site = plan(energy_kwh=BATTERY.min_energy_kwh, import_kw=1200.0), site_with(gas=GAS)
    starts = (0.0, *(-400.0,) * (len(made.starts) - 1))
    helped = replace(made, power_kw={**made.power_kw, "gas": starts}, import_kw=(1200.0, *(800.0,) * (len(made.starts) - 1)))
    asked = GridEvent("e", "pge-bip", 0, ObligationKind.REDUCE_BY, (EventInterval(NOW + 2 * HOUR, NOW + 4 * HOUR, 700.0),))
    barred, allowed = (
        judge_event(asked, terms(allows_generators=leave), None, 1200.0, site, helped, RESERVE, Ledger(), NOW) for leave in (False, True)
    )
    assert allowed.kw_p90 >= barred.kw_p90 + 250.0 and barred.chance < allowed.chance == 1.0


def test_a_machine_that_a_programme_may_order_needs_its_leave():
    site = site_with(diesel={**DIESEL, "ordered_by": ["pge-bip"]})
    assert unqualified(terms(), site) == "diesel may be ordered by it (ordered_by), and it allows no generators"
    assert unqualified(terms(allows_generators=True), site) == ""


# -- tests ------------------------------------------------------------------------------------------------------------------------------

START = datetime(2026, 7, 15, 20, tzinfo=UTC)
END = START + timedelta(hours=2)


def call(is_test: bool, n: int = 0) -> GridEvent:
    start = START + timedelta(days=n)
    return GridEvent(
        f"e{n}", "pge-bip", 0, ObligationKind.REDUCE_TO, (EventInterval(start, start + (END - START), 800.0),), is_test=is_test
    )


def status(event: GridEvent, **more: object) -> EventStatus:
    return EventStatus(event, State.SETTLED_ESTIMATE, START, START, opt="in", **more)


def test_a_test_uses_up_a_call_only_where_the_programme_says_so():
    once = terms(max_events_per_month=1)
    past = [status(call(is_test=True, n=-1))]
    assert used_up(once, call(is_test=False), past) == "2 events a month, at most 1"
    unscored = replace(once, test=UNSCORED)
    assert used_up(unscored, call(is_test=False), past) == ""
    assert used_up(unscored, call(is_test=True), [status(call(is_test=False, n=-1))]) == ""
    assert "hours an event" in used_up(replace(unscored, duration_max_h=1.0), call(is_test=True), [])


def measured(rules: Terms, is_test: bool) -> dict:
    meter = MeterSeries.of(START - timedelta(days=1), 15, [1000.0] * (4 * 30))
    own = EnrolmentFile.model_validate(
        {"program": "pge-bip", "status": "active", "since": "2026-01-01", "committed_kw": 300, "level_kw": 800, "constant_kw": 1100}
    )
    return measure_event(MeasureInputs(call(is_test), None, END, meter), rules, own)


def test_a_test_is_measured_and_settled_as_the_programme_says():
    real, counted = measured(terms(), False)["settlement"], measured(terms(), True)["settlement"]
    assert Decimal(real["expected"]) < 0 and counted["expected"] == real["expected"]
    free = measured(terms(test=UNSCORED), True)["settlement"]
    assert (free["low"], free["expected"], free["high"], free["lines"]) == ("0", "0", "0", [])
    assert free["records"] == real["records"]  # measured all the same
    assert measured(terms(test=UNSCORED), False)["settlement"]["expected"] == real["expected"]


def test_a_test_that_is_not_scored_is_no_part_of_the_months_performance():
    own = EnrolmentFile.model_validate({"program": "pge-bip", "status": "active", "since": "2026-01-01", "committed_kw": 300})
    [rule] = BIP.rules.test
    unscored = BIP.model_copy(update={"rules": BIP.rules.model_copy(update={"test": [rule.model_copy(update={"value": UNSCORED})]})})
    result = {"settlement": measured(terms(), True)["settlement"]}
    for file, owed in ((BIP, True), (unscored, False)):
        [called] = month_statement(file, own, DAY, [status(call(is_test=True), result=result)]).called
        assert (called.obligation_kwh > 0.0) == owed and (called.expected < 0) == owed
        assert owed or "does not score" in called.note


def test_a_test_rule_in_words_alone_still_reads(tmp_path):
    text = (Path("config/programs") / "pge-bip.yaml").read_text()
    rule = '{says: "called without warning; a test counts as an event", counts_as_event: true}'
    assert rule in text
    path = tmp_path / "pge-bip.yaml"
    path.write_text(text.replace(rule, '"called without warning; a test counts as an event"'))
    old: ProgramFile = load_program(path)
    assert old.rules.test == BIP.rules.test
