"""`ems devices`: the pages known, the devices of a site, and what they say now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapters.field import ModbusField
from adapters.modbus.page_file import load_page
from ems.app.prepare import find_file, load_pages
from ems.app.runfile import RunFile, on_loopback
from ems.app.show import fresh_snapshot, image_lines
from ems.app.statedir import find_state_dir
from ems.clock import Clock
from ems.errors import EmsError
from ems.journal.entry import Entry
from ems.journal.read import last_entry
from ems.resources import bundled
from ems.site.load import load_site
from ems.state.image import SiteImage, encode_image

PROBE_WITHIN_S = 5.0


def page_lines() -> Iterator[str]:
    """Every shipped page: what it is for, what may be written, how its lease works."""
    for path in sorted(bundled("config/devices").glob("*.yaml")):
        page = load_page(path)
        commands = ", ".join(command.name for command in page.commands) or "monitor only"
        yield f"{page.name:<32} {page.asset_kind:<16} {commands}; lease {page.lease.kind}"
        yield f"{'':<32} {page.title}"


def site_lines(given: str) -> Iterator[str]:
    """The devices of a site and where they answer."""
    path = find_file("sites", given)
    site = load_site(path)
    load_pages(site, path)
    for asset, link in site.links.items():
        yield f"{asset:<12} {link.page:<32} {link.host}:{link.port} unit {link.unit_id}, lease {link.lease_s:g} s"


def probe_lines(given: str, loopback: int | None, state_dir: Path | None) -> Iterator[str]:
    """Every reading now: from the last cycle of the controller that runs this site, else asked of the devices."""
    path = find_file("sites", given)
    entry = running_cycle(path, state_dir)
    image = asked_image(path, loopback) if entry is None else entry.body["image"]
    if entry is not None:
        yield f"as read by the controller at {entry.at.isoformat()}"
    yield from image_lines(image)
    if entry is None and image["problems"]:
        raise EmsError(f"{len(image['problems'])} of {len(load_site(path).links)} devices have a problem")


def asked_image(path: Path, loopback: int | None) -> dict[str, Any]:
    """The encoded image of one poll of every device of a site file."""
    site = load_site(path)
    pages = load_pages(site, path)
    site = site if loopback is None else on_loopback(site, loopback)
    clock = Clock.real()
    return encode_image(asyncio.run(_probed(ModbusField(site, pages, clock, {}, deadline_s=1.0), clock)))


def running_cycle(path: Path, state_dir: Path | None) -> Entry | None:
    """The last cycle of the controller that runs this site file, None when none does."""
    state = find_state_dir(state_dir)
    try:
        if RunFile.load(state.site).source != str(path.resolve()):
            return None
        fresh_snapshot(state)
        return last_entry(state.path, "cycle")
    except (EmsError, OSError):
        return None


async def _probed(field: ModbusField, clock: Clock) -> SiteImage:
    try:
        await asyncio.wait_for(field.poll_once(), PROBE_WITHIN_S)
    except TimeoutError:
        pass  # what did not answer stands in the image as a problem
    image = field.image(clock.now())
    await field.stop()
    return image
