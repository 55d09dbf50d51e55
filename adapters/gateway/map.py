"""The registers a substation gateway sees, as a device page: what we serve is described like what we read.

Holding registers, float32 high word first, kW, import positive. A reading that is not known is NaN. The gateway keeps its limits with a
heartbeat: any new value of `gateway_heartbeat` but 0 within `lease_s`; 0 withdraws them at once; silence means the agreed fall-back.
"""

from __future__ import annotations

from adapters.modbus.page import Command, Lease, Page, Point

VERSION = 1
LARGEST_KW = 5e6
SOURCE = "this map"
READINGS = (  # name, address, unit, meaning
    ("import_kw", 4, "kW", "import at the point of connection, now"),
    ("limit_kw", 6, "kW", "import limit in force"),
    ("down_15min_kw", 8, "kW", "reduction that holds for 15 min with 90 %, beside all promises"),
    ("down_60min_kw", 10, "kW", "for 1 h"),
    ("down_120min_kw", 12, "kW", "for 2 h"),
    ("down_240min_kw", 14, "kW", "for 4 h"),
    ("headroom_kw", 16, "kW", "limit in force less import"),
    ("response_s", 18, "s", "until a reduction is there"),
    ("ramp_kw_per_min", 20, "kW/min", "agreed ramp; NaN: none"),
    ("storage_energy_kwh", 22, "kWh", "in the batteries"),
    ("accepted_limit_kw", 24, "kW", "the gateway's limit as it is held; NaN: none"),
    ("accepted_target_kw", 26, "kW", "the gateway's target as it is held; NaN: none"),
    ("fallback_kw", 28, "kW", "import limit that holds when the gateway is silent"),
    ("age_s", 30, "s", "age of the figures above"),
)
CODES = (
    ("map_version", 0, "version of this map"),
    ("heartbeat", 1, "grows by one with every new cycle of control"),
    ("status", 2, "0 not known, 1 running, 2 a limit of the gateway holds, 3 gateway silent: fall-back, 4 control silent"),
    ("ladder", 3, "rung of the controller, 0 best to 5 withdrawn; 9 not known"),
)
WRITES = (
    ("import_limit_kw", 40, "import limit"),
    ("import_target_kw", 42, "level the import is to come down to"),
)
LEASE = (
    ("gateway_heartbeat", 44, 0.0, "any new value but 0 keeps the limits, 0 withdraws them"),
    ("lease_s", 45, 0.0, "seconds of silence after which they lapse; 0: as agreed in channels.yaml"),
)


def gateway_page() -> Page:
    """The map as a page."""
    return Page(
        name="aidc-ems-gateway",
        title="What a substation gateway sees of this site",
        asset_kind="gateway",
        source=SOURCE,
        is_generic=False,
        max_registers=46,
        max_gap=46,
        gaps="zeros",
        write_function=16,
        settle_s=0.0,
        points=(*(_point(n, a, u) for n, a, u, _ in READINGS), *(_point(n, a, "", "uint16") for n, a, _ in CODES)),
        registers=tuple(_point(n, a, "s" if n == "lease_s" else "", "uint16", d) for n, a, d, _ in LEASE),
        commands=tuple(Command(_point(n, a, "kW"), None, 0.0, LARGEST_KW, 0.0, "volatile", 0.0) for n, a, _ in WRITES),
        lease=Lease("heartbeat", "lease_s", None, "gateway_heartbeat", (), (), (("gateway_heartbeat", 0.0),), False, 0.0),
        identity=(),
        image=(),
    )


def described() -> str:
    """The map in words, one line per register."""
    rows = [(a, n, "float32", u, "read", what) for n, a, u, what in READINGS]
    rows += [(a, n, "uint16", "", "read", what) for n, a, what in CODES]
    rows += [(a, n, "float32", "kW", "write", what) for n, a, what in WRITES]
    rows += [(a, n, "uint16", "", "write", what) for n, a, _, what in LEASE]
    head = ("| address | name | type | unit | | meaning |", "|---|---|---|---|---|---|")
    return "\n".join((*head, *(f"| {a} | `{n}` | {t} | {u} | {rw} | {what} |" for a, n, t, u, rw, what in sorted(rows)))) + "\n"


def _point(name: str, address: int, unit: str, kind: str = "float32", default: float | None = None) -> Point:
    return Point(
        name=name,
        address=address,
        table="holding",
        type=kind,
        count=2 if kind == "float32" else 1,
        word_order="big",
        byte_swap=False,
        scale=1.0,
        offset=0.0,
        sign=1,
        scale_factor=None,
        unit=unit,
        invalid=(),
        values=(),
        quality=None,
        default=default,
        evidence="document",
        source=SOURCE,
    )
