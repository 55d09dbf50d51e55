"""Site files: defaults, overrides, copies, and sites that cannot work."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ems.errors import ConfigError
from ems.limit import Limit
from ems.resources import bundled
from ems.site.check import check_site, check_tariff
from ems.site.load import load_site
from ems.site.model import Site

DEMO = Path(__file__).resolve().parents[2] / "config" / "sites" / "demo-2mw.yaml"
Write = Callable[..., Path]
HALL_A = "    rating_kw: 1080\n"
LEASE_A = "port: 15023, lease_s: 60"


def full_load_kw(site: Site) -> float:
    """Import with every cluster at its contract cap, worst weather, no storage; written out for the demo site's tree."""
    caps = sum(cluster.contract_cap_kw for cluster in site.clusters)
    return 30.0 + caps * (1.0 + 0.25 + 0.04)


def test_the_demo_site_has_the_numbers_it_promises():
    site = load_site(DEMO)
    assert check_site(DEMO) == []
    assert (site.name, site.time_zone, site.currency) == ("demo-2mw", "America/Chicago", "USD")
    assert list(site.assets) == ["bess-1", "ups-1", "hall-a", "hall-b", "cooling-1", "house"]
    assert list(site.links) == ["poc", "bess-1", "ups-1", "hall-a", "hall-b", "cooling-1"]
    assert site.is_loopback and min(link.port for link in site.links.values()) >= 15020
    bess, ups = site.batteries[0], site.upses[0]
    assert (bess.power_kw, bess.energy_kwh, bess.charge_efficiency, bess.discharge_efficiency) == (500, 1000, 0.94, 0.94)
    assert (bess.wear_price_per_kwh, bess.initial_soc) == (0.02, 0.5)
    assert (ups.rating_kw, ups.energy_kwh, ups.ride_through_min, ups.is_bidirectional, ups.loss_fraction) == (1600, 400, 10, False, 0.04)
    assert [(c.idle_kw, c.peak_kw, c.rating_kw) for c in site.clusters] == [(270, 900, 1080), (150, 500, 600)]
    for cluster in site.clusters:
        assert cluster.idle_kw == pytest.approx(0.3 * cluster.peak_kw) and cluster.rating_kw == pytest.approx(1.2 * cluster.peak_kw)
        shares = {
            name: (c.share, c.throttle_price_per_kwh, c.defer_price_per_kwh, c.drop_price_per_kwh, c.deadline_h)
            for name, c in cluster.classes.items()
        }
        assert shares == {
            "interactive": (0.4, 3.0, None, None, None),
            "batch": (0.4, None, 0.03, 1.0, 8),
            "training": (0.2, None, 0.1, 2.0, 24),
        }
    assert (site.tariff.demand_price_per_kw_month, site.tariff.demand_interval_min, site.tariff.energy) == (12.0, 15, "indexed")
    assert (site.coolings[0].fraction(10.0), site.coolings[0].fraction(40.0), site.coolings[0].lag_s) == (0.12, 0.25, 300)


def test_the_ups_reserve_of_the_demo_site_leaves_some_energy_to_use():
    ups = load_site(DEMO).upses[0]
    assert 0.5 < ups.reserve_soc(0.0) < ups.initial_soc
    assert ups.reserve_soc(ups.rating_kw) < 1.0


def test_contract_caps_fill_the_import_limit_without_storage_and_follow_it():
    for limit_kw in (1000.0, 1200.0, 1377.5, 1450.0, 1522.5):
        site = load_site(DEMO, {"point_of_connection": {"import_limit_kw": limit_kw}})
        assert site.point_of_connection.import_limit_kw == limit_kw
        assert full_load_kw(site) == pytest.approx(limit_kw)
        caps = [cluster.contract_cap_kw for cluster in site.clusters]
        assert caps[0] / caps[1] == pytest.approx(1080 / 600)


def test_a_contract_cap_is_never_above_the_rating():
    site = load_site(DEMO, {"point_of_connection": {"import_limit_kw": 5000}, "assets": {"ups-1": {"rating_kw": 1700}}, "feeders": []})
    assert [cluster.contract_cap_kw for cluster in site.clusters] == [1080, 600]


