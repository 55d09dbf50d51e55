"""From a site file to a Site: read, named tariff fetched, overrides laid over, validated, cross-checked, built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ems.errors import ConfigError
from ems.resources import bundled, is_bare, resolve
from ems.site.build import build_site
from ems.site.checks import reference_complaints, sound_parts
from ems.site.feasibility import impossibilities
from ems.site.model import Site
from ems.site.schema import SiteFile
from ems.site.schema_assets import LinkFile
from ems.site.schema_feeds import feed_complaints, with_feed_pages
from ems.site.source import Source, in_order, overrides_source, read_source, validated
from ems.site.tariff_checks import tariff_complaints
from ems.site.yaml_reader import KeyPath


def load_site(path: Path | str, overrides: Mapping[str, Any] | Source | None = None) -> Site:
    """The site of a file, with `overrides` deep-merged into it before validation.

    Overrides may be plain data or `source.part("overrides")` of a scenario, whose lines complaints then name.
    Raises ConfigError with every complaint at once.
    """
    return site_of(site_source(Path(path), overrides))


def site_source(path: Path, overrides: Mapping[str, Any] | Source | None = None) -> Source:
    """The site file with its named tariff and the overrides laid in; positions still point to the file each value came from."""
    source = with_tariff(read_source(path))
    return with_feed_pages(with_tariff(source.overlaid(overrides_source(overrides))))


def site_of(source: Source) -> Site:
    """The site of a source. Raises ConfigError with every complaint at once: of the schema, and between the parts that are sound."""
    try:
        file = validated(source, SiteFile)
    except ConfigError as error:
        raise ConfigError(in_order([*error.complaints, *reference_complaints(source, sound_parts(source))])) from None
    complaints = [*reference_complaints(source, sound_parts(source)), *impossibilities(source, file)]
    complaints += tariff_complaints(source, file.tariff, ("tariff",))
    if complaints:
        raise ConfigError(in_order(complaints))
    site = build_site(with_own_pages(source, file))
    complaints += feed_complaints(source, file.feeds, site.currency, site.tariff)
    if complaints:
        raise ConfigError(in_order(complaints))
    return site


def with_tariff(source: Source) -> Source:
    """The source with a tariff given by name replaced by the tariff file's content."""
    named = source.at(("tariff",))
    if not isinstance(named, str):
        return source
    try:
        file = resolve("tariffs", named, source.origin(("tariff",)))
    except FileNotFoundError as error:
        raise ConfigError([source.complaint(("tariff",), f"the name of a tariff ({error})")]) from None
    return source.overlaid(read_source(file), ("tariff",))


def with_own_pages(source: Source, file: SiteFile) -> SiteFile:
    """The file with device pages that are not the shipped ones named by full path, so that a resolved site stands alone."""
    meter = own_page(source, ("point_of_connection", "meter"), file.point_of_connection.meter)
    links = {name: own_page(source, ("assets", name, "link"), getattr(asset, "link", None)) for name, asset in file.assets.items()}
    connection = file.point_of_connection.model_copy(update={"meter": meter})
    assets = {name: asset.model_copy(update={"link": links[name]}) if links[name] else asset for name, asset in file.assets.items()}
    return file.model_copy(update={"point_of_connection": connection, "assets": assets})


def own_page(source: Source, where: KeyPath, link: LinkFile | None) -> LinkFile | None:
    """The link with its page as a full path, or as a bare name when that is a shipped page."""
    if link is None:
        return None
    page = resolve("devices", link.page, source.origin((*where, "page")))
    is_shipped = is_bare(link.page) and page == bundled(f"config/devices/{link.page}.yaml")
    return link if is_shipped else link.model_copy(update={"page": str(page)})
