"""`ems check`: tells what kind of file it is by its keys and gives its complaints as lines, of a sound one its notes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ems.errors import ConfigError
from ems.nearest import perhaps
from ems.resources import is_bare, known_names, resolve
from ems.site.load import site_source
from ems.site.notes import site_notes, tariff_notes
from ems.site.schema import SiteFile
from ems.site.source import read_source, validated
from ems.site.tariff_schema import TariffFile

KINDS = ("site", "scenario", "device", "tariff", "feed", "programme", "enrolments", "channels")
FOLDERS = ("sites", "scenarios", "tariffs", "feeds", "devices", "programs")


def complaints_of(file: str) -> list[str]:
    """Every complaint about a file, one line each; [] when it can be used."""
    path = Path(file)
    if not path.is_file():
        named = shipped(file) if is_bare(file) else None
        if named is None:
            return [f"{file}: no such file" + (f", and nothing shipped has this name{_near(file)}" if is_bare(file) else "")]
        path = named
    try:
        source = read_source(path)
        checker = _checker(source.data)
        if checker is None:
            return [f"{file}: expected a {', '.join(KINDS[:-1])} or {KINDS[-1]} file"]
        checker(path)
    except ConfigError as error:
        return [str(complaint) for complaint in error.complaints]
    except FileNotFoundError as error:
        return [f"{file}: {error}"]
    return []


def notes_of(file: str) -> list[str]:
    """What a site or tariff file without a complaint says and hardly means, one line each."""
    path = Path(file) if Path(file).is_file() else shipped(file)
    assert path is not None, "asked of files without a complaint only"
    source = read_source(path)
    checker = _checker(source.data)
    if checker is _check_site:
        from ems.app.prepare import page_notes

        whole = site_source(path)
        return [*site_notes(whole, validated(whole, SiteFile)), *page_notes(whole, path)]
    return tariff_notes(source, validated(source, TariffFile)) if checker is _check_tariff else []


def _near(name: str) -> str:
    here = Path.cwd() / "config" / "any" / "any.yaml"
    return perhaps(name, [known for kind in FOLDERS for known in known_names(kind, here)])


def shipped(name: str) -> Path | None:
    """The site, scenario, tariff, feed, device or programme of that name: beside this folder, else shipped."""
    here = Path.cwd() / "config" / "any" / "any.yaml"
    for kind in FOLDERS:
        try:
            return resolve(kind, name, here)
        except FileNotFoundError:
            continue
    return None


def _checker(data: Any) -> Callable[[Path], object] | None:
    keys = set(data) if isinstance(data, dict) else set()
    if "point_of_connection" in keys or ("assets" in keys and "site" not in keys):
        return _check_site
    if "site" in keys or "load" in keys:
        return _check_scenario
    if "rules" in keys and "counterparty" in keys:
        return _check_program
    if {"channels", "gateway", "enrolments"} & keys:
        return _check_enrolments
    if "asset_kind" in keys or "points" in keys:
        return _check_page
    if {"kind", "columns", "per"} & keys and {"format", "columns"} & keys:
        return _check_feed
    priced = {"demand_price_per_kw_month", "demand_charges", "energy", "energy_periods", "energy_price_per_kwh", "contract_capacity"}
    return _check_tariff if keys & priced else None


def _check_site(path: Path) -> None:
    from ems.app.prepare import refusals

    if complaints := refusals(path):
        raise ConfigError(complaints)


def _check_enrolments(path: Path) -> None:
    """enrolments.yaml, or channels.yaml against the enrolments beside it."""
    from ems.program.channel import ChannelsFile, load_channels
    from ems.program.enrolment import FILE_NAME, load_enrolments

    if set(read_source(path).data) & set(ChannelsFile.model_fields):
        load_channels(path, {e.program for e in load_enrolments(path.parent / FILE_NAME)})
    else:
        load_enrolments(path)


def _check_scenario(path: Path) -> None:
    from ems.replay.scenario import load_scenario

    load_scenario(path)


def _check_page(path: Path) -> None:
    from adapters.modbus.page_file import load_page

    load_page(path)


def _check_program(path: Path) -> None:
    from ems.program.library import load_program

    load_program(path)


def _check_feed(path: Path) -> None:
    from ems.site.schema_feeds import checked_feed

    checked_feed(read_source(path))


def _check_tariff(path: Path) -> None:
    from ems.site.tariff_checks import checked_tariff

    checked_tariff(read_source(path))
