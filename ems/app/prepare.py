"""From a site file to a run: validated once, pages fetched, moved to loopback when asked. Needs YAML and pydantic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from adapters.field import refuse_assumed_commands
from adapters.modbus.page import Page
from adapters.modbus.page_file import load_page
from ems.app.runfile import RunFile, on_loopback
from ems.app.statedir import StateDir
from ems.app.wrong_usage import WrongUsage
from ems.assets.catalogue import KINDS
from ems.errors import Complaint, ConfigError, EmsError
from ems.messages import Mode
from ems.resources import bundled, is_bare, resolve
from ems.site.checks import sound_links
from ems.site.leases import TAKING_KW, lease_s
from ems.site.load import load_site, site_of, site_source
from ems.site.model import Site
from ems.site.notes import lines
from ems.site.source import Source, in_order, read_source
from ems.site.wording import near_file
from ems.site.yaml_reader import KeyPath

METER, SUPPLY, DEW_POINT = "grid_connection", "supply_setpoint_c", "dew_point_c"


def find_file(kind: str, given: str) -> Path:
    """The file a person means: a path, or the bare name of a shipped file of that kind. EmsError in one line when there is none."""
    path = Path(given)
    if path.is_file() or not is_bare(given):
        if not path.is_file():
            raise WrongUsage(f"{given}: no such file")
        return path
    try:
        return resolve(kind, given, bundled(f"config/{kind}/any.yaml"))
    except FileNotFoundError as error:
        raise WrongUsage(f"{given}: {error}{near_file(kind, given, Path.cwd() / 'config' / 'any' / 'any.yaml')}") from None


def load_pages(site: Site, path: Path) -> dict[str, Page]:
    """The pages of the site's devices, by the names its links use. ConfigError with the complaints of every page at once."""
    pages, complaints = _read_pages((link.page for link in site.links.values()), path)
    complaints += [*_of_another_kind(site, pages, path), *_not_led(site, pages, path)]
    if complaints:
        raise ConfigError(in_order(complaints))
    return pages


def refusals(path: Path) -> list[Complaint]:
    """Everything for which `ems run` would refuse a site file: of the file, of its pages, and of commands nobody has a document for."""
    source = site_source(path)
    try:
        site = site_of(source)
    except ConfigError as error:
        there = (link.page for _, link in sound_links(source) if _is_there(link.page, path))
        return in_order([*error.complaints, *_read_pages(there, path)[1]])
    try:
        refuse_assumed_commands(site.links, load_pages(site, path))
    except ConfigError as error:
        return error.complaints
    return []


def _read_pages(names: Iterable[str], path: Path) -> tuple[dict[str, Page], list[Complaint]]:
    """The pages that can be read, and the complaints about the others. EmsError where there is none of a name."""
    pages: dict[str, Page] = {}
    complaints = []
    for name in dict.fromkeys(names):
        try:
            pages[name] = load_page(name, path)
        except ConfigError as error:
            complaints += error.complaints
        except FileNotFoundError as error:
            raise EmsError(f"{path}: no device page {name!r} ({error})") from None
    return pages, complaints


def _is_there(name: str, path: Path) -> bool:
    try:
        return resolve("devices", name, path).is_file()
    except FileNotFoundError:
        return False  # the site's own check tells it


def _of_another_kind(site: Site, pages: Mapping[str, Page], path: Path) -> Iterator[Complaint]:
    """Links whose page describes another kind of device than the asset is."""
    names = {kind: name for name, kind in KINDS.items()}
    for asset, link in site.links.items():
        is_meter = asset == site.point_of_connection.id
        kind = METER if is_meter else names[type(site.assets[asset])]
        if link.page in pages and pages[link.page].asset_kind != kind:
            where = ("point_of_connection", "meter", "page") if is_meter else ("assets", asset, "link", "page")
            yield read_source(path).complaint(where, f"a page for a {kind}; this one is for a {pages[link.page].asset_kind}", link.page)


def _not_led(site: Site, pages: Mapping[str, Page], path: Path) -> Iterator[Complaint]:
    """Plants that the controller may lead by a command their page does not have."""
    for asset in site.coolings:
        page = pages.get(asset.link.page) if asset.link is not None else None
        if asset.is_led and page is not None and page.asset_kind == "cooling" and SUPPLY not in (c.name for c in page.commands):
            where = ("assets", asset.id, "plant", "supply_lowest_c")
            yield read_source(path).complaint(where, f"a page with the command {SUPPLY}, or no such key: {page.name} cannot be led")


def page_notes(source: Source, path: Path) -> list[str]:
    """Notes on what the pages of a sound site do not tell, as lines: a plant that may be led, and whose dew point nobody measures."""
    found = []
    site = site_of(source)
    for asset in site.coolings:
        page = load_page(asset.link.page, path) if asset.is_led and asset.link is not None else None
        if page is not None and DEW_POINT not in (p.name for p in page.points):
            text = f"not led: {page.name} has no {DEW_POINT}, and without a measured dew point the supply stays as commissioned"
            found.append((("assets", asset.id, "plant", "supply_lowest_c"), text))
    return lines(source, [*found, *_fixed_leases(site, path)])


def _fixed_leases(site: Site, path: Path) -> Iterator[tuple[KeyPath, str]]:
    """Stores that cannot be told to let go before the caps of the clusters do."""
    for store, link in site.links.items():
        if lease_s(site, store, TAKING_KW) == link.lease_s:
            continue
        page = load_page(link.page, path)
        if page.commands and not page.lease.is_settable:
            text = f"{page.name} cannot be told a lease: it may still charge for a dead controller while clusters draw their contract caps"
            yield ("assets", store, "link", "lease_s"), text


def prepared_run(given: str, state: StateDir, loopback: int | None, mode: Mode | None, port: int, db_url: str | None) -> RunFile:
    """The run of a site file. Assets start in `mode`; when nobody says, in control on loopback and in observe everywhere else."""
    path = find_file("sites", given)
    site = load_site(path)
    pages = load_pages(site, path)
    if loopback is not None:
        site = on_loopback(site, loopback)
    refuse_assumed_commands(site.links, pages)
    if mode is Mode.CONTROL and not site.is_loopback:
        raise EmsError(f"{path}: real equipment starts in observe; promote each asset with `ems mode` after its self-test")
    start_mode = mode or (Mode.CONTROL if site.is_loopback else Mode.OBSERVE)
    return RunFile(site, pages, start_mode, str(path.resolve()), port, db_url or state.history_url)
