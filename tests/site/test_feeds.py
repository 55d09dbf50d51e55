"""Feeds in a site file: pages, what is laid over them, and every fault with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ems.errors import ConfigError
from ems.site.load import load_site
from ems.site.resolved import site_from_json, site_to_json
from tests.site.conftest import DEMO

RT = "{kind: real_time_price, url: 'https://x.example/p', format: json, columns: {time: t, value: p}, per: MWh, currency: USD}"


def demo_with(tmp_path: Path, feeds: str, tariff: str = "ercot-indexed-demand") -> Path:
    text = DEMO.read_text().replace("tariff: ercot-indexed-demand", f"tariff: {tariff}")
    (tmp_path / "site.yaml").write_text(f"{text}\nfeeds:\n{feeds}\n")
    return tmp_path / "site.yaml"


def test_a_page_is_filled_in_and_what_the_site_says_lies_over_it(tmp_path: Path) -> None:
    feeds = "  rt: {page: dropped-prices, folder: drops, max_age_min: 30}\n  sun: {page: open-meteo-forecast, url: 'https://h.example/a'}"
    site = load_site(demo_with(tmp_path, feeds))
    rt, sun = site.live_feeds
    assert (rt.folder, rt.max_age_min, rt.per, rt.known) == (str(tmp_path / "drops"), 30.0, "MWh", "interval_end")
    assert (sun.rows, sun.url, sun.known, sun.max_age_min) == ("hourly", "https://h.example/a", "fetched", 0.0)
    assert site_from_json(site_to_json(site)) == site


FAULTS = {
    "unknown key": (RT.replace("per:", "pr:"), "rt.pr", "perhaps `per`"),
    "no page": ("no-such-page", "feeds.rt", "the name of a feed page"),
    "two origins": (RT.replace("format", "folder: /x, format"), "feeds.rt", "url, or folder"),
    "address": (RT.replace("https://x.example/p", "ftp://x.example"), "rt.url", "https://"),
    "date in the address": (RT.replace("/p'", "/{day}'"), "rt.url", "in braces only now, yesterday, today, tomorrow"),
    "braces": (RT.replace("/p'", "/{now'"), "rt.url", "braces in pairs"),
    "unit": (RT.replace("per: MWh", "per: C"), "feeds.rt", "per: MWh or kWh for real_time_price"),
    "currency": (RT.replace("USD", "EUR"), "rt.currency", "USD, the currency of the site"),
    "rule": (RT.replace("per:", "known: soon, per:"), "rt.known", "interval_end, published or a local time"),
    "published": (RT.replace("per:", "known: published, per:"), "feeds.rt", "columns.published"),
    "zone": (RT.replace("per:", "time_zone: Chicago, per:"), "rt.time_zone", "an IANA time zone"),
    "period": (RT.replace("per:", "poll_s: 1, per:"), "rt.poll_s", ">= 5"),
    "twice": (RT + "\n  more: " + RT, "feeds.more.kind", "a kind no other feed has (rt has real_time_price)"),
    "carbon": (
        "{kind: carbon, folder: x, format: csv, columns: {time: t, value: p}, per: g/kWh, signal: marginal}",
        "rt.signal",
        "average, the carbon the tariff prices",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_feed_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    feed, key, words = FAULTS[name]
    site = demo_with(tmp_path, f"  rt: {feed}", "uk-half-hourly" if name == "carbon" else "ercot-indexed-demand")
    with pytest.raises(ConfigError) as error:
        load_site(site)
    assert [c for c in error.value.complaints if c.key.endswith(key) and words in c.expected and c.line > 80], str(error.value)


def test_a_day_ahead_tariff_asks_for_the_day_ahead_feed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="day_ahead_price: the tariff's energy follows the day-ahead market"):
        load_site(demo_with(tmp_path, f"  rt: {RT}", "de-benutzungsstunden-15min"))
