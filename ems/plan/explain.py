"""Why a plan is as it is: what binds the import in each step, what one more kWh is worth, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ems.plan.inputs import PlanInputs

Array = NDArray[np.float64]


def binding_sources(inputs: PlanInputs, import_kw: Array) -> tuple[str, ...]:
    """The source of the import envelope in steps that stand on it, "" elsewhere."""
    is_bound = import_kw >= inputs.envelope.kw - 0.01
    return tuple(source if bound else "" for source, bound in zip(inputs.envelope.source, is_bound.tolist(), strict=True))


def explain(
    inputs: PlanInputs, import_kw: Array, marginal: Array, binding: tuple[str, ...], peak_kw: float, stored_value: dict[str, float]
) -> tuple[str, ...]:
    """A few lines for a person: the peak defended, limits that bind, the dearest step, what stored energy is worth."""
    lines = [_peak_line(inputs, peak_kw)]
    bound = [i for i, source in enumerate(binding) if source]
    if bound:
        first = bound[0]
        lines.append(
            f"import stands on {binding[first]} ({inputs.envelope.kw[first]:,.0f} kW) in {len(bound)} steps from "
            f"{inputs.horizon.starts[first]:%d %b %H:%M}Z"
        )
    over_kw = float(np.max(import_kw - inputs.envelope.kw))
    if over_kw > 0.1:
        lines.append(f"the import limit cannot be met: {over_kw:,.0f} kW above it at worst")
    dearest = int(np.argmax(marginal))
    lines.append(f"one kWh less import is worth most at {inputs.horizon.starts[dearest]:%d %b %H:%M}Z: {marginal[dearest]:.3f}")
    lines += [f"one more kWh in {name} now is worth {value:.3f}" for name, value in stored_value.items()]
    return tuple(lines)


def _peak_line(inputs: PlanInputs, peak_kw: float) -> str:
    meter = inputs.meter
    known_kw = max(meter.peak_so_far_kw, meter.expected_peak_kw)
    if peak_kw <= known_kw + 0.1:
        return f"holds the billing peak at {peak_kw:,.0f} kW, where the month already is or will be"
    return f"lets the billing peak rise from {known_kw:,.0f} to {peak_kw:,.0f} kW: holding it lower would cost more"
