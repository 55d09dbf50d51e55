"""The kinds of assets this house knows: one line each."""

from __future__ import annotations

from ems.assets.battery.model import Battery
from ems.assets.cooling.model import Cooling
from ems.assets.fixed_load.model import FixedLoad
from ems.assets.generator.model import Generator
from ems.assets.renewable.model import Renewable
from ems.assets.ups.model import Ups
from ems.assets.workload.model import Cluster

Asset = Battery | Ups | FixedLoad | Cluster | Cooling | Generator | Renewable

KINDS: dict[str, type[Asset]] = {
    "battery": Battery,
    "ups": Ups,
    "fixed_load": FixedLoad,
    "workload": Cluster,
    "cooling": Cooling,
    "generator": Generator,
    "renewable": Renewable,
}
