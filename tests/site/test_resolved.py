"""A site as JSON and back, exactly, without YAML or pydantic."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.catalogue import KINDS
from ems.limit import Limit
from ems.site.load import load_site
from ems.site.model import Feeder, Site
from ems.site.resolved import site_from_json, site_to_json

SITES = Path(__file__).resolve().parents[2] / "config" / "sites"

number = st.floats(allow_nan=False, allow_infinity=False)
instant = st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
st.register_type_strategy(float, number)
st.register_type_strategy(Limit, st.builds(Limit, valid_from=instant, valid_to=instant))


@st.composite
def sites(draw: st.DrawFn) -> Site:
    """Any site at all: every field of every record drawn, assets keyed by their id."""
    kinds = st.one_of([st.builds(kind) for kind in KINDS.values()])
    assets = draw(st.lists(kinds, max_size=4, unique_by=lambda asset: asset.id))
    return draw(
        st.builds(Site, assets=st.just({asset.id: asset for asset in assets}), feeders=st.lists(st.builds(Feeder), max_size=2).map(tuple))
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(sites())
def test_any_site_comes_back_equal_in_every_field(site: Site):
    again = site_from_json(site_to_json(site))
    assert again == site and again.hash() == site.hash() and list(again.assets) == list(site.assets)


def test_shipped_sites_come_back_equal_and_are_plain_json():
    for path in sorted(SITES.glob("*.yaml")):
        site = load_site(path)
        assert site_from_json(site_to_json(site)) == site
        assert json.loads(site_to_json(site))["name"] == site.name


def test_a_resolved_site_loads_without_yaml_or_pydantic():
    code = (
        "import sys; from ems.site.resolved import site_from_json; site_from_json(sys.stdin.read()); "
        "print([m for m in ('pydantic', 'ruamel', 'ruamel.yaml', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=site_to_json(load_site(SITES / "demo-2mw.yaml")), capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
