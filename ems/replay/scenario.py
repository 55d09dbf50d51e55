"""A scenario file: which site, which window, which traces, prices and weather, checked strictly before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from ems.errors import Complaint, ConfigError
from ems.resources import resolve
from ems.site.load import load_site
from ems.site.model import Site
from ems.site.source import FileModel, Instant, Source, in_order, read_source, validated

LONGEST = timedelta(days=3 * 366)
DATA_DIR = "EMS_DATA_DIR"
MONEY_PER = {"kWh": 1.0, "MWh": 1e-3}  # -> per kWh
CARBON_PER = {"g/kWh": 1.0, "kg/kWh": 1000.0, "kg/MWh": 1.0, "lb/MWh": 0.45359237}  # -> g per kWh


def known_zone(name: str) -> str:
    """An IANA time zone that exists."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("an IANA time zone such as America/Chicago") from None
    return name


def wall_time(text: str) -> str:
    """A local time of day such as 13:30."""
    try:
        time.fromisoformat(text)
    except ValueError:
        raise ValueError('a local time such as "13:30"') from None
    return text


Zone = Annotated[str, AfterValidator(known_zone)]
WallTime = Annotated[str, AfterValidator(wall_time)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class TableFile(FileModel):
    """Where a table is and how its columns are called."""

    path: str
    columns: dict[str, str] = {}
    label: Literal["start", "end"] = "start"
    time_zone: Zone | None = None


class Texture(FileModel):
    """A measured series that shapes the inside of each window of the trace."""

    texture: str
    column: str = "requests"
    step_s: Positive = 10


class TraceFile(FileModel):
    """One cluster's trace. `path` is absent only for the generated load."""

    kind: Literal["requests", "rates", "power"]
    format: Literal["table", "azure-llm", "mooncake", "servegen", "generated"] = "table"
    path: str | None = None
    columns: dict[str, str] = {}
    label: Literal["start", "end"] = "start"
    time_zone: Zone | None = None
    begins_at: Instant | None = None
    skip_s: NotNegative = 0
    repeat: bool = False
    within_window: Literal["hold", "gamma"] | Texture = "hold"

    @model_validator(mode="after")
    def _fits(self) -> TraceFile:
        if (self.path is None) != (self.format == "generated"):
            raise ValueError("a `path:` (and none for format generated)")
        return self


class Load(FileModel):
    """Which trace drives which cluster. `scale` is kW above idle per request/s, or a factor for kind power."""

    cluster: str
    trace: TraceFile
    scale_to_peak_kw: Positive | None = None
    scale: Positive | None = None

    @model_validator(mode="after")
    def _one_scale(self) -> Load:
        if self.scale is not None and self.scale_to_peak_kw is not None:
            raise ValueError("either scale_to_peak_kw or scale")
        return self


class PriceFile(TableFile):
    """Real-time price: `known` says when within its interval it becomes known."""

    per: Literal["kWh", "MWh"] = "MWh"
    currency: str
    known: Literal["interval_start", "interval_end"] = "interval_end"


class DayAheadFile(TableFile):
    """Day-ahead price, published at `known_at` local time on the day before."""

    per: Literal["kWh", "MWh"] = "MWh"
    currency: str
    known_at: WallTime = "13:30"
    time_zone: Zone


class CarbonFile(TableFile):
    """Carbon intensity of the grid."""

    per: Literal["g/kWh", "kg/kWh", "kg/MWh", "lb/MWh"] = "g/kWh"
    signal: Literal["average", "marginal"] = "average"


class SystemLoadFile(TableFile):
    """The system's load as forecast, hourly; its truth is generated: the forecast plus an AR(1) error, for coincident peaks."""

    error_share: Annotated[float, Field(ge=0, le=1)] = 0.03  # stationary deviation, of the highest forecast
    error_memory: Annotated[float, Field(ge=0, lt=1)] = 0.9  # what is left of an error after an hour


class WeatherFile(TableFile):
    """Outdoor temperature, and `dew_point_c` where a column has it; `tmy` is a typical year by local standard hour."""

    format: Literal["table", "tmy"] = "table"


class FrequencyFile(TableFile):
    """Grid frequency."""


class EventEntry(FileModel):
    """A limit somebody outside asks for, for a time."""

    program: str = "manual"
    notice_at: Instant
    start: Instant
    end: Instant
    kind: Literal["import_limit", "reduce_by", "reduce_to"]
    kw: NotNegative | None = None
    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_size(self) -> EventEntry:
        if (self.kw is None) == (self.fraction is None):
            raise ValueError("either kw or fraction")
        if not self.notice_at <= self.start < self.end:
            raise ValueError("notice_at <= start < end")
        return self


class JobEntry(FileModel):
    """Announced load: `kw` of training on top of the trace."""

    cluster: str
    announced_at: Instant
    start: Instant
    end: Instant
    kw: Positive


class FaultEntry(FileModel):
    """A device fault at an instant."""

    at: Instant
    device: str
    fault: Literal["silent", "frozen", "slow", "reject", "ignores", "wrong_sign", "trip", "local", "input_lost", "reboot"]
    for_s: Positive


class ScenarioModel(FileModel):
    """The whole file."""

    site: str
    overrides: dict[str, Any] = {}
    start: Instant
    end: Instant
    control_step_s: Annotated[float, Field(ge=1, le=300)] = 5
    plan_every_s: Annotated[float, Field(ge=60, le=3600)] = 300
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 7
    peak_so_far_kw: NotNegative = 0
    mismatch: Annotated[float, Field(ge=0, le=0.3)] = 0  # share by which the simulated plant differs from the site file
    load: list[Load] = Field(default_factory=list)  # empty for a site without clusters
    prices: PriceFile | None = None
    day_ahead: DayAheadFile | None = None
    carbon: CarbonFile | None = None
    weather: WeatherFile | None = None
    system_load: SystemLoadFile | None = None
    frequency: FrequencyFile | None = None
    events: list[EventEntry] = []
    jobs: list[JobEntry] = []
    faults: list[FaultEntry] = []


@dataclass(frozen=True)
class Scenario:
    """A checked scenario: the file's content, the site it means with its overrides, and where each data file is."""

    path: Path
    model: ScenarioModel
    site: Site
    files: dict[str, Path]  # name as written in the file -> where it was found

    @property
    def control_step_s(self) -> float:
        """Seconds between two control cycles."""
        return self.model.control_step_s

    @property
    def substeps(self) -> int:
        """Plant steps per control step; each is at most 5 s."""
        return max(1, -(-int(self.model.control_step_s * 1000) // 5000))

    @property
    def plant_step_s(self) -> float:
        """Seconds of one plant step."""
        return self.model.control_step_s / self.substeps

    @property
    def cycles(self) -> int:
        """Control steps in the window."""
        return int((self.model.end - self.model.start).total_seconds() // self.model.control_step_s)

    @property
    def start(self) -> datetime:
        """The first instant of the window."""
        return self.model.start


def load_scenario(path: Path) -> Scenario:
    """The scenario of a file. Raises ConfigError with every complaint of the scenario, or of the site it means."""
    source = read_source(path)
    model = validated(source, ScenarioModel)
    site = _site(source, model, path)
    files, missing = _files(source, model, path)
    complaints = [*missing, *_clashes(source, model, site)]
    if complaints:
        raise ConfigError(in_order(complaints))
    return Scenario(path, model, site, files)


def find_data(name: str, beside: Path) -> Path | None:
    """A data file: beside the scenario, then in EMS_DATA_DIR; None when in neither."""
    folders = [beside.parent, *([Path(os.environ[DATA_DIR])] if os.environ.get(DATA_DIR) else [])]
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def _site(source: Source, model: ScenarioModel, path: Path) -> Site:
    try:
        file = resolve("sites", model.site, path)
    except FileNotFoundError as error:
        raise ConfigError([source.complaint(("site",), f"the path of a site file, or the name of one ({error})")]) from None
    return load_site(file, source.part("overrides") if model.overrides else None)


def _files(source: Source, model: ScenarioModel, path: Path) -> tuple[dict[str, Path], list[Complaint]]:
    found: dict[str, Path] = {}
    missing = []
    for where, name in _named(model):
        place = find_data(name, path)
        if place is None:
            hint = f"a file beside {path.name} or in {DATA_DIR}"
            missing.append(source.complaint(where, hint + ("" if os.environ.get(DATA_DIR) else f" ({DATA_DIR} is not set)")))
        else:
            found[name] = place
    return found, missing


def _named(model: ScenarioModel) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for i, load in enumerate(model.load):
        if load.trace.path is not None:
            yield ("load", i, "trace", "path"), load.trace.path
        if isinstance(load.trace.within_window, Texture):
            yield ("load", i, "trace", "within_window", "texture"), load.trace.within_window.texture
    for key in ("prices", "day_ahead", "carbon", "weather", "system_load", "frequency"):
        table = getattr(model, key)
        if table is not None:
            yield (key, "path"), table.path


def _clashes(source: Source, model: ScenarioModel, site: Site) -> Iterator[Complaint]:
    if model.end <= model.start:
        yield source.complaint(("end",), "an instant after start")
    elif (model.end - model.start).total_seconds() < model.control_step_s:
        yield source.complaint(("end",), "a window of at least one control step")
    elif model.end - model.start > LONGEST:
        yield source.complaint(("end",), f"a window of at most {LONGEST.days} days")
    clusters = {cluster.id for cluster in site.clusters}
    named = [load.cluster for load in model.load]
    for i, name in enumerate(named):
        if name not in clusters:
            yield source.complaint(("load", i, "cluster"), "one of " + ", ".join(sorted(clusters)))
        elif named.index(name) != i:
            yield source.complaint(("load", i, "cluster"), "each cluster once")
    for name in sorted(clusters - set(named)):
        yield source.complaint(("load",), f"a trace for cluster {name} too")
    for i, load in enumerate(model.load):
        if load.trace.format in ("mooncake", "servegen") and load.trace.begins_at is None:
            yield source.complaint(("load", i, "trace"), "begins_at: this format has no dates", load.trace.format)
    for i, job in enumerate(model.jobs):
        if job.cluster not in clusters:
            yield source.complaint(("jobs", i, "cluster"), "one of " + ", ".join(sorted(clusters)))
    for i, fault in enumerate(model.faults):
        if fault.device not in site.links:
            yield source.complaint(("faults", i, "device"), "one of " + ", ".join(site.links))
    for key in ("prices", "day_ahead"):
        table = getattr(model, key)
        if table is not None and table.currency != site.currency:
            yield source.complaint((key, "currency"), f"the site's currency {site.currency}")
    priced = site.tariff.carbon
    if priced is not None and (model.carbon is None or model.carbon.signal != priced.signal):
        yield source.complaint(("carbon",), f"carbon: the tariff of this site prices {priced.signal} carbon (signal: {priced.signal})")
    needed = "day_ahead" if site.tariff.energy == "day_ahead" else "prices"
    if site.tariff.is_market and getattr(model, needed) is None:
        yield source.complaint((needed,), f"{needed}: the tariff of this site is indexed to the market")
