"""What the supervisor resolved once and its children read: the site, its device pages, start modes. Standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapters.modbus.page import Page, page_from_json, page_to_json
from ems.app.statedir import write_whole
from ems.assets.asset import DeviceLink
from ems.assets.fixed_load.model import FixedLoad
from ems.errors import EmsError
from ems.messages import Mode
from ems.site.model import Site
from ems.site.resolved import site_from_data, site_to_data


@dataclass(frozen=True)
class RunFile:
    """`pages` by the names the site's device links use; `mode` is the mode every asset starts in; `source` is the site file given."""

    site: Site
    pages: dict[str, Page]
    mode: Mode
    source: str
    port: int
    db_url: str

    def encode(self) -> dict[str, Any]:
        """Plain data, also for the journal's start record."""
        return {
            "site": site_to_data(self.site),
            "pages": {name: page_to_json(page) for name, page in self.pages.items()},
            "mode": self.mode.value,
            "source": self.source,
            "port": self.port,
            "db_url": self.db_url,
        }

    @staticmethod
    def decode(body: dict[str, Any]) -> RunFile:
        """The run back from plain data."""
        return RunFile(
            site=site_from_data(body["site"]),
            pages={name: page_from_json(text) for name, text in body["pages"].items()},
            mode=Mode(body["mode"]),
            source=body["source"],
            port=body["port"],
            db_url=body["db_url"],
        )

    def save(self, path: Path) -> None:
        """Writes site.json."""
        write_whole(path, json.dumps(self.encode()))

    @staticmethod
    def load(path: Path) -> RunFile:
        """Reads site.json; EmsError when it is not one."""
        try:
            return RunFile.decode(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EmsError(f"{path}: not a resolved site ({error})") from None


def on_loopback(site: Site, base: int) -> Site:
    """The site with its n-th device endpoint (from 0, in the order of `site.links`) moved to 127.0.0.1:base+n."""
    endpoints = list(dict.fromkeys((link.host, link.port) for link in site.links.values()))

    def moved(link: DeviceLink | None) -> DeviceLink | None:
        return link and replace(link, host="127.0.0.1", port=base + endpoints.index((link.host, link.port)))

    connection = replace(site.point_of_connection, meter=moved(site.point_of_connection.meter))
    assets = {name: a if isinstance(a, FixedLoad) else replace(a, link=moved(a.link)) for name, a in site.assets.items()}
    return replace(site, point_of_connection=connection, assets=assets)
