"""From a site file to a Site: read, named tariff fetched, overrides laid over, validated, cross-checked, built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ems.errors import Complaint, ConfigError
from ems.resources import bundled, is_bare, resolve
from ems.site.build import build_site
from ems.site.checks import reference_complaints, sound, sound_parts
from ems.site.feasibility import impossibilities
from ems.site.model import Site
from ems.site.schema import SiteFile
from ems.site.schema_assets import LinkFile
from ems.site.schema_feeds import FeedFile, feed_complaints, with_feed_pages
from ems.site.source import Source, in_order, overrides_source, put, read_source, validated
from ems.site.tariff_build import build_tariff
from ems.site.tariff_checks import tariff_complaints
from ems.site.tariff_schema import TariffFile
from ems.site.wording import near_file
from ems.site.yaml_reader import KeyPath

FEED: TypeAdapter[FeedFile] = TypeAdapter(FeedFile)


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
    file, complaints = _model(source)
    complaints += [*reference_complaints(source, sound_parts(source)), *_price_complaints(source)]
    if file is not None:
        complaints += impossibilities(source, file)
    if file is None or complaints:
        raise ConfigError(in_order(complaints))
    return build_site(with_own_pages(source, file))


def _model(source: Source) -> tuple[SiteFile | None, list[Complaint]]:
    """The file where its schema is met, and every complaint about its text, the names in it and its schema."""
    try:
        return validated(replace(source, complaints=()), SiteFile), list(source.complaints)
    except ConfigError as error:
        return None, [*source.complaints, *error.complaints]


def _price_complaints(source: Source) -> Iterator[Complaint]:
    """Every fault between the keys of the tariff and of the feeds that are sound by themselves."""
    tariff, currency = sound(TypeAdapter(TariffFile), source.at(("tariff",))), source.at(("currency",))
    if tariff is None:
        return
    yield from tariff_complaints(source, tariff, ("tariff",))
    raw = source.at(("feeds",))
    feeds = {n: feed for n, data in raw.items() if (feed := sound(FEED, data)) is not None} if isinstance(raw, Mapping) else {}
    named = {path[1] for path in source.marks if path[:1] == ("feeds",) and len(path) > 1}
    if isinstance(currency, str):
        yield from feed_complaints(source, feeds, currency, build_tariff(tariff), is_whole=len(feeds) == len(named))


def with_tariff(source: Source) -> Source:
    """The source with a tariff given by name replaced by the tariff file's content; with a complaint where there is none."""
    named = source.at(("tariff",))
    if not isinstance(named, str):
        return source
    beside = source.origin(("tariff",))
    try:
        return source.overlaid(read_source(resolve("tariffs", named, beside)), ("tariff",))
    except FileNotFoundError as error:
        complaints = [source.complaint(("tariff",), f"the name of a tariff ({error})" + near_file("tariffs", named, beside))]
    except ConfigError as error:
        complaints = error.complaints
    stand_in = put(source.data, ("tariff",), {"name": "unknown"})  # so that nothing else is hidden behind it
    return replace(source, data=stand_in, complaints=(*source.complaints, *complaints))


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
