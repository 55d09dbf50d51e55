"""Checks the money of a tariff's charges from the plan's import alone, in plain arithmetic; shares no code with the terms."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ems.commitment import Commitment, Per
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan
from ems.timegrid import interval_rows

MONEY_TOLERANCE = 1e-4  # relative, at least of one unit of money
ROUNDING_KW = 0.01
MINIMUM_BILL = "up to the minimum bill"
COUNTED_SHARE = 0.999  # of what the plan pays under a minimum is free


def charge_faults(inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """Charges whose cost in the plan is not what its import costs. A peak may cost less where a step straddles its window's end."""
    for c in inputs.commitments:
        if c.name not in plan.cost:
            continue
        tolerance = MONEY_TOLERANCE * max(1.0, abs(plan.cost[c.name])) + _rounding(c, plan)
        least, most = _money(c, inputs, plan)
        if not least - tolerance <= plan.cost[c.name] <= most + tolerance:
            yield f"{c.name} costs {least:.4f}, not {plan.cost[c.name]:.4f}"


def minimum_faults(inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """What the bill misses of its minimum must be that of the bill's own parts; each of them is priced again elsewhere."""
    if MINIMUM_BILL not in plan.cost:
        return
    peaks = [c.name for c in inputs.commitments if c.per is Per.PEAK and not c.name.endswith(", next month")]
    bill = sum(plan.cost.get(name, 0.0) for name in ("energy", "demand", *peaks))
    missing = 0.0 if inputs.minimum_left is None else max(0.0, COUNTED_SHARE * (inputs.minimum_left - bill))
    if abs(missing - plan.cost[MINIMUM_BILL]) > MONEY_TOLERANCE * max(1.0, abs(missing), abs(bill)):
        yield f"{MINIMUM_BILL} costs {missing:.4f}, not {plan.cost[MINIMUM_BILL]:.4f}"


def _money(c: Commitment, inputs: PlanInputs, plan: Plan) -> tuple[float, float]:
    """What a charge costs at least and at most; the two differ for peaks only."""
    paid = list(_paid_h(inputs, plan))
    energy = [h * kw for h, kw in zip(paid, plan.import_kw, strict=True)]
    if c.per is Per.STEP:
        over = [max(0.0, kw - b) * h for kw, b, h in zip(plan.import_kw, c.baseline_kw, paid, strict=True)]
        money = sum(down * e + (up - down) * o for down, up, e, o in zip(c.down_price, c.up_price, energy, over, strict=True))
        return money, money
    if c.per is Per.TOTAL:
        taken = sum(energy)
        money = c.down_price[0] * taken + (c.up_price[0] - c.down_price[0]) * max(0.0, taken - c.baseline_kw[0])
        return money, money
    if c.per is Per.CHANGE:
        means = list(_interval_means(c, inputs, plan))
        direct = list(plan.import_kw[len(plan.import_kw) - _longer(c) :])
        changes = [abs(b - a) for a, b in pairwise((*means, *direct))]
        free = [c.baseline_kw[0]] * len(means) + list(c.baseline_kw[len(c.baseline_kw) - len(direct) + 1 :])
        money = c.up_price[0] * sum(max(0.0, d - f) for d, f in zip(changes, free, strict=True))
        return money, money
    surely, perhaps = _highest_kw(c, inputs, plan)
    return c.up_price[0] * max(0.0, surely - c.baseline_kw[0]), c.up_price[0] * max(0.0, perhaps - c.baseline_kw[0])


def _longer(c: Commitment) -> int:
    """How many steps stand for themselves: the changes between them are the last of the commitment's."""
    return len(c.baseline_kw) - interval_rows(60 * c.interval_min) + 1


def _interval_means(c: Commitment, inputs: PlanInputs, plan: Plan) -> Iterator[float]:
    """Means of the billing intervals from the running one up to the first step that stands for itself."""
    length_s = 60 * c.interval_min
    at_s = plan.starts[0].timestamp() // length_s * length_s
    last = len(plan.starts) - _longer(c)
    while at_s < plan.starts[last].timestamp() - 1e-3:
        steps = zip(plan.starts, plan.duration_h, plan.import_kw, strict=True)
        covered = [(_overlap_s(s.timestamp(), 3600 * h, at_s, length_s), kw) for s, h, kw in steps]
        kws, seconds = sum(o * kw for o, kw in covered), sum(o for o, _ in covered)
        is_running = at_s < plan.starts[0].timestamp()
        if is_running and c.interval_min in inputs.interval_energy_kwh:
            kws, seconds = kws + 3600 * max(0.0, inputs.interval_energy_kwh[c.interval_min]), length_s
        yield kws / (seconds if is_running else length_s)
        at_s += length_s


def _overlap_s(begin_s: float, lasts_s: float, from_s: float, length_s: float) -> float:
    return max(0.0, min(begin_s + lasts_s, from_s + length_s) - max(begin_s, from_s))


def _highest_kw(c: Commitment, inputs: PlanInputs, plan: Plan) -> tuple[float, float]:
    """The highest interval mean in the spans: of intervals that lie in short steps whole, and of every step that touches the spans."""
    length_s = 60 * c.interval_min
    energy: dict[int, float] = {}
    covered: dict[int, float] = {}
    surely, perhaps = 0.0, 0.0
    for start, hours, kw in zip(plan.starts, plan.duration_h, plan.import_kw, strict=True):
        begin, end = start.timestamp(), start.timestamp() + 3600 * hours
        touches = _touches(c, begin // length_s * length_s, end)
        perhaps = max(perhaps, kw) if touches else perhaps
        if hours * 3600 >= length_s - 1e-6:
            whole = begin % length_s == 0.0 and _touches(c, begin, begin + 1.0) and _touches(c, end - 1.0, end)
            surely = max(surely, kw) if whole else surely
        index = int(begin // length_s)
        if (end - 1e-3) // length_s == index:
            energy[index] = energy.get(index, 0.0) + kw * hours
            covered[index] = covered.get(index, 0.0) + hours * 3600
    running = int(plan.starts[0].timestamp() // length_s)
    metered = inputs.interval_energy_kwh.get(c.interval_min, inputs.meter.interval_energy_kwh)
    for index, kwh in energy.items():
        passed_s = plan.starts[0].timestamp() - running * length_s if index == running else 0.0
        mean = (kwh + (metered if index == running else 0.0)) * 3600 / length_s
        if _touches(c, index * length_s, index * length_s + 1.0):
            surely = max(surely, mean) if covered[index] + passed_s >= length_s - 1.0 else surely
            perhaps = max(perhaps, mean)
    return surely, perhaps


def _touches(c: Commitment, begin_s: float, end_s: float) -> bool:
    return c.spans is None or any(begin_s < b.timestamp() and end_s > a.timestamp() for a, b in c.spans)


def _paid_h(inputs: PlanInputs, plan: Plan) -> Iterator[float]:
    """Hours of each step before the accounts close."""
    for start, hours in zip(plan.starts, plan.duration_h, strict=True):
        if inputs.settle_at is None:
            yield hours
        else:
            yield min(max((inputs.settle_at - start).total_seconds() / 3600, 0.0), hours)


def _rounding(c: Commitment, plan: Plan) -> float:
    """What rounding every power of the plan can change."""
    per_kw = max((abs(p) for p in (*c.up_price, *c.down_price)), default=0.0)
    return 1e-6 * per_kw * len(plan.import_kw) if c.per is not Per.PEAK else ROUNDING_KW * per_kw * 0.01
