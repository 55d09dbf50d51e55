"""`ems simulate`: the simulated equipment of a site file, on its own clock."""

from __future__ import annotations

from pathlib import Path

import typer

from ems.app.prepare import find_file, load_pages
from ems.app.runfile import on_loopback
from ems.app.simulate import simulate
from ems.app.statedir import StateDir, prepare, shared_clock
from ems.clock import Clock
from ems.errors import EmsError
from ems.site.load import load_site
from simulators.faults import load_faults


def simulate_site(given: str, speed: float, faults: Path | None, loopback: int | None, seed: int, state_dir: Path | None) -> None:
    """Serves until SIGTERM or Ctrl-C. A state directory gives it the run's clock (when there is one) and gets plant.json."""
    path = find_file("sites", given)
    site = load_site(path)
    pages = load_pages(site, path)
    if loopback is not None:
        site = on_loopback(site, loopback)
    if not site.is_loopback:
        raise EmsError(f"{path}: its devices are not on this machine; --loopback BASE puts them on 127.0.0.1:BASE and up")
    clock = Clock.starting_at(Clock.real().epoch, speed)
    if state_dir is not None:
        state = StateDir(state_dir.absolute())
        prepare(state)
        clock = shared_clock(state) if state.clock.exists() else clock
    injected = load_faults(faults, site, clock.now()) if faults else ()
    for asset, link in site.links.items():
        typer.echo(f"{asset:<12} {link.page:<32} {link.host}:{link.port} unit {link.unit_id}")
    simulate(site, pages, clock, seed, injected, state_dir)
