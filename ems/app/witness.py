"""The sheets of a commissioning: every point as the page has it, and what a person compares with the device's own display."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapters.modbus.page import Page, Point
from ems.app.prepare import find_file, load_pages
from ems.app.probing import asked_image, running_cycle
from ems.errors import EmsError
from ems.site.load import load_site
from ems.site.model import Site

POINTS = ("asset", "point", "use", "table", "address", "registers", "type", "word_order", "byte_swap", "scale_factor", "scale", "offset",
          "sign", "unit_on_wire", "evidence", "source", "value", "quality")  # fmt: skip
WITNESS = ("asset", "point", "positive_means", "sign", "scale", "controller_reads", "device_shows", "agrees", "witness", "date")
INTO, SHARE = "into the device (charging, consumption)", "of the whole"


def export_sheets(given: str, out: Path, loopback: int | None, state_dir: Path | None) -> Iterator[str]:
    """Writes points.csv and witness.csv with the values of now; a line for each file. EmsError when the folder cannot be written."""
    path = find_file("sites", given)
    site = load_site(path)
    pages = load_pages(site, path)
    entry = running_cycle(path, state_dir)
    image = asked_image(path, loopback) if entry is None else entry.body["image"]
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield _written(out / "points.csv", POINTS, point_rows(site, pages, image))
        yield _written(out / "witness.csv", WITNESS, witness_rows(site, pages, image))
    except OSError as error:
        raise EmsError(f"{out}: cannot be written: {error.strerror}") from None


def point_rows(site: Site, pages: dict[str, Page], image: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """One row per reading, command and auxiliary register of every device."""
    for asset, link in site.links.items():
        for use, point in _points(pages[link.page]):
            value, quality = _value(image, asset, use, point.name)
            yield (asset, point.name, use, point.table, point.address, point.count, point.type, point.word_order, point.byte_swap,
                   point.scale_factor or "", point.scale, point.offset, point.sign, point.unit, point.evidence, point.source, value,
                   quality)  # fmt: skip


def witness_rows(site: Site, pages: dict[str, Page], image: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """One row per power, charge and command: what the controller reads, and room for what the device shows."""
    for asset, link in site.links.items():
        for use, point in _points(pages[link.page]):
            if use == "register" or not point.name.endswith(("_kw", "_kwh", "soc")):
                continue
            means = SHARE if point.name == "soc" else INTO if point.name.endswith("_kw") else ""
            scale = f"{point.scale:g}" + (f" x 10^{point.scale_factor}" if point.scale_factor else "")
            yield asset, point.name, means, point.sign, scale, _value(image, asset, use, point.name)[0], "", "", "", ""


def _points(page: Page) -> Iterator[tuple[str, Point]]:
    yield from (("reading", p) for p in page.points)
    yield from (("command", c.point) for c in page.commands)
    yield from (("register", p) for p in page.registers)


def _value(image: dict[str, Any], asset: str, use: str, name: str) -> tuple[Any, str]:
    part = {"reading": "readings", "command": "commands"}.get(use)
    found = image[part].get(asset, {}).get(name) if part else None
    return ("", "") if found is None or found[0] is None else (found[0], found[2])


def _written(path: Path, heads: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> str:
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(heads)
        count = sum(1 for row in rows if writer.writerow(row))
    return f"{path}: {count} rows"
