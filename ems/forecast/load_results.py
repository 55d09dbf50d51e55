"""Writes the load section of tests/benchmarks/forecast.md: `python -m ems.forecast.load_results DATA_DIR [FILE]` (15 minutes of CPU)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

from ems.errors import DataError
from ems.forecast.announced_scores import AnnouncedScore, score_announced
from ems.forecast.evaluate import Row, Series, issue_all, replayed, score_issued
from ems.forecast.fault_scores import fault_rows
from ems.forecast.load_series import load_series, servegen_clients
from ems.forecast.naive import DAY_S
from ems.forecast.peak_scores import PeakScore, all_peak_scores
from ems.forecast.protocol import Floats, history_of
from ems.forecast.table import coverage_text, lead_text, markdown, markdown_table
from ems.forecast.tenants import TenantForecaster

LEADS_S = (600.0, 3600.0, 86400.0)
NAMES = ("ensemble", "linear")
CONFIDENCES = (1.0,)
TREES_DAYS, TREES_STEP_S = 6.0, 600.0
PROCESSES = 2
ABOUT = """
Test span: the last third of each series; every setting was chosen before it and is the same for all. Each origin sees only what was known
then. Yardsticks (own errors): the naive point with the quantiles of all its own errors known at the origin. ± is one block-bootstrap
standard error (half-day blocks); a star marks coverage outside max(3 points, 2 errors), of q99 outside max(0.7 points, 2 errors). Where a
series rests (busy GPUs: zero in half of all windows) a truth lies exactly on many quantiles: in brackets, and judged, is the coverage that
counts it by the share of its levels within 0.1 … 0.9. "Peak q95 holds": origins whose highest value up to the lead stays below the highest
q95 up to it.
""".strip()
ABOUT_PEAKS = """
q95 of the highest mean within the window; fixed: the constant margin above the newest value that would have covered as often.
""".strip()
ABOUT_ANNOUNCED = """
Mean pinball loss over all levels, announced against not announced. Jobs of an hour at 30 % of the 99.5th percentile every 18 h, known 4 h
ahead; and one announcement of a job that never comes. Confidence is the announced one, times how often the source kept its word.
""".strip()
BEGIN, END = "<!-- load: begin -->", "<!-- load: end -->"


def section(data_dir: Path) -> str:
    """The whole section as Markdown."""
    series = load_series(data_dir)
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        clients = {"ServeGen m-large": servegen_clients(data_dir)}
        futures = [pool.submit(scores_of, s, clients.get(s.name)) for s in series]
        told = [pool.submit(score_announced, s, confidence=p) for s in series[:2] for p in CONFIDENCES]
        peaks, faults = pool.submit(all_peak_scores, data_dir), pool.submit(fault_rows, data_dir)
        scored = [future.result() for future in futures]
        announced = [score for future in told for score in future.result()]
    parts = [
        "## Load",
        ABOUT,
        "### Against the goals",
        markdown([GOAL_HEAD, *(row for table in scored for rows in by_lead(table) for row in goal_rows(rows))]),
        "### Every forecaster",
        *(markdown_table(rows) for rows in scored),
        "### Peaks",
        ABOUT_PEAKS,
        markdown([PEAK_HEAD, *map(peak_row, peaks.result())]),
        "### Announced load",
        ABOUT_ANNOUNCED,
        markdown([ANNOUNCED_HEAD, *map(announced_row, announced)]),
        "### Faults of the raw feeds",
        markdown([("feed", "alarms", "estimates"), *faults.result()]),
    ]
    return "\n\n".join(parts)


def scores_of(series: Series, clients: Floats | None = None) -> list[Row]:
    """The rows of one series; with its `clients[cell, client]` also those of the forecaster that looks at them one by one."""
    issued = replayed(series, names_for(series), LEADS_S)
    if clients is not None:
        forecaster = TenantForecaster(issued[NAMES[0]].leads, series.low, series.high)
        forecaster.tenants.tell(series.first, clients)
        issued[forecaster.name] = issue_all(forecaster, history_of(series.values, series.step_s, series.first))
    return score_issued(series, issued, LEADS_S)


def names_for(series: Series) -> tuple[str, ...]:
    """Trees only where they are fitted before the test span begins and the library is there: else their stand-in would be scored; and not
    for half a year of hours, which would cost more than all the rest."""
    is_long = len(series.values) * series.step_s >= TREES_DAYS * DAY_S
    return (*NAMES, "trees") if is_long and series.step_s <= TREES_STEP_S and find_spec("lightgbm") else NAMES


GOAL_HEAD = (
    "series",
    "lead",
    "MAE against the best naive",
    "pinball q90 against it",
    "interval score",
    "q10-q90 holds",
    "quarters",
    "q99 holds",
)


def by_lead(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The rows of each lead."""
    for lead in dict.fromkeys(row.lead_s for row in rows):
        yield [row for row in rows if row.lead_s == lead]


