"""Line and bar charts as inline SVG: no script, no network, no library."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

BLUE, GREEN, ORANGE, PURPLE, RED, GREY = "#2563eb", "#15803d", "#d97706", "#7c3aed", "#dc2626", "#9aa4b2"
COLOURS = (GREEN, PURPLE, ORANGE, BLUE, RED)
WIDTH, HEIGHT = 1040, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 26, 28


@dataclass(frozen=True)
class Line:
    """A named line: instants in seconds since 1970 UTC, values in the chart's unit."""

    name: str
    time: np.ndarray
    values: np.ndarray
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Band:
    """The area between two lines."""

    name: str
    time: np.ndarray
    low: np.ndarray
    high: np.ndarray
    colour: str


def chart(lines: Sequence[Line], unit: str, time_zone: str, zero: bool = False, band: Band | None = None) -> str:
    """One picture; times are shown as local time of the site."""
    times = [line.time for line in lines]
    values = [line.values for line in lines] + ([band.low, band.high] if band else [])
    span = float(min(t[0] for t in times)), float(max(t[-1] for t in times))
    scale = _scale(float(min(v.min() for v in values)), float(max(v.max() for v in values)), zero)
    parts = [_grid(span, scale, unit, time_zone)]
    if band is not None:
        there, back = _points(band.time, band.high, span, scale), _points(band.time[::-1], band.low[::-1], span, scale)
        parts.append(f'<polygon points="{there} {back}" fill="{band.colour}" fill-opacity="0.18"/>')
    for line in lines:
        dash = ' stroke-dasharray="6 4"' if line.dashed else ""
        points = _points(line.time, line.values, span, scale)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="1.3"{dash}/>')
    names = [(line.name, line.colour) for line in lines] + ([(band.name, band.colour)] if band else [])
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}{_legend(names)}</svg>'


def bars(rows: Mapping[str, Sequence[float]], names: Sequence[str], unit: str) -> str:
    """Stacked horizontal bars, one per row, with the sum at the end."""
    most = max((sum(values) for values in rows.values()), default=1.0) or 1.0
    height = TOP + 30 * len(rows) + 8
    parts = []
    for i, (name, values) in enumerate(rows.items()):
        x, y = 90.0, TOP + 30 * i + 4
        parts.append(f'<text x="84" y="{y + 15}" text-anchor="end">{html.escape(name)}</text>')
        for value, colour in zip(values, COLOURS, strict=False):
            width = value / most * (WIDTH - 200)
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="20" fill="{colour}" fill-opacity="0.8"/>')
            x += width
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 15}">{sum(values):,.0f} {html.escape(unit)}</text>')
    legend = _legend([(n.replace("_", " "), c) for n, c in zip(names, COLOURS, strict=False)])
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{legend}{"".join(parts)}</svg>'


def _scale(low: float, high: float, zero: bool) -> tuple[float, float, float]:
    """Bottom, top and distance of the grid lines."""
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    room = max(high - low, 1e-9)
    raw = room / 5
    magnitude = 10.0 ** np.floor(np.log10(raw))
    step = float(magnitude * next(m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw))
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step), step


def _points(time: np.ndarray, values: np.ndarray, span: tuple[float, float], scale: tuple[float, float, float]) -> str:
    x = LEFT + (time - span[0]) / max(1.0, span[1] - span[0]) * (WIDTH - LEFT - RIGHT)
    y = TOP + (scale[1] - values) / max(1e-9, scale[1] - scale[0]) * (HEIGHT - TOP - BOTTOM)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def _grid(span: tuple[float, float], scale: tuple[float, float, float], unit: str, time_zone: str) -> str:
    parts = [f'<text x="{LEFT - 6}" y="14" text-anchor="end">{html.escape(unit)}</text>']
    level = scale[0]
    while level <= scale[1] + 1e-9:
        y = TOP + (scale[1] - level) / max(1e-9, scale[1] - scale[0]) * (HEIGHT - TOP - BOTTOM)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#9aa4b2" stroke-opacity="0.25"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{level:,.6g}</text>')
        level += scale[2]
    for at_s, text in _time_marks(span, time_zone):
        x = LEFT + (at_s - span[0]) / max(1.0, span[1] - span[0]) * (WIDTH - LEFT - RIGHT)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#9aa4b2" stroke-opacity="0.18"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{text}</text>')
    return "".join(parts)


def _time_marks(span: tuple[float, float], time_zone: str) -> list[tuple[float, str]]:
    """Round local hours, about eight of them."""
    zone = ZoneInfo(time_zone)
    hours = next(h for h in (1, 2, 3, 6, 12, 24, 48, 168, 720) if h * 3600 * 10 >= span[1] - span[0] or h == 720)
    at = datetime.fromtimestamp(span[0], UTC).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    marks = []
    while at.timestamp() <= span[1]:
        if at.timestamp() >= span[0]:
            marks.append((at.timestamp(), at.strftime("%d %b" if hours >= 24 or at.hour == 0 else "%H:%M")))
        at = (at.replace(tzinfo=None) + timedelta(hours=hours)).replace(tzinfo=zone)
    return marks


def _legend(names: Sequence[tuple[str, str]]) -> str:
    parts, x = [], LEFT + 6.0
    for name, colour in names:
        parts.append(
            f'<rect x="{x:.0f}" y="6" width="12" height="10" fill="{colour}"/><text x="{x + 16:.0f}" y="15">{html.escape(name)}</text>'
        )
        x += 34 + 7 * len(name)
    return "".join(parts)
