"""Why a plan is as it is: what binds the import in each step, what one more kWh is worth, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ems.plan.inputs import PlanInputs
from ems.plan.tariff import DEMAND
from ems.site.model import Tariff
from ems.timegrid import interval_weights

Array = NDArray[np.float64]
TOUCHES_KW = 0.05


def binding_sources(tariff: Tariff, inputs: PlanInputs, import_kw: Array, peak_kw: float) -> tuple[str, ...]:
    """What import stands on, per step: the source of the envelope, else the demand charge, else ""."""
    interval_s = tariff.demand_interval_min * 60
    is_limited = import_kw >= inputs.envelope.kw - TOUCHES_KW
    is_peak = (interval_means(inputs, import_kw, interval_s) >= peak_kw - TOUCHES_KW) & (tariff.demand_price_per_kw_month > 0.0)
    return tuple(
        source if limited else (DEMAND if at_peak else "")
        for source, limited, at_peak in zip(inputs.envelope.source, is_limited.tolist(), is_peak.tolist(), strict=True)
    )


def interval_means(inputs: PlanInputs, import_kw: Array, interval_s: int) -> Array:
    """Per step, the mean import of the billing interval it lies in (the step's own mean where it is not shorter)."""
    weights = interval_weights(inputs.horizon, interval_s)
    columns = weights.shape[1]
    means = weights @ import_kw[:columns]
    means[0] += inputs.meter.interval_energy_kwh * 3600 / interval_s
    return np.concatenate([means[np.argmax(weights, axis=0)], import_kw[columns:]])


def explain(
    inputs: PlanInputs, import_kw: Array, marginal: Array, binding: tuple[str, ...], peak_kw: float | None, stored_value: dict[str, float]
) -> tuple[str, ...]:
    """A few lines for a person: the peak defended (None where it has no price), what binds the import, the steps in which import costs and
    pays most, what stored energy is worth."""
    lines = [] if peak_kw is None else [_peak_line(inputs, peak_kw)]
    for source in dict.fromkeys(filter(None, binding)):
        steps = [i for i, name in enumerate(binding) if name == source]
        lines.append(
            f"import stands on {source}{_stands_at(inputs, steps[0], source, peak_kw)} in {len(steps)} steps from "
            f"{inputs.horizon.starts[steps[0]]:%d %b %H:%M}Z"
        )
    lines += _clash(inputs, import_kw)
    lines += _worth_lines(inputs, marginal)
    lines += [_stored_line(name, round(value, 3)) for name, value in stored_value.items()]
    return tuple(lines)


def _worth_lines(inputs: PlanInputs, marginal: Array) -> list[str]:
    """Where one kWh less import saves most and, where power is paid for, where one more earns most."""
    at = [f"{start:%d %b %H:%M}Z" for start in inputs.horizon.starts]
    lowest, highest = int(np.argmin(marginal)), int(np.argmax(marginal))
    pays, costs = round(-float(marginal[lowest]), 3), round(float(marginal[highest]), 3)
    less = [f"one kWh less import is worth most at {at[highest]}: {costs:.3f}"] if costs > 0.0 or pays <= 0.0 else []
    return less + ([f"one kWh more import earns most at {at[lowest]}: {pays:.3f}"] if pays > 0.0 else [])


def _stored_line(name: str, value: float) -> str:
    """Below 0 where a store that is fuller has less room for what is paid for, or gains less by filling up."""
    return f"one more kWh in {name} now " + (f"costs {-value:.3f}" if value < 0.0 else f"is worth {abs(value):.3f}")


def _stands_at(inputs: PlanInputs, step: int, source: str, peak_kw: float | None) -> str:
    """The limit in kW, in brackets; nothing where its own line says it."""
    if source == inputs.envelope.source[step]:
        return f" ({inputs.envelope.kw[step]:,.0f} kW)"
    return f" ({peak_kw:,.0f} kW)" if source == DEMAND and peak_kw is not None else ""


def _clash(inputs: PlanInputs, import_kw: Array) -> list[str]:
    """Who asks for less than what must run, where it is worst; nothing when every limit can be met."""
    over_kw = import_kw - inputs.envelope.kw
    k = int(np.argmax(over_kw))
    if over_kw[k] <= 0.1:
        return []
    asked = f"{inputs.envelope.source[k]} asks for {inputs.envelope.kw[k]:,.0f} kW at {inputs.horizon.starts[k]:%d %b %H:%M}Z"
    return [f"the import limit cannot be met: {asked}, what must run takes {import_kw[k]:,.0f} kW, {over_kw[k]:,.0f} kW above it"]


def _peak_line(inputs: PlanInputs, peak_kw: float) -> str:
    meter = inputs.meter
    known_kw = max(meter.peak_so_far_kw, meter.expected_peak_kw)
    if peak_kw <= known_kw + 0.1:
        return f"holds the billing peak at {peak_kw:,.0f} kW, where the month already is or will be"
    return f"lets the billing peak rise from {known_kw:,.0f} to {peak_kw:,.0f} kW: holding it lower would cost more"