def test_the_short_form_of_the_limit_is_one_protective_record_and_more_may_follow():
    more = {"kw": 1400, "kind": "billing", "window_s": 900, "valid_from": "2024-08-01T05:00:00Z"}
    limits = load_site(DEMO, {"point_of_connection": {"import_limit_kw": 1390, "limits": [more]}}).point_of_connection.limits
    assert limits[0] == Limit(kw=1390.0) and limits[1].kw == 1400 and limits[1].window_s == 900
    assert limits[1].valid_from is not None and limits[1].valid_from.isoformat() == "2024-08-01T05:00:00+00:00"


def test_what_a_file_leaves_out_has_its_documented_default(demo_with: Write):
    path = demo_with(
        ("    ramp_kw_per_s: 250\n", ""),
        ("    reserve_floor_kw: 1400\n", ""),
        (HALL_A, ""),
        ("    lag_s: 300\n", ""),
        ("control: {cycle_s: 1, stale_after_s: 5, peak_hold_s: 10, import_margin: 0.004, ramp_up_dwell_s: 10}\n", ""),
        ("plan: {every_s: 300, horizon_h: 48, budget_s: 2, valid_s: 1800}\n", ""),
        ("  export_limit_kw: 0\n", ""),
    )
    site, demo = load_site(path), load_site(DEMO)
    assert (site.control, site.plan, site.clusters, site.coolings) == (demo.control, demo.plan, demo.clusters, demo.coolings)
    assert (site.batteries[0].ramp_kw_per_s, site.upses[0].reserve_floor_kw, site.point_of_connection.export_limit_kw) == (500, 1600, 0)


def test_a_named_tariff_can_be_changed_in_part_and_replaced_whole():
    demo = load_site(DEMO).tariff
    assert load_site(DEMO, {"tariff": {"demand_price_per_kw_month": 9.0}}).tariff.demand_price_per_kw_month == 9.0
    assert load_site(DEMO, {"tariff": {"demand_price_per_kw_month": 9.0}}).tariff.name == demo.name
    assert load_site(DEMO, {"tariff": "ercot-indexed-demand"}).tariff == demo


def test_a_copy_of_the_site_placed_anywhere_is_the_same_site(tmp_path: Path):
    copy = Path(shutil.copy(DEMO, tmp_path / "mine.yaml"))
    assert load_site(copy) == load_site(DEMO) and load_site(copy).hash() == load_site(DEMO).hash()


def test_pages_and_tariffs_beside_the_site_come_before_the_shipped_ones(tmp_path: Path):
    sites, tariffs, devices = (tmp_path / "config" / name for name in ("sites", "tariffs", "devices"))
    for folder in (sites, tariffs, devices):
        folder.mkdir(parents=True)
    (tariffs / "ercot-indexed-demand.yaml").write_text("name: local\ndemand_price_per_kw_month: 1\n")
    (devices / "generic-cooling.yaml").write_text("name: mine\n")
    site = load_site(Path(shutil.copy(DEMO, sites / "mine.yaml")))
    assert site.tariff.name == "local"
    assert site.links["cooling-1"].page == str((devices / "generic-cooling.yaml").resolve())
    assert site.links["hall-a"].page == "generic-it-cluster"


