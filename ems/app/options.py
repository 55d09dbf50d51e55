"""Options that many commands share, and the words people write turned into values."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ems.messages import Mode

MOST_KW = 1e6
LONGEST_WORDS = 200
FIRST_YEAR, LAST_YEAR = 1970, 2200  # a slip otherwise, and no sum with a few days leaves the calendar

StateOption = Annotated[
    Path | None,
    typer.Option("--state-dir", help="State directory of the run; default EMS_STATE_DIR, else ./var/ems.", show_default=False),
]
ByOption = Annotated[str, typer.Option("--by", help="Your name; it goes into the journal.", show_default=False)]
WhyOption = Annotated[str, typer.Option("--why", help="The reason; it goes into the journal.", show_default=False)]
AssetArgument = Annotated[str, typer.Argument(help="An asset id, or all.", show_default=False)]
DbOption = Annotated[
    str | None, typer.Option("--db", envvar="EMS_DB_URL", help="Database URL; default SQLite in the state directory.", show_default=False)
]


def show(lines: Iterable[str]) -> None:
    """Prints lines."""
    for line in lines:
        typer.echo(line)


def mode_of(text: str) -> Mode:
    """The mode of that name."""
    from ems.app.wrong_usage import WrongUsage
    from ems.messages import Mode
    from ems.nearest import perhaps

    try:
        return Mode(text)
    except ValueError:
        raise WrongUsage(f"{text}: expected observe, advise or control" + perhaps(text, [m.value for m in Mode])) from None


def finite(number: float) -> float:
    """The number, when it is one a site can have."""
    from ems.app.wrong_usage import WrongUsage

    if not abs(number) <= MOST_KW:
        raise WrongUsage(f"--kw {number}: expected a finite number of kW, at most {MOST_KW:.0f}")
    return number


def words(by: str, why: str) -> tuple[str, str]:
    """Name and reason as they go into the journal and onto screens: one line each, of letters that can be shown."""
    from ems.app.wrong_usage import WrongUsage

    by, why = by.strip(), why.strip()
    if not by or not why:
        raise WrongUsage("--by and --why: expected a name and a reason")
    if not (by.isprintable() and why.isprintable()) or max(len(by), len(why)) > LONGEST_WORDS:
        raise WrongUsage(f"--by and --why: expected one line each, at most {LONGEST_WORDS} characters")
    return by, why


def instant_of(text: str, option: str = "--at") -> datetime:
    """The aware instant given to an option; WrongUsage names the option."""
    from ems.app.wrong_usage import WrongUsage

    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUsage(f"{option} {text}: expected an instant such as 2026-01-31T12:00:00Z") from None
    if at.tzinfo is None:
        raise WrongUsage(f"{option} {text}: expected an offset too, as {text}Z")
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise WrongUsage(f"{option} {text}: expected an instant of the years {FIRST_YEAR} to {LAST_YEAR}")
    return at
