"""From traces to what each cluster is asked for: IT power and tokens on the plant's own steps, history included."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ems.assets.workload.model import CLASSES, Cluster
from ems.errors import DataError
from ems.replay.generated import generated_series
from ems.replay.scenario import Load, Scenario, Texture
from ems.replay.tables import epoch_hint, hold_last, numbers, read_frame
from ems.replay.traces import BIN_S, Trace, cover, read_trace, skip
from ems.site.model import Site

LONGEST_HOLD_S = 3600.0  # a trace that ends (or begins) within this of the window is held; beyond it the scenario is wrong
USUAL_DISPERSION = 7.9  # variance over mean of arrivals: median over ten days of the rate-weighted client CV² of ServeGen m-large
METER_NOISE = 0.01  # so far below idle or above the rating a measured power may lie and be neither
FIRST_DAYS = 28  # longest history given to the forecasters


@dataclass(frozen=True)
class ClusterDemand:
    """Even series in steps of `step_s` from `begin_s` (seconds since 1970 UTC): IT power asked for above idle per class, tokens per
    second that would be made. `starts_at` is the index of the window's first step; what lies before is history."""

    cluster: Cluster
    begin_s: float
    step_s: float
    starts_at: int
    class_kw: dict[str, np.ndarray]
    prompt_per_s: np.ndarray
    output_per_s: np.ndarray
    has_tokens: bool
    quality: dict[str, int]

    def power_kw(self) -> np.ndarray:
        """IT power asked for, idle included, never above the rating."""
        return np.minimum(self.cluster.rating_kw, self.cluster.idle_kw + sum(self.class_kw.values()))


def read_demand(scenario: Scenario, seed: int, plant: Site | None = None) -> dict[str, ClusterDemand]:
    """The demand of every cluster, cluster id -> series. The seed moves textures, generated arrivals and repeats, never the trace. With a
    `plant` its idle powers are what lies below the classes."""
    site = plant or scenario.site
    return {load.cluster: _demand(scenario, load, seed, site) for load in scenario.model.load}


def _demand(scenario: Scenario, load: Load, seed: int, site: Site) -> ClusterDemand:
    cluster = next(c for c in site.clusters if c.id == load.cluster)
    if load.trace.format == "generated":
        return _with_jobs(scenario, _generated(scenario, cluster, seed))
    rng = np.random.default_rng([seed, zlib.crc32(load.cluster.encode())])
    trace = _trace(scenario, load)
    power = _to_power(trace, load, cluster)  # before skip and cut: the scale is the whole file's
    trace = skip(trace, load.trace.skip_s)
    begin_s = _begin_s(load, trace)
    if load.trace.repeat:
        trace = cover(trace, scenario.model.end.timestamp() - begin_s, rng)
    _check_cover(scenario, trace, begin_s, load)
    quality = dict(trace.quality)
    level, fine_s = _inside_windows(scenario, load, trace, rng, quality)
    asked_kw = power(level)
    _check_range(scenario, load, trace, asked_kw)
    return _with_jobs(scenario, _sampled(scenario, cluster, trace, begin_s, asked_kw, fine_s, level, quality))


def _generated(scenario: Scenario, cluster: Cluster, seed: int) -> ClusterDemand:
    first_s, history, series = generated_series(scenario, cluster, seed)
    classes = {name: np.asarray(getattr(series, f"{name}_kw")) for name in CLASSES}
    tokens = series.prompt_tokens_per_s, series.output_tokens_per_s
    return ClusterDemand(cluster, first_s, scenario.plant_step_s, history, classes, *tokens, True, {"generated": 1})


def _with_jobs(scenario: Scenario, demand: ClusterDemand) -> ClusterDemand:
    """The demand with announced jobs on top, as training."""
    jobs = [job for job in scenario.model.jobs if job.cluster == demand.cluster.id]
    if not jobs:
        return demand
    at_s = demand.begin_s + (np.arange(len(demand.prompt_per_s)) + 0.5) * demand.step_s
    training = demand.class_kw["training"].copy()
    for job in jobs:
        training += job.kw * ((at_s >= job.start.timestamp()) & (at_s < job.end.timestamp()))
    return replace(demand, class_kw={**demand.class_kw, "training": training}, quality={**demand.quality, "announced_jobs": len(jobs)})


