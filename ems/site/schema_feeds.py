"""A live feed in a site file or a page of its own (`config/feeds`) as pydantic models, and what no single key of it can show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from ems.errors import Complaint, ConfigError
from ems.resources import resolve
from ems.site.feed import CARBON, DAY_AHEAD_PRICE, FETCHED, INTERVAL_END, PRICES, PUBLISHED, REAL_TIME_PRICE, Feed, FeedColumns
from ems.site.source import FileModel, Source, in_order, put, read_source, validated
from ems.site.tariff import Tariff
from ems.site.wording import near_file
from ems.site.yaml_reader import KeyPath

UNITS = {
    "real_time_price": ("MWh", "kWh"),
    "day_ahead_price": ("MWh", "kWh"),
    "carbon": ("g/kWh", "kg/MWh", "kg/kWh", "t/MWh", "lb/MWh"),
    "weather": ("C", "F", "K"),
    "weather_forecast": ("C", "F", "K"),
}
KNOWN = {"real_time_price": INTERVAL_END, "carbon": INTERVAL_END, "weather": INTERVAL_END}  # others when they are fetched
MAX_AGE_MIN = {"real_time_price": 60.0, "day_ahead_price": 0.0, "carbon": 180.0, "weather": 180.0, "weather_forecast": 0.0}
PLACES = ("now", "yesterday", "today", "tomorrow")  # what a URL may name in braces
Column = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=400)]


class FeedColumnsFile(FileModel):
    """Where the parts of a row stand."""

    time: Column = Field(description="the column of the stamps")
    value: Column = Field(description="the column of the values")
    end: Column | None = None
    published: Column | None = None


class FeedFile(FileModel):
    """Where prices, carbon or weather come from while the site runs."""

    page: str | None = None
    kind: Literal["real_time_price", "day_ahead_price", "carbon", "weather", "weather_forecast"] = Field(
        description="real_time_price, day_ahead_price, carbon, weather or weather_forecast"
    )
    url: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    folder: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    format: Literal["json", "csv"] = Field(description="json or csv")
    rows: Text = ""
    columns: FeedColumnsFile = Field(description="where time and value of a row stand")
    per: Literal["MWh", "kWh", "g/kWh", "kg/MWh", "kg/kWh", "t/MWh", "lb/MWh", "C", "F", "K"] = Field(description="the unit, such as MWh")
    scale: float = Field(default=1.0, gt=0, le=1e6)
    currency: str | None = None
    signal: Literal["average", "marginal"] = "average"
    time_format: Annotated[str, Field(min_length=1, max_length=100)] = "iso"
    time_zone: str = "UTC"
    label: Literal["start", "end"] = "start"
    step_min: float | None = Field(default=None, gt=0, le=1440)
    known: str | None = None
    poll_s: float = Field(default=300.0, ge=5, le=86400)
    max_age_min: float | None = Field(default=None, ge=0, le=100_000)
    timeout_s: float = Field(default=20.0, ge=0.1, le=120)
    max_bytes: int = Field(default=5_000_000, ge=100, le=100_000_000)
    headers: dict[Column, Text] = {}
    expect: dict[Column, Text] = {}
    expect_row: dict[Column, Text] = {}
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    skip_lines: int = Field(default=0, ge=0, le=1000)

    @field_validator("url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is not None:
            _refuse_address(value)
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("an IANA time zone such as America/Chicago")
        return value

    @field_validator("known")
    @classmethod
    def _a_rule(cls, value: str | None) -> str | None:
        if value is not None and value not in (FETCHED, "interval_start", INTERVAL_END, PUBLISHED) and not is_time_of_day(value):
            raise ValueError('fetched, interval_start, interval_end, published or a local time of the day before such as "13:30"')
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> FeedFile:
        if (self.url is None) == (self.folder is None):
            raise ValueError("url, or folder")
        if self.per not in UNITS[self.kind]:
            raise ValueError(f"per: {' or '.join(UNITS[self.kind])} for {self.kind}")
        if self.known == PUBLISHED and self.columns.published is None:
            raise ValueError("columns.published, which `known: published` reads")
        return self


def is_time_of_day(text: str) -> bool:
    """True for `13:30`."""
    return bool(re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text))


def build_feed(name: str, file: FeedFile) -> Feed:
    """The feed; what the file leaves out follows from its kind."""
    given = file.model_dump(exclude={"page", "columns"})
    given["known"] = file.known or KNOWN.get(file.kind, FETCHED)
    given["max_age_min"] = MAX_AGE_MIN[file.kind] if file.max_age_min is None else file.max_age_min
    return Feed(name=name, columns=FeedColumns(**file.columns.model_dump()), **given)


def feed_complaints(
    source: Source, feeds: Mapping[str, FeedFile], currency: str, tariff: Tariff, is_whole: bool = True
) -> Iterator[Complaint]:
    """Prices in another currency than the site's, carbon of another kind than the tariff prices, two feeds for one signal. `is_whole`: none
    is left out for faults of its own, so that one which is missing is missing."""
    seen: dict[str, str] = {}
    for name, feed in feeds.items():
        where: KeyPath = ("feeds", name)
        if feed.kind in PRICES and feed.currency != currency:
            yield source.complaint((*where, "currency"), f"{currency}, the currency of the site")
        if feed.kind == CARBON and tariff.carbon is not None and feed.signal != tariff.carbon.signal:
            yield source.complaint((*where, "signal"), f"{tariff.carbon.signal}, the carbon the tariff prices")
        if feed.kind in seen:
            yield source.complaint((*where, "kind"), f"a kind no other feed has ({seen[feed.kind]} has {feed.kind})")
        seen.setdefault(feed.kind, name)
    if is_whole and tariff.energy == "day_ahead" and REAL_TIME_PRICE in seen and DAY_AHEAD_PRICE not in seen:
        where = ("feeds", seen[REAL_TIME_PRICE], "kind")
        yield source.complaint(where, "day_ahead_price: the tariff's energy follows the day-ahead market")


def with_feed_pages(source: Source) -> Source:
    """The source with every feed given by the name of a page, or with `page: NAME`, filled with that page's content. A feed whose page is
    not there or cannot be read is left out, with a complaint."""
    feeds = source.at(("feeds",))
    for name, raw in feeds.items() if isinstance(feeds, Mapping) else ():
        where: KeyPath = ("feeds", name)
        given = raw if isinstance(raw, str) else raw.get("page") if isinstance(raw, Mapping) else None
        try:
            if isinstance(given, str):
                source = _over_page(source, where, given)
            source = _with_whole_folder(source, (*where, "folder"))
        except ConfigError as error:
            rest = {key: feed for key, feed in source.at(("feeds",)).items() if key != name}
            source = Source(source.path, put(source.data, ("feeds",), rest), source.marks, (*source.complaints, *error.complaints))
    return source


def _over_page(source: Source, where: KeyPath, given: str) -> Source:
    beside = source.origin(where)
    try:
        page = read_source(resolve("feeds", given, beside))
    except FileNotFoundError as error:
        expected = f"the name of a feed page ({error})" + near_file("feeds", given, beside)
        raise ConfigError([source.complaint(where, expected, given)]) from None
    own = source.part(*where)
    source = source.overlaid(page, where)
    return source.overlaid(own, where) if isinstance(own.data, Mapping) else source


def _with_whole_folder(source: Source, where: KeyPath) -> Source:
    """A folder is relative to the file that names it."""
    folder = source.at(where)
    if not isinstance(folder, str) or not folder:
        return source
    whole = source.origin(where).resolve().parent / folder
    return Source(source.path, put(source.data, where, str(whole)), source.marks, source.complaints)


def checked_feed(source: Source) -> FeedFile:
    """A page of its own; a page may leave the address to the site. Raises ConfigError with every complaint at once."""
    data = source.data if isinstance(source.data, dict) else {}
    if "url" not in data and "folder" not in data:
        source = Source(source.path, {**data, "folder": "given by the site"}, source.marks, source.complaints)
    try:
        return validated(source, FeedFile)
    except ConfigError as error:
        raise ConfigError(in_order(error.complaints)) from None


def _refuse_address(url: str) -> None:
    try:
        parts = urlsplit(re.sub(r"\$?\{[^}]*\}", "x", url))
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web:
        raise ValueError("an address that begins with https:// or http://")
    try:
        named = [field for _, field, _, _ in Formatter().parse(re.sub(r"\$\{[^}]*\}", "", url)) if field is not None]
    except ValueError:
        raise ValueError("braces in pairs") from None
    unknown = [field for field in named if field not in PLACES]
    if unknown:
        raise ValueError(f"in braces only {', '.join(PLACES)}, such as {{today:%Y-%m-%d}}, or ${{NAME}} of the environment")