def test_a_path_is_relative_to_the_file_that_holds_it(demo_with: Write, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("name: beside\n")
    path = demo_with(("tariff: ercot-indexed-demand", "tariff: ./mine.yaml"), ("page: generic-cooling", "page: mine.yaml"))
    site = load_site(path)
    assert site.tariff.name == "beside" and site.links["cooling-1"].page == str((tmp_path / "mine.yaml").resolve())


def test_a_fault_in_a_named_tariff_points_into_the_tariff_file(demo_with: Write, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("name: bad\ndemand_interval_min: 7\n")
    found = check_site(demo_with(("tariff: ercot-indexed-demand", "tariff: mine.yaml")))
    assert [(Path(c.file).name, c.line, c.key, c.value, c.expected) for c in found] == [
        ("mine.yaml", 2, "tariff.demand_interval_min", "7", "5, 15, 30 or 60")
    ]


# case -> (texts replaced in the demo site, key, value, words of what would be right)
BAD: dict[str, tuple[list[tuple[str, str]], str, str, str]] = {
    "zone": ([("America/Chicago", "Chicago")], "time_zone", "Chicago", "an IANA time zone"),
    "currency": ([("USD", "dollars")], "currency", "dollars", "three capital letters"),
    "site name": ([("name: demo-2mw", "name: My Site")], "name", "My Site", "small letters"),
    "asset id": ([("  house:", "  The House:"), ("cooling-1, house]", "cooling-1]")], "assets.The House", "", "small letters"),
    "asset kind": ([("kind: battery", "kind: batery")], "assets.bess-1", "", "kind: one of 'battery'"),
    "no kind": ([("    kind: battery\n", "")], "assets.bess-1", "", "the key `kind`"),
    "near miss": ([("idle_kw: 270", "idel_kw: 270")], "assets.hall-a.idel_kw", "270", "perhaps `idle_kw`"),
    "missing, explained": ([("    idle_kw: 270\n", "")], "assets.hall-a.idle_kw", "(missing)", "this key: IT power in kW with no work"),
    "negative rating": ([("power_kw: 500", "power_kw: -500")], "assets.bess-1.power_kw", "-500", "a number > 0"),
    "absurd rating": ([("power_kw: 500", "power_kw: 1e30")], "assets.bess-1.power_kw", "1e+30", "a number <= 1e+07"),
    "efficiency 0": ([("charge_efficiency: 0.94", "charge_efficiency: 0")], "assets.bess-1.charge_efficiency", "0", "a number > 0"),
    "efficiency 94": ([("charge_efficiency: 0.94", "charge_efficiency: 94")], "assets.bess-1.charge_efficiency", "94", "a number <= 1"),
    "window": ([("soc_max: 0.95", "soc_max: 0.05")], "assets.bess-1.soc_max", "0.05", "a fraction above soc_min (0.05)"),
    "window against a default": (
        [("soc_max: 0.95\n", "auxiliary_kw: 0\n"), ("soc_min: 0.05", "soc_min: 0.99")],
        "assets.bess-1.soc_min",
        "0.99",
        "a fraction below soc_max (0.95 unless given)",
    ),
    "start at a default outside": (
        [("    initial_soc: 0.5\n", ""), ("soc_min: 0.05", "soc_min: 0.6")],
        "assets.bess-1.initial_soc",
        "(missing)",
        "between soc_min and soc_max (0.6 to 0.95; 0.5 unless given)",
    ),
    "start outside": ([("initial_soc: 0.5", "initial_soc: 0.02")], "assets.bess-1.initial_soc", "0.02", "between soc_min and soc_max"),
    "shares": ([("share: 0.4, throttle", "share: 0.5, throttle")], "assets.hall-a.classes", "", "sum to 1 (they sum to 1.1)"),
    "deferred interactive": (
        [("throttle_price_per_kwh: 3.00", "deadline_h: 3")],
        "assets.hall-a.classes.interactive",
        "",
        "only be throttled",
    ),
    "no deadline": ([(", deadline_h: 8", "")], "assets.hall-a.classes.batch", "", "deadline_h"),
    "throttled batch": (
        [("{share: 0.4, defer", "{share: 0.4, throttle_price_per_kwh: 1, defer")],
        "assets.hall-a.classes.batch",
        "",
        "no throttle_price",
    ),
    "window of odd length": (
        [("  export_limit_kw: 0", "  limits: [{kw: 9, window_s: 700}]\n  export_limit_kw: 0")],
        "point_of_connection.limits[0].window_s",
        "700",
        "divides a day evenly",
    ),
    "limit ends before it starts": (
        [
            (
                "  export_limit_kw: 0",
                "  limits: [{kw: 9, valid_from: 2024-08-02T00:00:00Z, valid_to: 2024-08-01T00:00:00Z}]\n  export_limit_kw: 0",
            )
        ],
        "point_of_connection.limits[0].valid_to",
        "2024-08-01",
        "an instant after valid_from",
    ),
    "late deadline": ([("deadline_h: 24", "deadline_h: 48")], "assets.hall-a.classes.training.deadline_h", "48", "a number <= 24"),
    "rating below peak": ([("rating_kw: 1080", "rating_kw: 800")], "assets.hall-a.rating_kw", "800", "at least peak_kw (900)"),
    "idle above peak": ([("idle_kw: 270", "idle_kw: 950")], "assets.hall-a.peak_kw", "900", "more than idle_kw (950)"),
    "port": ([("port: 15020", "port: 70000")], "point_of_connection.meter.port", "70000", "a number <= 65535"),
    "same address": ([("port: 15024", "port: 15023")], "assets.hall-b.link.port", "15023", "an address of its own (hall-a has"),
    "same address by another name": (
        [("127.0.0.1, port: 15021", "localhost, port: 15020")],
        "assets.bess-1.link.port",
        "15020",
        "the meter has",
    ),
    "page": ([("page: generic-cooling", "page: generic-coling")], "assets.cooling-1.link.page", "generic-coling", "a device page"),
    "tariff name": ([("tariff: ercot", "tariff: ercto")], "tariff", "ercto-indexed-demand", "the name of a tariff"),
    "tariff kind": ([("tariff: ercot-indexed-demand", "tariff: 5")], "tariff", "5", "a mapping of keys"),
    "carried": ([("carries: [hall-a, hall-b]", "carries: [hall-a, hall-c]")], "assets.ups-1.carries[1]", "hall-c", "perhaps `hall-"),
    "carried battery": (
        [("carries: [hall-a, hall-b]", "carries: [hall-a, bess-1]")],
        "assets.ups-1.carries[1]",
        "bess-1",
        "a cluster of this site",
    ),
    "carried twice": ([("carries: [hall-a, hall-b]", "carries: [hall-a, hall-a]")], "assets.ups-1.carries[1]", "hall-a", "listed once"),
    "cooled nobody": ([("cools: [hall-a, hall-b]", "cools: []")], "assets.cooling-1.cools", "[]", "at least 1 entries"),
    "feeder asset": (
        [("assets: [bess-1, ", "assets: [bess-7, ")],
        "feeders[1].assets[0]",
        "bess-7",
        "the id of an asset, perhaps `bess-1`",
    ),
    "feeder asset twice": ([("assets: [bess-1, ", "assets: [hall-a, ")], "feeders[1].assets[0]", "hall-a", "halls has it already"),
    "feeder id twice": ([("{id: utility,", "{id: halls,")], "feeders[1].id", "halls", "an id no other feeder has"),
    "feeder parent": ([("{id: utility,", "{id: utility, parent: hals,")], "feeders[1].parent", "hals", "perhaps `halls`"),
    "feeder own parent": ([("{id: utility,", "{id: utility, parent: utility,")], "feeders[1].parent", "utility", "not below this feeder"),
    "meter id": ([("id: poc", "id: house")], "assets.house", "house", "an id other than"),
    "the word for all": ([("  house:\n", "  all:\n")], "assets.all", "all", "an id other than all"),
    "lease": ([(LEASE_A, "port: 15023, lease_s: 75")], "assets.hall-a.link.lease_s", "75", "at most 64 s beside the 75 s of"),
    "no limit": ([("  import_limit_kw: 1450\n", "")], "point_of_connection.import_limit_kw", "(missing)", "a limit in kW"),
    "limit below fixed load": (
        [("import_limit_kw: 1450", "import_limit_kw: 30")],
        "point_of_connection.import_limit_kw",
        "30",
        "more than 30 kW: fixed loads and what batteries draw themselves",
    ),
    "limit below idle": (
        [("import_limit_kw: 1450", "import_limit_kw: 500")],
        "point_of_connection.import_limit_kw",
        "500",
        "at least 572 kW",
    ),
    "caps too high": (
        [(HALL_A, HALL_A + "    contract_cap_kw: 1000\n")],
        "assets.hall-a.contract_cap_kw",
        "1000",
        "hold the import limit of 1450",
    ),
    "cap below idle": (
        [(HALL_A, HALL_A + "    contract_cap_kw: 100\n")],
        "assets.hall-a.contract_cap_kw",
        "100",
        "between idle_kw and rating_kw",
    ),
    "limit below idle, behind feeders that lose": (
        [("import_limit_kw: 1450", "import_limit_kw: 500"), ("limit_kw: 2000", "limit_kw: 2000, loss_fraction: 0.01")],
        "point_of_connection.import_limit_kw",
        "500",
        "at least 578 kW",
    ),
    "limit in kVA below fixed load": (
        [("import_limit_kw: 1450", "limits: [{kva: 20, power_factor: 0.5}]")],
        "point_of_connection.limits[0].kva",
        "20",
        "more than 60 kVA",
    ),
    "feeder too small in kVA": (
        [("limit_kw: 2000", "limit_kw: 2000, kva: 1250, power_factor: 0.8")],
        "feeders[0].kva",
        "1250",
        "at least 1431 kVA, the load below it",
    ),
    "feeder too small in the heat": (
        [("limit_kw: 2000", "limit_kw: 2000, limit_by_ambient_c: [[30, 1], [45, 0.0]]")],
        "feeders[0].limit_by_ambient_c",
        "0",
        "shares of at least 0.573: 1145 kW are the load below it",
    ),
    "feeder too small, and off in the heat": (
        [("limit_kw: 2000", "limit_kw: 1000, limit_by_ambient_c: [[30, 1], [45, 0.0]]")],
        "feeders[0].limit_kw",
        "1000",
        "at least 1145 kW",
    ),
    "feeder too small": ([("limit_kw: 2000", "limit_kw: 1000")], "feeders[0].limit_kw", "1000", "at least 1145 kW"),
    "ups too small": (
        [("rating_kw: 1600", "rating_kw: 1000"), ("floor_kw: 1400", "floor_kw: 900")],
        "assets.ups-1.rating_kw",
        "1000",
        "at least 1101 kW",
    ),
    "reserve too large": (
        [("ride_through_min: 10", "ride_through_min: 60")],
        "assets.ups-1.ride_through_min",
        "60",
        "minutes that the store can last",
    ),
    "start below reserve": ([("initial_soc: 1.0", "initial_soc: 0.5")], "assets.ups-1.initial_soc", "0.5", "where the reserve begins"),
    "floor above rating": (
        [("reserve_floor_kw: 1400", "reserve_floor_kw: 1700")],
        "assets.ups-1.reserve_floor_kw",
        "1700",
        "at most rating_kw",
    ),
    "no block left": (
        [("    soc_error:", "    redundant_blocks: 1\n    soc_error:")],
        "assets.ups-1.redundant_blocks",
        "1",
        "fewer than the blocks",
    ),
    "lead-acid": (
        [("    soc_error:", "    is_lead_acid: true\n    soc_error:")],
        "assets.ups-1.is_grid_interactive",
        "true",
        "false, a lead-acid",
    ),
    "stale too soon": ([("stale_after_s: 5", "stale_after_s: 1")], "control.stale_after_s", "1", "more than cycle_s (1)"),
    "silence loosens": (
        [("  export_limit_kw: 0", "  limits: [{kw: 1000, source: dso, heartbeat_s: 30, fail_safe_kw: 9000}]\n  export_limit_kw: 0")],
        "point_of_connection.limits[0].fail_safe_kw",
        "9000",
        "at most the limit itself (1000 kW)",
    ),
    "silence loosens in kva": (
        [("  export_limit_kw: 0", "  limits: [{kva: 1000, power_factor: 0.9, heartbeat_s: 30, fail_safe_kw: 950}]\n  export_limit_kw: 0")],
        "point_of_connection.limits[0].fail_safe_kw",
        "950",
        "at most the limit itself (900 kW)",
    ),
    "slow cycle": ([("cycle_s: 1", "cycle_s: 10")], "control.cycle_s", "10", "a number <= 5"),
    "plan too short-lived": ([("valid_s: 1800", "valid_s: 200")], "plan.valid_s", "200", "at least every_s (300)"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_site_is_one_complaint_at_its_place(case: str, demo_with: Write):
    changes, key, value, expected = BAD[case]
    path = demo_with(*changes)
    found = check_site(path)
    matching = [c for c in found if c.key == key]
    assert len(matching) == 1, [str(c) for c in found]
    assert value in matching[0].value and expected in matching[0].expected, str(matching[0])
    named = key.split(".")[-1].split("[")[0]
    line = path.read_text().splitlines()[matching[0].line - 1]
    assert named in line or matching[0].value == "(missing)", (line, str(matching[0]))


def test_faults_of_every_sort_are_reported_together_each_on_its_line(demo_with: Write):
    path = demo_with(
        ("currency: USD", "currency: USD\ncurrency: EUR"),
        ("import_limit_kw: 1450", "import_limit_kw: much"),
        ("soc_max: 0.95", "soc_max: 1.95"),
        ("carries: [hall-a, hall-b]", "carries: [hall-a, hall-z]"),
        ("port: 15024", "port: 15023"),
    )
    lines = path.read_text().splitlines()
    found = [(c.key, lines[c.line - 1].strip()[:14]) for c in check_site(path)]
    assert found == [
        ("currency", "currency: EUR"),
        ("point_of_connection.import_limit_kw", "import_limit_k"),
        ("assets.bess-1.soc_max", "soc_max: 1.95"),
        ("assets.ups-1.carries[1]", "carries: [hall"),
        ("assets.hall-b.link.port", "link: {page: g"),
    ]


def test_an_asset_with_faults_of_its_own_is_not_reported_as_unknown_elsewhere(demo_with: Write):
    assert [c.key for c in check_site(demo_with(("idle_kw: 270", "idle_kw: lots")))] == ["assets.hall-a.idle_kw"]


def test_feeders_in_a_circle_are_each_named():
    ring = [
        {"id": "a", "parent": "c", "limit_kw": 9e3},
        {"id": "b", "parent": "a", "limit_kw": 9e3},
        {"id": "c", "parent": "b", "limit_kw": 9e3},
    ]
    with pytest.raises(ConfigError) as caught:
        load_site(DEMO, {"feeders": ring})
    assert [c.key for c in caught.value.complaints] == ["feeders[0].parent", "feeders[1].parent", "feeders[2].parent"]


def test_a_feeder_counts_what_hangs_on_the_feeders_below_it():
    tree = [{"id": "main", "limit_kw": 1000}, {"id": "halls", "parent": "main", "limit_kw": 2000, "assets": ["hall-a", "hall-b", "ups-1"]}]
    with pytest.raises(ConfigError) as caught:
        load_site(DEMO, {"feeders": tree})
    assert [c.key for c in caught.value.complaints] == ["feeders[0].limit_kw"]


@pytest.mark.parametrize("share", [0.95, 1.05])
def test_the_demo_site_stays_sound_when_its_limit_moves_by_a_twentieth(share: float):
    limit_kw = load_site(DEMO).point_of_connection.import_limit_kw * share
    load_site(DEMO, {"point_of_connection": {"import_limit_kw": limit_kw}})


def test_shipped_tariffs_have_no_fault_and_a_bad_one_is_answered_line_by_line(tmp_path: Path):
    for path in bundled("config/tariffs").glob("*.yaml"):
        assert check_tariff(path) == []
    (tmp_path / "bad.yaml").write_text("name: x\nenergy: free\nenergy_price: 1\n")
    assert [(c.line, c.key) for c in check_tariff(tmp_path / "bad.yaml")] == [(2, "energy"), (3, "energy_price")]


def test_every_shipped_site_has_no_fault():
    sites = sorted(bundled("config/sites").glob("*.yaml"))
    assert {path.stem for path in sites} >= {"demo-2mw", "annotated"}
    assert [str(c) for path in sites for c in check_site(path)] == []


def test_instants_with_another_offset_are_kept_in_utc():
    limit = {"kw": 1400, "valid_from": "2024-08-01T00:00:00-05:00"}
    limits = load_site(DEMO, {"point_of_connection": {"limits": [limit]}}).point_of_connection.limits
    assert limits[1].valid_from is not None and limits[1].valid_from.isoformat() == "2024-08-01T05:00:00+00:00"
