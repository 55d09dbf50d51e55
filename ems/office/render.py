"""The page and its panels, rendered on the server. Every value is escaped; a name of an asset is never markup."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ems.office.health import Health
from ems.office.live import Live
from ems.office.orders import commandable
from ems.office.view import view_of

PANELS = ("banner", "head", "now", "assets", "notes")


class Renderer:
    """Renders one site's page; keeps the panels of the newest cycle for all who watch."""

    def __init__(self, live: Live) -> None:
        self._live = live
        loader = PackageLoader("ems.office.dashboard", "templates")
        self._env = Environment(loader=loader, autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True)
        self._key: tuple[Any, ...] = ()
        self._panels: dict[str, str] = {}

    def page(self, now: datetime, health: Health) -> str:
        """The whole page, readable without JavaScript."""
        site = self._live.site
        panels = self.panels(now, health)
        return self._env.get_template("page.html").render(site=site, panels=panels, commandable=commandable(site), speed=self._live.speed)

    def panels(self, now: datetime, health: Health) -> dict[str, str]:
        """The parts of the page that change with every cycle, by name."""
        live = self._live
        key = (live.sequence, live.is_fresh(now), health, int(now.timestamp() / live.speed))
        if key != self._key:
            view = view_of(live, now, health)
            self._panels = {name: self._env.get_template(f"{name}.html").render(v=view, health=health) for name in PANELS}
            self._key = key
        return self._panels