def _trace(scenario: Scenario, load: Load) -> Trace:
    t = load.trace
    assert t.path is not None
    try:
        return read_trace(scenario.files[t.path], t.kind, t.format, t.columns, t.time_zone, t.label)
    except DataError as error:
        raise DataError(f"load of {load.cluster}: {error}") from error


def _to_power(trace: Trace, load: Load, cluster: Cluster) -> Callable[[np.ndarray], np.ndarray]:
    """How a level becomes IT power in kW. Requests: idle + (peak - idle) * rate / its 99.5th percentile over the whole file, or with
    `scale` idle + scale * rate. Power: the series times peak / its 99.5th percentile, or times `scale` (1 when neither is given)."""
    if load.trace.kind == "power":
        factor = load.scale or (load.scale_to_peak_kw / _peak(trace, load) if load.scale_to_peak_kw else 1.0)
        return lambda level: level * factor
    if load.scale is not None:
        per_unit = load.scale
    else:
        per_unit = ((load.scale_to_peak_kw or cluster.peak_kw) - cluster.idle_kw) / _peak(trace, load)
    return lambda level: cluster.idle_kw + per_unit * level


def _peak(trace: Trace, load: Load) -> float:
    """The percentile that becomes the peak; DataError where it is zero."""
    peak = trace.percentile()
    if peak <= 0.0:
        raise DataError(f"load of {load.cluster}: {load.trace.path}: {trace.key} is zero nearly throughout and has no peak; say `scale:`")
    return peak


def _check_range(scenario: Scenario, load: Load, trace: Trace, asked_kw: np.ndarray) -> None:
    """Most of a power trace lies between idle and rating of its cluster, or it is of another unit. Zero is a hall switched off. Under
    scale_to_peak_kw the unit cancels out, and only a peak that itself lies outside is wrong."""
    on_kw = asked_kw[asked_kw != 0.0]
    if load.trace.kind != "power" or not len(on_kw):
        return
    cluster = next(c for c in scenario.site.clusters if c.id == load.cluster)
    outside = (on_kw < cluster.idle_kw * (1.0 - METER_NOISE)) | (on_kw > cluster.rating_kw * (1.0 + METER_NOISE))
    share = float(outside.mean())
    if share > (0.99 if load.scale_to_peak_kw else 0.5):
        hint = (
            f"scale_to_peak_kw {load.scale_to_peak_kw:g}"
            if load.scale_to_peak_kw
            else "a column in W is named as power_w, MW says scale: 1000"
        )
        raise DataError(
            f"load of {load.cluster}: {load.trace.path}: {share:.0%} of {trace.key} lie below idle_kw ({cluster.idle_kw:g}) or above "
            f"rating_kw ({cluster.rating_kw:g}), the median is {np.median(on_kw):.4g} kW: is the unit kW? ({hint})"
        )


def _begin_s(load: Load, trace: Trace) -> float:
    """The instant of the first step that is left after the skip."""
    if not trace.is_absolute and (hint := epoch_hint(trace.begin_s)):
        raise DataError(f"load of {load.cluster}: {load.trace.path}: times are numbers{hint}")
    if load.trace.begins_at is not None:
        return load.trace.begins_at.timestamp() + (0.0 if trace.is_absolute else trace.begin_s)
    if not trace.is_absolute:
        raise DataError(f"load of {load.cluster}: {load.trace.path}: the trace has relative times; say `begins_at:`")
    return trace.begin_s


def _check_cover(scenario: Scenario, trace: Trace, begin_s: float, load: Load) -> None:
    late_s = begin_s - scenario.model.start.timestamp()
    short_s = scenario.model.end.timestamp() - (begin_s + len(trace.level) * trace.step_s)
    if late_s > LONGEST_HOLD_S:
        raise DataError(f"load of {load.cluster}: the trace begins {late_s / 3600:.1f} h after the window starts; move begins_at")
    if short_s > LONGEST_HOLD_S:
        raise DataError(f"load of {load.cluster}: the trace ends {short_s / 3600:.1f} h before the window; shorten it or say repeat: true")
    trace.quality["held_outside_s"] = round(max(0.0, late_s) + max(0.0, short_s))


