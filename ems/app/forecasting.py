"""`ems forecast score`: a scenario's series forecast with what was known at each instant, scored beside the yardsticks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ems.errors import DataError, EmsError

if TYPE_CHECKING:
    import numpy as np

    from ems.forecast.evaluate import Series
    from ems.replay.scenario import Scenario
    from ems.replay.signals import Steps

forecast_app = typer.Typer(help="Forecasts and how well they hold.", no_args_is_help=True)

STEP_S = 600.0  # load is scored in means over so long
SIGNAL_STEP_S = 3600.0
LEADS_S = (600.0, 3600.0, 86400.0)
DEFAULT = "ensemble,linear,persistence,day-ago"
PICTURED = "ensemble"


@forecast_app.callback()
def forecast() -> None:
    """Forecasts and how well they hold."""


@forecast_app.command("score")
def score(
    scenario: Annotated[str, typer.Argument(help="A scenario file, or the name of a shipped one.", show_default=False)],
    page: Annotated[Path | None, typer.Option("--html", help="Also writes a page with fans and reliability diagrams.")] = None,
    forecasters: Annotated[str, typer.Option("--forecasters", help="Names with commas; `all` for every one.")] = DEFAULT,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of generated parts; default the scenario's.")] = None,
) -> None:
    """Scores load, price and carbon forecasts on the last third of a scenario's series; each sees only what was known then."""
    typer.echo(score_scenario(scenario, page, forecasters, seed))


def score_scenario(given: str, page: Path | None, forecasters: str, seed: int | None) -> str:
    """The table as text; writes the page. Raises ConfigError, DataError, WrongUsage; EmsError where the page cannot be written."""
    from ems.app.prepare import find_file
    from ems.forecast.evaluate import replayed, score_issued
    from ems.forecast.pictures import Shown
    from ems.forecast.pictures import page as picture_page
    from ems.forecast.table import text_table
    from ems.replay.scenario import load_scenario

    names = _names(forecasters)
    checked = load_scenario(find_file("scenarios", given))
    rows, shown = [], []
    for series in scenario_series(checked, checked.model.seed if seed is None else seed):
        issued = replayed(series, names, LEADS_S)
        own = score_issued(series, issued, LEADS_S)
        rows += own
        pictured = PICTURED if PICTURED in issued else names[0]
        shown.append(Shown(series, own, issued[pictured], pictured))
    if not rows:
        raise DataError(f"{given}: no series is long enough to be scored: the last third must hold twice the lead")
    if page is not None:
        _write(page, picture_page(f"Forecasts of {Path(given).stem}", shown))
    return text_table(rows)


def scenario_series(scenario: Scenario, seed: int) -> list[Series]:
    """Demand of every cluster in kW, then price and carbon where the scenario has them."""
    import numpy as np

    from ems.forecast.evaluate import Series
    from ems.replay.demand import read_demand
    from ems.replay.signals import read_signals

    load = [
        Series(name, *_means(d.power_kw(), d.step_s), "kW", d.cluster.rating_kw, first=round(d.begin_s / STEP_S))
        for name, d in read_demand(scenario, seed).items()
    ]
    signals = read_signals(scenario)
    market = [
        (n, s, u, low) for n, s, u, low in (("price", signals.price, "per kWh", -np.inf), ("carbon", signals.carbon, "g/kWh", 0.0)) if s
    ]
    return load + [Series(name, _hourly(steps), SIGNAL_STEP_S, unit, low=low) for name, steps, unit, low in market]


def _means(values: np.ndarray, step_s: float) -> tuple[np.ndarray, float]:
    """Means over whole STEP_S, and that step."""
    each = max(1, round(STEP_S / step_s))
    whole = len(values) // each * each
    return values[:whole].reshape(-1, each).mean(axis=1), each * step_s


def _hourly(steps: Steps) -> np.ndarray:
    """Means over hours of what is known, NaN where nothing is."""
    import numpy as np

    points = np.arange(steps.begin_s[0], steps.end_s[-1], 300.0)
    whole = len(points) // 12 * 12
    return np.asarray(steps.at(points[:whole]).reshape(-1, 12).mean(axis=1), dtype=np.float64)


def _names(forecasters: str) -> list[str]:
    from ems.app.wrong_usage import WrongUsage
    from ems.forecast.catalogue import NAMES
    from ems.nearest import perhaps

    names = list(NAMES) if forecasters == "all" else [name.strip() for name in forecasters.split(",")]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise WrongUsage(f"--forecasters {unknown[0]}: expected some of {', '.join(NAMES)}, or all{perhaps(unknown[0], NAMES)}")
    return list(dict.fromkeys(names))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise EmsError(f"{path}: cannot be written ({error.strerror or error})") from None
