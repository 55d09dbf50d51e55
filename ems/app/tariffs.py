"""`ems tariffs`: the tariff pages known, and a rate of the Utility Rate Database as one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ems.app.options import show

tariffs_app = typer.Typer(help="Tariffs: the pages known, and rates imported as pages.", no_args_is_help=True)


@tariffs_app.callback()
def tariffs() -> None:
    """Tariffs: the pages known, and rates imported as pages."""


@tariffs_app.command("list")
def tariffs_list() -> None:
    """The shipped tariffs and what each charges for."""
    show(list_lines())


@tariffs_app.command("import")
def tariffs_import(
    rate: Annotated[Path, typer.Argument(help="JSON of one rate of the Utility Rate Database (URDB, version 8).", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="The file to write; default standard output.", show_default=False)] = None,
) -> None:
    """Turns a URDB rate into a tariff file and checks it."""
    from ems.kpi.bills.urdb import tariff_text
    from ems.site.source import parse_source
    from ems.site.tariff_checks import checked_tariff

    text = tariff_text(rate)
    checked_tariff(parse_source(text, out or Path(f"{rate.stem}.yaml")))
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_text(text)
    show([f"{out}: a tariff; name it in a site as `tariff: {out}`"])


def list_lines() -> Iterator[str]:
    """One line per shipped tariff: energy, and the kinds of charges beside it."""
    from ems.resources import bundled
    from ems.site.source import read_source
    from ems.site.tariff_checks import checked_tariff

    for path in sorted(bundled("config/tariffs").glob("*.yaml")):
        tariff = checked_tariff(read_source(path))
        parts = {
            "demand": tariff.demand_price_per_kw_month or tariff.demand_charges,
            "coincident peak": tariff.coincident_peak,
            "contract capacity": tariff.contract_capacity,
            "utilisation hours": tariff.utilisation_hours,
            "minimum take": tariff.minimum_take,
            "carbon": tariff.carbon,
            "ramps": tariff.ramp,
        }
        charges = ", ".join(name for name, part in parts.items() if part) or "nothing else"
        yield f"{path.stem:<28} energy {tariff.energy.replace('_', ' ')}; {charges}"
