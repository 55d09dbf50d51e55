"""URDB-style rates for the comparison with NREL's PySAM: some by hand, the rest from a seeded generator."""

from __future__ import annotations

import random
from typing import Any

FLAT = [[0] * 24] * 12
SUMMER = range(5, 9)  # June to September


def schedule(base: int, peak: int, hours: range, months: range = range(12), shoulder: int | None = None) -> list[list[int]]:
    rows = []
    for month in range(12):
        row = [base] * 24
        if month in months:
            for h in hours:
                row[h] = peak
            if shoulder is not None:
                row[hours.start - 2 : hours.start] = [shoulder] * 2
        rows.append(row)
    return rows


def tiers(*pairs: tuple[float | None, float], unit: str = "kWh") -> list[dict[str, Any]]:
    return [{"rate": rate, "unit": unit, **({"max": end} if end else {})} for end, rate in pairs]


def energy(structure: list[Any], weekday: list[list[int]] = FLAT, weekend: list[list[int]] = FLAT) -> dict[str, Any]:
    return {"energyratestructure": structure, "energyweekdayschedule": weekday, "energyweekendschedule": weekend}


def demand(structure: list[Any], weekday: list[list[int]] = FLAT, weekend: list[list[int]] = FLAT) -> dict[str, Any]:
    return {"demandratestructure": structure, "demandweekdayschedule": weekday, "demandweekendschedule": weekend}


def flat_demand(structure: list[Any], months: list[int] | None = None) -> dict[str, Any]:
    return {"flatdemandstructure": structure, "flatdemandmonths": months or [0] * 12}


def ratchet(share: float, months: int, counts: list[bool] | None = None) -> dict[str, Any]:
    return {"lookbackpercent": share, "lookbackrange": months, **({"lookbackmonths": counts} if counts else {})}


KW = {"unit": "kW"}
ONE = energy([[{"rate": 0.08, "unit": "kWh"}]])
TOU = energy([tiers((None, 0.06)), tiers((None, 0.14))], schedule(0, 1, range(14, 20)), FLAT)
SEASONAL = energy(
    [tiers((None, 0.05)), tiers((None, 0.21)), tiers((None, 0.11))],
    schedule(0, 1, range(12, 18), SUMMER, shoulder=2),
    schedule(0, 2, range(12, 18), SUMMER),
)
TIERED_TOU = energy([tiers((200_000, 0.06), (None, 0.09)), tiers((200_000, 0.12), (None, 0.17))], schedule(0, 1, range(9, 21)), FLAT)
FLAT_KW = flat_demand([[{"rate": 12.0, **KW}]])
SEASON_KW = flat_demand([[{"rate": 8.0, **KW}], [{"rate": 15.5, **KW}]], [1 if m in SUMMER else 0 for m in range(12)])
WINDOW_KW = demand([[{"rate": 0.0, **KW}], [{"rate": 18.5, **KW}]], schedule(0, 1, range(14, 20), SUMMER), FLAT)
TWO_WINDOWS = demand(
    [[{"rate": 2.0, **KW}], [{"rate": 7.25, **KW}], [{"rate": 11.0, **KW}]],
    schedule(0, 2, range(16, 21), shoulder=1),
    schedule(0, 1, range(16, 21)),
)
TIER_KW = flat_demand([[{"rate": 5.0, "max": 300, **KW}, {"rate": 9.0, "max": 700, **KW}, {"rate": 14.0, **KW}]])
TIER_WINDOW = demand(
    [[{"rate": 1.0, "max": 500, **KW}, {"rate": 3.0, **KW}], [{"rate": 6.0, "max": 500, **KW}, {"rate": 9.0, **KW}]],
    schedule(0, 1, range(8, 22)),
    FLAT,
)

BY_HAND: dict[str, dict[str, Any]] = {
    "one price": ONE,
    "one price, fixed per month": {**ONE, "fixedchargefirstmeter": 350.0, "fixedchargeunits": "$/month"},
    "one price, fixed per day": {**ONE, "fixedchargefirstmeter": 4.2, "fixedchargeunits": "$/day"},
    "price with adjustment": energy([[{"rate": 0.05, "adj": 0.013, "unit": "kWh"}]]),
    "minimum of the month": {**ONE, "mincharge": 41_000.0, "minchargeunits": "$/month"},
    "minimum of the year": {**ONE, "mincharge": 700_000.0, "minchargeunits": "$/year"},
    "time of use": TOU,
    "seasonal time of use": SEASONAL,
    "inclining tiers": energy([tiers((100_000, 0.05), (300_000, 0.07), (None, 0.10))]),
    "declining tiers": energy([tiers((100_000, 0.10), (None, 0.06))]),
    "tiers per day": energy([tiers((6000, 0.05), (None, 0.08), unit="kWh daily")]),
    "tiers per kW": energy([tiers((200, 0.09), (400, 0.07), (None, 0.05), unit="kWh/kW")]) | FLAT_KW,
    "tiers in time of use": TIERED_TOU,
    "flat demand": ONE | FLAT_KW,
    "seasonal demand": TOU | SEASON_KW,
    "demand window": SEASONAL | WINDOW_KW,
    "two demand windows and flat": TOU | TWO_WINDOWS | FLAT_KW,
    "tiers of demand": ONE | TIER_KW,
    "tiers of windowed demand": TIERED_TOU | TIER_WINDOW,
    "ratchet of 80 % over 11 months": TOU | FLAT_KW | ratchet(0.8, 11),
    "ratchet of 60 % over 3 months": ONE | SEASON_KW | ratchet(0.6, 3),
    "ratchet in winter": SEASONAL | FLAT_KW | ratchet(0.9, 11, [m not in SUMMER for m in range(12)]),
    "ratchet with windows": TOU | TWO_WINDOWS | FLAT_KW | ratchet(0.75, 11),
    "ratchet with a seasonal window": TIERED_TOU | WINDOW_KW | ratchet(1.0, 6),
}


def generated(seed: int) -> dict[str, Any]:
    """A rate with a random mixture of everything above."""
    rng = random.Random(seed)
    hours = range(rng.randint(3, 14), rng.randint(15, 24))
    months = range(rng.randint(0, 5), rng.randint(6, 12))
    weekday, weekend = schedule(0, 1, hours, months, shoulder=2), schedule(0, rng.randint(0, 2), hours, months)
    ends = sorted(rng.sample(range(20_000, 600_000), rng.randint(0, 2)))
    structure = [tiers(*[(end, round(rng.uniform(0.02, 0.3), 5)) for end in [*ends, None]]) for _ in range(3)]
    rate = energy(structure, weekday, weekend)
    rate |= {"fixedchargefirstmeter": round(rng.uniform(0, 900), 2), "fixedchargeunits": "$/month"}
    if rng.random() < 0.8:
        prices = [[{"rate": round(rng.uniform(1, 20), 2), **KW}] for _ in range(3)]
        window = schedule(0, 1, range(rng.randint(3, 13), rng.randint(14, 24)), months, shoulder=2)
        rate |= demand(prices, window, schedule(0, 0, hours))
    if rng.random() < 0.7:
        rate |= flat_demand([[{"rate": round(rng.uniform(1, 20), 2), **KW}] for _ in range(2)], [rng.randint(0, 1) for _ in range(12)])
    if rng.random() < 0.5 and ("demandratestructure" in rate or "flatdemandstructure" in rate):
        rate |= ratchet(round(rng.uniform(0.4, 1.0), 2), rng.choice([1, 3, 6, 11]), [rng.random() < 0.7 for _ in range(12)])
    return rate


RATES = BY_HAND | {f"generated {seed}": generated(seed) for seed in range(20)}
