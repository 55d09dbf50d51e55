"""A Site as JSON and back, exactly; standard library only, so that the control process starts without YAML and pydantic."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from typing import Any

from ems.assets.asset import DeviceLink
from ems.assets.battery.droop import Droop
from ems.assets.catalogue import KINDS, Asset
from ems.assets.cooling.plant import CoolingPlant
from ems.assets.generator.model import Pollutant
from ems.assets.grid_connection.model import PointOfConnection
from ems.assets.workload.model import WorkloadClass
from ems.limit import Limit, LimitKind
from ems.site.alarm_hook import AlarmHook
from ems.site.feed import feed_from_data
from ems.site.model import ControlSettings, Feeder, PlanSettings, Site
from ems.site.tariff import tariff_from_data

_NAMES = {kind: name for name, kind in KINDS.items()}


def site_to_json(site: Site) -> str:
    """The whole site as JSON text."""
    return json.dumps(site_to_data(site), allow_nan=False)


def site_from_json(text: str) -> Site:
    """The site written by site_to_json, equal to it in every field."""
    return site_from_data(json.loads(text))


def site_to_data(site: Site) -> dict[str, Any]:
    """The site as plain data; each asset names its kind."""
    data = dataclasses.asdict(site)
    data["assets"] = [{"kind": _NAMES[type(asset)], **dataclasses.asdict(asset)} for asset in site.assets.values()]
    data["point_of_connection"]["limits"] = [limit_to_data(limit) for limit in site.point_of_connection.limits]
    return data


def site_from_data(data: dict[str, Any]) -> Site:
    """The site from plain data."""
    return Site(
        name=data["name"],
        time_zone=data["time_zone"],
        currency=data["currency"],
        point_of_connection=connection_from_data(data["point_of_connection"]),
        assets={asset.id: asset for asset in map(asset_from_data, data["assets"])},
        feeders=tuple(Feeder(**{key: _tuples(value) for key, value in feeder.items()}) for feeder in data["feeders"]),
        tariff=tariff_from_data(data["tariff"]),
        control=ControlSettings(**data["control"]),
        plan=PlanSettings(**data["plan"]),
        live_feeds=tuple(map(feed_from_data, data.get("live_feeds", ()))),
        alarm_hooks=tuple(AlarmHook(**{**hook, "command": tuple(hook["command"])}) for hook in data.get("alarm_hooks", ())),
    )


def limit_to_data(limit: Limit) -> dict[str, Any]:
    """A limit with its instants as ISO text."""
    ends = {"valid_from": limit.valid_from, "valid_to": limit.valid_to}
    return {**dataclasses.asdict(limit), "kind": limit.kind.value, **{key: t.isoformat() if t else None for key, t in ends.items()}}


def limit_from_data(data: dict[str, Any]) -> Limit:
    """A limit from plain data."""
    ends = {key: datetime.fromisoformat(data[key]) if data[key] else None for key in ("valid_from", "valid_to")}
    return Limit(**{**data, "kind": LimitKind(data["kind"]), "curve": _tuples(data.get("curve", ())), **ends})


def connection_from_data(data: dict[str, Any]) -> PointOfConnection:
    """The point of connection from plain data."""
    return PointOfConnection(**{**data, "limits": tuple(map(limit_from_data, data["limits"])), "meter": link_from_data(data["meter"])})


def link_from_data(data: dict[str, Any] | None) -> DeviceLink | None:
    """A device link from plain data."""
    return None if data is None else DeviceLink(**data)


def asset_from_data(data: dict[str, Any]) -> Asset:
    """An asset from plain data: lists become tuples, links and workload classes their classes."""
    values: dict[str, Any] = {key: _tuples(value) for key, value in data.items() if key != "kind"}
    if "link" in values:
        values["link"] = link_from_data(values["link"])
    if values.get("other_emissions"):
        values["other_emissions"] = tuple(Pollutant(**p) for p in values["other_emissions"])
    if values.get("droop"):
        values["droop"] = Droop(**values["droop"])
    if values.get("plant"):
        values["plant"] = CoolingPlant(**values["plant"])
    if "classes" in values:
        values["classes"] = {name: WorkloadClass(**{k: _tuples(v) for k, v in kind.items()}) for name, kind in values["classes"].items()}
    return KINDS[data["kind"]](**values)


def _tuples(value: Any) -> Any:
    """Lists, and lists in lists, as tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
