"""Seeded bugs: every patch beside this file makes guard, field or journal wrong, and must be caught by a named test. `make mutants`.

A patch begins with lines `# what: ...` and `# tests: FILE...`. It is applied to a copy of the tree; the tests it names must then fail,
by an assertion and not because something cannot be imported, and must pass without it. The table is written to mutants.md with --table.

    python tests/mutants/mutants.py [--only NAME] [--jobs 2] [--table]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PATCHES = Path(__file__).with_name("patches")
TABLE = Path(__file__).with_name("mutants.md")
COPIED = ("ems", "adapters", "simulators", "config", "tests", "migrations", "pyproject.toml")
NOT_CAUGHT_BY = ("ImportError", "ModuleNotFoundError", "SyntaxError", "NameError", "error during collection", "errors during collection")
LIMIT_S = 900


@dataclass(frozen=True)
class Mutant:
    """One wrong variant."""

    path: Path
    what: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass(frozen=True)
class Result:
    """What its tests said."""

    mutant: Mutant
    caught_by: str  # "" when it survived
    trouble: str


def main(argv: Sequence[str]) -> int:
    """Runs every mutant; 1 when one survives."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--only", default="")
    ask.add_argument("--jobs", type=int, default=2)
    ask.add_argument("--table", action="store_true")
    given = ask.parse_args(argv)
    mutants = [m for m in found() if given.only in m.name]
    with ThreadPoolExecutor(given.jobs) as pool:
        results = []
        for result in pool.map(run, mutants):
            results.append(result)
            print(f"{result.mutant.name}: {result.caught_by or 'SURVIVED ' + result.trouble}", flush=True)
    survived = [r for r in results if not r.caught_by]
    sound = unpatched(mutants) if not given.only else True
    if given.table:
        TABLE.write_text(table(results))
    print(
        f"{len(results)} mutants, {len(results) - len(survived)} caught, {len(survived)} survived"
        + ("" if sound else "; tests fail unpatched")
    )
    return 1 if survived or not sound else 0


def found() -> list[Mutant]:
    """All patches, by name."""
    return [read(path) for path in sorted(PATCHES.glob("*.patch"))]


def read(path: Path) -> Mutant:
    """A patch and what its head says."""
    head = dict(line[2:].split(": ", 1) for line in path.read_text().splitlines() if line.startswith("# "))
    return Mutant(path, head["what"], tuple(head["tests"].split()))


def run(mutant: Mutant) -> Result:
    """Applies one patch to a copy and runs its tests there."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = copied(Path(folder))
        patched = subprocess.run(["patch", "-p1", "-s", "-i", str(mutant.path)], cwd=tree, capture_output=True, text=True, check=False)
        if patched.returncode:
            return Result(mutant, "", f"the patch does not apply: {patched.stdout.strip()}")
        code, text = tested(tree, mutant.tests)
    wrong = next((word for word in NOT_CAUGHT_BY if word in text), "")
    failed = [line.split(" ")[1] for line in text.splitlines() if line.startswith("FAILED")]
    if code != 1 or wrong or not failed:
        return Result(mutant, "", wrong or f"exit {code}")
    return Result(mutant, failed[0], "")


def unpatched(mutants: Sequence[Mutant]) -> bool:
    """True when every named test passes as the tree stands."""
    names = sorted({name for m in mutants for name in m.tests})
    return tested(CHECKOUT, names)[0] == 0


def copied(folder: Path) -> Path:
    """A copy of the tree without what nobody imports."""
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".campaign", ".sweep", "*.patch"))
        else:
            shutil.copy(source, folder / name)
    return folder


def tested(tree: Path, names: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of pytest; the first failure ends it."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *names]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return 124, "took too long"
    return done.returncode, done.stdout + done.stderr


def table(results: Sequence[Result]) -> str:
    """The page of all mutants."""
    caught = sum(bool(r.caught_by) for r in results)
    head = [
        "# Seeded bugs",
        "",
        f"`make mutants`: {len(results)} wrong variants, {caught} caught.",
        "",
        "| patch | what is wrong | caught by |",
        "|---|---|---|",
    ]
    rows = [f"| {r.mutant.name} | {r.mutant.what} | {r.caught_by or '**survived**'} |" for r in results]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
