"""Fans and reliability diagrams as inline SVG in one HTML page: no script, no network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ems.forecast.evaluate import Issued, Row, Series, targets
from ems.forecast.protocol import LEVEL_ARRAY, LEVELS, MEDIAN, Floats
from ems.forecast.table import HEAD, cells, lead_text

WIDTH, HEIGHT, EDGE = 760, 220, 46
BANDS = ((0.01, 0.99, 0.12), (0.1, 0.9, 0.2), (0.3, 0.7, 0.3))  # low, high, opacity
FANS = 4  # origins shown, spread over the test span
STYLE = (
    "body{font:14px system-ui,sans-serif;margin:2em;max-width:1100px;color:#1f2937}table{border-collapse:collapse;font-size:12px}"
    "td,th{padding:2px 8px;text-align:right;border-bottom:1px solid #e5e7eb}td:nth-child(-n+3),th:nth-child(-n+3){text-align:left}"
    "svg{display:block;margin:.5em 0 1.5em}figure{margin:0}figcaption{color:#6b7280}"
)


@dataclass(frozen=True)
class Shown:
    """What the page shows of one series: the rows of its table and what one forecaster issued."""

    series: Series
    rows: Sequence[Row]
    issued: Issued
    forecaster: str


def page(title: str, shown: Sequence[Shown]) -> str:
    """The whole page."""
    parts = [f"<h1>{html.escape(title)}</h1>", *(part for s in shown for part in _series_parts(s))]
    return f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>' + "\n".join(parts)


def _series_parts(shown: Shown) -> list[str]:
    s = shown.series
    n = len(s.values)
    ends = np.linspace(2 * n // 3, max(2 * n // 3, n - 1 - int(shown.issued.leads[-1])), FANS).astype(int)
    leads = sorted({round(row.lead_s / s.step_s) for row in shown.rows})
    fans = [_figure(fan(s, shown.issued, int(end)), f"{shown.forecaster}, made at cell {end}; bands 1-99, 10-90, 30-70 %") for end in ends]
    diagrams = [_figure(reliability(s, shown.issued, lead), f"{lead_text(lead * s.step_s)} ahead: share at or below") for lead in leads]
    return [f"<h2>{html.escape(s.name)} ({html.escape(s.unit)})</h2>", _table(shown.rows), *fans, "<h3>Reliability</h3>", *diagrams]


def fan(series: Series, issued: Issued, end: int) -> str:
    """The quantiles issued at one end of history, with what came before and after."""
    ahead = int(issued.leads[-1])
    first, last = max(0, end - ahead // 2), min(len(series.values), end + ahead)
    actual, leads = series.values[first:last], issued.leads
    quantiles = issued.values[end]
    everything = np.concatenate([actual[np.isfinite(actual)], quantiles[np.isfinite(quantiles)]])
    low, high = (float(everything.min()), float(everything.max())) if len(everything) else (0.0, 1.0)
    place = _Place(first, max(last, end + ahead), low, high + 1e-9 + 0.05 * (high - low))
    parts = [place.axes()]
    for a, b, opacity in BANDS:
        there = place.points(end + leads - 1, quantiles[LEVELS.index(b)])
        back = place.points((end + leads - 1)[::-1], quantiles[LEVELS.index(a)][::-1])
        parts.append(f'<polygon points="{there} {back}" fill="#2563eb" fill-opacity="{opacity}"/>')
    parts.append(_line(place.points(end + leads - 1, quantiles[MEDIAN]), "#2563eb"))
    parts.append(_line(place.points(np.arange(first, last), actual), "#111827"))
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img">{"".join(parts)}</svg>'


def reliability(series: Series, issued: Issued, lead: int) -> str:
    """How often the value came at or below each quantile, against the promise (the diagonal)."""
    ends = targets(len(series.values), lead, (2 / 3, 1.0))
    actual = series.values[ends + lead - 1]
    said = issued.values[ends, :, int(np.searchsorted(issued.leads, lead))]
    ok = np.isfinite(actual) & np.isfinite(said).all(axis=1)
    share = (actual[ok, None] <= said[ok]).mean(axis=0) if ok.any() else np.full(len(LEVELS), np.nan)
    size = HEIGHT
    x, y = EDGE + LEVEL_ARRAY * (size - 2 * EDGE), size - EDGE - share * (size - 2 * EDGE)
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="#2563eb"/>' for a, b in zip(x, y, strict=True) if np.isfinite(b))
    frame = f'<rect x="{EDGE}" y="{EDGE}" width="{size - 2 * EDGE}" height="{size - 2 * EDGE}" fill="none" stroke="#9aa4b2"/>'
    diagonal = f'<line x1="{EDGE}" y1="{size - EDGE}" x2="{size - EDGE}" y2="{EDGE}" stroke="#9aa4b2" stroke-dasharray="4 4"/>'
    return f'<svg viewBox="0 0 {size} {size}" width="{size}" role="img">{frame}{diagonal}{dots}</svg>'


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in HEAD)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells(row)) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _figure(svg: str, caption: str) -> str:
    return f"<figure><figcaption>{html.escape(caption)}</figcaption>{svg}</figure>"


def _line(points: str, colour: str) -> str:
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>'


@dataclass(frozen=True)
class _Place:
    """Where cells and values lie in a picture."""

    first: float
    last: float
    low: float
    high: float

    def points(self, at: np.ndarray, values: Floats) -> str:
        x = EDGE + (at - self.first) / max(1.0, self.last - self.first) * (WIDTH - EDGE - 8)
        y = HEIGHT - 18 - (values - self.low) / (self.high - self.low) * (HEIGHT - 30)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))

    def axes(self) -> str:
        labels = [(self.low, HEIGHT - 18), (self.high, 14)]
        texts = "".join(f'<text x="{EDGE - 4}" y="{y}" font-size="11" text-anchor="end">{v:.4g}</text>' for v, y in labels)
        return f'<line x1="{EDGE}" y1="10" x2="{EDGE}" y2="{HEIGHT - 18}" stroke="#9aa4b2"/>{texts}'