def _inside_windows(
    scenario: Scenario, load: Load, trace: Trace, rng: np.random.Generator, quality: dict[str, int]
) -> tuple[np.ndarray, float]:
    """The level on a finer grid and that grid's step: each window's mean is kept."""
    inside = load.trace.within_window
    if isinstance(inside, Texture):
        shapes = _shapes(scenario.files[inside.texture], inside, trace.step_s)
        quality["texture_windows"] = len(shapes)
        order = np.concatenate([rng.permutation(len(shapes)) for _ in range(len(trace.level) // len(shapes) + 1)])[: len(trace.level)]
        return (trace.level[:, None] * shapes[order]).ravel(), trace.step_s / shapes.shape[1]
    if inside == "gamma" and trace.step_s > BIN_S:
        quality["generated_arrivals"] = 1
        return _gamma(trace, rng)
    return trace.level, trace.step_s


def _shapes(path: Path, texture: Texture, window_s: float) -> np.ndarray:
    """Windows of the texture divided by their own mean, one per row; from the middle, so that partial first and last bins stay out."""
    frame = read_frame(path)
    if texture.column not in frame.columns:
        raise DataError(f"{path}: no column {texture.column!r}; the file has {', '.join(map(str, frame.columns[:12]))}")
    series = hold_last(numbers(frame[texture.column]))
    per_window = round(window_s / texture.step_s)
    n = len(series) // per_window if per_window else 0
    if n < 1 or abs(per_window * texture.step_s - window_s) > 1e-6:
        raise DataError(f"{path}: a texture of {len(series)} x {texture.step_s:g} s holds no whole window of {window_s:g} s")
    first = (len(series) - n * per_window) // 2
    windows = np.maximum(0.0, series[first : first + n * per_window].reshape(n, per_window))
    means = windows.mean(axis=1)
    if not (means > 0).any():
        raise DataError(f"{path}: the texture is zero throughout")
    return windows[means > 0] / means[means > 0][:, None]


def _gamma(trace: Trace, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Generated arrivals per bin: gamma with the trace's mean and the published variance over mean (USUAL_DISPERSION without one)."""
    per_window = max(1, round(trace.step_s / BIN_S))
    dispersion = trace.dispersion if trace.dispersion is not None else np.full(len(trace.level), USUAL_DISPERSION)
    count = np.repeat(np.maximum(trace.level, 1e-9) * trace.step_s / per_window, per_window)
    spread = np.repeat(np.clip(dispersion, 0.01, 1000.0), per_window)
    drawn = rng.gamma(count / spread, spread).reshape(len(trace.level), per_window)
    drawn = np.where(drawn.sum(axis=1, keepdims=True) > 0, drawn, 1.0)
    shaped = drawn / drawn.mean(axis=1, keepdims=True) * trace.level[:, None]
    return shaped.ravel(), trace.step_s / per_window


def _sampled(
    scenario: Scenario,
    cluster: Cluster,
    trace: Trace,
    begin_s: float,
    power: np.ndarray,
    fine_s: float,
    level: np.ndarray,
    quality: dict[str, int],
) -> ClusterDemand:
    """The series on plant steps from the first history instant to the window's end, held at the ends."""
    step = scenario.plant_step_s
    start_s = scenario.model.start.timestamp()
    history = int(max(0.0, min(start_s - begin_s, FIRST_DAYS * 86400.0)) // step)
    n = history + scenario.cycles * scenario.substeps
    first_s = start_s - history * step
    points = first_s + (np.arange(n) + 0.5) * step - begin_s
    fine = np.clip((points // fine_s).astype(int), 0, len(power) - 1)
    window = np.clip((points // trace.step_s).astype(int), 0, len(trace.level) - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shape = np.where(trace.level[window] > 0, level[fine] / trace.level[window], 1.0)
    tokens = [np.zeros(n) if per_s is None else per_s[window] * shape for per_s in (trace.prompt_per_s, trace.output_per_s)]
    quality["clipped_at_idle_steps"] = int((power[fine][history:] < cluster.idle_kw - 1e-6).sum())
    quality["clipped_at_rating_steps"] = int((power[fine][history:] > cluster.rating_kw).sum())
    above_idle = np.clip(power[fine], cluster.idle_kw, cluster.rating_kw) - cluster.idle_kw
    classes = {name: above_idle * cluster.classes[name].share if name in cluster.classes else np.zeros(n) for name in CLASSES}
    return ClusterDemand(cluster, first_s, step, history, classes, tokens[0], tokens[1], trace.output_per_s is not None, quality)
