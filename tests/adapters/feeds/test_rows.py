"""Responses become values in our units over UTC intervals; what cannot be used is refused by name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.feeds.rows import Response, read_response
from ems.app.checking import complaints_of
from ems.errors import DataError
from ems.resources import bundled
from ems.site.feed import Feed
from ems.site.schema_feeds import build_feed, checked_feed
from ems.site.source import read_source
from tests.adapters.feeds.made import RESPONSES, feed

NOON = datetime(2024, 8, 20, 12, tzinfo=UTC)
PAGES = sorted(bundled("config/feeds").glob("*.yaml"))


def rows(*values: Any, start: datetime = NOON) -> bytes:
    stamps = [(start + timedelta(minutes=15 * k)).isoformat() for k in range(len(values))]
    return json.dumps([{"t": t, "p": p} for t, p in zip(stamps, values, strict=True)]).encode()


def read(body: bytes | str, **keys: Any) -> Response:
    return read_response(body.encode() if isinstance(body, str) else body, feed(**keys))


def page(name: str) -> Feed:
    return build_feed(name, checked_feed(read_source(bundled(f"config/feeds/{name}.yaml"))))


def test_rows_in_mwh_become_prices_per_kwh_over_their_interval() -> None:
    first, second = read(rows(48.5, -30)).values
    assert (first.start, first.end, first.value) == (NOON, NOON + timedelta(minutes=15), pytest.approx(0.0485))
    assert second.value == pytest.approx(-0.03) and second.public_at == second.end


@pytest.mark.parametrize(
    ("keys", "given", "ours"),
    [
        ({"per": "kWh", "scale": 0.01}, 5.0, 0.05),
        ({"kind": "carbon", "per": "lb/MWh", "currency": None}, 1000, 453.59237),
        ({"kind": "carbon", "per": "kg/kWh", "currency": None}, 0.4, 400.0),
        ({"kind": "weather", "per": "F", "currency": None}, 50, 10.0),
        ({"kind": "weather", "per": "K", "currency": None}, 300, 26.85),
        ({}, "48.5", 0.0485),
        ({"decimal": ","}, "48,5", 0.0485),
    ],
)
def test_units_are_turned_into_ours(keys: dict[str, Any], given: object, ours: float) -> None:
    assert read(rows(given), **keys).values[0].value == pytest.approx(ours)


def test_every_shipped_page_is_sound() -> None:
    assert PAGES and [complaints_of(str(path)) for path in PAGES] == [[] for _ in PAGES]


@pytest.mark.parametrize(
    ("name", "stored", "values", "start", "minutes"),
    [
        ("awattar-day-ahead", "awattar.json", [0.08412, -0.00512, 0.0223], datetime(2024, 8, 19, 20, tzinfo=UTC), 60),
        ("gb-carbon-intensity", "gb-carbon.json", [147.0, 139.0], datetime(2024, 8, 19, 20, tzinfo=UTC), 30),
        ("open-meteo-forecast", "open-meteo.json", [27.4, 26.1], datetime(2024, 8, 19, 20, tzinfo=UTC), 60),
    ],
)
def test_a_shipped_page_reads_its_stored_response(name: str, stored: str, values: list[float], start: datetime, minutes: int) -> None:
    found = read_response((RESPONSES / stored).read_bytes(), page(name))
    assert [v.value for v in found.values] == pytest.approx(values)
    assert (found.values[0].start, found.values[0].end - found.values[0].start) == (start, timedelta(minutes=minutes))
    assert len(found.complaints) == (stored == "open-meteo.json")  # its null is missing, not zero


def test_a_forecast_in_another_unit_is_refused_as_a_whole() -> None:
    body = (RESPONSES / "open-meteo.json").read_text().replace("°C", "°F")
    with pytest.raises(DataError, match="temperature_2m = °F: expected °C"):
        read_response(body.encode(), page("open-meteo-forecast"))
    other = (RESPONSES / "awattar.json").read_text().replace("Eur/MWh", "ct/kWh", 1)
    found = read_response(other.encode(), page("awattar-day-ahead"))
    assert len(found.values) == 2 and found.complaints == ("row 0 unit = ct/kWh: expected Eur/MWh",)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "an empty body"),
        (b"  \n", "an empty body"),
        (b"\xff\xfe\x00", "not text"),
        (b"<!doctype html><title>502 Bad Gateway</title>", "a page of HTML or XML (502 Bad Gateway)"),
        (b"{broken", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"{}", "the document = {}: expected"),
        (b'"text"', "the document = text: expected a list of rows"),
        (b"null", "the document = None: expected a list of rows"),
    ],
)
def test_a_body_that_is_none_is_refused_with_its_reason(body: bytes, said: str) -> None:
    try:
        found = read(body)
    except DataError as error:
        assert said in str(error) or "expected a column" in str(error)
    else:
        pytest.fail(f"taken: {found}")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"t": NOON.isoformat(), "p": "dear"}, "value = dear: expected a number"),
        ({"t": NOON.isoformat(), "p": None}, "value = None: expected a number"),
        ({"t": NOON.isoformat(), "p": True}, "value = True: expected a number"),
        ({"t": NOON.isoformat(), "p": float("nan")}, "value = nan: expected a number"),
        ({"t": NOON.isoformat()}, "value = nothing: expected a number"),
        ({"t": NOON.isoformat(), "p": 1e6}, "value = 1000000.0: expected -2000 to 20000 in MWh"),
        ({"t": "yesterday", "p": 1}, "time = yesterday: expected a time in iso"),
        ({"t": 1724155200, "p": 1}, "time = 1724155200: expected a time in iso"),
        ({"t": "0001-01-01T00:00:00+23:59", "p": 1}, "expected"),
        ("text", "time = nothing: expected a time"),
        (None, "time = nothing: expected a time"),
    ],
)
def test_a_bad_row_is_refused_by_name_and_the_others_are_taken(row: object, said: str) -> None:
    good = [{"t": (NOON + timedelta(minutes=15 * k)).isoformat(), "p": 40} for k in (1, 2)]
    found = read(json.dumps([good[0], row, good[1]]))
    assert len(found.values) == 2 and found.counts["refused"] == 1
    assert said in found.complaints[0] and found.complaints[0].startswith("row 1 ")


def test_an_interval_given_twice_counts_once_and_with_two_values_is_refused() -> None:
    def row(minute: int, price: float) -> dict[str, object]:
        return {"t": (NOON + timedelta(minutes=minute)).isoformat(), "p": price}

    found = read(json.dumps([row(0, 40), row(0, 40), row(15, 50), row(15, 60), row(25, 1)]))
    assert [v.value for v in found.values] == pytest.approx([0.04, 0.05])
    assert (found.counts["duplicate"], found.counts["refused"]) == (1, 2)
    assert "has 0.05 and 0.06" in found.complaints[0] and "lies inside the interval" in found.complaints[1]


def test_newest_first_is_an_order_and_a_stamp_out_of_order_is_counted() -> None:
    data = json.loads(rows(1, 2, 3, 4))
    backwards = read(json.dumps(data[::-1]))
    assert [v.value for v in backwards.values] == pytest.approx([0.001, 0.002, 0.003, 0.004]) and backwards.counts["backward"] == 0
    assert read(json.dumps([data[0], data[2], data[1], data[3]])).counts["backward"] == 1


def test_holes_are_counted_and_nothing_is_filled_in() -> None:
    data = json.loads(rows(1, 2, 3, 4))
    found = read(json.dumps([data[0], data[3]]))
    assert found.counts["gap"] == 1 and len(found.values) == 2


def local_rows(*stamps: str) -> str:
    return json.dumps([{"t": t, "p": k} for k, t in enumerate(stamps)])


def test_the_hour_that_comes_twice_in_autumn_is_told_by_its_order() -> None:
    stamps = ("2024-11-03T00:00", "2024-11-03T01:00", "2024-11-03T01:00", "2024-11-03T02:00")
    for order in (1, -1):
        found = read(local_rows(*stamps[::order]), time_zone="America/Chicago", step_min=60.0)
        assert [v.start.hour for v in found.values] == [5, 6, 7, 8] and not found.complaints
        assert [v.value for v in found.values] == pytest.approx([0, 0.001, 0.002, 0.003][::order])


def test_the_hour_that_is_skipped_in_spring_is_no_time() -> None:
    found = read(local_rows("2024-03-10T01:00", "2024-03-10T02:00", "2024-03-10T03:00"), time_zone="America/Chicago", step_min=60.0)
    assert [v.start.hour for v in found.values] == [7, 8] and found.counts["gap"] == 0
    assert "clocks skip it" in found.complaints[0]


def test_stamps_at_the_end_and_lengths_from_the_distance_of_the_stamps() -> None:
    found = read(rows(1, 2, 3), label="end", step_min=None)
    assert found.values[0].start == NOON - timedelta(minutes=15) and found.values[-1].end == NOON + timedelta(minutes=30)
    with pytest.raises(DataError, match="one stamp only: expected step_min"):
        read(rows(1), step_min=None)


@pytest.mark.parametrize(
    ("rule", "public"),
    [
        ("fetched", None),
        ("interval_start", NOON),
        ("interval_end", NOON + timedelta(minutes=15)),
        ("13:30", datetime(2024, 8, 19, 18, 30, tzinfo=UTC)),
    ],
)
def test_the_rule_says_when_a_value_is_public(rule: str, public: datetime | None) -> None:
    assert read(rows(1), known=rule, time_zone="America/Chicago").values[0].public_at == public


def test_a_column_may_say_when_a_value_was_published() -> None:
    body = json.dumps([{"t": NOON.isoformat(), "p": 1, "at": "2024-08-19T09:00:00Z"}])
    columns = {"time": "t", "value": "p", "published": "at"}
    assert read(body, columns=columns, known="published").values[0].public_at == datetime(2024, 8, 19, 9, tzinfo=UTC)


def test_csv_with_lines_above_its_header_and_a_decimal_comma() -> None:
    body = "Spot market\nDatum;Preis\n20.08.2024 14:00;48,5\n20.08.2024 15:00;\n20.08.2024 16:00;-1,25\n"
    found = read(
        body,
        format="csv",
        columns={"time": "Datum", "value": "Preis"},
        delimiter=";",
        decimal=",",
        skip_lines=1,
        time_format="%d.%m.%Y %H:%M",
        time_zone="Europe/Berlin",
        step_min=60.0,
    )
    assert [(v.start.hour, v.value) for v in found.values] == [(12, pytest.approx(0.0485)), (14, pytest.approx(-0.00125))]
    assert found.complaints == ("line 4 value = nothing: expected a number",)
    with pytest.raises(DataError, match="header = a,b: expected a column t"):
        read("a,b\n1,2\n", format="csv")


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(DataError, match="columns of unequal length: t 2, p 1"):
        read(json.dumps({"t": ["2024-08-20T12:00Z", "2024-08-20T12:15Z"], "p": [1]}))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(NOON.isoformat()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["t", "p", "data", "x"]), inner, max_size=3),
    max_leaves=12,
)
FORMATS = st.sampled_from(["iso", "epoch_s", "epoch_ms", "%Y"])


@given(ANYTHING, FORMATS, st.sampled_from(["", "data", "data.0"]), st.sampled_from(["start", "end"]))
def test_no_json_makes_the_reader_raise_anything_but_a_data_error(data: object, form: str, path: str, label: str) -> None:
    for known in ("interval_end", "13:30"):
        try:
            found = read(
                json.dumps(data), time_format=form, rows=path, label=label, step_min=None, known=known, time_zone="America/Chicago"
            )
        except DataError:
            continue
        assert all(v.start < v.end and -2 <= v.value <= 20 for v in found.values)


@given(st.binary(max_size=60) | st.text(alphabet='t,p\n"1;2024-08-20T:Z', max_size=60).map(str.encode))
def test_no_bytes_make_the_csv_reader_raise_anything_but_a_data_error(body: bytes) -> None:
    try:
        read_response(b"t,p\n" + body, feed(format="csv"))
    except DataError:
        pass


def test_a_page_of_the_folder_is_found_by_name(tmp_path: Path) -> None:
    bad = (bundled("config/feeds/dropped-prices.yaml").read_text()).replace("per: MWh", "per: C")
    (tmp_path / "f.yaml").write_text(bad)
    assert any("per: MWh or kWh for real_time_price" in line for line in complaints_of(str(tmp_path / "f.yaml")))
