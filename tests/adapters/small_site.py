"""The demo site on free ports: every device behind a page server whose equipment is a dictionary."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from adapters.field import ModbusField
from adapters.modbus.page import Page
from adapters.modbus.page_file import load_page
from adapters.modbus.server import PageServer
from ems.clock import Clock
from ems.dispatch.setpoint import Setpoint
from ems.messages import Mode
from ems.resources import bundled
from ems.site.load import load_site
from ems.site.model import Site

START = datetime(2024, 8, 20, tzinfo=UTC)


@dataclass
class Plant:
    """Servers, the values of their equipment and everything they were told, by asset."""

    site: Site
    pages: Mapping[str, Page]
    servers: Mapping[str, PageServer]
    values: Mapping[str, dict[str, float]]
    told: list[tuple[str, str, float]]

    @property
    def writes(self) -> int:
        return sum(server.write_count for server in self.servers.values())


@asynccontextmanager
async def served_site() -> AsyncIterator[Plant]:
    site = load_site(bundled("config/sites/demo-2mw.yaml"))
    pages = {link.page: load_page(link.page) for link in site.links.values()}
    values = {asset: equipment(pages[link.page]) for asset, link in site.links.items()}
    told: list[tuple[str, str, float]] = []
    servers = {asset: server_of(asset, pages[link.page], values[asset], told) for asset, link in site.links.items()}
    for server in servers.values():
        await server.start()
    try:
        yield Plant(on_ports(site, servers), pages, servers, values, told)
    finally:
        for server in servers.values():
            await server.stop()


@asynccontextmanager
async def running_field(
    plant: Plant, clock: Clock, controlled: tuple[str, ...] = (), deadline_s: float = 20.0
) -> AsyncIterator[ModbusField]:
    field = ModbusField(plant.site, plant.pages, clock, dict.fromkeys(controlled, Mode.CONTROL), deadline_s=deadline_s)
    await field.start()
    try:
        yield field
    finally:
        await field.stop()


def equipment(page: Page) -> dict[str, float]:
    readings = {p.name: 0.0 if p.values else 0.5 for p in page.points}
    return {**readings, **{c.name: 0.0 for c in page.commands}}


def server_of(asset: str, page: Page, values: dict[str, float], told: list[tuple[str, str, float]]) -> PageServer:
    def write(name: str, value: float) -> None:
        told.append((asset, name, value))
        values[name] = value

    return PageServer(page, lambda: values, write)


def on_ports(site: Site, servers: Mapping[str, PageServer]) -> Site:
    """The site with the ports that were free."""
    links = {asset: replace(link, port=servers[asset].port) for asset, link in site.links.items()}
    assets = {name: replace(asset, link=links[name]) if name in links else asset for name, asset in site.assets.items()}
    poc = site.point_of_connection
    return replace(site, assets=assets, point_of_connection=replace(poc, meter=links[poc.id]))


def setpoint(asset: str, command: str, kw: float) -> Setpoint:
    return Setpoint(asset, command, kw, "a test asks for it", START)
