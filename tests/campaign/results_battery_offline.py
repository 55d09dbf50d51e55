"""Where a battery alone loses value against perfect foresight: policies on the planner's own price forecasts, without the control loop.

Every policy asks the same forecasts once per settlement and decides by the marginal value of stored energy; the battery is 10 % off what
the policy believes, as in results_battery, and every decision comes 20 s late. Policies: results_battery_policies.

    python -m tests.campaign.results_battery_offline [--tests] [--policies mean,chain] [--known start,end] [--programme]   (12 min of CPU)
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from ems.assets.battery.model import Battery
from ems.forecast.exogenous import Ahead
from ems.forecast.price import RealTime, leads_to
from ems.forecast.price_series import ercot_2024, nem_victoria
from ems.forecast.price_source import HORIZON_H, KEPT_S, MEAN_WEIGHTS
from ems.forecast.protocol import Ints
from ems.replay.mismatch import plant_of
from ems.replay.scenario import load_scenario
from ems.replay.world import build_world
from ems.signals.prices import HIGH_PER_KWH, LOW_PER_KWH
from ems.site.load import load_site
from tests.campaign.battery_yardstick import programme_money
from tests.campaign.results_battery import Month, months, scenario_text
from tests.campaign.results_battery_policies import LEVELS, POLICIES, Market, Policy, before, courses, wanted_kw
from tests.campaign.results_cases import CHECKOUT

BLOCK = 240  # settlements whose programmes are solved together
LATE_S = 20.0
LEARNT_S = 2 * 86400.0  # before the first forecast
DEVELOPMENT = {"ercot": (1, 2, 3, 5), "nem": (0, 1)}  # numbers of the months on which settings were chosen


def market_of(name: str, data_dir: Path, until_s: float) -> Market:
    """Reads a market and forecasts before each of its cells up to an instant."""
    series = ercot_2024(data_dir) if name == "ercot" else nem_victoria(data_dir)
    history = replace(series.history, values=series.history.values / 1000.0)
    leads, step_s = leads_to(history.step_s, HORIZON_H), history.step_s
    model = RealTime(leads, step_s, LOW_PER_KWH, HIGH_PER_KWH)
    model.ahead = replace(series.ahead, values=series.ahead.values / 1000.0) if len(series.ahead.values) else Ahead.nothing()
    n = min(len(history.values), round(until_s / step_s) - history.first)
    said = np.full((n + 1, len(MEAN_WEIGHTS), len(leads)), np.nan, dtype=np.float32)
    for end in range(round(LEARNT_S / step_s), n + 1):
        low = max(0, end - round(KEPT_S / step_s))
        known = replace(history, first=history.first + low, values=history.values[low:end], is_estimate=history.is_estimate[low:end])
        said[end] = model.update(known).values
    return Market(name, history.values, history.first, step_s, leads, said)


def believed(seed: int) -> tuple[Battery, Battery]:
    """The battery as its file says and as it is."""
    site = load_site(CHECKOUT / "config" / "sites" / "battery-1mw.yaml")
    return site.batteries[0], plant_of(site, 0.1, seed).batteries[0]


def cells_of(market: Market, month: Month) -> Ints:
    """The settlements of a month."""
    begin, end = (round(at.timestamp() / market.step_s) - market.first for at in (month.begin, month.end))
    return np.arange(begin, end)


def foreseen(market: Market, month: Month) -> float:
    """What perfect foresight earns with the battery as it is."""
    battery, prices = believed(month.seed)[1], market.prices[cells_of(market, month)]
    left = np.array([max(prices.mean(), 0.0) * battery.discharge_efficiency])
    value, values = np.repeat(left[:, None], LEVELS, axis=1), []
    for price in prices[::-1]:
        values.append(value[0])
        value = before(value, np.array([price]), market.hours, battery)
    account = Account(battery, battery)
    for price, worth in zip(prices, values[::-1], strict=True):
        account.take(wanted_kw(worth, account.held_kwh, float(price), market.hours, battery), float(price), market.hours)
    return account.worth(float(prices.mean()))


class Account:
    """Energy held and money earned by a battery that is not quite what its file says."""

    def __init__(self, file: Battery, plant: Battery) -> None:
        self.file, self.plant = file, plant
        self.first_kwh = self.held_kwh = 0.5 * plant.energy_kwh
        self.money = 0.0

    @property
    def measured_kwh(self) -> float:
        """As the state of charge says of the energy in the file."""
        return self.held_kwh / self.plant.energy_kwh * self.file.energy_kwh

    def take(self, kw: float, price: float, hours: float) -> None:
        """Charges (positive) or discharges as far as rating and energy allow."""
        plant = self.plant
        most = (plant.energy_kwh - self.held_kwh) / (hours * plant.charge_efficiency)
        kw = float(np.clip(kw, -self.held_kwh * plant.discharge_efficiency / hours, most))
        kw = float(np.clip(kw, -plant.power_kw, plant.power_kw))
        self.held_kwh += hours * (kw * plant.charge_efficiency if kw > 0.0 else kw / plant.discharge_efficiency)
        self.money -= kw * price * hours

    def worth(self, mean_price: float) -> float:
        """Money earned with what is left credited at the mean price."""
        return self.money + (self.held_kwh - self.first_kwh) * mean_price * self.plant.discharge_efficiency


def earned(market: Market, month: Month, policy: Policy) -> float:
    """Money of one policy over one month."""
    file, plant = believed(month.seed)
    cells, late_h = cells_of(market, month), LATE_S / 3600.0
    account, asked_kw, is_early = Account(file, plant), 0.0, month.known == "start"
    for begin in range(0, len(cells), BLOCK):
        now = cells[begin : begin + BLOCK]
        ends = now + is_early
        ahead = courses(market, ends, 1 if is_early else 2)
        left = np.maximum(ahead.means @ ahead.hours / ahead.hours.sum(), 0.0) * file.discharge_efficiency
        values = policy(market, ends, ahead, file, left)
        prices = market.prices[now] if is_early else market.said[now, :, 0] @ MEAN_WEIGHTS
        for value, cell, price in zip(values, now, prices, strict=True):
            account.take(asked_kw, float(market.prices[cell]), late_h)
            asked_kw = wanted_kw(value, account.measured_kwh, float(price), market.hours, file)
            account.take(asked_kw, float(market.prices[cell]), market.hours - late_h)
    return account.worth(float(market.prices[cells].mean()))


def programme(market: Market, month: Month) -> float:
    """Money of the dozen-line programme over one month."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "month.yaml"
        path.write_text(scenario_text(month))
        return programme_money(build_world(load_scenario(path), month.seed), month.known == "start", market.hours)


