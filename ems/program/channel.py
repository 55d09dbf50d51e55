"""How the site speaks with its counterparties: `channels.yaml` beside `enrolments.yaml`, one entry per head-end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ems.errors import ConfigError
from ems.nearest import near_miss
from ems.program.schema import AtLeastZero, Name
from ems.site.source import FileModel, in_order, read_source, validated

FILE_NAME = "channels.yaml"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
Positive = Annotated[float, Field(gt=0.0)]


class WebhookFile(FileModel):
    """Where the head-end may call us: a hint to look at once, never the truth. `callback_url` is what it is told (HTTPS, its own proxy)."""

    callback_url: str
    token_file: str = Field(description="a file that holds the token the head-end must send; beside channels.yaml or absolute")


class CapacityFile(FileModel):
    """A flexible connection behind the channel: what holds where no limit is told, or nobody was heard for too long."""

    subscription_kw: AtLeastZero
    stale_after_s: Positive = 900.0


class ChannelFile(FileModel):
    """One head-end. `programs`: its name of a programme -> our file of it."""

    id: Name
    profile: Literal["openadr-3.1", "openadr-3.0.1", "openadr-2.0b", "aggregator"]
    url: str
    programs: dict[str, Name] = Field(min_length=1)
    ven_name: str = Field(default="aidc-ems", min_length=1, max_length=128)
    resource: str = Field(default="site", min_length=1, max_length=128, description="the name of this site in reports")
    client_id: str | None = None
    secret_file: str | None = Field(default=None, description="holds the client secret or token; beside channels.yaml or absolute")
    token_url: str | None = Field(default=None, description="default: as the head-end says")
    targets: list[str] = []
    poll_s: Annotated[float, Field(ge=1.0, le=3600.0)] = 60.0
    ca_file: str | None = None
    cert_file: str | None = Field(default=None, description="our certificate where the head-end asks for one, with key_file")
    key_file: str | None = None
    head_end_fingerprint: str | None = Field(default=None, description="OpenADR 2.0b: the head-end's certificate, when it signs")
    verify_tls: bool = True
    webhook: WebhookFile | None = None
    mqtt: bool = Field(default=False, description="OpenADR 3.1: follow the head-end's MQTT notifications where it has a broker, as hints")
    capacity: CapacityFile | None = None
    simple_levels_kw: list[AtLeastZero] = Field(default=[], max_length=3, description="reduction meant by level 1, 2, 3")
    relative_is: Literal["change", "reduction"] = Field(
        default="change", description="sign of relative setpoints: change, then negative reduces; reduction, then positive reduces"
    )
    price_source: Literal["real_time", "day_ahead"] | None = Field(default=None, description="prices of this head-end feed the plan as")
    telemetry_s: Annotated[float, Field(ge=30.0, le=300.0, multiple_of=30.0)] = 30.0

    @model_validator(mode="after")
    def is_whole(self) -> ChannelFile:
        """HTTPS except on this machine; a key with its certificate; a secret with its name."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url with https:// and a host")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError("url with https:// (http only on this machine)")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file together")
        if self.client_id is not None and self.secret_file is None:
            raise ValueError("secret_file with client_id")
        return self


class GatewayFile(FileModel):
    """The register map that a substation gateway reads and writes (config/devices/aidc-ems-gateway.yaml)."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 15502
    unit_id: Annotated[int, Field(ge=1, le=247)] = 1
    program: Name = Field(default="nonfirm-connection", description="the programme its limits and targets belong to")
    capacity: CapacityFile


class ChannelsFile(FileModel):
    """All channels of a site."""

    channels: list[ChannelFile] = []
    gateway: GatewayFile | None = None


def load_channels(path: Path, enrolled: set[str]) -> ChannelsFile:
    """The channels of a file, none when there is no file. ConfigError with every complaint at once, also for a programme that the site is
    not enrolled in."""
    if not path.is_file():
        return ChannelsFile()
    source = read_source(path)
    found = validated(source, ChannelsFile)
    complaints = [
        source.complaint(("channels", n, "programs", theirs), "a programme of enrolments.yaml" + near_miss(ours, enrolled))
        for n, channel in enumerate(found.channels)
        for theirs, ours in channel.programs.items()
        if ours not in enrolled
    ]
    ids = [c.id for c in found.channels]
    complaints += [source.complaint(("channels", n, "id"), "an id of its own") for n, i in enumerate(ids) if i in ("gateway", *ids[:n])]
    if found.gateway is not None and found.gateway.program not in enrolled:
        complaints.append(
            source.complaint(("gateway", "program"), "a programme of enrolments.yaml" + near_miss(found.gateway.program, enrolled))
        )
    if complaints:
        raise ConfigError(in_order(complaints))
    return found


def beside(path: Path, name: str) -> Path:
    """A file named in channels.yaml: absolute, or beside it."""
    return path.parent / name


def secret_from(path: Path, name: str | None) -> str:
    """The first line of a secret's file, "" where none is named. ConfigError-free: a missing file is told as what it is."""
    return "" if name is None else beside(path, name).read_text().strip()
