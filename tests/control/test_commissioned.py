"""A configuration may tighten every limit it was commissioned with, and loosen none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.control.commissioned import AT_LEAST, AT_MOST, MOST, PLANT_AT_LEAST, PLANT_AT_MOST, bounds_of, decode, encode, loosened
from ems.limit import Limit, LimitKind
from ems.resources import bundled
from ems.site.load import load_site
from ems.site.model import Site
from tests.assets.generator_site import DIESEL, GAS, PV
from tests.assets.test_cooling import PLANT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHILLED = {"plant": {**PLANT, "supply_lowest_c": 18}, "link": {"page": "generic-chilled-water-plant", "host": "127.0.0.1", "port": 15025}}
ASSETS: dict[str, Any] = {
    "cooling-1": {**CHILLED, "lag_s": 60}, "gas-1": {**GAS, "permit_h_per_year": 500}, "diesel-1": {**DIESEL, "ordered_by": ["texas-sb6"]},
    "pv-1": PV,
}  # fmt: skip
SITE = load_site(
    bundled("config/sites/demo-2mw.yaml"),
    {"point_of_connection": {"import_limit_kw": 1450, "ramp_limit_kw_per_min": 400, "export_limit_kw": 100}, "assets": ASSETS},
)
FIFTY = load_site(bundled("config/sites/enterprise-50mw.yaml"))
KNOWN = {site.name: bounds_of(site) for site in (SITE, FIFTY)}


def changed(site: Site, asset: str, **values: Any) -> Site:
    return replace(site, assets={**site.assets, asset: replace(site.assets[asset], **values)})


def numbers(site: Site) -> Iterator[tuple[str, str, bool]]:
    """(asset, field, whether a larger value is looser) of every number that is a bound."""
    for name, asset in site.assets.items():
        fields = ((f, table is AT_MOST) for table in (AT_MOST, AT_LEAST) for f in table.get(type(asset), ()))
        yield from ((name, f, larger) for f, larger in fields if isinstance(getattr(asset, f), float))


NUMBERS = [(site, *row) for site in (SITE, FIFTY) for row in numbers(site)]


def keys(site: Site, known: Site = SITE) -> list[str]:
    return [x.key for x in loosened(KNOWN[known.name], site, NOW)]


@settings(max_examples=120)
@given(st.sampled_from(range(len(NUMBERS))), st.floats(0.05, 0.98), st.booleans())
def test_every_rating_and_limit_of_every_asset_may_be_tightened_and_not_loosened(n: int, share: float, is_looser: bool):
    site, asset, field, larger = NUMBERS[n]
    value = getattr(site.assets[asset], field)
    moved = value + (share * abs(value) + 0.01) * (1.0 if larger == is_looser else -1.0)
    assert keys(changed(site, asset, **{field: moved}), site) == ([f"assets.{asset}.{field}"] if is_looser else [])


def test_no_site_is_looser_than_itself_and_the_record_is_plain_data():
    for site in (SITE, FIFTY):
        assert keys(site, site) == [] and decode(json.loads(json.dumps(encode(KNOWN[site.name])))) == KNOWN[site.name]


def limited(*limits: Limit, **more: Any) -> Site:
    return replace(SITE, point_of_connection=replace(SITE.point_of_connection, limits=limits, **more))


STANDING = Limit(1450.0)
IMPORT = "point_of_connection.limits.protective.1s"


@pytest.mark.parametrize(
    ("limits", "is_loosened"),
    [
        ([Limit(1450.0)], False),
        ([Limit(1449.0)], False),
        ([Limit(1451.0)], True),
        ([Limit(1450.0, tolerance=0.02)], True),
        ([Limit(1450.0, curve=((1.2, 60.0),))], True),
        ([Limit(1450.0, LimitKind.CONNECTION)], True),  # a weaker kind
        ([Limit(1450.0), Limit(2000.0)], False),  # the lowest counts
        ([Limit(1200.0, curve=((1.2, 60.0),))], True),  # lower, and yet more than before is allowed for a while
        ([Limit(1400.0, valid_to=NOW + timedelta(days=9))], True),
    ],
)
def test_the_import_limit_is_judged_by_what_is_allowed_for_how_long(limits, is_loosened):
    assert keys(limited(*limits)) == ([IMPORT] if is_loosened else [])


@settings(max_examples=60)
@given(st.floats(0.5, 1.5), st.floats(0.3, 3.0), st.floats(1.05, 1.6), st.floats(1.0, 2.0))
def test_a_curve_is_looser_where_it_allows_anything_for_longer(kw_times: float, seconds_times: float, first: float, spread: float):
    was = Limit(1450.0, curve=((first, 100.0), (first * 1.5, 10.0)))
    now = Limit(1450.0 * kw_times, curve=((first * spread, 100.0 * seconds_times), (first * spread * 1.5, 10.0 * seconds_times)))
    known = bounds_of(limited(was))
    is_looser = bool(loosened(known, limited(now), NOW))
    if kw_times <= 1.0 and seconds_times <= 1.0 and spread == 1.0:
        assert not is_looser
    if kw_times > 1.0 + 1e-6:
        assert is_looser
    if seconds_times > 1.0 + 1e-6 and kw_times * spread >= 1.0:
        assert is_looser


def test_a_stricter_kind_stands_in_for_a_limit_and_one_whose_time_is_over_may_go():
    interval = Limit(1300.0, LimitKind.CONNECTION, 900.0, source="agreement")
    order = Limit(900.0, LimitKind.ORDER, source="order 7", valid_to=NOW + timedelta(days=1))
    known = bounds_of(limited(STANDING, interval, order))
    assert loosened(known, limited(STANDING, replace(interval, kind=LimitKind.PROTECTIVE), order), NOW) == []
    gone = [x.key for x in loosened(known, limited(STANDING), NOW)]
    assert gone == [
        "point_of_connection.limits.order.1s order 7 until 2026-01-02T00:00:00+00:00",
        "point_of_connection.limits.connection.900s",
    ]
    assert loosened(known, limited(STANDING, interval), NOW + timedelta(days=2)) == []


def test_a_source_that_must_be_heard_must_go_on_being_heard():
    heard = replace(STANDING, heartbeat_s=30.0, fail_safe_kw=800.0, source="gateway")
    known = bounds_of(limited(heard))
    for worse in (
        replace(heard, heartbeat_s=60.0),
        replace(heard, fail_safe_kw=900.0),
        replace(heard, heartbeat_s=None, fail_safe_kw=None),
    ):
        assert loosened(known, limited(worse), NOW)
    assert loosened(known, limited(replace(heard, heartbeat_s=10.0, fail_safe_kw=700.0)), NOW) == []


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"export_limit_kw": 101.0}, "export_limit_kw"),
        ({"ramp_limit_kw_per_min": 401.0}, "ramp_limit_kw_per_min"),
        ({"ramp_limit_kw_per_min": None}, "ramp_limit_kw_per_min"),
        ({"meter": None}, "meter.lease_s"),
    ],
)
def test_export_ramp_and_the_meter_itself_belong_to_it(values: dict[str, Any], key: str):
    assert keys(replace(SITE, point_of_connection=replace(SITE.point_of_connection, **values))) == [f"point_of_connection.{key}"]
    tighter = replace(SITE.point_of_connection, export_limit_kw=0.0, ramp_limit_kw_per_min=10.0)
    assert keys(replace(SITE, point_of_connection=tighter)) == []


def test_margin_and_staleness_belong_to_it():
    assert keys(replace(SITE, control=replace(SITE.control, import_margin=SITE.control.import_margin / 2))) == ["control.import_margin"]
    assert keys(replace(SITE, control=replace(SITE.control, stale_after_s=99.0))) == ["control.stale_after_s"]
    assert keys(replace(SITE, control=replace(SITE.control, import_margin=0.2, stale_after_s=1.0))) == []


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"limit_kw": 60000.0}, "limit_kw"),
        ({"limit_by_ambient_c": ((20.0, 1.0), (40.0, 1.1))}, "limit_by_ambient_c"),
        ({"assets": ()}, "assets"),
    ],
)
def test_feeders_keep_their_limits_and_what_hangs_on_them(values: dict[str, Any], key: str):
    name = "yard"
    feeders = tuple(replace(f, **values) if f.id == name else f for f in FIFTY.feeders)
    assert f"feeders.{name}.{key}" in keys(replace(FIFTY, feeders=feeders), FIFTY)
    derated = tuple(replace(f, limit_kw=0.9 * f.limit_kw, limit_by_ambient_c=((20.0, 1.0), (40.0, 0.8))) for f in FIFTY.feeders)
    assert keys(replace(FIFTY, feeders=derated), FIFTY) == []
    gone = keys(replace(FIFTY, feeders=tuple(f for f in FIFTY.feeders if f.id != name)), FIFTY)
    assert f"feeders.{name}.limit_kw" in gone


@pytest.mark.parametrize(
    ("asset", "values", "key"),
    [
        ("ups-1", {"carries": ("hall-a",)}, "carries"),
        ("ups-1", {"is_bidirectional": True}, "is_bidirectional"),
        ("ups-1", {"recharge_kw": 500.0}, "recharge_kw"),
        ("bess-1", {"discharge_limit_by_soc": ((0.0, 1.0), (1.0, 1.2))}, "discharge_limit_by_soc"),
        ("diesel-1", {"ordered_by": ("texas-sb6", "pjm-economic")}, "ordered_by"),
        ("gas-1", {"permit_h_per_year": None}, "permit_h_per_year"),
    ],
)
def test_what_is_no_single_number_belongs_to_it_too(asset: str, values: dict[str, Any], key: str):
    assert keys(changed(SITE, asset, **values)) == [f"assets.{asset}.{key}"]


def test_an_emergency_machine_does_not_become_one_that_runs_for_money():
    duty = SITE.assets["gas-1"].duty  # type: ignore[union-attr]
    assert keys(changed(SITE, "diesel-1", duty=duty)) == ["assets.diesel-1.duty"]


def test_a_plant_keeps_its_supply_and_its_redundancy():
    plant = SITE.coolings[0].plant
    assert plant is not None
    for field in (*PLANT_AT_MOST, *PLANT_AT_LEAST, "supply_lowest_c"):
        value, up = float(getattr(plant, field)), 1.0 if field in PLANT_AT_MOST else -1.0
        looser, tighter = (changed(SITE, "cooling-1", plant=replace(plant, **{field: value + up * k})) for k in (0.5, -0.5))
        assert keys(looser) == [f"assets.cooling-1.{field}"] and keys(tighter) == []


def test_a_lease_may_shorten_and_a_device_may_not_vanish():
    link = SITE.assets["bess-1"].link  # type: ignore[union-attr]
    assert keys(changed(SITE, "bess-1", link=replace(link, lease_s=90.0))) == ["assets.bess-1.link.lease_s"]
    assert keys(changed(SITE, "bess-1", link=replace(link, lease_s=30.0))) == []
    without = replace(SITE, assets={k: a for k, a in SITE.assets.items() if k != "ups-1"})
    assert "assets.ups-1.ride_through_min" in keys(without)


def test_every_field_named_is_one_there_is():
    for table in (AT_MOST, AT_LEAST):
        for kind, fields in table.items():
            assert all(f in kind.__dataclass_fields__ for f in fields)
    assert MOST in {b.rule for b in KNOWN[SITE.name].values()}