def line(name: str, of: list[Month], money: list[float], bounds: list[float]) -> str:
    """A line of the table: the share of each month, and of all together."""
    shares = " ".join(f"{m / b:.1%}" for m, b in zip(money, bounds, strict=True))
    return f"{of[0].group:12s} {name:12s} {sum(money) / sum(bounds):.1%}   ({shares})"


def main() -> int:
    """Prints a line per market, policy and knowledge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--markets", type=lambda t: t.split(","), default=["ercot", "nem"])
    parser.add_argument("--policies", type=lambda t: t.split(","), default=list(POLICIES))
    parser.add_argument("--known", type=lambda t: t.split(","), default=["start", "end"])
    parser.add_argument("--tests", action="store_true", help="all months, not only those on which settings were chosen")
    parser.add_argument("--programme", action="store_true", help="the dozen-line programme too")
    args = parser.parse_args()
    os.environ.setdefault("EMS_DATA_DIR", str(CHECKOUT.parent / "shared" / "data"))
    if not Path(os.environ["EMS_DATA_DIR"]).is_dir():
        print("the results need the real data: set EMS_DATA_DIR", file=sys.stderr)
        return 2
    for name in args.markets:
        every = [m for m in months() if m.market == name and not m.wear and (args.tests or m.number in DEVELOPMENT[name])]
        market = market_of(name, Path(os.environ["EMS_DATA_DIR"]), max(m.end.timestamp() for m in every))
        for known in args.known:
            of = [m for m in every if m.known == known]
            bounds = [foreseen(market, m) for m in of]
            for policy in args.policies:
                print(line(policy, of, [earned(market, m, POLICIES[policy]) for m in of], bounds), flush=True)
            if args.programme:
                print(line("programme", of, [programme(market, m) for m in of], bounds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
