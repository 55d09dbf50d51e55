"""Rows of scores as text: one table for reading in a terminal, one for a document."""

from __future__ import annotations

from collections.abc import Sequence

from ems.forecast.evaluate import Row
from ems.forecast.measures import Measures

HEAD = (
    "series",
    "lead",
    "forecaster",
    "n",
    "MAE",
    "pinball q90",
    "q99",
    "q10-q90 holds",
    "±",
    "q99 holds",
    "width",
    "interval score",
    "CRPS",
    "peak q95 holds",
)


def text_table(rows: Sequence[Row]) -> str:
    """Columns padded with spaces."""
    return aligned([HEAD, *(cells(row) for row in rows)])


def markdown_table(rows: Sequence[Row]) -> str:
    """The same with bars."""
    return markdown([HEAD, *(cells(row) for row in rows)])


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table; a star marks coverage outside its tolerance."""
    m = row.measures
    return (
        row.series,
        lead_text(row.lead_s),
        row.forecaster,
        str(m.n),
        f"{m.mae:.4g}",
        f"{m.pinball_q90:.4g}",
        f"{m.pinball_q99:.3g}",
        coverage_text(m) + ("" if m.is_covered else " *"),
        f"{100 * m.coverage_error:.1f}",
        f"{100 * m.coverage_q99:.1f} %" + ("" if m.is_covered_q99 else " *"),
        f"{m.width:.4g}",
        f"{m.interval_score:.4g}",
        f"{m.crps:.4g}",
        f"{100 * row.peak_holds:.1f} %",
    )


def coverage_text(measures: Measures) -> str:
    """Share held; behind it the share with truths exactly on quantiles shared, where that differs by a point (`Measures`)."""
    plain, shared = measures.coverage, measures.coverage_shared
    return f"{100 * plain:.1f} %" + (f" ({100 * shared:.1f})" if abs(plain - shared) >= 0.01 else "")


def lead_text(lead_s: float) -> str:
    """10 min, 1 h, 24 h."""
    return f"{lead_s:g} s" if lead_s < 60 else f"{lead_s / 60:g} min" if lead_s < 3600 else f"{lead_s / 3600:g} h"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table of GitHub's Markdown; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
