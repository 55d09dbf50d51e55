"""The committed table of measured figures: one file, one section per benchmark; a benchmark rewrites its own section and keeps the rest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).parent / "results.md"
TITLE = "# Measured figures"
RESOLVE, ENGINE = "Re-solving a plan", "The engine on the reference problem"
PLANS, LOOPS = "The planner over many plans", "Loops, processes and the field bus"
SECTIONS = (RESOLVE, ENGINE, PLANS, LOOPS)
BUSY_LOAD = 0.5
_LOAD = os.getloadavg()[0]  # before the first benchmark began


def machine() -> str:
    """The machine in words, and whether it had other work when the benchmarks began (BENCH_BESIDE says which)."""
    what = os.environ.get("BENCH_BESIDE", "other work")
    return f"two shared cores, {what} beside it (load {_LOAD:.1f})" if _LOAD > BUSY_LOAD else "two shared cores, no other work"


def write_section(title: str, lines: Sequence[str], path: Path = RESULTS) -> None:
    """Puts the lines under `## title`; the sections stand in the order of SECTIONS."""
    sections = _read(path)
    sections[title] = "\n".join(lines).strip("\n")
    ordered = [name for name in SECTIONS if name in sections]
    path.write_text("\n\n".join([TITLE, *(f"## {name}\n\n{sections[name]}" for name in ordered)]) + "\n")


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, in words with its unit, the aim ("-" when there is none), and the command that measures it."""

    name: str
    measured: str
    aim: str
    command: str

    def row(self) -> str:
        """The row of the table."""
        return f"| {self.name} | {self.measured} | {self.aim} | `{self.command}` | {date.today()}, {machine()} |"


def write_figures(title: str, intro: str, figures: Sequence[Figure], path: Path = RESULTS) -> None:
    """Replaces the rows of these figures, keeps the other rows of the section, and writes new ones at its end."""
    rows = {line.split(" | ")[0]: line for line in _read(path).get(title, "").splitlines() if line.startswith("| ")}
    header = "| figure | measured | aim | command | when and where |"
    rows.pop(header.split(" | ")[0], None)
    rows.update({f"| {figure.name}": figure.row() for figure in figures})
    write_section(title, [intro, "", header, "|---|---|---|---|---|", *rows.values()], path)


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    parts = path.read_text().split("\n## ")[1:]
    return {title: body.strip("\n") for title, _, body in (part.partition("\n") for part in parts)}
