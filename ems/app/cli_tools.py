"""`ems db ...` and `ems devices ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ems.app.options import DbOption, StateOption, show, words
from ems.errors import EmsError

db_app = typer.Typer(help="The schema of the history database.", no_args_is_help=True)
devices_app = typer.Typer(help="Device pages and live readings.", no_args_is_help=True)


@db_app.command("upgrade")
def db_upgrade(db: DbOption = None, state_dir: StateOption = None) -> None:
    """Brings the schema to the newest version."""
    from ems.history import schema

    schema.upgrade(db_url(db, state_dir))


@db_app.command("downgrade", context_settings={"ignore_unknown_options": True})  # -1 is a revision here
def db_downgrade(
    revision: Annotated[str, typer.Argument(help="A revision, -1 for one back, base for none.")] = "-1",
    db: DbOption = None,
    state_dir: StateOption = None,
) -> None:
    """Takes the schema back."""
    from ems.history import schema

    schema.downgrade(db_url(db, state_dir), revision)


@db_app.command("current")
def db_current(db: DbOption = None, state_dir: StateOption = None) -> None:
    """The revision of the database."""
    from ems.history import schema

    typer.echo(schema.current(db_url(db, state_dir)) or "no schema")


@db_app.command("check")
def db_check(db: DbOption = None, state_dir: StateOption = None) -> None:
    """Exit 1 when the database is not at the newest revision."""
    from ems.history import schema

    complaint = schema.check(db_url(db, state_dir))
    if complaint:
        raise EmsError(complaint)
    typer.echo("the schema is at the newest revision")


def db_url(given: str | None, state_dir: Path | None) -> str:
    """The database meant: as given, else SQLite in the state directory."""
    from ems.app.statedir import find_state_dir, prepare

    if given:
        return given
    state = find_state_dir(state_dir)
    prepare(state)
    return state.history_url


@devices_app.command("list")
def devices_list(
    site: Annotated[str | None, typer.Argument(help="Only the devices of this site.", show_default=False)] = None,
) -> None:
    """The pages known, or the devices of a site."""
    from ems.app.probing import page_lines, site_lines

    show(site_lines(site) if site else page_lines())


@devices_app.command("probe")
def devices_probe(
    site: Annotated[str, typer.Argument(help="A site file, or the name of a shipped one.", show_default=False)],
    loopback: Annotated[
        int | None, typer.Option("--loopback", min=1, max=65000, help="Maps the n-th endpoint to 127.0.0.1:BASE+n.", show_default=False)
    ] = None,
    state_dir: StateOption = None,
) -> None:
    """Live readings of every device; through the running controller when there is one. Writes nothing."""
    from ems.app.probing import probe_lines

    show(probe_lines(site, loopback, state_dir))


@devices_app.command("self-test")
def devices_self_test(
    site: Annotated[str, typer.Argument(help="A site file, or the name of a shipped one.", show_default=False)],
    device: Annotated[str | None, typer.Option("--device", help="The one device to test; with --by.", show_default=False)] = None,
    by: Annotated[str | None, typer.Option("--by", help="Your name; without it nothing is written (dry run).", show_default=False)] = None,
    why: Annotated[str, typer.Option("--why", help="The reason; it goes into the journal.")] = "commissioning",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the point list and the witness sheet (CSV).", show_default=False)
    ] = None,
    loopback: Annotated[
        int | None, typer.Option("--loopback", min=1, max=65000, help="Maps the n-th endpoint to 127.0.0.1:BASE+n.", show_default=False)
    ] = None,
    state_dir: StateOption = None,
) -> None:
    """Commissioning test of one device through the running controller: lease, sign, read-back, identity. Without --by a dry run."""
    from ems.app.selftesting import dry_lines, run_self_test
    from ems.app.witness import export_sheets
    from ems.app.wrong_usage import WrongUsage

    if (by is None) != (device is None):
        raise WrongUsage("expected --by NAME and --device ID together, or neither for a dry run")
    if out is not None:
        show(export_sheets(site, out, loopback, state_dir))
    if by is None or device is None:
        show(dry_lines(site, state_dir))
        return
    by, why = words(by, why)
    is_passed, lines = run_self_test(site, device, by, why, state_dir)
    show(lines)
    if not is_passed:
        raise typer.Exit(1)
