"""The replay command: policies and seeds as tasks on one or more processes, progress, comparison, report."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ems.errors import DataError, EmsError
from ems.replay.compare import comparison, defects
from ems.replay.report import write_report
from ems.replay.runner import POLICIES, Run
from ems.replay.scenario import Scenario, load_scenario
from ems.replay.table import clipped_lines, comparison_text, unmanaged_text, window_lines
from ems.replay.world import build_world

BOUND = "bound"
ALL = (*POLICIES, BOUND)
NEEDS_BOUND = ("capped", "rules", "plan", "oracle")
RESULTS = {"summary.json", "timeseries.parquet", "decisions.jsonl", "fan.npz"}  # what a finished task's folder holds
PART = ".part"  # ending of a folder whose replay is not finished
WRONG = 2
INTERRUPTED = 130

Say = Callable[[str], None]
Advance = Callable[[str, float], None]  # task name, fraction done


@dataclass(frozen=True)
class Task:
    """One policy under one seed. `folder` is where its files end up."""

    scenario: Path
    policy: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """Shown beside its progress."""
        return f"{self.policy} (seed {self.seed})"


def run_replay(scenario: Path, out: Path, policies: list[str], seeds: list[int], jobs: int, advance: Advance, say: Say = print) -> int:
    """Replays every policy under every seed into `out`. 0 when all went well, 1 when a policy beats the bound or a replay failed, 130
    after Ctrl-C (finished policies stay, with their comparison), 2 when a data file or `out` cannot be used. Raises ConfigError for a
    scenario that cannot be used."""
    checked = load_scenario(scenario)
    seeds = seeds or [checked.model.seed]
    tasks = plan_tasks(scenario, out, policies or ["plan"], seeds)
    for task in tasks:
        if not _is_replaceable(task.folder):
            say(f"{task.folder}: holds something else than an earlier result; name another --out")
            return WRONG
    try:
        build_world(checked, seeds[0])  # every data file is read once here, so that a bad one is one clear line
        out.mkdir(parents=True, exist_ok=True)
    except DataError as fault:
        say(str(fault))
        return WRONG
    except OSError as fault:
        say(f"{out}: cannot be written ({fault.strerror})")
        return WRONG
    results: dict[Task, dict[str, Any]] = {}
    failed: list[str] = []
    code = 0
    try:
        for task, result in _results(tasks, jobs, advance, failed):
            results[task] = result
    except KeyboardInterrupt:
        code = INTERRUPTED
        say("interrupted: what was finished is kept")
        for part in [*out.glob(f".*{PART}"), *out.glob(f"*/.*{PART}")]:
            shutil.rmtree(part, ignore_errors=True)
    for line in failed:
        say(line)
    found = finish(checked, out, results, say)
    return code or int(bool(found or failed))


def _is_replaceable(folder: Path) -> bool:
    """True when nothing stands there, or what stands there is an earlier result (of one seed, or of several)."""
    if not folder.exists():
        return not folder.is_symlink()
    return folder.is_dir() and all(p.name in RESULTS or p.name.startswith("seed-") or p.name.endswith(PART) for p in folder.iterdir())


def plan_tasks(scenario: Path, out: Path, policies: Iterable[str], seeds: list[int]) -> list[Task]:
    """One task per policy and seed, longest first; the bound is added where a guarded policy needs it."""
    wanted = dict.fromkeys(ALL if "all" in policies else policies)
    if any(policy in NEEDS_BOUND for policy in wanted):
        wanted[BOUND] = None
    order = [p for p in ("oracle", "plan", "rules", "capped", "bound", "none") if p in wanted]
    several = len(seeds) > 1
    return [Task(scenario, policy, seed, out / policy / f"seed-{seed}" if several else out / policy) for seed in seeds for policy in order]


def finish(scenario: Scenario, out: Path, results: dict[Task, dict[str, Any]], say: Say) -> list[str]:
    """Writes comparison.json and report.html from what is finished and prints the table; returns the defects found."""
    order = {name: i for i, name in enumerate(ALL)}
    done = sorted(results.items(), key=lambda entry: (order[entry[0].policy], entry[0].seed))
    summaries: dict[str, list[dict[str, Any]]] = {}
    bounds = [result for task, result in done if task.policy == BOUND]
    for task, result in done:
        if task.policy != BOUND:
            summaries.setdefault(task.policy, []).append(result)
    if not done:
        return []
    compared = comparison(summaries, bounds)
    (out / "comparison.json").write_text(json.dumps(compared, indent=1) + "\n")
    if not summaries:
        say(_bound_text(compared["bound"], scenario.site.currency))
        return []
    folders = {policy: next(t.folder for t, _ in done if t.policy == policy) for policy in summaries}
    write_report(out / "report.html", scenario, folders, summaries, compared)
    say(comparison_text(compared, summaries, scenario.site.currency))
    if "none" in summaries:
        say(unmanaged_text(folders["none"] / "timeseries.parquet", scenario.control_step_s))
    for line in clipped_lines(next(iter(summaries.values()))[0]["data_quality"], scenario.cycles * scenario.substeps):
        say(line)
    for line in window_lines(summaries):
        say(line)
    found = defects(summaries, {b["seed"]: b for b in bounds})
    for line in found:
        say(f"DEFECT: {line}")
    return found


def _bound_text(bound: Mapping[str, Any], currency: str) -> str:
    """The bound where nothing was replayed beside it."""
    if not bound["solved"]:
        return "the bound has no solution"
    parts = ", ".join(f"{name.replace('_', ' ')} {money:,.0f}" for name, money in bound["cost"].items())
    return f"bound {bound['total']:,.0f} {currency}: {parts}"


def run_task(task: Task, advance: Advance) -> dict[str, Any]:
    """One replay, or the bound, in this process. Files appear in the task's folder only when it is finished."""
    world = build_world(load_scenario(task.scenario), task.seed)
    if task.policy == BOUND:
        from ems.replay.bound import bound_of  # loads a solver that most tasks do not need

        return bound_of(world, lambda done: advance(task.name, done))
    part = task.folder.with_name(f".{task.folder.name}{PART}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        result = Run(world, task.policy).execute(part, lambda done: advance(task.name, done))
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(task.folder, ignore_errors=True)
    part.rename(task.folder)
    return result


def _results(tasks: list[Task], jobs: int, advance: Advance, failed: list[str]) -> Iterable[tuple[Task, dict[str, Any]]]:
    if jobs <= 1 or len(tasks) == 1:
        for task in tasks:
            try:
                yield task, run_task(task, advance)
            except EmsError as error:
                failed.append(f"{task.name} failed: {error}")
        return
    yield from _in_processes(tasks, jobs, advance, failed)


def _in_processes(tasks: list[Task], jobs: int, advance: Advance, failed: list[str]) -> Iterable[tuple[Task, dict[str, Any]]]:
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(queue, advance), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context, initializer=_begin_worker, initargs=(queue,))
    try:
        waiting = {pool.submit(_run_in_worker, task): task for task in tasks}
        for done in as_completed(waiting):
            try:
                yield waiting[done], done.result()
            except EmsError as error:
                failed.append(f"{waiting[done].name} failed: {error}")
    except BaseException:
        for process in list(getattr(pool, "_processes", {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise  # the queue stays as it is: a worker that was ended while it wrote holds its lock for ever
    pool.shutdown(wait=True)
    queue.put(None)
    listener.join()


_queue: Any = None


def _begin_worker(queue: Any) -> None:
    import signal

    global _queue
    _queue = queue
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides and terminates


def _run_in_worker(task: Task) -> dict[str, Any]:
    return run_task(task, lambda name, done: _queue.put((name, done)))


def _listen(queue: Any, advance: Advance) -> None:
    while (message := queue.get()) is not None:
        advance(*message)
