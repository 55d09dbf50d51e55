"""Short worlds with exactly one fault, and with exactly two at once: how long the import limit was exceeded, and how often nobody could
have held it. Every kind of the catalogue comes up in turn; limit, load and planner are drawn as in the campaign.

    python tests/campaign/promises.py [--runs 300] [--pairs 200] [--seed 1] [--table]

Finished runs are kept beside this file (.campaign/) until the code changes. `--table` writes the two rows of promises.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT))

from tests.campaign.campaign import CACHE, commit, encode, fingerprint  # noqa: E402
from tests.campaign.faults import KINDS, Fault, drawn  # noqa: E402
from tests.campaign.trial import Trial, run_trial, trial_of  # noqa: E402

TABLE = Path(__file__).with_name("promises.md")
BEGIN_S, AFTER_S, LONGEST_S = 90.0, 40.0, 120.0  # of the fault; what is seen after it; it is cut to this length
APART_S = 15.0  # between the begins of two faults, at most
ONE, TWO = "import limit, one fault", "import limit, two faults"


@dataclass(frozen=True)
class Found:
    """All runs of one kind."""

    runs: int
    longest_s: int  # over the limit although an answer was feasible
    violations: list[str]
    infeasible: list[int]  # seeds
    unnamed: list[int]  # of them, those that nobody called infeasible
    unused_kw: float  # the most left undone at the end of one

    @property
    def words(self) -> str:
        """One cell of the table."""
        seeds = f" (seeds {', '.join(map(str, self.infeasible))})" if self.infeasible else ""
        share = len(self.infeasible) / self.runs
        named = f", {len(self.unnamed)} of them without the alarm INFEASIBLE" if self.unnamed else ""
        broken = f"; {len(self.violations)} violations: {'; '.join(self.violations)}" if self.violations else "; 0 violations"
        return (
            f"{self.runs} runs: at most {self.longest_s} s over where an answer was feasible; no feasible answer in {len(self.infeasible)} "
            f"({share:.1%}){seeds}{named}, at most {self.unused_kw:.0f} kW then left undone{broken}"
        )


def single(seed: int) -> Trial:
    """One fault; the kinds come up one after another."""
    return _trial(seed, [_fault(seed, sorted(KINDS)[seed % len(KINDS)], BEGIN_S)])


def double(seed: int) -> Trial:
    """Two faults that overlap."""
    rng = random.Random(f"{seed} pair")
    first = _fault(seed, sorted(KINDS)[seed % len(KINDS)], BEGIN_S)
    second = _fault(-seed, rng.choice(sorted(KINDS)), BEGIN_S + rng.uniform(0.0, min(APART_S, first.for_s)))
    return _trial(seed, [first, second])


def _fault(seed: int, kind: str, at_s: float) -> Fault:
    fault = drawn(random.Random(f"{seed} {kind}"), kind, at_s)
    return replace(fault, for_s=min(fault.for_s, LONGEST_S))


def _trial(seed: int, faults: Sequence[Fault]) -> Trial:
    ends_s = max(f.at_s + f.for_s for f in faults)
    return Trial(trial_of(seed, 1).setting, int(ends_s + AFTER_S), tuple(faults))


def measured(name: str, make: Callable[[int], Trial], seeds: Sequence[int]) -> Found:
    """Runs what is missing."""
    rows = [(seed, _row(name, make, seed)) for seed in seeds]
    tallies = [(seed, row["tally"]) for seed, row in rows]
    longest = "single_longest_s" if make is single else "double_longest_s"
    return Found(
        len(rows),
        max(t[longest] for _, t in tallies),
        [f"seed {seed} {v['invariant']} {v['detail']}" for seed, row in rows for v in row["violations"]],
        [seed for seed, t in tallies if t["infeasible"]],
        [seed for seed, t in tallies if t["infeasible_unnamed"]],
        max(t["infeasible_unused_kw"] for _, t in tallies),
    )


def _row(name: str, make: Callable[[int], Trial], seed: int) -> dict[str, Any]:
    path = CACHE / fingerprint() / f"{name}-{seed}.json"
    if path.is_file():
        known: dict[str, Any] = json.loads(path.read_text())
        return known
    trial = make(seed)
    row = encode(run_trial(trial))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(json.dumps(row))
    path.with_suffix(".new").replace(path)
    for v in row["violations"]:
        print(f"{name} seed {seed}, {', '.join(f'{f.kind} of {f.target}' for f in trial.faults)}: {v}", flush=True)
    return row


def written(table: str, name: str, cells: Sequence[str]) -> str:
    """The table with one of its rows replaced."""
    row = "| " + " | ".join((name, *cells)) + " |"
    lines = [row if line.startswith(f"| {name} |") else line for line in table.splitlines()]
    return "\n".join([*lines, ""]) if row in lines else "\n".join([*lines, row, ""])


def main(argv: Sequence[str]) -> int:
    """Prints both; exit 1 when an invariant broke."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--runs", type=int, default=300)
    ask.add_argument("--pairs", type=int, default=200)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--table", action="store_true")
    given = ask.parse_args(argv)
    if min(given.runs, given.pairs) < 1 or given.seed < 0:
        print("runs and pairs must be at least 1, the seed at least 0", file=sys.stderr)
        return 2
    one = measured("single", single, range(given.seed, given.seed + given.runs))
    two = measured("double", double, range(given.seed, given.seed + given.pairs))
    day = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {commit()}"
    for name, found in ((ONE, one), (TWO, two)):
        print(f"{name}: {found.words}")
        if given.table:
            TABLE.write_text(written(TABLE.read_text(), name, (found.words, f"`{_command(given)}`", day)))
    return 1 if one.violations or two.violations else 0


def _command(given: argparse.Namespace) -> str:
    return f"python tests/campaign/promises.py --runs {given.runs} --pairs {given.pairs} --seed {given.seed} --table"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
