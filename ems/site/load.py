"""From a site file to a Site: read, named tariff fetched, overrides laid over, validated, cross-checked, built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ems.errors import ConfigError
from ems.resources import bundled, is_bare, resolve
from ems.site.build import build_site
from ems.site.checks import cross_complaints
from ems.site.model import Site
from ems.site.schema import LinkFile, SiteFile
from ems.site.source import MISSING, Source, overrides_source, put, read_source, validated


def load_site(path: Path | str, overrides: Mapping[str, Any] | Source | None = None) -> Site:
    """The site of a file, with `overrides` deep-merged into it before validation.

    Overrides may be plain data or `source.part("overrides")` of a scenario, whose lines complaints then name.
    Raises ConfigError with every complaint at once.
    """
    return site_of(site_source(Path(path), overrides))


def site_source(path: Path, overrides: Mapping[str, Any] | Source | None = None) -> Source:
    """The site file with its named tariff and the overrides laid in; positions still point to the file each value came from."""
    source = with_tariff(read_source(path))
    return with_tariff(source.overlaid(overrides_source(overrides)))


def site_of(source: Source) -> Site:
    """The site of a source. Raises ConfigError with every complaint at once."""
    file = validated(source, SiteFile)
    complaints = cross_complaints(source, file)
    if complaints:
        raise ConfigError(complaints)
    return build_site(with_own_pages(source, file))


def with_tariff(source: Source) -> Source:
    """The source with a tariff given by name replaced by the tariff file's content."""
    named = source.at(("tariff",))
    if not isinstance(named, str):
        return source
    try:
        file = resolve("tariffs", named, Path(source.mark(("tariff",)).file))
    except FileNotFoundError as error:
        raise ConfigError([source.complaint(("tariff",), f"a tariff ({error})")]) from None
    return replace(source, data=put(source.data, ("tariff",), MISSING)).overlaid(read_source(file), ("tariff",))


def with_own_pages(source: Source, file: SiteFile) -> SiteFile:
    """The file with device pages that are not the shipped ones named by full path, so that a resolved site stands alone."""
    meter = file.point_of_connection.meter
    connection = file.point_of_connection.model_copy(update={"meter": own_page(source, meter)})
    assets = {
        name: asset.model_copy(update={"link": own_page(source, getattr(asset, "link", None))}) for name, asset in file.assets.items()
    }
    return file.model_copy(update={"point_of_connection": connection, "assets": assets})


def own_page(source: Source, link: LinkFile | None) -> LinkFile | None:
    """The link with its page as a full path, or as a bare name when that is a shipped page."""
    if link is None:
        return None
    try:
        page = resolve("devices", link.page, source.path)
    except FileNotFoundError:
        return link
    shipped = bundled(f"config/devices/{link.page}.yaml")
    return link if is_bare(link.page) and page == shipped else link.model_copy(update={"page": str(page)})