def goal_rows(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """The ensemble, and the one by tenant where there is one, against the naive forecast of the least MAE and its own errors' quantiles."""
    best = min((row for row in rows if row.is_yardstick and not row.forecaster.startswith("daily")), key=lambda row: row.measures.mae)
    for row in rows:
        if row.forecaster.startswith("ensemble"):
            yield goal_row(row, best)


def goal_row(row: Row, best: Row) -> tuple[str, ...]:
    """One line: a forecaster against a yardstick."""
    ours, naive = row.measures, best.measures
    return (
        row.series + row.forecaster.removeprefix("ensemble"),
        lead_text(row.lead_s),
        f"{ours.mae / naive.mae - 1:+.1%} ({best.forecaster.removesuffix(' (own errors)')})",
        f"{ours.pinball_q90 / naive.pinball_q90 - 1:+.1%}",
        f"{ours.interval_score / naive.interval_score - 1:+.1%}",
        f"{coverage_text(ours)} ± {100 * ours.coverage_error:.1f}" + ("" if ours.is_covered else " *"),
        " ".join(f"{100 * q:.0f}" for q in ours.quarters),
        f"{ours.coverage_q99:.1%} ± {100 * ours.coverage_q99_error:.1f}" + ("" if ours.is_covered_q99 else " *"),
    )


PEAK_HEAD = ("series", "window", "windows", "q95 covers", "mean headroom", "fixed margin", "ratio", "steepest rise: q95 covers")


def peak_row(score: PeakScore) -> tuple[str, ...]:
    """One line of the peaks."""
    return (
        score.name,
        lead_text(score.window_s),
        str(score.n),
        f"{score.coverage:.1%}",
        f"{score.headroom:.1f}",
        f"{score.fixed:.1f}",
        f"{score.ratio:.2f}",
        f"{score.ramp_coverage:.1%}",
    )


ANNOUNCED_HEAD = ("series", "lead", "confidence", "hours of jobs that come", "a false one: its hour", "its day", "the test span")


def announced_row(score: AnnouncedScore) -> tuple[str, ...]:
    """One line of the announcements."""
    changes = (score.true_hour, score.false_hour, score.false_day, score.false_span)
    return (score.series, lead_text(score.lead_s), f"{score.confidence:g}", *(f"{c:+.1%}" for c in changes))


def written(document: str, part: str) -> str:
    """A document with its load section replaced, or added at the end."""
    block = f"{BEGIN}\n\n{part}\n\n{END}"
    if BEGIN in document and END in document:
        before, rest = document.split(BEGIN, 1)
        return before + block + rest.split(END, 1)[1]
    return document.rstrip() + "\n\n" + block + "\n"


def main(argv: list[str]) -> int:
    """Prints the section, or puts it into a file."""
    parser = argparse.ArgumentParser(prog="python -m ems.forecast.load_results", description="Scores the load forecasts on real data.")
    parser.add_argument("data_dir", type=Path, help="the folder of data sets")
    parser.add_argument("file", type=Path, nargs="?", help="a document whose load section is replaced; without it the section is printed")
    given = parser.parse_args(argv)
    try:
        part = section(given.data_dir)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    if given.file is None:
        print(part)
    else:
        before = given.file.read_text() if given.file.exists() else "# Forecasts on real data"
        given.file.write_text(written(before, part))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
